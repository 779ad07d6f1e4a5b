import { countOf, tooHigh } from '../core/queue/outbox.ts'
import { type Element, NS } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { C2SSession } from './session.ts'

/** With stream management: how many stanzas, and how long (ms), before the client is asked what it has. */
const ASK_EVERY = 10
const ASK_AFTER = 300
/** Without: a ping asks, and less often, for people may see it in their client's console. */
const PING_EVERY = 50
const PING_AFTER = 3000
const PING_ID = 'hermod-ack-'

/**
 * Learns what a client has received: by XEP-0198 requests, or by pings that it answers in order (promise 2). One question
 * is open at a time.
 */
export class Acknowledger {
  readonly #session: C2SSession
  /** Stanzas that became due since the last question. */
  #count = 0
  #timer: NodeJS.Timeout | undefined
  /** A question is open; for a ping, how many items its answer confirms. */
  #asked = false
  #covers = 0
  #serial = 0
  /** What the client had been told of its own stanzas when the open question was sent. */
  #told = 0
  #deadline: NodeJS.Timeout | undefined

  constructor(session: C2SSession) {
    this.#session = session
  }

  /** Something unacknowledged is out: ask, soon. */
  due(): void {
    this.#count++
    if (this.#asked || this.#session.stream === undefined) return
    const { managed } = this.#session
    if (this.#count >= (managed ? ASK_EVERY : PING_EVERY)) this.#ask()
    else this.#timer ??= setTimeout(() => this.#ask(), managed ? ASK_AFTER : PING_AFTER)
  }

  /** The client was told something of which we would like to know that it was read. */
  soon(): void {
    if (this.#asked || this.#session.stream === undefined || !this.#session.managed) return
    this.#timer ??= setTimeout(() => this.#ask(), ASK_AFTER)
  }

  /** Somebody waits for the answer: ask at once. */
  hurry(): void {
    if (!this.#asked) this.#ask()
  }

  #ask(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const session = this.#session
    this.#count = 0
    const owed = session.outbox.size + session.early.length
    if (session.stream === undefined || (owed === 0 && !session.inbound.inDoubt)) return
    this.#asked = true
    this.#told = session.inbound.told
    if (session.managed) session.sendRaw(`<r xmlns='${NS.SM}'/>`)
    else {
      this.#covers = session.outbox.size
      const id = `${PING_ID}${++this.#serial}`
      const from = session.account.host.name
      session.sendRaw(`<iq type='get' id='${id}' from='${from}' to='${session.jid}'><ping xmlns='${NS.PING}'/></iq>`)
    }
    this.#expect()
  }

  /** Nothing at all from the client for so long: the connection is dead, whatever TCP thinks. */
  #expect(): void {
    const { ackTimeout } = this.#session.settings
    if (!Number.isFinite(ackTimeout)) return
    const stream = this.#session.stream!
    const heard = stream.bytesRead
    clearTimeout(this.#deadline)
    this.#deadline = setTimeout(() => {
      if (!this.#asked || this.#session.stream !== stream) return
      if (stream.bytesRead === heard) stream.abandon('the client does not answer')
      else this.#expect()
    }, ackTimeout)
    this.#deadline.unref()
  }

  #answeredNow(): void {
    this.#asked = false
    clearTimeout(this.#deadline)
    if (this.#count > 0) {
      this.#count--
      this.due()
    } else if (this.#session.inbound.inDoubt) this.soon()
  }

  /** `<a h=''/>` (XEP-0198 4). Throws StreamError where it cannot be. */
  acknowledged(el: Element): void {
    const h = countOf(el)
    if (h === undefined) throw new StreamError('policy-violation', 'h must be a number below 2^32')
    const { outbox } = this.#session
    const items = outbox.acknowledge(h)
    if (items === undefined) throw tooHigh(h, outbox.sent)
    if (this.#asked) this.#session.inbound.knows(this.#told)
    this.#answeredNow()
    this.#session.acknowledged(items)
  }

  /** Whether an iq answer belongs to a ping of ours; if so, what was sent before it is confirmed. */
  answered(stanza: Stanza): boolean {
    const { id } = stanza
    if (id === undefined || !this.#asked || this.#session.managed || id !== `${PING_ID}${this.#serial}`) return false
    const items = this.#session.outbox.take(Math.min(this.#covers, this.#session.outbox.size))
    this.#answeredNow()
    this.#session.confirm(items)
    return true
  }

  /** The session is on a new connection. */
  restart(): void {
    this.stop()
    if (this.#session.outbox.size > 0) this.#ask()
    else if (this.#session.inbound.inDoubt) this.soon()
  }

  stop(): void {
    clearTimeout(this.#timer)
    clearTimeout(this.#deadline)
    this.#timer = undefined
    this.#asked = false
  }
}
