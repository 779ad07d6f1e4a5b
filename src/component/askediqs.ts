import { xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'

/** Requests that are remembered, and the longest id of one; what is beyond is as if nobody had asked. */
const MOST = 10_000
const LONGEST_ID = 256

interface Asked<T> {
  readonly id: string
  readonly from: Jid
  readonly to: Jid
  readonly by: T
}

/** Requests that are on their way, and have not been answered (RFC 6120 8.2.3). */
export class AskedIqs<T> {
  readonly #open = new Map<string, Asked<T>>()

  /** @param by what is to be known when the answer comes */
  add({ id, from, to }: Stanza, by: T): void {
    if (id === undefined || id.length > LONGEST_ID) return
    if (this.#open.size >= MOST) this.#open.delete(this.#open.keys().next().value!)
    this.#open.set(keyOf(id, to!, from), { id, from, to: to!, by })
  }

  /** A result or error came: what was noted of its question, if that is known. */
  answered({ id, from, to }: Stanza): T | undefined {
    if (this.#open.size === 0 || id === undefined) return undefined
    const key = keyOf(id, from, to!)
    const asked = this.#open.get(key)
    this.#open.delete(key)
    return asked?.by
  }

  /** No answer to any of them comes any more: the errors for those who asked. */
  giveUp(): Stanza[] {
    const left = [...this.#open.values()]
    this.#open.clear()
    return left.map(({ id, from, to }) => {
      const error = new StanzaError('remote-server-timeout', 'the connection broke before there was an answer')
      return Stanza.make(xml('iq', { type: 'error', id }, error.toElement()), to, from)
    })
  }
}

function keyOf(id: string, asked: Jid, by: Jid): string {
  return `${id} ${asked} ${by}`
}
