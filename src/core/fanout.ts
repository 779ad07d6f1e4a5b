import { setImmediate } from 'node:timers/promises'
import { Limit } from '../util/limit.ts'
import { Turns } from '../util/turns.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { Entry, Origin } from './queue/entry.ts'
import type { Router } from './router.ts'

/** Addresses of one portion, and bytes of all its copies. */
const PORTION = 100
const PORTION_BYTES = 1024 * 1024
/** Portions on their way at a time, of all that is sent on one host: what they write is a small part of what may wait. */
const PARALLEL = 4
/** Where so much waits for a key, and bytes of it, what can be spared is left out. */
const MAX_SPARE = 1000
const MAX_SPARE_BYTES = 4 * 1024 * 1024

/**
 * One stanza to many addresses. Few get it at once; many in portions: others have their turn between two of them, and the
 * next one goes when what the last one had to keep is durable, so that whoever writes to thousands leaves room in the
 * write queue for everybody else.
 */
export class Fanout {
  readonly #router: Router
  readonly #turns = new Turns(MAX_SPARE, () => new Error('too much waits'), MAX_SPARE_BYTES)
  // Who waits here is a client that gets its answer afterwards, or a command: nobody else comes in.
  readonly #portions = new Limit(PARALLEL, Number.POSITIVE_INFINITY, () => new Error('too many portions'))

  constructor(router: Router) {
    this.#router = router
  }

  /**
   * What is sent under the same `key` arrives in that order. Returns nothing where all is done at once; else resolves when
   * the last copy is accepted. Never rejects. Who sends waits for it, so that no more piles up than there are clients;
   * `spare` is what nobody waits for, and can be left out.
   */
  send(key: string, stanza: Stanza, to: readonly Jid[], spare = false): void | Promise<void> {
    if (to.length === 0) return
    const copy = stanza.copies()
    const size = copy(to[0]!).toString().length
    const step = stepFor(size)
    if (to.length > step || this.#turns.busy(key)) {
      const work = (): Promise<void> => this.#inPortions(copy, to, step)
      return spare ? this.#turns.run(key, work, size).catch(() => {}) : this.#turns.must(key, work, size)
    }
    for (const jid of to) void this.#router.route(copy(jid))
  }

  /** The same to addresses that are yet to be found, such as those of all accounts; how many they were. */
  sendAll(key: string, stanza: Stanza, to: AsyncIterable<Jid>): Promise<number> {
    const copy = stanza.copies()
    return this.#turns.must(key, async () => {
      let number = 0
      let portion: Jid[] = []
      let step = 1
      for await (const jid of to) {
        if (number++ === 0) step = stepFor(copy(jid).toString().length)
        if (portion.push(jid) < step) continue
        await this.#portion(portion.map(copy))
        portion = []
      }
      await this.#portion(portion.map(copy))
      return number
    })
  }

  async #inPortions(copy: (to: Jid) => Stanza, to: readonly Jid[], step: number): Promise<void> {
    for (let from = 0; from < to.length; from += step) {
      if (from > 0) await setImmediate()
      await this.#portion(to.slice(from, from + step).map(copy))
    }
  }

  #portion(stanzas: readonly Stanza[]): Promise<void> {
    return this.#portions.run(async () => {
      const kept = new Kept()
      await Promise.all(stanzas.map(stanza => this.#router.route(stanza, { origin: kept })))
      await kept.durable()
    })
  }
}

/** How many copies of so many bytes make a portion. */
function stepFor(size: number): number {
  return Math.max(1, Math.min(PORTION, Math.floor(PORTION_BYTES / size)))
}

/** Counts what had to be written of a portion. */
class Kept implements Origin {
  #open = 0
  #done: (() => void) | undefined

  accepted(_entry: Entry): void {
    this.#open++
  }

  safe(_entry: Entry): void {
    if (--this.#open === 0) this.#done?.()
  }

  /** Resolves when all of it is durable, delivered, or was answered with an error. */
  durable(): Promise<void> {
    if (this.#open === 0) return Promise.resolve()
    return new Promise(resolve => {
      this.#done = resolve
    })
  }
}
