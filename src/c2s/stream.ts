import type { DeviceLogin } from '../auth/devices.ts'
import type { SaslContext } from '../auth/exchange.ts'
import type { ConnectionInfo } from '../core/session.ts'
import type { ChannelBindings } from '../net/channelbinding.ts'
import type { TlsOptions } from '../net/handshake.ts'
import type { Transport } from '../net/transport.ts'
import { documentFraming } from '../stream/framing.ts'
import { CLOSE_GRACE, type PeerHeader, type StreamHandler, type StreamSettings, XmppStream } from '../stream/stream.ts'
import { type Element, NS, type ParserLimits, serialize } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import { sendFeatures } from './features.ts'
import type { Ended } from './inbound.ts'
import type { Login } from './login.ts'
import { type NegotiatingStream, negotiate } from './negotiation.ts'
import type { AccessCheck, C2SHost, C2SServer, StreamState } from './server.ts'
import type { C2SSession } from './session.ts'

/**
 * xmpp.js listens for our header when its write of its own header is called back, which over TLS comes after it has read what
 * is there: an answer that is quick enough goes unheard, and it gives up. The header after a SASL exchange comes late enough;
 * with SASL2 there is none.
 */
const HEADER_PAUSE = 10
const FRAMING = documentFraming(NS.CLIENT, { headerPause: HEADER_PAUSE })

/** What a stream is allowed, from its listener. */
export interface C2SStreamSettings extends StreamSettings {
  starttls: 'off' | 'optional' | 'required'
  access: AccessCheck
}

/** A client's stream: who it is, how it logs in, and its session when it has one. */
export class C2SStream implements StreamHandler, NegotiatingStream {
  readonly peerKind = 'client'
  readonly server: C2SServer
  readonly settings: C2SStreamSettings
  readonly xmpp: XmppStream
  target: C2SHost | undefined
  user: string | undefined
  mechanism: string | undefined
  sasl: SaslContext | undefined
  login: Login | undefined
  from: Jid | undefined
  device: DeviceLogin | undefined
  failures = 0
  session: C2SSession | undefined
  gone: Ended | undefined
  /** The client says that it is somebody of another domain. */
  #foreign = false
  #closed = false
  readonly #onClose: () => void

  constructor(server: C2SServer, transport: Transport, settings: C2SStreamSettings, onClose: () => void) {
    this.server = server
    this.settings = settings
    this.#onClose = onClose
    this.xmpp = new XmppStream(transport, FRAMING, this, server, settings)
  }

  get state(): StreamState {
    if (this.xmpp.closing) return 'closing'
    if (this.session !== undefined) return 'bound'
    return this.user === undefined ? 'unauthenticated' : 'authenticated'
  }

  get ip(): string {
    return this.xmpp.transport.peer.ip
  }

  get secured(): boolean {
    return this.xmpp.transport.secured
  }

  get limits(): ParserLimits {
    return this.xmpp.limits
  }

  get info(): ConnectionInfo {
    const { peer, protocol } = this.xmpp.transport
    return { ip: peer.ip, port: peer.port, tls: protocol, mechanism: this.mechanism, since: Date.now() }
  }

  get bindings(): ChannelBindings {
    return this.xmpp.transport.bindings(this.server.tls.endPoints, this.target!.settings.uniqueOnTls13)
  }

  // ---- what the stream tells

  get name(): string {
    return this.target?.host.name ?? this.server.hosts.keys().next().value ?? ''
  }

  get peerName(): string | undefined {
    return this.session?.jid.toString() ?? (this.user && `${this.user}@${this.target?.host.name}`)
  }

  get inDoubt(): boolean {
    return this.session?.inbound.inDoubt === true
  }

  onHeader({ from, to }: PeerHeader): void {
    const target = to === undefined ? undefined : this.server.hosts.get(to.domain)
    if (target === undefined) throw new StreamError('host-unknown', 'this server does not serve that host')
    if (this.user !== undefined && target !== this.target) {
      throw new StreamError('host-unknown', 'the host of a stream cannot change after logging in')
    }
    this.target = target
    if (this.user !== undefined && from !== undefined && !from.bare.equals(Jid.of(this.user, target.host.name))) {
      throw new StreamError('invalid-from', 'you are logged in as somebody else')
    }
    const claimed = this.user === undefined && from?.local !== '' ? from : undefined
    this.from = claimed?.domain === target.host.name ? claimed : undefined
    this.#foreign = claimed !== this.from
  }

  onOpen(): void | Promise<void> {
    if (this.#foreign && this.secured) {
      throw new StreamError('invalid-from', 'you cannot log in here from another domain') // XEP-0388 2.1
    }
    return sendFeatures(this)
  }

  onElement(el: Element): void | Promise<void> {
    const { session } = this
    return session === undefined ? negotiate(this, el) : session.handle(el)
  }

  /** The client learns how far we are before we close our side. */
  onEnd(hasRead: Promise<boolean>): void | Promise<void> {
    if (this.session !== undefined) return this.#leave(this.session, hasRead)
  }

  async #leave(session: C2SSession, hasRead: Promise<boolean>): Promise<void> {
    if (session.managed) {
      await Promise.all([session.inbound.allSafe(CLOSE_GRACE), session.inbound.closed(CLOSE_GRACE)])
      session.inbound.requested()
    }
    this.session = undefined
    // Its client may have come back for it meanwhile, on another connection.
    if (session.stream === undefined || session.stream === this.xmpp) session.closedByClient(hasRead)
  }

  onLeft(hasRead: Promise<boolean>, hurry: () => void): void {
    this.session?.inbound.left(hasRead, hurry)
    this.onParted('the client ended its connection')
  }

  onDrain(): void {
    this.session?.drained()
  }

  /** The session goes on without this stream, or ends. */
  onParted(reason: string): void {
    const { session } = this
    this.session = undefined
    session?.lost(this.xmpp, reason)
  }

  onGone(): void {
    this.#closed = true
    this.#onClose()
    this.target?.entering.delete(this)
    this.release()
  }

  // ---- for the steps to a session

  send(data: string): void {
    this.xmpp.send(data)
  }

  sendElement(el: Element): void {
    this.xmpp.send(serialize(el))
  }

  upgrade(options: TlsOptions): void {
    this.#forget()
    this.xmpp.upgrade(options)
  }

  restart(): void {
    this.#forget()
    this.xmpp.restart()
  }

  /** A new stream knows nothing of what was begun on the one before, which may have been to another host. */
  #forget(): void {
    this.login = undefined
    this.sasl = undefined
  }

  admitted(user: string): void {
    this.user = user
    this.#forget()
    this.from = undefined
    this.xmpp.admitted()
  }

  hold(device: DeviceLogin): DeviceLogin {
    this.release()
    this.device = device
    if (this.#closed) this.release()
    return device
  }

  release(): void {
    if (this.device === undefined) return
    this.target!.devices.ended(this.device)
    this.device = undefined
  }

  bound(session: C2SSession): void {
    this.session = session
    session.inbound.gone = this.gone
    this.xmpp.established()
    this.target!.entering.delete(this)
    this.release()
  }

  // ---- its end

  /** Ends the stream with an error (RFC 6120 4.9); a session on it can still be resumed unless it was ended before. Never throws. */
  fail(error: StreamError): void {
    this.xmpp.fail(error)
  }

  /** Ends the stream once its client knows how far we are: it may go on where nothing is known of this session. */
  sendAway(error: StreamError): void {
    const leave = async (): Promise<void> => {
      await this.xmpp.halt(CLOSE_GRACE)
      const { session } = this
      if (session?.managed === true) {
        await session.inbound.allSafe(CLOSE_GRACE)
        session.inbound.requested()
      }
      this.fail(error)
    }
    leave().catch((failure: unknown) => this.xmpp.failWith(failure))
  }
}
