import type { Ended } from './inbound.ts'
import type { C2SSession } from './session.ts'

/** The sessions that can be resumed, by resumption id, and where those that ended had got to. */
export class ResumableSessions {
  readonly #live = new Map<string, C2SSession>()
  /** For a true `<failed h/>` (XEP-0198 5): the newest of what ended. */
  readonly #ended = new Map<string, { user: string; end: Ended }>()
  readonly #bound: number

  constructor(bound = 50_000) {
    this.#bound = bound
  }

  add(session: C2SSession): void {
    if (session.resumption !== undefined) this.#live.set(session.resumption, session)
  }

  /** The session of an id: at once, or when it was brought back from before a restart. */
  find(id: string): C2SSession | undefined | Promise<C2SSession | undefined> {
    return this.#live.get(id)
  }

  get size(): number {
    return this.#live.size
  }

  ended(session: C2SSession): void {
    const id = session.resumption
    if (id === undefined || !this.#live.delete(id)) return
    if (this.#ended.size >= this.#bound) this.#ended.delete(this.#ended.keys().next().value!)
    const { lastWord } = session
    if (lastWord !== undefined) this.#ended.set(id, { user: session.account.jid.toString(), end: lastWord })
  }

  /** Where an ended session of this user had got to, if that is still known. */
  endOf(id: string, user: string): Ended | undefined {
    const ended = this.#ended.get(id)
    return ended?.user === user ? ended.end : undefined
  }
}
