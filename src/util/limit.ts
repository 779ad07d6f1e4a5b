/** So much work at a time; more of it waits for a turn, and what is beyond that fails. */
export class Limit {
  readonly #parallel: number
  readonly #waiting: number
  readonly #busy: () => Error
  readonly #queue: (() => void)[] = []
  #running = 0

  /** @param busy what work beyond the `waiting` that may wait fails with */
  constructor(parallel: number, waiting: number, busy: () => Error) {
    this.#parallel = parallel
    this.#waiting = waiting
    this.#busy = busy
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#parallel) {
      if (this.#queue.length >= this.#waiting) throw this.#busy()
      await new Promise<void>(resolve => this.#queue.push(resolve)) // its turn is handed over as it is
    } else this.#running++
    try {
      return await work()
    } finally {
      const next = this.#queue.shift()
      if (next === undefined) this.#running--
      else next()
    }
  }
}
