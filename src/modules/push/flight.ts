/** How many requests may wait for their answers at once, whoever they are from. */
export class Flight {
  readonly #bound: number
  #count = 0

  constructor(bound: number) {
    this.#bound = bound
  }

  /** Starts a request; `busy` at the bound. */
  begin<T>(request: () => Promise<T>): Promise<T> | 'busy' {
    if (this.#count >= this.#bound) return 'busy'
    this.#count++
    return request().finally(() => this.#count--)
  }
}
