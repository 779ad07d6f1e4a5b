import type { Socket } from 'node:net'
import type { DeviceLogin } from '../auth/devices.ts'
import type { SaslContext } from '../auth/exchange.ts'
import type { ConnectionInfo } from '../core/session.ts'
import { PLAIN_CONNECTION, type Share, TLS_CONNECTION } from '../net/prelogin.ts'
import type { Shaper } from '../net/shaper.ts'
import { Transport } from '../net/transport.ts'
import { Portion } from '../stream/rounds.ts'
import { isTraced, trace } from '../stream/trace.ts'
import { STREAM_END, streamErrorText, streamHeader } from '../stream/words.ts'
import { type Element, NS, type ParserLimits, StreamParser, serialize, type XmlStreamError } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import { sendFeatures } from './features.ts'
import type { Ended } from './inbound.ts'
import type { Login } from './login.ts'
import { negotiate } from './negotiation.ts'
import type { AccessCheck, C2SHost, C2SServer } from './server.ts'
import type { C2SSession } from './session.ts'

/** How long the peer may take to close its side after we closed ours (ms). */
const CLOSE_GRACE = 2000
/** How long a connection is kept that the client has ended, to learn what it had read (ms): longer than a round trip. */
const LINGER = 1000
/**
 * How long our header waits for the client's turn to end (ms), once a connection. xmpp.js listens for it when its write of
 * its own header is called back, which over TLS comes after it has read what is there: an answer that is quick enough goes
 * unheard, and it gives up. The header after a SASL exchange comes late enough; with SASL2 there is none.
 */
const HEADER_PAUSE = 10
/** Unparsed bytes that may wait while a stanza is being handled; beyond, the socket is not read. */
const MAX_UNPARSED = 64 * 1024
/** Bytes that never wait for others' turns: all but what is much work. */
const SMALL = 2048

/** A language tag (RFC 5646 2.1); a longer one than any there is would be added to every stanza. */
const LANGUAGE = /^(?=.{1,35}$)[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*$/

/** What a stream is allowed, from its listener. */
export interface StreamSettings {
  limits: ParserLimits
  /** Before the login. */
  preAuthLimits: ParserLimits
  preAuthTimeout: number
  preAuthBytes: number
  keepalive: number
  starttls: 'off' | 'optional' | 'required'
  access: AccessCheck
  shaper: Shaper | undefined
}

/** RFC 6120 4.3: where a stream is on its way to a session; negotiation.ts says what may happen in each. */
export type StreamState = 'unauthenticated' | 'authenticated' | 'bound' | 'closing'

/** One XMPP stream with a client, from connection to close (RFC 6120 4). */
export class C2SStream {
  readonly server: C2SServer
  readonly settings: StreamSettings
  readonly ip: string
  readonly port: number
  state: StreamState = 'unauthenticated'
  /** The connection is encrypted. */
  secured = false
  /** The host of the stream, from its header; it cannot change once the client is authenticated. */
  target: C2SHost | undefined
  user: string | undefined
  mechanism: string | undefined
  /** What the mechanisms on offer were told of this stream. */
  sasl: SaslContext | undefined
  login: Login | undefined
  /** Who the client says that it is, before it has logged in (RFC 6120 4.7.1). */
  from: Jid | undefined
  /** The device that logs in, or has; no longer when it has a session. */
  device: DeviceLogin | undefined
  /** Of stanzas that name no language of their own (RFC 6120 4.7.4). */
  lang: string | undefined
  /** Failed logins on this stream. */
  failures = 0
  bytesRead = 0
  session: C2SSession | undefined
  /** The client wanted a session back that is gone, and was told how far that was. */
  gone: Ended | undefined
  readonly #transport: Transport
  /** Of the memory of all that are not logged in; undefined once it is. */
  #share: Share | undefined
  #parser: StreamParser
  #headerSent = false
  #deadline: NodeJS.Timeout | undefined
  #keepalive: NodeJS.Timeout | undefined
  #quiet = true
  #handling = false
  #halted = false
  /** Stanzas since the shaper was last asked. */
  #stanzas = 0
  readonly #portion = new Portion()
  /** Others have their turn, though there may be more to be handled. */
  #resting = false
  /** The client ended its connection before all that it had sent was handled. */
  #ended = false
  #slowed: NodeJS.Timeout | undefined
  #whenHandled: () => void = () => {}
  /** Ends the pause before our header. */
  #hurry: () => void = () => {}
  #closed = false
  /** The peer has closed its side. */
  #peerDone = false
  /** Whether the connection ended without breaking. */
  readonly #hasRead = Promise.withResolvers<boolean>()
  readonly #onClose: () => void
  /** What fails in any of them, or in a timer or promise of the stream, ends the stream and nothing else. */
  readonly #listeners: readonly (readonly [event: string, listener: (what: unknown) => void])[] = [
    ['data', chunk => this.#onData(chunk as Buffer)],
    ['end', () => this.#guard(() => this.#onEnd())],
    ['close', failed => this.#onGone('the connection broke', failed === true)],
    ['drain', () => this.#guard(() => this.session?.drained())],
  ]

  constructor(
    server: C2SServer,
    socket: Socket,
    peer: { ip: string; port: number; secured: boolean },
    settings: StreamSettings,
    onClose: () => void,
  ) {
    this.server = server
    this.settings = settings
    this.ip = peer.ip
    this.port = peer.port
    this.secured = peer.secured
    this.#onClose = onClose
    this.#transport = new Transport(socket, server.flusher, error => this.#failWith(error))
    this.#parser = this.#newParser()
    this.#deadline = setTimeout(
      () => this.fail(new StreamError('connection-timeout', 'you did not log in in time')),
      settings.preAuthTimeout,
    )
    this.#attach(socket)
    this.#share = server.prelogin.enter(peer.ip, peer.secured ? TLS_CONNECTION : PLAIN_CONNECTION, () =>
      this.fail(new StreamError('resource-constraint', 'too many connections are not logged in; try again later')),
    )
  }

  get socket(): Socket {
    return this.#transport.socket
  }

  /** Bytes on their way to the client that it has not taken yet. */
  get backlog(): number {
    return this.#transport.backlog
  }

  /** Of what comes in now. */
  get limits(): ParserLimits {
    return this.user === undefined ? this.settings.preAuthLimits : this.settings.limits
  }

  get info(): ConnectionInfo {
    const tls =
      this.secured && 'getProtocol' in this.socket
        ? (this.socket as { getProtocol(): string | null }).getProtocol()
        : null
    return {
      ip: this.ip,
      port: this.port,
      tls: tls ?? undefined,
      mechanism: this.mechanism,
      since: Date.now(),
    }
  }

  // ---- socket

  #attach(socket: Socket): void {
    socket.on('error', () => {}) // 'close' follows
    for (const [event, listener] of this.#listeners) socket.on(event, listener)
  }

  /** The socket goes over to TLS: what came unencrypted is discarded (plaintext injection), and a new stream begins. */
  upgrade(wrap: (socket: Socket) => Socket): void {
    const plain = this.socket
    // Ours only: who counts connections waits for the end of this socket too.
    for (const [event, listener] of this.#listeners) plain.off(event, listener)
    this.#transport.flush()
    let secure: Socket
    try {
      secure = wrap(plain)
    } catch (error) {
      this.#attach(plain) // it is still to be closed, and its end to be heard of
      throw error
    }
    this.#transport.socket = secure
    this.#attach(secure)
    this.secured = true
    if (this.#share !== undefined) this.server.prelogin.connection(this.#share, TLS_CONNECTION)
    this.restart()
  }

  #onData(chunk: Buffer): void {
    try {
      this.#read(chunk)
    } catch (error) {
      this.#failWith(error)
    }
  }

  #read(chunk: Buffer): void {
    this.#hurry()
    this.bytesRead += chunk.length
    if (this.state !== 'bound') {
      if (this.state === 'closing') return
      if (this.user === undefined && this.bytesRead > this.settings.preAuthBytes) {
        return this.fail(new StreamError('policy-violation', 'too many bytes before logging in'))
      }
    }
    if (chunk.length > SMALL && !this.#handling && this.server.rounds.isLate()) this.#waitFor(this.#othersFirst())
    this.#parser.write(chunk)
    this.#account()
    this.#pay(chunk.length)
    if (this.#handling && this.#parser.rest().length > MAX_UNPARSED) this.socket.pause()
  }

  /** What a stranger has us keep: what it sent and is not done with, and answers that it does not read. */
  #account(): void {
    if (this.#share === undefined || this.#closed) return
    this.server.prelogin.hold(this.#share, this.#parser.held + this.#transport.backlog)
  }

  /** The client is logged in: from here on it has an account's limits. */
  admitted(): void {
    this.#leaveStrangers()
    this.#parser.setLimits(this.limits)
  }

  #leaveStrangers(): void {
    if (this.#share !== undefined) this.server.prelogin.leave(this.#share)
    this.#share = undefined
  }

  #pay(bytes: number): void {
    const { shaper } = this.settings
    if (shaper === undefined) return
    const wait = shaper.spend(bytes, this.#stanzas)
    this.#stanzas = 0
    if (wait > 0) this.#slow(wait)
  }

  /** Reads no further for a while, and handles nothing of what was read: the client is faster than its shaper allows. */
  #slow(ms: number): void {
    this.#parser.pause()
    this.socket.pause()
    clearTimeout(this.#slowed)
    this.#slowed = setTimeout(() => {
      this.#slowed = undefined
      this.#guard(() => this.#readOn())
    }, ms)
  }

  /** Goes on, with what was read and then with the socket, unless there is a reason left not to. */
  #readOn(): void {
    const mayNot = () => this.#halted || this.#handling || this.#slowed !== undefined
    if (mayNot()) return
    this.#parser.resume()
    if (this.#ended && !this.#mustWait) return this.#onEnd()
    if (!mayNot() && !this.socket.destroyed && this.socket.isPaused()) this.socket.resume()
  }

  /** There may be more to be handled, though nothing is being waited for but time. */
  get #mustWait(): boolean {
    return this.#resting || this.#slowed !== undefined
  }

  /** The peer closed its side without closing the stream: half a close is a broken connection. */
  #onEnd(): void {
    this.#peerDone = true
    if (this.state === 'closing') return
    if (this.#mustWait && this.#parser.rest().length > 0) {
      this.#ended = true
      return
    }
    const { session } = this
    if (session?.inbound.inDoubt !== true) return this.#transport.destroy()
    this.#parser.stop()
    this.state = 'closing'
    const { hasRead, hurry } = this.#transport.linger(LINGER)
    session.inbound.left(hasRead, hurry)
    this.#part('the client ended its connection')
  }

  #onGone(reason: string, failed = false): void {
    if (this.#closed) return
    this.#closed = true
    this.#hasRead.resolve(this.#peerDone && !failed)
    this.state = 'closing'
    clearTimeout(this.#deadline)
    clearInterval(this.#keepalive)
    clearTimeout(this.#slowed)
    this.#leaveStrangers()
    this.#parser.stop()
    this.#transport.destroy()
    this.target?.entering.delete(this)
    this.#guard(() => this.release())
    this.#part(reason)
    this.#onClose()
  }

  /** The session goes on without this stream, or ends. */
  #part(reason: string): void {
    const { session } = this
    this.session = undefined
    this.#guard(() => session?.lost(this, reason))
  }

  // ---- parser

  #newParser(): StreamParser {
    return new StreamParser(
      {
        onOpen: root => this.#guard(() => this.#onOpen(root)),
        onElement: el => this.#onElement(el),
        onClose: () => this.#guard(() => this.#onStreamEnd()),
        onError: error => this.fail(toStreamError(error)),
      },
      this.limits,
    )
  }

  /**
   * A new stream on the same connection (RFC 6120 4.3.3). It knows nothing of what was begun on the one before, which may have
   * been to another host.
   */
  restart(): void {
    this.login = undefined
    this.sasl = undefined
    this.#parser.stop()
    this.#parser = this.#newParser()
    this.#headerSent = false
  }

  #onOpen(root: Element): void {
    if (root.name !== 'stream' || root.attrs['xmlns'] !== NS.STREAM) {
      throw new StreamError('invalid-namespace', 'the first element must be a stream header')
    }
    if (this.#parser.contentNs !== NS.CLIENT) {
      throw new StreamError('invalid-namespace', `the content namespace must be ${NS.CLIENT}`)
    }
    const to = Jid.parse(root.attrs['to'] ?? '')
    const target = to === undefined ? undefined : this.server.hosts.get(to.domain)
    if (target === undefined) throw new StreamError('host-unknown', 'this server does not serve that host')
    if (this.user !== undefined && target !== this.target) {
      throw new StreamError('host-unknown', 'the host of a stream cannot change after logging in')
    }
    this.target = target
    const lang = root.attrs['xml:lang']
    this.lang = lang !== undefined && LANGUAGE.test(lang) ? lang : undefined
    const from = root.attrs['from'] === undefined ? undefined : Jid.parse(root.attrs['from'])
    if (this.user !== undefined && from !== undefined && !from.bare.equals(Jid.of(this.user, target.host.name))) {
      throw new StreamError('invalid-from', 'you are logged in as somebody else')
    }
    const unknown = this.user === undefined && from !== undefined && from.local !== ''
    this.from = unknown && from.domain === target.host.name ? from : undefined
    const answer = () => this.#answer(root, from, unknown)
    // Who goes on without waiting does not listen for it either.
    if (!this.secured || this.user !== undefined || this.#parser.rest().length > 0) {
      const done = answer()
      if (done instanceof Promise) this.#waitFor(done)
      return
    }
    const pause = new Promise<void>(resolve => {
      const timer = setTimeout(resolve, HEADER_PAUSE)
      this.#hurry = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#waitFor(pause.then(answer))
  }

  #answer(root: Element, from: Jid | undefined, unknown: boolean): void | Promise<void> {
    if (this.state === 'closing') return
    this.#sendHeader(from)
    if (!/^1\.\d+$/.test(root.attrs['version'] ?? '')) {
      throw new StreamError('unsupported-version', 'XMPP 1.0 is spoken here')
    }
    if (unknown && this.from === undefined && this.secured) {
      throw new StreamError('invalid-from', 'you cannot log in here from another domain') // XEP-0388 2.1
    }
    return sendFeatures(this)
  }

  #sendHeader(client?: Jid): void {
    this.#headerSent = true
    const from = this.target?.host.name ?? this.server.hosts.keys().next().value ?? ''
    this.send(streamHeader(this.server.ids.random(), from, client))
  }

  #onElement(el: Element): void {
    this.#stanzas++
    if (isTraced(this.server.log)) this.#trace('in', serialize(el))
    let done: void | Promise<void>
    try {
      done = this.state === 'bound' ? this.session!.handle(el) : negotiate(this, el)
    } catch (error) {
      return this.#failWith(error)
    }
    const enough = this.server.rounds.spend(this.#portion)
    if (done instanceof Promise) this.#waitFor(enough ? done.then(() => this.#othersFirst()) : done)
    else if (enough) this.#waitFor(this.#othersFirst())
  }

  /** There may be much more of this stream to be handled: others have their turn, and what was handled is paid for. */
  async #othersFirst(): Promise<void> {
    this.#resting = true
    this.#pay(0)
    await this.server.rounds.next()
    this.#resting = false
  }

  /** Reads no more; resolves when what is being handled is done, or after `timeout` ms. */
  halt(timeout: number): Promise<void> {
    this.#halted = true
    this.#parser.pause()
    this.socket.pause()
    if (!this.#handling) return Promise.resolve()
    return new Promise(resolve => {
      const timer = setTimeout(resolve, timeout)
      this.#whenHandled = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** One at a time: what follows waits until this is handled. */
  #waitFor(done: Promise<void>): void {
    this.#handling = true
    this.#parser.pause()
    done
      .catch((error: unknown) => this.#failWith(error))
      .then(() => {
        this.#handling = false
        if (this.#halted) return this.#whenHandled()
        this.#readOn()
      })
      .catch((error: unknown) => this.#failWith(error))
  }

  #guard(fn: () => void): void {
    try {
      fn()
    } catch (error) {
      this.#failWith(error)
    }
  }

  /** What was thrown on behalf of this stream ends it, whatever it was. Never throws. */
  #failWith(error: unknown): void {
    if (error instanceof StreamError) return this.fail(error)
    this.server.log.error({ err: error, ip: this.ip, user: this.user }, 'a stream failed')
    this.fail(new StreamError('internal-server-error'))
  }

  /** The client closed its stream (RFC 6120 4.4): we close ours, once it knows how far we are. */
  #onStreamEnd(): void {
    const { session } = this
    if (session === undefined) return this.#finish()
    const done = async (): Promise<void> => {
      if (session.managed) {
        await Promise.all([session.inbound.allSafe(CLOSE_GRACE), session.inbound.closed(CLOSE_GRACE)])
        session.inbound.requested()
      }
      this.session = undefined
      // Its client may have come back for it meanwhile, on another connection.
      if (session.stream === undefined || session.stream === this) session.closedByClient(this.#hasRead.promise)
      this.#finish()
    }
    this.#waitFor(done())
  }

  #finish(): void {
    if (this.state === 'closing') return
    this.send(STREAM_END)
    this.#end()
  }

  #end(): void {
    this.state = 'closing'
    this.#parser.stop()
    clearTimeout(this.#deadline)
    clearInterval(this.#keepalive)
    this.#transport.end(CLOSE_GRACE)
  }

  // ---- for negotiation and session

  send(data: string | Buffer): void {
    this.#quiet = false
    if (isTraced(this.server.log)) this.#trace('out', data)
    this.#transport.send(data)
  }

  #trace(way: 'in' | 'out', data: string | Buffer): void {
    const jid = this.session?.jid.toString() ?? (this.user && `${this.user}@${this.target?.host.name}`)
    trace(this.server.log, way, { ip: this.ip, port: this.port, jid }, data)
  }

  sendElement(el: Element): void {
    this.send(serialize(el))
  }

  /**
   * Ends the stream with an error (RFC 6120 4.9); a session on it can still be resumed unless it was ended before. Never
   * throws.
   */
  fail(error: StreamError): void {
    if (this.state === 'closing') return
    if (!this.#headerSent) this.#sendHeader()
    this.send(streamErrorText(error))
    this.#end()
    this.#part(error.message)
  }

  /** Ends the stream once its client knows how far we are: it may go on where nothing is known of this session. */
  sendAway(error: StreamError): void {
    const leave = async (): Promise<void> => {
      await this.halt(CLOSE_GRACE)
      const { session } = this
      if (session?.managed === true) {
        await session.inbound.allSafe(CLOSE_GRACE)
        session.inbound.requested()
      }
      this.fail(error)
    }
    leave().catch((failure: unknown) => this.#failWith(failure))
  }

  /** Keeps a device that is logging in where a revocation finds it, until it has a session or is gone. */
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

  /** Drops the connection without a word: nobody is listening. */
  abandon(reason: string): void {
    this.#onGone(reason)
  }

  /** A session of another stream has been bound to, or resumed on, this one. */
  bound(session: C2SSession): void {
    clearTimeout(this.#deadline)
    this.#deadline = undefined
    this.session = session
    this.state = 'bound'
    this.socket.allowHalfOpen = true // see #onEnd
    this.target!.entering.delete(this)
    this.release()
    if (!Number.isFinite(this.settings.keepalive)) return
    clearInterval(this.#keepalive)
    this.#keepalive = setInterval(() => {
      if (this.#quiet) this.#transport.send(' ')
      this.#quiet = true
    }, this.settings.keepalive)
    this.#keepalive.unref()
  }
}

function toStreamError(error: XmlStreamError): StreamError {
  return new StreamError(error.condition, error.text)
}
