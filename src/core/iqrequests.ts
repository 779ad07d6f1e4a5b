import type { IdGenerator } from '../util/ids.ts'
import { type Element, xml } from '../xml/index.ts'
import type { Jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import type { Router } from './router.ts'

/** The iqs that this host has asked others, and who waits for the answers. Bounded: the oldest gives way. */
export class IqRequests {
  readonly #waiting = new Map<string, { to: string; done: (answer: Stanza | undefined) => void }>()
  readonly #router: Router
  readonly #ids: IdGenerator
  readonly #bound: number

  constructor(router: Router, ids: IdGenerator, bound = 10_000) {
    this.#router = router
    this.#ids = ids
    this.#bound = bound
  }

  /** Asks an entity something in the name of the host, or of an address of it. Undefined: no answer within `timeout` ms. */
  ask(from: Jid, to: Jid, type: 'get' | 'set', payload: Element, timeout: number): Promise<Stanza | undefined> {
    const id = this.#ids.random()
    return new Promise(resolve => {
      this.#add(id, to, timeout, resolve)
      void this.#router.route(Stanza.make(xml('iq', { type, id }, payload), from, to))
    })
  }

  /** Calls `done` once: with the answer, or undefined after `timeout` ms. */
  #add(id: string, to: Jid, timeout: number, done: (answer: Stanza | undefined) => void): void {
    if (this.#waiting.size >= this.#bound) {
      const [oldest, entry] = this.#waiting.entries().next().value!
      this.#waiting.delete(oldest)
      entry.done(undefined)
    }
    const timer = setTimeout(() => this.#take(id)?.done(undefined), timeout)
    timer.unref()
    this.#waiting.set(id, {
      to: to.toString(),
      done: answer => {
        clearTimeout(timer)
        done(answer)
      },
    })
  }

  /** An iq result or error came in; true if somebody here had asked for it. Only who was asked may answer. */
  answer(stanza: Stanza): boolean {
    const id = stanza.id
    if (id === undefined || this.#waiting.get(id)?.to !== stanza.from.toString()) return false
    this.#take(id)?.done(stanza)
    return true
  }

  #take(id: string) {
    const entry = this.#waiting.get(id)
    this.#waiting.delete(id)
    return entry
  }
}
