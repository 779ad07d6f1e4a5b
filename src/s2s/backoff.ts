import { randomInt } from 'node:crypto'

/** The first pause (ms); each one after it is twice as long. */
const FIRST = 1000

/** Pauses between attempts to reach a peer: longer from one to the next, and drawn, so that not all come back at once. */
export class Backoff {
  #failures = 0

  /** The pause after one more failure, ms: between half and all of what it would be. At most `max`. */
  next(max: number): number {
    const whole = Math.min(FIRST * 2 ** Math.min(this.#failures++, 30), max)
    return whole / 2 + randomInt(Math.floor(whole / 2) + 1)
  }

  /** The peer was reached. */
  reset(): void {
    this.#failures = 0
  }
}
