/** Work on the same key runs one after the other, in the order it came; on different keys, at the same time. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>()

  /** Something with this key runs, or waits. */
  busy(key: string): boolean {
    return this.#last.has(key)
  }

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve()
    const mine = before.then(work, work)
    this.#last.set(key, mine)
    try {
      return await mine
    } finally {
      if (this.#last.get(key) === mine) this.#last.delete(key)
    }
  }
}
