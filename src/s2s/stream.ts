import type { Verdict } from '../net/peercertificate.ts'
import type { Transport } from '../net/transport.ts'
import { documentFraming } from '../stream/framing.ts'
import { type PeerHeader, type StreamHandler, type StreamSettings, XmppStream } from '../stream/stream.ts'
import { cut } from '../util/text.ts'
import { type Element, NS } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import { isStanzaName, Stanza, type StanzaKind } from '../xmpp/stanza.ts'
import { readStanza } from './check.ts'
import type { Pair } from './pair.ts'
import { Pairing } from './pairing.ts'
import type { S2SServer } from './server.ts'
import type { Method, StreamInfo, Talk, Wire } from './wire.ts'

const FRAMING = documentFraming(NS.SERVER, { prefixes: { db: NS.DIALBACK } })

/** What a peer may leave unread of answers that it asks for (bytes): beyond, it is not one that reads. */
const MAX_UNREAD = 256 * 1024

/** How long a stream that is closed in order waits for what is on its way in either direction (ms). */
const SETTLE = 2000

/** A stream with another server, whoever began it: its pairs, its stanzas, and what both sides say beside them. */
export abstract class S2SStream implements StreamHandler, Wire {
  readonly peerKind = 'server'
  /** Whether the peer has read what it was told is learnt by acknowledgements alone. */
  readonly inDoubt = false
  abstract readonly direction: 'in' | 'out'
  readonly server: S2SServer
  readonly xmpp: XmppStream
  readonly pairing: Pairing
  /** The domains that the headers name. */
  local: string | undefined
  remote: string | undefined
  /** From when the first pair is authenticated. */
  talk: Talk | undefined
  method: Method | undefined
  bidi = false
  maxBytes = Number.POSITIVE_INFINITY
  /** Stream management is on. */
  managed = false
  #idle = 0
  readonly #since = Date.now()
  /** What the peer said of why it ends the stream. */
  #complaint: string | undefined
  #leaving = false

  constructor(server: S2SServer, transport: Transport, settings: StreamSettings) {
    this.server = server
    this.xmpp = new XmppStream(transport, FRAMING, this, server, settings)
    this.pairing = new Pairing(this)
    server.streams.add(this)
  }

  get name(): string {
    return this.local ?? this.server.name
  }

  get peerName(): string | undefined {
    return this.remote
  }

  get ip(): string {
    return this.xmpp.transport.peer.ip
  }

  get secured(): boolean {
    return this.xmpp.transport.secured
  }

  get closing(): boolean {
    return this.xmpp.closing
  }

  get info(): StreamInfo {
    const { direction, method, bidi, managed: sm } = this
    const { peer, protocol } = this.xmpp.transport
    return { direction, ip: peer.ip, port: peer.port, tls: protocol, method, bidi, sm, since: this.#since }
  }

  // ---- what the stream tells

  abstract onHeader(header: PeerHeader): void
  abstract onOpen(): void
  /** An element of the first level that is of this direction only; anything else is refused. */
  protected abstract negotiate(el: Element): void | Promise<void>

  // ---- what dialback asks, see pairing.ts

  /** The peer may ask for pairs. */
  abstract readonly mayAsk: boolean
  /** We may ask for this pair. */
  abstract mayRequest(pair: Pair): boolean
  /** The peer said yes to a pair that we asked for. */
  abstract granted(pair: Pair): void
  /** The peer was told yes to a pair that it asked for. */
  abstract admitted(): void

  /** The peer says whether a key is its own. Nobody asked, but where that is what the stream is for. */
  verified(pair: Pair, id: string, verdict: string): void {
    const { server, remote, ip } = this
    server.log.debug({ domain: remote, ip, ...pair, id, verdict }, 'a db:verify that was not asked for was ignored')
  }

  /** Whether the certificate of the peer is valid for a domain. */
  judge(domain: string): Verdict {
    return this.server.tls.certificate(this.xmpp.transport, domain)
  }

  // ---- what comes in

  onElement(el: Element): void | Promise<void> {
    const { name } = el
    const xmlns = el.attrs['xmlns']
    if (xmlns === undefined && isStanzaName(name)) return this.#stanza(el, name)
    if (this.xmpp.transport.backlog > MAX_UNREAD) {
      throw new StreamError('policy-violation', 'you do not read what you are sent')
    }
    if (xmlns === NS.SM && this.talk !== undefined && this.managed) {
      if (name === 'r') return this.talk.requested()
      if (name === 'a') return this.talk.acknowledged(el)
    }
    if (xmlns === NS.DIALBACK) return this.pairing.handle(el)
    if (xmlns === NS.STREAM && name === 'error') return this.onPeerError(el)
    return this.negotiate(el)
  }

  #stanza(el: Element, kind: StanzaKind): void | Promise<void> {
    const { talk } = this
    if (talk === undefined) throw new StreamError('not-authorized', 'first show who you are')
    this.#idle = 0
    const read = readStanza(el, kind, talk.receives, this.server.serves)
    if (read instanceof Stanza) return talk.receive(read)
    const { answer, reason } = read
    this.server.log.debug({ domain: this.remote, ip: this.ip, reason }, 'a stanza of another server was refused')
    const done = answer === undefined ? undefined : this.server.answer(answer)
    if (done instanceof Promise) return done.then(() => talk.receive(undefined))
    return talk.receive(undefined)
  }

  /** The peer ends the stream with an error (RFC 6120 4.9); its end follows. */
  protected onPeerError(el: Element): void {
    const { condition, text } = readError(el)
    const { log, notices } = this.server
    const reason = text === undefined ? condition : `${condition}: ${text}`
    this.#complaint = `it ended the stream: ${reason}`
    const domain = this.remote ?? this.ip
    const level = notices.isNew(domain, condition) ? 'info' : 'debug'
    log[level]({ domain, ip: this.ip, direction: this.direction, reason }, 'another server ended a stream')
  }

  /** Nothing is on its way any more: what came was told of by then, or the peer sends it again. One with an error is broken. */
  onEnd(): void | Promise<void> {
    if (this.#complaint !== undefined) return this.#part()?.parted(this, this.#complaint)
    return this.talk?.settled(SETTLE).then(() => this.#part()?.over())
  }

  /** The conversation goes its own way. */
  #part(): Talk | undefined {
    const { talk } = this
    this.talk = undefined
    return talk
  }

  onLeft(): void {}

  onDrain(): void {
    this.talk?.drained()
  }

  onParted(reason: string): void {
    this.pairing.parted()
    this.#part()?.parted(this, this.#complaint ?? reason)
  }

  onGone(): void {
    this.server.streams.delete(this)
  }

  // ---- pairs

  /** The peer may send for this pair; with bidi we may, too. */
  admit(pair: Pair, method: Method): Talk {
    const { talks } = this.server
    this.method ??= method
    const talk = (this.talk ??= talks.begin())
    talk.receives.add(pair)
    if (this.bidi && !talk.sends.has(pair.local, pair.remote)) {
      talk.sends.add(pair)
      talks.offered(pair, talk)
    }
    return talk
  }

  authenticate(pair: Pair): Promise<boolean> {
    return this.pairing.request(pair).then(
      verdict => verdict === 'valid',
      () => false,
    )
  }

  // ---- for the conversation

  send(data: string | Buffer): void {
    this.#idle = 0
    this.xmpp.send(data)
  }

  get backlog(): number {
    return this.xmpp.transport.backlog
  }

  fail(error: StreamError): void {
    this.xmpp.fail(error)
  }

  abandon(reason: string): void {
    this.xmpp.abandon(reason)
  }

  /** Called now and then: whether no stanza came or went since the last `looks` of these calls, and nothing is unacknowledged. */
  isIdle(looks: number): boolean {
    return this.talk?.quiet === true && ++this.#idle > looks
  }

  close(): void {
    const talk = this.#part()
    this.xmpp.close()
    talk?.over()
  }

  /** Ends the stream in order, when what is on its way has arrived; `error` says why. Never rejects. */
  async leave(error?: StreamError): Promise<void> {
    if (this.#leaving || this.closing) return
    this.#leaving = true
    try {
      await this.talk?.settled(SETTLE)
      const talk = this.#part()
      if (error === undefined) this.xmpp.close()
      else this.xmpp.fail(error)
      talk?.over()
    } catch (failure) {
      this.xmpp.failWith(failure)
    }
  }
}

/** The condition and the text of a stream error (RFC 6120 4.9.2), cut to what fits into a line. */
export function readError(el: Element): { condition: string; text: string | undefined; value: string } {
  let condition = 'undefined-condition'
  let value = ''
  let text: string | undefined
  for (const child of el.children) {
    if (typeof child === 'string' || child.attrs['xmlns'] !== NS.STREAM_ERRORS) continue
    if (child.name === 'text') text = cut(child.text(), 200)
    else {
      condition = cut(child.name, 50)
      value = cut(child.text().trim(), 300)
    }
  }
  return { condition, text, value }
}
