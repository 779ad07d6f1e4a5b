import { Lru } from '../util/lru.ts'

/** What was said lately; who was silent longest is forgotten first. */
const REMEMBERED = 2000
/** The same is said again after so long (ms). */
const AGAIN = 3_600_000

/** Says a thing about a domain once in an hour: what goes wrong with another server goes wrong with each stanza. */
export class Notices {
  readonly #said = new Lru<string, number>(REMEMBERED)
  readonly #now: () => number

  /** @param now a clock in ms that never goes back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Whether it is to be said now. */
  isNew(domain: string, what: string): boolean {
    const key = `${domain} ${what}`
    const now = this.#now()
    const before = this.#said.get(key)
    if (before !== undefined && now - before < AGAIN) return false
    this.#said.set(key, now)
    return true
  }
}
