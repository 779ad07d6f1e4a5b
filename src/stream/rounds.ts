/** What a stream may have handled in one turn of the event loop before others have theirs. */
const PORTION = 32
/** Ms of one turn after which who has sent much waits for another. */
const LATE = 20

/**
 * The turns of the event loop, for streams that have much to be handled. A chunk of a socket may hold thousands of stanzas,
 * and many clients may send one at the same time: each stream handles a portion, then waits until those that came before it
 * have had another, one stream a turn. So does, late in a turn, who has sent a large piece: one stanza can be much work.
 * Whoever sends a small stanza now and then never waits.
 */
export class Rounds {
  #turn = 0
  /** When the first stream of this turn had something to be handled (ms). */
  #began = 0
  #scheduled = false
  #waiting: (() => void)[] = []

  /** Counts what a stream has handled; true when it is enough for this turn. */
  spend(portion: Portion): boolean {
    if (portion.turn !== this.#turn) {
      portion.turn = this.#turn
      portion.used = 0
    }
    this.#schedule()
    return ++portion.used >= PORTION
  }

  /** Much has been done in this turn already, whoever it was for. */
  isLate(): boolean {
    if (this.#scheduled) return performance.now() - this.#began > LATE
    this.#schedule()
    return false
  }

  /** Resolves when it is the caller's turn again. */
  next(): Promise<void> {
    return new Promise(resolve => {
      this.#waiting.push(resolve)
      this.#schedule()
    })
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#began = performance.now()
    setImmediate(this.#run)
  }

  readonly #run = (): void => {
    this.#turn++
    this.#scheduled = false
    this.#waiting.shift()?.()
    if (this.#waiting.length > 0) this.#schedule()
  }
}

/** What one stream has had handled in a turn. */
export class Portion {
  turn = -1
  used = 0
}
