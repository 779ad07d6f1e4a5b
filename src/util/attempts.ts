import { Lru } from './lru.ts'

/** Most of those who make attempts that are remembered; who was quiet longest is forgotten first. */
const MAX = 20_000

/** Counts attempts within a time by whoever makes them. Bounded. */
export class Attempts {
  readonly #max: number
  readonly #window: number
  readonly #now: () => number
  readonly #counts: Lru<string, { since: number; count: number }>

  /** @param max within `window` ms of the first */
  constructor(max: number, window: number, now: () => number, remembered = MAX) {
    this.#max = max
    this.#window = window
    this.#now = now
    this.#counts = new Lru(remembered)
  }

  /** Whether one more may be made; it is counted. */
  allow(who: string): boolean {
    const now = this.#now()
    let entry = this.#counts.get(who)
    if (entry === undefined || now - entry.since >= this.#window) {
      entry = { since: now, count: 0 }
      this.#counts.set(who, entry)
    }
    return entry.count++ < this.#max
  }

  /** Those remembered now. */
  get size(): number {
    return this.#counts.size
  }
}
