/** Speeds of one connection; `Infinity` is no limit. */
export interface ShaperLimits {
  /** Bytes a second. */
  rate: number
  /** Bytes at once, after a pause. */
  burst_size: number
  /** Stanzas a second. */
  stanza_rate: number
  /** Stanzas at once, after a pause. */
  stanza_burst: number
}

/** The longest delay that setTimeout takes. */
const LONGEST = 2 ** 31 - 1

/**
 * Two token buckets, of bytes and of stanzas, for what one client sends. Nothing is refused: what was read is paid for, if
 * need be on credit, and `spend` says how long reading has to pause until the debt is paid.
 *
 * A bucket is one number, the time at which it would be full again (the "theoretical arrival time" of the generic cell
 * rate algorithm): no refilling, no rounding.
 */
export class Shaper {
  readonly #now: () => number
  readonly #unlimited: boolean
  /** ms that a byte costs; 0 without limit. */
  readonly #byteCost: number
  readonly #stanzaCost: number
  /** ms that an empty bucket takes to fill. */
  readonly #byteSpan: number
  readonly #stanzaSpan: number
  /** When the bucket of bytes, and that of stanzas, would be full. An array of doubles is written without allocating. */
  readonly #full: Float64Array

  /** @param now a clock in ms that never goes back */
  constructor(limits: ShaperLimits, now: () => number = () => performance.now()) {
    this.#now = now
    this.#byteCost = cost(limits.rate)
    this.#stanzaCost = cost(limits.stanza_rate)
    this.#byteSpan = this.#byteCost === 0 ? 0 : limits.burst_size * this.#byteCost
    this.#stanzaSpan = this.#stanzaCost === 0 ? 0 : limits.stanza_burst * this.#stanzaCost
    this.#unlimited = this.#byteCost === 0 && this.#stanzaCost === 0
    this.#full = new Float64Array(2).fill(this.#unlimited ? 0 : now())
  }

  /** Pays for what was read. The answer is for how many whole ms to read nothing more; 0 is go on. */
  spend(bytes: number, stanzas: number): number {
    if (this.#unlimited) return 0
    const now = this.#now()
    const full = this.#full
    const bytesFull = Math.max(full[0]!, now) + bytes * this.#byteCost
    const stanzasFull = Math.max(full[1]!, now) + stanzas * this.#stanzaCost
    full[0] = bytesFull
    full[1] = stanzasFull
    const forBytes = bytesFull - now - this.#byteSpan
    const forStanzas = stanzasFull - now - this.#stanzaSpan
    const pause = Math.max(forBytes, forStanzas)
    // The tolerance is for the rounding of the clock's fractions: a debt of a nanosecond is none.
    if (pause <= 1e-6) return 0
    return pause < LONGEST ? Math.ceil(pause - 1e-6) : LONGEST
  }
}

function cost(rate: number): number {
  if (!(rate > 0)) throw new RangeError(`a rate is above 0, not ${rate}`)
  return rate === Number.POSITIVE_INFINITY ? 0 : 1000 / rate
}
