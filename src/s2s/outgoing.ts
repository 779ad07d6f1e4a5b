import type { TlsOptions } from '../net/handshake.ts'
import type { Place } from '../net/targets.ts'
import type { Transport } from '../net/transport.ts'
import type { PeerHeader } from '../stream/stream.ts'
import { type Element, findChild, NS } from '../xml/index.ts'
import { type StanzaCondition, StreamError } from '../xmpp/errors.ts'
import type { Pair } from './pair.ts'
import { PeerError, Redirection } from './peererror.ts'
import type { S2SServer } from './server.ts'
import { readError, S2SStream } from './stream.ts'

/** How long a TLS handshake may take (ms): then another server of the domain may still be tried. */
const TLS_TIMEOUT = 10_000

/** Where a connection leads. */
export interface Reached {
  /** For what is said of it: which of the domain's servers. */
  readonly place: string
  /** TLS is spoken already (XEP-0368). */
  readonly direct: boolean
}

/**
 * A stream that we begin: to its features over TLS. What it is for begins there ({@link SendingStream}, {@link VerifyingStream}).
 */
export abstract class OutgoingStream extends S2SStream {
  readonly direction = 'out'
  readonly pair: Pair
  readonly #reached: Reached
  /** What the peer said of why it ends the stream. */
  #complaint: PeerError | undefined
  #startingTls = false

  constructor(server: S2SServer, transport: Transport, pair: Pair, reached: Reached) {
    super(server, transport, server.settings.outgoing())
    this.pair = pair
    this.local = pair.local
    this.remote = pair.remote
    this.#reached = reached
  }

  start(): void {
    if (this.#reached.direct) this.xmpp.initiate(this.pair.remote, [this.#tls, TLS_TIMEOUT])
    else this.xmpp.initiate(this.pair.remote)
  }

  /** It has come to nothing. */
  protected abstract failed(error: PeerError): void
  /** The stream is encrypted, and this is what the peer offers. */
  protected abstract onFeatures(features: Element): void
  /** Anything that is said before the features, or after them, of this stream's own. False: it is unknown. */
  protected abstract onAnswer(el: Element): boolean

  /** Ends the attempt: what was tried, for the operator. */
  protected giveUp(condition: StanzaCondition, why: string, end?: StreamError): void {
    this.failed(this.#complaint ?? this.#error(condition, why))
    if (end === undefined) this.xmpp.close()
    else this.xmpp.fail(end)
  }

  onHeader({ from }: PeerHeader): void {
    const { remote } = this.pair
    if (from === undefined || from.toString() === remote) return
    this.giveUp('remote-server-timeout', `says that it is ${from}`, new StreamError('invalid-from'))
  }

  /** Only the receiving end is asked for features. */
  onOpen(): void {}

  protected negotiate(el: Element): void {
    const { name } = el
    const xmlns = el.attrs['xmlns']
    if (xmlns === NS.STREAM && name === 'features') {
      if (this.secured) return this.onFeatures(el)
      return this.#startTls(el)
    }
    if (xmlns === NS.TLS && this.#startingTls) {
      this.#startingTls = false
      if (name === 'proceed') return this.#encrypt()
      return this.giveUp('remote-server-timeout', 'would not begin TLS')
    }
    if (!this.onAnswer(el)) throw new StreamError('unsupported-stanza-type', 'that is unknown here')
  }

  #startTls(features: Element): void {
    if (this.#startingTls) throw new StreamError('policy-violation', 'features came twice')
    if (findChild(features, 'starttls', NS.TLS) === undefined) {
      return this.giveUp('remote-server-timeout', 'does not offer TLS, and nothing is said in the clear')
    }
    this.#startingTls = true
    this.send(`<starttls xmlns='${NS.TLS}'/>`)
  }

  get #tls(): TlsOptions {
    const { local, remote } = this.pair
    return this.server.tls.connect(local, remote, this.#reached.direct)
  }

  #encrypt(): void {
    this.xmpp.upgrade(this.#tls, TLS_TIMEOUT)
    this.xmpp.initiate(this.pair.remote)
  }

  protected override onPeerError(el: Element): void {
    const { condition, text, value } = readError(el)
    const said = text === undefined ? condition : `${condition} (${text})`
    const where = condition === 'see-other-host' && value !== '' ? `${said}: ${value}` : said
    const unknown = condition === 'host-unknown' || condition === 'host-gone'
    const error = this.#error(
      unknown ? 'remote-server-not-found' : 'remote-server-timeout',
      `ended the stream: ${where}`,
    )
    const place = condition === 'see-other-host' ? placeIn(value) : undefined
    this.#complaint = place === undefined ? error : new Redirection(error.text, place)
    if (this.talk !== undefined) super.onPeerError(el)
  }

  override onEnd(): void | Promise<void> {
    this.#complaint ??= this.#error('remote-server-timeout', 'closed the stream without a word')
    return super.onEnd()
  }

  override onParted(reason: string): void {
    const { failure } = this.xmpp.transport
    const why = failure === undefined ? `gave us no stream (${reason})` : `failed: ${failure}`
    this.failed(this.#complaint ?? this.#error('remote-server-timeout', why))
    super.onParted(reason)
  }

  #error(condition: StanzaCondition, why: string): PeerError {
    return new PeerError(condition, `${this.pair.remote}: ${this.#reached.place} ${why}`)
  }
}

/** `host` or `host:port`; IPv6 stands in brackets (RFC 6120 4.9.3.19). */
function placeIn(text: string): Place | undefined {
  const [, host, port = '5269'] = /^(\[[0-9a-fA-F:.]+\]|[^\s:[\]]+)(?::(\d{1,5}))?$/.exec(text) ?? []
  return host === undefined || Number(port) === 0 || Number(port) > 65_535 ? undefined : { host, port: Number(port) }
}
