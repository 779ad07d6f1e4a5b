import type { Entry, Holder } from '../core/queue/entry.ts'
import { countOf, Outbox, tooHigh, type Unacked } from '../core/queue/outbox.ts'
import { type Element, NS } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import type { PairSet } from './pair.ts'
import type { Pings } from './pings.ts'
import type { Wire } from './wire.ts'

/** Stanzas that are unacknowledged, and bytes of them, at which a peer gets no more queued messages for now. */
export const WINDOW = 512
const WINDOW_BYTES = 2 * 1024 * 1024
/** So many times that, of whatever stanzas, and it is taken for dead. */
const TOO_MUCH = 8
/** Bytes that a peer may leave unread before it gets no more queued messages, and at which it is taken for dead. */
const FULL_BACKLOG = 512 * 1024
const MAX_BACKLOG = 4 * 1024 * 1024

/** How many stanzas, and how long (ms), before a peer is asked what it has. By a ping less often: it is a stanza of its own. */
const ASK_EVERY = 50
const ASK_AFTER = 50
const PING_AFTER = 250
/** How long (ms) it has for the answer. */
const ANSWER_WITHIN = 30_000
/** For that to a ping it may have to connect to us first, and where it cannot, the answer is lost: it is asked again, so often. */
const PING_AGAIN = 5000
const PINGS = 12
/** A peer that has never answered cannot reach us, it seems. It is asked now and then (ms): another connection would not help. */
const PING_SELDOM = 60_000

/** Who sends on a conversation, and holds what it has not acknowledged. */
export interface Carrier extends Holder {
  /** The peer has it. */
  confirm(entry: Entry): void
}

interface Sent extends Unacked {
  readonly carrier: Carrier
  /** Nobody waits for it any more: it is not sent again. */
  gone: boolean
}

/** What is still unacknowledged of one who sends, when it never will be. */
export type Left = Map<Carrier, Entry[]>

/**
 * What goes to a peer, and what of it the peer has: by XEP-0198 requests, or by pings that it answers (promise 2). One question
 * is open at a time, and what is in flight is bounded, so that a peer that is silent costs no more than that.
 */
export class Outflow {
  readonly #outbox = new Outbox<Sent>()
  readonly #pings: Pings
  readonly #sends: PairSet
  #wire: Wire | undefined
  #managed = false
  #maxBacklog = MAX_BACKLOG
  /** Stanzas that became due since the last question. */
  #count = 0
  #timer: NodeJS.Timeout | undefined
  #deadline: NodeJS.Timeout | undefined
  #asked = false
  /** Pings that are not answered, and how many items went in this mode before what is out now. */
  readonly #open = new Set<string>()
  #taken = 0
  /** The peer has answered one. */
  #answers = false
  readonly #unanswered: () => void
  #waiting: ((room: boolean) => void)[] = []
  #whenEmpty: (() => void)[] = []
  #ended = false

  /** @param unanswered a peer that is there has not answered for long, and never did */
  constructor(pings: Pings, sends: PairSet, unanswered: () => void) {
    this.#pings = pings
    this.#sends = sends
    this.#unanswered = unanswered
  }

  /** Stanzas that are not acknowledged, and what they keep in memory. */
  get size(): number {
    return this.#outbox.size
  }

  get bytes(): number {
    return this.#outbox.bytes
  }

  /** The peer gets no more queued messages for now. */
  get full(): boolean {
    const { size, bytes } = this.#outbox
    return size >= WINDOW || bytes >= WINDOW_BYTES || this.#wire === undefined || this.#wire.backlog > FULL_BACKLOG
  }

  /** Resolves when there is room; false when the conversation is over. */
  room(): Promise<boolean> {
    if (this.#ended) return Promise.resolve(false)
    if (!this.full) return Promise.resolve(true)
    this.hurry()
    return new Promise(resolve => this.#waiting.push(resolve))
  }

  /** Something was acknowledged or read: who waits for room may go on. */
  drained(): void {
    if (this.#waiting.length === 0) return
    if (this.full && !this.#ended) return this.hurry()
    for (const resolve of this.#waiting.splice(0)) resolve(!this.#ended)
  }

  open(wire: Wire, managed: boolean): void {
    this.#wire = wire
    this.#managed = managed
    this.drained()
  }

  /** `lost` tells its sender that it was not delivered, for what is not queued. */
  send(data: string | Buffer, entry: Entry | undefined, carrier: Carrier, lost: (() => void) | undefined): void {
    if (this.#managed || entry !== undefined) {
      const text = entry !== undefined && data === entry.bytes ? undefined : data.toString()
      this.#outbox.push({ text, entry, lost, carrier, gone: false })
      // Where the sender waits for a message to be safe, the peer is asked when it is: what it acknowledged before a crash, it
      // does not get twice. The rest need not wait.
      if (entry === undefined || entry.committed || entry.origin === undefined) this.due()
    }
    const wire = this.#wire
    if (wire === undefined) return
    wire.send(data)
    if (wire.backlog > this.#maxBacklog) return wire.abandon('the server does not read')
    const { size, bytes } = this.#outbox
    if (size > TOO_MUCH * WINDOW || bytes > TOO_MUCH * WINDOW_BYTES) wire.abandon('the server does not acknowledge')
  }

  /** Something unacknowledged is out: ask, soon. */
  due(): void {
    this.#count++
    if (this.#asked || this.#wire === undefined) return
    if (this.#count >= ASK_EVERY) this.hurry()
    else this.#timer ??= setTimeout(() => this.hurry(), this.#managed ? ASK_AFTER : PING_AFTER)
  }

  /** Asks at once. */
  hurry(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const wire = this.#wire
    if (this.#asked || wire === undefined || this.#outbox.size === 0) return
    this.#count = 0
    this.#asked = true
    if (!this.#managed) return this.#sendPing(wire)
    wire.send(`<r xmlns='${NS.SM}'/>`)
    this.#deadline = setTimeout(() => wire.abandon('the server does not answer'), ANSWER_WITHIN).unref()
  }

  #sendPing(wire: Wire): void {
    const [pair] = this.#sends
    if (pair === undefined) return
    const late = this.#open.size >= PINGS
    if (late && (this.#answers || wire.backlog > 0)) return wire.abandon('the server does not answer')
    if (late) {
      this.#unanswered()
      // The newest counts for all that were before it.
      this.#forgetPings(1)
    }
    const { local, remote } = pair
    const upTo = this.#taken + this.#outbox.size
    const id = this.#pings.ask(local, remote, () => {
      this.#answers = true
      this.#forgetPings()
      this.#answered()
      const count = upTo - this.#taken
      this.#taken = upTo
      this.#confirm(this.#outbox.take(count))
    })
    this.#open.add(id)
    wire.send(`<iq type='get' id='${id}' from='${local}' to='${remote}'><ping xmlns='${NS.PING}'/></iq>`)
    this.#deadline = setTimeout(() => this.#sendPing(wire), late ? PING_SELDOM : PING_AGAIN).unref()
  }

  #forgetPings(oldest = this.#open.size): void {
    for (const id of [...this.#open].slice(0, oldest)) {
      this.#pings.forget(id)
      this.#open.delete(id)
    }
  }

  /** `<a h=''/>` (XEP-0198 4). Throws StreamError where it cannot be. */
  acknowledged(el: Element): void {
    const h = countOf(el)
    if (h === undefined) throw new StreamError('policy-violation', 'h must be a number below 2^32')
    const items = this.#covered(h)
    this.#answered()
    this.#confirm(items)
  }

  #covered(h: number): Sent[] {
    const items = this.#outbox.acknowledge(h)
    if (items === undefined) throw tooHigh(h, this.#outbox.sent)
    return items
  }

  #answered(): void {
    this.#asked = false
    clearTimeout(this.#deadline)
    if (this.#count === 0) return
    this.#count--
    this.due()
  }

  #confirm(items: readonly Sent[]): void {
    for (const { entry, carrier } of items) if (entry !== undefined) carrier.confirm(entry)
    if (this.#outbox.size === 0) for (const fn of this.#whenEmpty.splice(0)) fn()
    this.drained()
  }

  /** Resolves when all is acknowledged, or the conversation is over. */
  emptied(): Promise<void> {
    if (this.#outbox.size === 0 || this.#ended) return Promise.resolve()
    return new Promise(resolve => this.#whenEmpty.push(resolve))
  }

  /** The connection is gone; what was sent waits. */
  stop(): void {
    this.#wire = undefined
    this.#asked = false
    this.#count = 0
    clearTimeout(this.#timer)
    clearTimeout(this.#deadline)
    this.#timer = undefined
    this.#forgetPings()
  }

  /** Nobody waits any longer for the answers to what is not queued: those who asked are told. */
  giveUp(): void {
    for (const item of this.#outbox) {
      if (item.entry !== undefined || item.gone) continue
      item.gone = true
      item.lost?.()
    }
  }

  /** It goes on; the peer has all up to `h` and gets the rest again. Throws StreamError where it cannot have so much. */
  resume(wire: Wire, h: number): void {
    const seen = this.#covered(h)
    const rest = this.#outbox.take(this.#outbox.size)
    this.#outbox.restore(
      h,
      rest.filter(({ gone }) => !gone),
    )
    this.#wire = wire
    this.#maxBacklog = MAX_BACKLOG + this.#outbox.bytes
    for (const { text, entry } of this.#outbox) wire.send(text ?? entry!.bytes)
    this.#confirm(seen)
    if (this.#outbox.size > 0) this.hurry()
    this.drained()
  }

  /** It never goes on. `h`: what the peer had, where it says so. What it had not goes back to those who sent it. */
  end(h: number | undefined): Left {
    this.#ended = true
    this.stop()
    const had = h === undefined ? undefined : this.#outbox.acknowledge(h)
    const rest = this.#outbox.take(this.#outbox.size)
    this.#confirm(had ?? [])
    const left: Left = new Map()
    for (const { entry, carrier, lost, gone } of rest) {
      if (entry === undefined) {
        if (!gone) lost?.()
        continue
      }
      const list = left.get(carrier)
      if (list === undefined) left.set(carrier, [entry])
      else list.push(entry)
    }
    return left
  }
}
