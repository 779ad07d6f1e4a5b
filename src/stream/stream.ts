import type { Logger } from '../core/log.ts'
import { PLAIN_CONNECTION, type PreLoginBudget, type Share, TLS_CONNECTION } from '../net/prelogin.ts'
import type { Shaper } from '../net/shaper.ts'
import type { Transport } from '../net/transport.ts'
import { type Element, type ParserLimits, serialize } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import type { Framing, StreamReader } from './framing.ts'
import { Pace } from './pace.ts'
import type { Rounds } from './rounds.ts'
import { redact } from './trace.ts'

/** How long the peer may take to close its side after we closed ours (ms). */
export const CLOSE_GRACE = 2000
/** How long a connection is kept that the peer has ended, to learn what it had read (ms): longer than a round trip. */
const LINGER = 1000
/** A language tag (RFC 5646 2.1); a longer one than any there is would be added to every stanza. */
const LANGUAGE = /^(?=.{1,35}$)[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*$/

/** What a stream is allowed. */
export interface StreamSettings {
  limits: ParserLimits
  /** Before the login. */
  preAuthLimits: ParserLimits
  preAuthTimeout: number
  preAuthBytes: number
  /** Ms of silence after which something is sent; `Infinity` for never. */
  keepalive: number
  shaper: Shaper | undefined
}

/** What all streams of a server share. */
export interface StreamServer {
  readonly ids: { random(): string }
  readonly log: Logger
  readonly rounds: Rounds
  /** What the connections hold that are not logged in. */
  readonly prelogin: PreLoginBudget
}

/** What the peer's header says (RFC 6120 4.7). */
export interface PeerHeader {
  readonly from: Jid | undefined
  readonly to: Jid | undefined
  /** It says that it speaks XMPP 1.0, and waits for features. */
  readonly versioned: boolean
}

/**
 * What is said on a stream, by one end of it. What a method throws, or its promise rejects with, ends the stream: a
 * StreamError as it is, anything else as an error of the server.
 */
export interface StreamHandler {
  /** Our address, for our header. */
  readonly name: string
  /** What the peer is, for the log. */
  readonly peerKind: 'client' | 'server' | 'component'
  /** Whom it is with, for the log. */
  readonly peerName: string | undefined
  /** The peer was told something, and whether it has read it matters; see {@link onLeft}. */
  readonly inDoubt: boolean
  /** The peer's header is there. If it began, ours is sent next. */
  onHeader(header: PeerHeader): void
  /** Both headers are there, and the peer began: it waits for features (RFC 6120 4.3.2). */
  onOpen(): void | Promise<void>
  /** An element of the first level. What comes after it waits for the promise. */
  onElement(el: Element): void | Promise<void>
  /**
   * The peer has closed its stream (RFC 6120 4.4): ours is closed when this is done.
   *
   * @param hasRead whether the peer's connection will have ended without breaking
   */
  onEnd(hasRead: Promise<boolean>): void | Promise<void>
  /**
   * The peer ended its connection without closing its stream, and there is a doubt: nothing comes or goes any more.
   *
   * @param hasRead whether it had read what it was sent; `hurry` asks at once
   */
  onLeft(hasRead: Promise<boolean>, hurry: () => void): void
  /** What was sent has gone out. */
  onDrain(): void
  /** Nothing comes or goes any more, though the connection may not be gone yet. May be called again. */
  onParted(reason: string): void
  /** The connection is gone. Once. */
  onGone(): void
}

/**
 * One end of an XMPP stream, from connection to close (RFC 6120 4), whoever the peer is: {@link accept} where it begins,
 * {@link initiate} where we do.
 */
export class XmppStream {
  readonly transport: Transport
  /** Of stanzas that name no language of their own (RFC 6120 4.7.4). */
  lang: string | undefined
  bytesRead = 0
  /** Of the stream, as the receiving end has named it: ours where the peer began (RFC 6120 4.7.3). */
  id: string | undefined
  readonly #framing: Framing
  readonly #handler: StreamHandler
  readonly #server: StreamServer
  readonly #settings: StreamSettings
  /** Nothing is sent any more. */
  closing = false
  /** The peer has shown who it is. */
  #trusted = false
  /** Of the memory of all that are not logged in; undefined once it is. */
  #share: Share | undefined
  readonly #pace: Pace
  #headerSent = false
  #initiating = false
  #deadline: NodeJS.Timeout | undefined
  #keepalive: NodeJS.Timeout | undefined
  #quiet = true
  /** The peer ended its connection before all that it had sent was handled. */
  #ended = false
  /** Ends the pause before our header. */
  #hurry: () => void = () => {}
  #closed = false
  /** The peer has closed its side. */
  #peerDone = false
  /** Whether the connection ended without breaking. */
  readonly #hasRead = Promise.withResolvers<boolean>()

  constructor(
    transport: Transport,
    framing: Framing,
    handler: StreamHandler,
    server: StreamServer,
    settings: StreamSettings,
  ) {
    this.transport = transport
    this.#framing = framing
    this.#handler = handler
    this.#server = server
    this.#settings = settings
    this.#pace = new Pace(this, this.#newReader(), server.rounds, settings.shaper)
  }

  /** The peer begins. */
  accept(): void {
    this.#begin()
    const { peer, secured } = this.transport
    this.#share = this.#server.prelogin.enter(peer.ip, secured ? TLS_CONNECTION : PLAIN_CONNECTION, () =>
      this.fail(new StreamError('resource-constraint', 'too many connections are not logged in; try again later')),
    )
  }

  /**
   * We begin, with our header; again after a {@link restart}.
   *
   * @param secure TLS from the first byte
   */
  initiate(to: string, secure?: Parameters<Transport['upgrade']>): void {
    if (!this.#initiating) this.#begin()
    this.#initiating = true
    if (secure !== undefined) this.transport.upgrade(...secure)
    if (!this.closing) this.#sendHeader(undefined, to)
  }

  #begin(): void {
    this.#deadline = setTimeout(
      () => this.fail(new StreamError('connection-timeout', 'you did not log in in time')),
      this.#settings.preAuthTimeout,
    )
    // What fails in any of them, or in a timer or promise of the stream, ends the stream and nothing else.
    this.transport.open({
      data: chunk => this.#onData(chunk),
      end: () => this.#guard(() => this.#onPeerDone()),
      close: failed => this.abandon(this.transport.failure ?? 'the connection broke', failed),
      drain: () => this.#guard(() => this.#handler.onDrain()),
      failed: error => this.failWith(error),
    })
  }

  /** Of what comes in now. */
  get limits(): ParserLimits {
    return this.#trusted ? this.#settings.limits : this.#settings.preAuthLimits
  }

  // ---- connection

  /** Goes over to TLS: what came unencrypted is discarded (plaintext injection), and a new stream begins. */
  upgrade(...how: Parameters<Transport['upgrade']>): void {
    this.transport.upgrade(...how)
    if (this.#share !== undefined) this.#server.prelogin.connection(this.#share, TLS_CONNECTION)
    this.restart()
  }

  #onData(chunk: Buffer): void {
    try {
      this.#hurry()
      this.bytesRead += chunk.length
      if (this.closing) return
      if (!this.#trusted && this.bytesRead > this.#settings.preAuthBytes) {
        return this.fail(new StreamError('policy-violation', 'too many bytes before logging in'))
      }
      this.#pace.read(chunk)
      // What a stranger has us keep: what it sent and is not done with, and answers that it does not read.
      if (this.#share !== undefined && !this.#closed) {
        this.#server.prelogin.hold(this.#share, this.#pace.reader.held + this.transport.backlog)
      }
      this.#pace.wasRead(chunk.length)
    } catch (error) {
      this.failWith(error)
    }
  }

  /** The peer has shown who it is: from here on it has the limits of those whom we know. */
  admitted(): void {
    this.#trusted = true
    this.#leaveStrangers()
    this.#pace.reader.setLimits(this.limits)
  }

  #leaveStrangers(): void {
    if (this.#share !== undefined) this.#server.prelogin.leave(this.#share)
    this.#share = undefined
  }

  /** All is negotiated: the stream may stay, and be silent. */
  established(): void {
    clearTimeout(this.#deadline)
    this.#deadline = undefined
    this.transport.allowHalfOpen() // see #onPeerDone
    const { keepalive } = this.#framing
    if (keepalive === undefined || !Number.isFinite(this.#settings.keepalive)) return
    clearInterval(this.#keepalive)
    this.#keepalive = setInterval(() => {
      if (this.#quiet) this.transport.send(keepalive)
      this.#quiet = true
    }, this.#settings.keepalive)
    this.#keepalive.unref()
  }

  /** The peer ended its side without closing the stream: half a close is a broken connection. */
  #onPeerDone(): void {
    this.#peerDone = true
    if (this.closing) return
    if (this.#pace.mustWait && this.#pace.reader.rest().length > 0) {
      this.#ended = true
      return
    }
    if (!this.#handler.inDoubt) return this.transport.destroy()
    this.#pace.reader.stop()
    this.closing = true
    const { hasRead, hurry } = this.transport.linger(LINGER, this.#framing.end)
    this.#handler.onLeft(hasRead, hurry)
  }

  /** What was read is handled again, after a pause. */
  wentOn(): void {
    if (this.#ended && !this.#pace.mustWait) this.#onPeerDone()
  }

  /** Drops the connection without a word: it is gone, or nobody is listening. */
  abandon(reason: string, failed = false): void {
    if (this.#closed) return
    this.#closed = true
    this.#hasRead.resolve(this.#peerDone && !failed)
    this.closing = true
    clearTimeout(this.#deadline)
    clearInterval(this.#keepalive)
    this.#pace.stop()
    this.#leaveStrangers()
    this.#pace.reader.stop()
    this.transport.destroy()
    this.#part(reason)
    this.#guard(() => this.#handler.onGone())
  }

  #part(reason: string): void {
    this.#guard(() => this.#handler.onParted(reason))
  }

  // ---- what comes in

  #newReader(): StreamReader {
    return this.#framing.reader(
      {
        onOpen: root => this.#guard(() => this.#onOpen(root)),
        onElement: el => this.#onElement(el),
        onClose: () => this.#guard(() => this.#onStreamEnd()),
        onError: error => this.fail(new StreamError(error.condition, error.text)),
      },
      this.limits,
    )
  }

  /** A new stream on the same connection (RFC 6120 4.3.3). */
  restart(): void {
    this.#pace.reader.stop()
    this.#pace.reader = this.#newReader()
    this.#headerSent = false
  }

  #onOpen(root: Element): void {
    const { attrs } = root
    if (!this.#framing.isHeader(root)) {
      throw new StreamError('invalid-namespace', 'the first element must be a stream header')
    }
    const { contentNs } = this.#framing
    if (this.#pace.reader.contentNs !== contentNs) {
      throw new StreamError('invalid-namespace', `the content namespace must be ${contentNs}`)
    }
    const lang = attrs['xml:lang']
    this.lang = lang !== undefined && LANGUAGE.test(lang) ? lang : undefined
    const from = attrs['from'] === undefined ? undefined : Jid.parse(attrs['from'])
    const versioned = /^1\.\d+$/.test(attrs['version'] ?? '')
    if (this.#initiating) this.id = attrs['id']
    this.#handler.onHeader({ from, to: Jid.parse(attrs['to'] ?? ''), versioned })
    const answer = () => this.#answer(from, versioned)
    // Who goes on without waiting does not listen for it either.
    const { headerPause } = this.#framing
    const mayWait = !this.#initiating && this.transport.secured && !this.#trusted && headerPause > 0
    if (!mayWait || this.#pace.reader.rest().length > 0) {
      const done = answer()
      if (done instanceof Promise) this.#pace.waitFor(done)
      return
    }
    const pause = new Promise<void>(resolve => {
      const timer = setTimeout(resolve, headerPause)
      this.#hurry = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#pace.waitFor(pause.then(answer))
  }

  #answer(from: Jid | undefined, versioned: boolean): void | Promise<void> {
    if (this.closing) return
    const { version } = this.#framing
    if (!this.#initiating) this.#begun(from?.bare.toString(), versioned && version === 'optional')
    if (version === 'required' && !versioned) throw new StreamError('unsupported-version', 'XMPP 1.0 is spoken here')
    if (!this.#initiating) return this.#handler.onOpen()
  }

  /** Our header, where the peer began. */
  #begun(to: string | undefined, versioned = false): void {
    this.id = this.#server.ids.random()
    this.#sendHeader(this.id, to, versioned)
  }

  #sendHeader(id: string | undefined, to: string | undefined, versioned = false): void {
    this.#headerSent = true
    const ours = { id, from: this.#handler.name, to, versioned: versioned || this.#framing.version === 'required' }
    this.send(this.#framing.header(ours))
  }

  #onElement(el: Element): void {
    if (this.#server.log.isLevelEnabled('trace')) this.#trace(serialize(el), `from a ${this.#handler.peerKind}`)
    let done: void | Promise<void>
    try {
      done = this.#handler.onElement(el)
    } catch (error) {
      return this.failWith(error)
    }
    this.#pace.handled(done)
  }

  #guard(fn: () => void): void {
    try {
      fn()
    } catch (error) {
      this.failWith(error)
    }
  }

  /** What was thrown on behalf of this stream ends it, whatever it was. Never throws. */
  failWith(error: unknown): void {
    if (error instanceof StreamError) return this.fail(error)
    const { log } = this.#server
    log.error({ err: error, ip: this.transport.peer.ip, jid: this.#handler.peerName }, 'a stream failed')
    this.fail(new StreamError('internal-server-error'))
  }

  #onStreamEnd(): void {
    const done = this.#handler.onEnd(this.#hasRead.promise)
    if (done instanceof Promise) this.#pace.waitFor(done.then(() => this.close()))
    else this.close()
  }

  // ---- what goes out

  /** Sends one piece: a stanza or another element of the first level. */
  send(data: string | Buffer): void {
    this.#quiet = false
    if (this.#server.log.isLevelEnabled('trace')) this.#trace(data, `to a ${this.#handler.peerKind}`)
    this.transport.send(data)
  }

  #trace(data: string | Buffer, way: string): void {
    this.#server.log.trace({ ...this.transport.peer, jid: this.#handler.peerName, xml: redact(data.toString()) }, way)
  }

  /** Closes our side in order (RFC 6120 4.4). */
  close(): void {
    if (this.closing) return
    this.send(this.#framing.end)
    this.closing = true
    this.#pace.reader.stop()
    clearTimeout(this.#deadline)
    clearInterval(this.#keepalive)
    this.transport.end(CLOSE_GRACE)
  }

  /** Ends the stream with an error (RFC 6120 4.9). Never throws. */
  fail(error: StreamError): void {
    if (this.closing) return
    if (!this.#headerSent) this.#begun(undefined)
    this.send(this.#framing.error(error))
    this.close()
    this.#part(error.message)
  }

  /** Reads no more; resolves when what is being handled is done, or after `timeout` ms. */
  halt(timeout: number): Promise<void> {
    return this.#pace.halt(timeout)
  }
}
