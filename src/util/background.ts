/**
 * Work that nobody waits for: one piece after another for each key, and at most so many that wait. So who causes much of it
 * only makes its own work late, and in the end undone.
 */
export class Background {
  readonly #most: number
  readonly #failed: (error: unknown, key: string) => void
  readonly #lines = new Map<string, { size: number; last: Promise<void> }>()

  /** @param most pieces that wait, or are being done, for one key */
  constructor(most: number, failed: (error: unknown, key: string) => void) {
    this.#most = most
    this.#failed = failed
  }

  /** False if too many wait for this key: then it is not done. */
  add(key: string, work: () => Promise<unknown>): boolean {
    const line = this.#lines.get(key) ?? { size: 0, last: Promise.resolve() }
    if (line.size >= this.#most) return false
    line.size++
    this.#lines.set(key, line)
    const done = (): void => {
      if (--line.size === 0) this.#lines.delete(key)
    }
    line.last = line.last
      .then(work)
      .catch((error: unknown) => this.#failed(error, key))
      .then(done)
    return true
  }
}
