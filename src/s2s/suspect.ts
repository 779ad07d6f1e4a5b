import type { Entry } from '../core/queue/entry.ts'

/** Connections that broke over a message until the next ones get one message at a time, so that it shows which. */
const CAREFUL = 2
/** ... and until a message that was alone goes back to its sender, if that has gone on for long enough. */
const REFUSED = 10

/**
 * A message that another server cannot bear: it ends the connection each time that it gets it, and would have everything wait
 * that comes after it.
 */
export class Suspect {
  #id: string | undefined
  #count = 0
  /** The first time, ms since 1970. */
  #since = 0

  /** Only one message at a time is to be under way. */
  get careful(): boolean {
    return this.#count >= CAREFUL
  }

  /** A message was acknowledged. */
  clear(): void {
    this.#id = undefined
    this.#count = 0
  }

  /**
   * A connection was gone soon, and of these, which are all that were under way, oldest first, none was acknowledged. The
   * one that is to be given up; not before so many `ms` have passed, for whatever else may be wrong with the connection.
   */
  broke(entries: readonly Entry[], now: number, ms: number): Entry | undefined {
    const [first] = entries
    if (first === undefined) return undefined
    if (first.id !== this.#id) {
      this.#id = first.id
      this.#count = 0
      this.#since = now
    }
    this.#count++
    return this.#count >= REFUSED && entries.length === 1 && now - this.#since >= ms ? first : undefined
  }
}
