/** What waits for one key. */
interface Line {
  last: Promise<unknown>
  size: number
  bytes: number
}

/**
 * A mailbox for each key: work on the same key runs one after the other, in the order it came; on different keys, at the same
 * time. So much of it may wait and no more.
 */
export class Turns {
  readonly #max: number
  readonly #maxBytes: number
  readonly #refused: () => Error
  readonly #lines = new Map<string, Line>()

  /**
   * @param max pieces of work that wait, or are being done, for one key
   * @param refused what who brings more is told
   * @param maxBytes of all of them, as {@link run} is told; one that is alone may have more
   */
  constructor(max: number, refused: () => Error, maxBytes = Number.POSITIVE_INFINITY) {
    this.#max = max
    this.#refused = refused
    this.#maxBytes = maxBytes
  }

  /** Something with this key runs, or waits. */
  busy(key: string): boolean {
    return this.#lines.has(key)
  }

  /** So much waits that work of so many bytes is refused. */
  full(key: string, bytes = 0): boolean {
    const line = this.#lines.get(key)
    return line !== undefined && (line.size >= this.#max || line.bytes + bytes > this.#maxBytes)
  }

  /** Resolves or rejects as the work does; rejects at once where too much waits. */
  async run<T>(key: string, work: () => Promise<T>, bytes = 0): Promise<T> {
    if (this.full(key, bytes)) throw this.#refused()
    return this.must(key, work, bytes)
  }

  /** As {@link run}, but never refused: for what has to be done, of which others see to it that it is not much. */
  async must<T>(key: string, work: () => Promise<T>, bytes = 0): Promise<T> {
    let line = this.#lines.get(key)
    if (line === undefined) {
      line = { last: Promise.resolve(), size: 0, bytes: 0 }
      this.#lines.set(key, line)
    }
    const mine = line.last.then(work, work)
    line.last = mine
    line.size++
    line.bytes += bytes
    try {
      return await mine
    } finally {
      line.bytes -= bytes
      if (--line.size === 0) this.#lines.delete(key)
    }
  }
}
