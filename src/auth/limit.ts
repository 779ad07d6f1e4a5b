import { BusyError } from './derive.ts'

/** So much work at a time; more of it waits for a turn, and what is beyond that fails with {@link BusyError}. */
export class Limit {
  readonly #parallel: number
  readonly #waiting: number
  readonly #queue: (() => void)[] = []
  #running = 0

  constructor(parallel: number, waiting: number) {
    this.#parallel = parallel
    this.#waiting = waiting
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#parallel) {
      if (this.#queue.length >= this.#waiting) throw new BusyError()
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
