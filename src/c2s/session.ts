import type { Account } from '../core/account.ts'
import { unsetPresence } from '../core/availability.ts'
import { asSent, delayElement } from '../core/delivery.ts'
import { type Besides, type Entry, notStored } from '../core/queue/entry.ts'
import { Outbox, tooHigh, type Unacked } from '../core/queue/outbox.ts'
import { type ConnectionInfo, type Session, Slots } from '../core/session.ts'
import type { XmppStream } from '../stream/stream.ts'
import { orderedTime } from '../util/ids.ts'
import { type Element, NS, parseElement, xml } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'
import { isStanzaName, Stanza } from '../xmpp/stanza.ts'
import { Acknowledger } from './acknowledger.ts'
import { type Ended, Inbound } from './inbound.ts'
import { bounce, handleNonza, handleStanza } from './incoming.ts'
import { give, isFull, MAX_BACKLOG } from './outgoing.ts'
import type { C2SServer } from './server.ts'

declare module '../core/hooks.ts' {
  interface HookMap {
    /** A resource was bound. */
    session_opened: Told<{ session: Session }>
    /** A session came back on a new connection (XEP-0198 5). */
    session_resumed: Told<{ session: Session }>
    /** A session's connection is gone; it waits to be resumed. */
    session_detached: Told<{ session: Session }>
    /** A session has ended; it is no longer among those of its account. */
    session_closed: Told<{ session: Session; reason: string }>
  }
}

/** How a message begins that says that another was refused. */
const REFUSAL = /^<message\s[^>]*\btype=["']error["']/

export interface SessionSettings {
  maxAckQueue: number
  resumeTimeout: number
  ackTimeout: number
}

/**
 * A bound resource as an actor: what its client sends is handled one by one in order, what it is to get is handed over
 * without waiting. It outlives its stream while it can be resumed (XEP-0198).
 */
export class C2SSession implements Session {
  readonly jid: Jid
  readonly account: Account
  readonly slots = new Slots()
  readonly info: ConnectionInfo
  readonly settings: SessionSettings
  readonly outbox = new Outbox()
  readonly inbound: Inbound
  presence: Stanza | undefined
  priority = 0
  interested = false
  besides: Besides | undefined
  state: 'connected' | 'detached' | 'ended'
  /** Stream management is on. */
  managed = false
  /** Bytes that may wait on the stream: more on one that began with what was sent again. */
  maxBacklog = MAX_BACKLOG
  /** The id to resume it by, where it may be. */
  resumption: string | undefined
  readonly acknowledger: Acknowledger
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly server: C2SServer
  /** Undefined while it waits for its client. */
  stream: XmppStream | undefined
  /** Queued messages that were sent before stream management was enabled; the first acknowledgement covers them. */
  early: Unacked[] = []
  #waiting: ((room: boolean) => void)[] = []
  #expiry: NodeJS.Timeout | undefined

  constructor(
    account: Account,
    jid: Jid,
    stream: XmppStream | undefined,
    info: ConnectionInfo,
    settings: SessionSettings,
    server: C2SServer,
  ) {
    this.account = account
    this.jid = jid
    this.info = info
    this.settings = settings
    this.stream = stream
    this.server = server
    this.inbound = new Inbound(this)
    this.acknowledger = new Acknowledger(this)
    this.state = stream === undefined ? 'detached' : 'connected'
  }

  get connected(): boolean {
    return this.state === 'connected'
  }

  get resumable(): boolean {
    return this.resumption !== undefined
  }

  // ---- from the client

  /** Handles an element from the stream; a promise where it takes longer than this turn. Throws StreamError. */
  handle(el: Element): void | Promise<void> {
    const { name } = el
    if (el.attrs['xmlns'] !== undefined || !isStanzaName(name)) return handleNonza(this, el)
    const done = handleStanza(this, el, name)
    if (done instanceof Promise) return this.inbound.during(done)
    this.inbound.count()
  }

  // ---- to the client

  deliver(stanza: Stanza, entry?: Entry): void {
    give(this, stanza, entry, entry?.bytes)
  }

  deliverAs(stanza: Stanza, entry: Entry): void {
    give(this, stanza, entry, undefined)
  }

  take(entry: Entry, late: boolean): void {
    const stanza = Stanza.of(parseElement(entry.bytes))
    if (!late) return this.deliver(stanza, entry)
    const delay = delayElement(stanza, this.account.host.name, orderedTime(entry.id) ?? this.account.host.now())
    if (delay === undefined) this.deliver(stanza, entry)
    else
      this.deliverAs(
        stanza.changed(el => el.append(delay)),
        entry,
      )
  }

  /** A message that this client sent again was not stored. */
  notStored(entry: Entry): void {
    const stanza = asSent(entry)
    // The error goes to where it came from first: here too, if elsewhere.
    if (!stanza.from.equals(this.jid)) bounce(this, stanza.readdressed(this.jid, stanza.to), notStored())
  }

  committed(_entry: Entry): void {
    this.acknowledger.due()
  }

  sendRaw(xml: string): void {
    this.stream?.send(xml)
  }

  get full(): boolean {
    return isFull(this)
  }

  room(): Promise<boolean> {
    if (this.state === 'ended') return Promise.resolve(false)
    if (!this.full) return Promise.resolve(true)
    this.acknowledger.hurry()
    return new Promise(resolve => this.#waiting.push(resolve))
  }

  /** Something was acknowledged or read: who waits for room may go on. */
  drained(): void {
    if (this.#waiting.length === 0) return
    if (this.full && this.state !== 'ended') return this.acknowledger.hurry()
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve(this.state !== 'ended')
  }

  /** The client has these: queued messages among them are done with. */
  confirm(items: readonly Unacked[]): void {
    for (const { entry } of items) if (entry !== undefined) this.account.queue.confirm(entry, this)
    this.drained()
  }

  // ---- life

  /**
   * Stream management begins (XEP-0198 3), what came in having been prepared. The caller tells the client in the same turn:
   * from then on both count.
   *
   * @param resume whether the client wants to be able to
   */
  enable(resume: boolean): Element {
    const { resumeTimeout } = this.settings
    const id = resume && resumeTimeout > 0 ? this.server.ids.random() : undefined
    this.early = this.outbox.take(this.outbox.size)
    this.acknowledger.stop()
    this.managed = true
    if (this.early.length > 0) this.acknowledger.soon()
    this.resumption = id
    this.server.sessions.add(this)
    const max = id === undefined ? undefined : String(Math.floor(resumeTimeout / 1000))
    return xml('enabled', { xmlns: NS.SM, id, resume: id === undefined ? undefined : 'true', max })
  }

  /** An acknowledgement came, which covers what was sent before stream management too. */
  acknowledged(items: readonly Unacked[]): void {
    if (this.early.length > 0) this.confirm(this.early.splice(0))
    this.confirm(items)
  }

  /**
   * A client came back for this session on another stream: `announce` tells it (`<resumed/>`), then what it has not seen is
   * sent again. @throws StreamError if it says to have seen more than there was
   */
  resume(stream: XmppStream, h: number, announce: (resumed: Element) => void): void {
    const seen = this.outbox.acknowledge(h)
    if (seen === undefined) throw tooHigh(h, this.outbox.sent)
    clearTimeout(this.#expiry)
    this.#expiry = undefined
    this.stream = stream
    this.state = 'connected'
    this.acknowledged(seen) // who knows the id has read what was sent before it
    announce(xml('resumed', { xmlns: NS.SM, previd: this.resumption, h: String(this.inbound.safe) }))
    for (const item of this.outbox) stream.send(item.text ?? item.entry!.bytes)
    this.maxBacklog = MAX_BACKLOG + this.outbox.bytes
    this.acknowledger.restart()
    this.account.host.hooks.notify('session_resumed', { session: this })
  }

  /** As before a restart: waits for its client, with what it has not acknowledged. */
  async restore(resumption: string, handled: number, acked: number, items: readonly Unacked[]): Promise<void> {
    await this.inbound.start(handled)
    this.managed = true
    this.resumption = resumption
    this.outbox.restore(acked, items)
    this.detach()
  }

  /** The server stops: the client learns how far we are, and that it may come back. */
  farewell(): void {
    const stream = this.stream
    if (this.state === 'ended') return
    if (stream !== undefined) {
      this.inbound.requested()
      this.detach()
      stream.fail(new StreamError('system-shutdown'))
    }
    this.inbound.rest()
    clearTimeout(this.#expiry)
    for (const timer of this.#timers) clearTimeout(timer)
  }

  /** The connection broke: the session waits for its client, or ends. */
  lost(stream: XmppStream, reason: string): void {
    if (this.stream !== stream || this.state === 'ended') return
    if (!this.resumable || this.settings.resumeTimeout === 0) return this.close(reason)
    this.detach()
    this.account.host.hooks.notify('session_detached', { session: this })
  }

  detach(): void {
    this.stream = undefined
    this.state = 'detached'
    this.acknowledger.stop()
    this.keepFor(this.settings.resumeTimeout)
  }

  *unacknowledged(): Generator<string> {
    for (const { text, entry } of this.outbox) if (entry === undefined && text !== undefined) yield text
  }

  keepFor(ms: number): void {
    if (this.state !== 'detached') return
    clearTimeout(this.#expiry)
    this.#expiry = setTimeout(() => this.#guard(() => this.close('the client did not come back')), ms)
  }

  /**
   * The client closed its stream in order (RFC 6120 4.4): what it got without stream management, it has, unless its
   * connection turns out to have broken before it had read everything.
   */
  closedByClient(hasRead: Promise<boolean>): void {
    if (!this.managed && this.outbox.size > 0) void this.#lastRead(this.outbox.take(this.outbox.size), hasRead)
    this.close('closed by the client')
  }

  async #lastRead(items: readonly Unacked[], hasRead: Promise<boolean>): Promise<void> {
    if (await hasRead) return this.confirm(items)
    this.account.queue.release(
      this,
      items.flatMap(({ entry }) => entry ?? []),
    )
  }

  /**
   * How far the session was, for a client that wants it back when it is gone. Undefined where the client was not told for
   * certain which of its messages were refused: the count would say that these are safe.
   */
  get lastWord(): Ended | undefined {
    for (const { text } of this.outbox) if (text !== undefined && REFUSAL.test(text)) return undefined
    return this.inbound.end
  }

  end(error: StreamError): void {
    const stream = this.stream
    this.close(error.message)
    stream?.fail(error)
  }

  close(reason: string): void {
    if (this.state === 'ended') return
    this.state = 'ended'
    this.stream = undefined
    clearTimeout(this.#expiry)
    this.acknowledger.stop()
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
    const { account } = this
    if (account.sessions.get(this.jid.resource) === this) account.sessions.delete(this.jid.resource)
    account.queue.detach(this)
    this.drained()
    this.server.sessions.ended(this)
    this.inbound.over()
    unsetPresence(this, Stanza.make(xml('presence', { type: 'unavailable' }), this.jid, undefined))
    account.host.hooks.notify('session_closed', { session: this, reason })
    const left = [...this.early.splice(0), ...this.outbox.take(this.outbox.size)]
    account.queue.release(
      this,
      left.flatMap(item => (item.entry === undefined ? [] : [item.entry])),
    )
    for (const item of left) item.lost?.()
  }

  #guard(fn: () => void): void {
    try {
      fn()
    } catch (error) {
      this.account.host.log.error({ err: error, jid: this.jid.toString() }, 'a timer of a session failed')
    }
  }

  timer(ms: number, fn: () => void): () => void {
    if (this.state === 'ended') return () => {}
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      this.#guard(fn)
    }, ms)
    this.#timers.add(timer)
    return () => {
      clearTimeout(timer)
      this.#timers.delete(timer)
    }
  }
}
