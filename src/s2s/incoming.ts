import { decodeBase64Strict } from '../auth/exchange.ts'
import type { Verdict } from '../net/peercertificate.ts'
import type { Transport } from '../net/transport.ts'
import type { PeerHeader, StreamSettings } from '../stream/stream.ts'
import { cut, isTrue } from '../util/text.ts'
import { type Element, NS, serialize, textOf, xml } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import { limitsElement, readMaxBytes } from './limits.ts'
import type { Pair } from './pair.ts'
import type { S2SServer } from './server.ts'
import { S2SStream } from './stream.ts'

/** Logins that may fail on one stream. */
const MAX_FAILURES = 3
/** How long a peer that may be sent to has to ask for stream management (ms): some do so after their first stanzas. */
const ENABLE_WITHIN = 500

/** A stream that another server began: we are the receiving server (RFC 6120 4.3, XEP-0220 2.2). */
export class IncomingStream extends S2SStream {
  readonly direction = 'in'
  #certificate: Verdict | undefined
  #failures = 0
  /** EXTERNAL was begun without what it needs: that follows. */
  #challenged = false
  #inside = false
  #opening: NodeJS.Timeout | undefined
  /** The conversation has its stream. */
  #open = false
  readonly #limit: number

  constructor(server: S2SServer, transport: Transport, settings: StreamSettings) {
    super(server, transport, settings)
    this.#limit = settings.limits.stanzaBytes
  }

  get mayAsk(): boolean {
    return true
  }

  /** XEP-0288 2.2: for other domains of ours, to one that the peer has shown to be its own. */
  mayRequest({ remote }: Pair): boolean {
    return this.bidi && this.talk?.receives.hasRemote(remote) === true
  }

  onHeader({ from, to }: PeerHeader): void {
    const { server } = this
    if (to === undefined || from === undefined) {
      throw new StreamError('improper-addressing', 'a stream between servers needs a from and a to, both a domain')
    }
    if (to.local !== '' || to.resource !== '' || from.local !== '' || from.resource !== '') {
      throw new StreamError('improper-addressing', 'servers are addressed by their domains')
    }
    const [local, remote] = [to.domain, from.domain]
    if (!server.serves(local)) throw new StreamError('host-unknown', `${cut(local, 100)} is not served here`)
    if (this.talk !== undefined && (local !== this.local || remote !== this.remote)) {
      throw new StreamError('invalid-from', 'the domains of a stream cannot change after it is authenticated')
    }
    if (server.serves(remote)) throw new StreamError('invalid-from', `${cut(remote, 100)} is served here`)
    this.local = local
    this.remote = remote
    if (!server.settings.allows(remote)) {
      throw new StreamError('policy-violation', 'this server does not talk with yours (access of its s2s)')
    }
  }

  onOpen(): void {
    const features = xml('stream:features', { 'xmlns:stream': NS.STREAM })
    if (!this.secured) features.append(xml('starttls', { xmlns: NS.TLS }, xml('required')))
    else if (this.talk === undefined) this.#offerLogin(features)
    else this.#offer(features)
    this.send(serialize(features))
    if (this.talk !== undefined) this.admitted()
  }

  #offerLogin(features: Element): void {
    const { server, remote } = this
    const { valid, reason } = (this.#certificate = this.judge(remote!))
    if (valid) features.append(xml('mechanisms', { xmlns: NS.SASL }, xml('mechanism', {}, 'EXTERNAL')))
    else if (server.settings.policyFor(remote!) === 'require_valid_certificate') {
      this.#refused(reason)
      throw new StreamError(
        'policy-violation',
        `a certificate that is valid for ${cut(remote!, 100)} is needed: ${reason}`,
      )
    }
    this.#offer(features)
  }

  /** By dialback there are no features after the login: what they would be is said before it. */
  #offer(features: Element): void {
    features.append(xml('dialback', { xmlns: NS.DIALBACK_FEATURE }, xml('errors')))
    if (!this.bidi) features.append(xml('bidi', { xmlns: NS.BIDI_FEATURE }))
    features.append(xml('sm', { xmlns: NS.SM }))
    features.append(limitsElement(this.#limit, this.server.settings.idleTimeout))
  }

  #refused(reason: string): void {
    const { server, remote, ip } = this
    const level = server.notices.isNew(remote!, `certificate ${reason}`) ? 'warn' : 'debug'
    server.log[level]({ domain: remote, ip, reason }, 'another server was refused: its certificate is not valid')
  }

  protected negotiate(el: Element): void | Promise<void> {
    const { name } = el
    switch (el.attrs['xmlns']) {
      case NS.TLS:
        if (name === 'starttls') return this.#startTls()
        break
      case NS.SASL:
        if (name === 'auth') return this.#auth(el)
        if (name === 'response' && this.#challenged) return this.#external(textOf(el))
        if (name === 'abort') return this.#fail('aborted')
        break
      case NS.BIDI:
        if (name === 'bidi') return this.#goBothWays(el)
        break
      case NS.SM:
        if (name === 'enable') return this.#enable(el)
        if (name === 'resume') return this.#resume(el)
    }
    if (this.talk === undefined) throw new StreamError('not-authorized', 'first show who you are')
    throw new StreamError('unsupported-stanza-type', `<${cut(name, 50)}/> is unknown here`)
  }

  #startTls(): void {
    if (this.secured) throw new StreamError('policy-violation', 'this stream is encrypted already')
    this.send(`<proceed xmlns='${NS.TLS}'/>`)
    this.xmpp.upgrade(this.server.tls.accept(false, this.local))
  }

  // ---- SASL EXTERNAL (RFC 6120 6, XEP-0178 3)

  #auth(el: Element): void {
    if (!this.secured || this.talk !== undefined)
      throw new StreamError('not-authorized', 'there is nothing to log in to')
    if (el.attrs['mechanism'] !== 'EXTERNAL') return this.#fail('invalid-mechanism')
    const text = textOf(el)
    if (text !== '') return this.#external(text)
    this.#challenged = true
    this.send(`<challenge xmlns='${NS.SASL}'/>`)
  }

  #external(text: string): void {
    this.#challenged = false
    const { local, remote } = this
    const data = text === '=' || text === '' ? Buffer.alloc(0) : decodeBase64Strict(text)
    if (data === undefined) return this.#fail('incorrect-encoding')
    if (this.#certificate?.valid !== true) return this.#fail('not-authorized')
    if (data.length > 0 && Jid.parse(data.toString())?.toString() !== remote) return this.#fail('invalid-authzid')
    this.admit({ local: local!, remote: remote! }, 'external')
    this.send(`<success xmlns='${NS.SASL}'/>`)
    this.xmpp.admitted()
    this.xmpp.restart()
  }

  #fail(condition: string): void {
    this.#challenged = false
    this.send(`<failure xmlns='${NS.SASL}'><${condition}/></failure>`)
    if (++this.#failures >= MAX_FAILURES) throw new StreamError('policy-violation', 'too many logins failed')
  }

  // ---- after the login

  /** The first pair is authenticated, and the peer knows. */
  admitted(): void {
    if (this.#inside) return
    this.#inside = true
    this.xmpp.admitted()
    this.xmpp.established()
    const { remote, local, method, ip } = this
    const { protocol: tls } = this.xmpp.transport
    this.server.log.info({ domain: remote, local, method, tls, bidi: this.bidi, ip }, 'another server is connected')
    this.#expectManagement()
  }

  #expectManagement(): void {
    this.#opening = setTimeout(() => this.#begin('ping'), ENABLE_WITHIN)
  }

  #begin(how: 'sm' | 'ping'): void {
    clearTimeout(this.#opening)
    if (this.#open || this.closing || this.talk === undefined) return
    this.#open = true
    this.talk.open(this, how)
  }

  #goBothWays(el: Element): void {
    if (!this.secured) throw new StreamError('policy-violation', 'first encrypt the stream')
    this.bidi = true
    this.maxBytes = readMaxBytes(el) ?? this.maxBytes
    // XEP-0288 2.2 has it before the login; later it holds for what is authenticated by then.
    if (this.talk !== undefined) for (const pair of [...this.talk.receives]) this.admit(pair, this.method!)
  }

  granted(pair: Pair): void {
    this.talk?.sends.add(pair)
    this.talk?.receives.add(pair)
  }

  #enable(el: Element): void {
    const { talk, server } = this
    if (talk === undefined || this.#open) return this.#managementFailed('unexpected-request')
    this.managed = true
    const resume = isTrue(el.attrs['resume']) && server.talks.resumable > 0
    talk.resumeId = resume ? server.ids.random() : undefined
    const attrs = resume ? { id: talk.resumeId, resume: 'true', max: String(server.talks.resumable) } : {}
    this.send(serialize(xml('enabled', { xmlns: NS.SM, ...attrs })))
    this.#begin('sm')
  }

  async #resume(el: Element): Promise<void> {
    const { talk: fresh, server, local, remote } = this
    if (fresh === undefined || this.#open) return this.#managementFailed('unexpected-request')
    const previd = el.attrs['previd'] ?? ''
    const h = el.attrs['h'] ?? ''
    if (!/^\d{1,10}$/.test(h)) throw new StreamError('undefined-condition', 'a resume needs an h')
    const pair = { local: local!, remote: remote! }
    clearTimeout(this.#opening)
    const talk = await server.talks.resume(previd, pair)
    if (this.closing) return
    if (talk === undefined) {
      this.#managementFailed('item-not-found', server.talks.endOf(previd, pair))
      return this.#expectManagement()
    }
    this.#open = true
    this.managed = true
    for (const pair of fresh.receives) talk.receives.add(pair)
    for (const pair of fresh.sends) talk.sends.add(pair)
    this.talk = talk
    this.send(serialize(xml('resumed', { xmlns: NS.SM, previd, h: String(talk.h) })))
    talk.resumed(this, Number(h))
  }

  #managementFailed(condition: string, h?: number): void {
    const failed = xml('failed', { xmlns: NS.SM, h: h === undefined ? undefined : String(h) })
    failed.append(xml(condition, { xmlns: NS.STANZAS }))
    this.send(serialize(failed))
  }

  override onParted(reason: string): void {
    clearTimeout(this.#opening)
    super.onParted(reason)
  }
}
