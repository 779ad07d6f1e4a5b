import type { Transport } from '../net/transport.ts'
import { isTrue } from '../util/text.ts'
import { type Element, findChild, findChildren, NS, serialize, textOf, xml } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import { limitsElement, readMaxBytes } from './limits.ts'
import { OutgoingStream, type Reached } from './outgoing.ts'
import type { Pair } from './pair.ts'
import type { PeerError } from './peererror.ts'
import type { S2SServer } from './server.ts'
import type { Talk } from './wire.ts'

/** What becomes of an attempt. */
export interface Outcome {
  readonly resolve: (talk: Talk) => void
  readonly reject: (error: PeerError) => void
}

/** Where the attempt is: each is left by an answer of the peer. */
type Phase = 'opening' | 'external' | 'restarted' | 'dialback' | 'resuming' | 'enabling' | 'open'

/** A stream that we begin to send stanzas on (RFC 6120 4.3, 6; XEP-0220 2.1.1; XEP-0198). */
export class SendingStream extends OutgoingStream {
  readonly #before: Talk | undefined
  readonly #outcome: Outcome
  #phase: Phase = 'opening'
  /** Dialback errors are understood: more pairs may be asked for (XEP-0220 2.6). */
  #moreThanOne = false
  #refusal = ''

  /** @param before a conversation that waits to be resumed */
  constructor(
    server: S2SServer,
    transport: Transport,
    pair: Pair,
    reached: Reached,
    before: Talk | undefined,
    outcome: Outcome,
  ) {
    super(server, transport, pair, reached)
    this.#before = before
    this.#outcome = outcome
  }

  protected failed(error: PeerError): void {
    this.#outcome.reject(error)
  }

  // ---- login

  protected onFeatures(features: Element): void {
    if (findChild(features, 'dialback', NS.DIALBACK_FEATURE) !== undefined) this.#moreThanOne = true
    this.maxBytes = readMaxBytes(features) ?? this.maxBytes
    if (this.#phase === 'restarted') return this.#ready(features)
    if (this.#phase !== 'opening') throw new StreamError('policy-violation', 'features came twice')
    const { server, pair } = this
    const { valid, reason } = this.judge(pair.remote)
    if (!valid && server.settings.policyFor(pair.remote) === 'require_valid_certificate') {
      return this.giveUp('remote-server-timeout', `has no valid certificate (s2s.policy asks for one): ${reason}`)
    }
    if (!valid && server.notices.isNew(pair.remote, `certificate ${reason}`)) {
      server.log.info(
        { domain: pair.remote, reason },
        'another server has no valid certificate: its DNS alone is trusted',
      )
    }
    this.#features = features
    this.#askForBoth(features)
    const mechanisms = findChild(features, 'mechanisms', NS.SASL)
    const external = mechanisms && findChildren(mechanisms, 'mechanism').some(el => textOf(el).trim() === 'EXTERNAL')
    if (external === true && server.covers(pair.local)) return this.#external()
    this.#refusal = external === true ? `, and we have no certificate for ${pair.local}` : ''
    this.#dialback()
  }

  #features: Element | undefined

  #askForBoth(features: Element): void {
    if (findChild(features, 'bidi', NS.BIDI_FEATURE) === undefined) return
    this.bidi = true
    const { settings } = this.server
    const limits = limitsElement(settings.outgoing().limits.stanzaBytes, settings.idleTimeout)
    this.send(serialize(xml('bidi', { xmlns: NS.BIDI }, limits)))
  }

  /** XEP-0178 3: with the identity, for servers that look for it there. */
  #external(): void {
    this.#phase = 'external'
    const identity = Buffer.from(this.pair.local).toString('base64')
    this.send(`<auth xmlns='${NS.SASL}' mechanism='EXTERNAL'>${identity}</auth>`)
  }

  #dialback(): void {
    this.#phase = 'dialback'
    this.pairing.request(this.pair).then(
      verdict => {
        if (verdict === 'valid') this.#ready(this.#features!)
        else
          this.giveUp(
            'remote-server-timeout',
            `would not let ${this.pair.local} in by dialback: ${verdict}${this.#refusal}`,
          )
      },
      (error: unknown) => this.xmpp.failWith(error),
    )
  }

  protected onAnswer(el: Element): boolean {
    const { name } = el
    const xmlns = el.attrs['xmlns']
    if (xmlns === NS.SASL && this.#phase === 'external') {
      if (name === 'success') this.#loggedIn()
      else if (name === 'challenge') this.send(`<response xmlns='${NS.SASL}'>=</response>`)
      else if (name === 'failure') {
        const [condition] = el.children.flatMap(child => (typeof child === 'string' ? [] : [child.name]))
        this.#refusal = `, nor by its certificate: ${condition ?? 'failure'}`
        this.#dialback()
      } else return false
      return true
    }
    if (xmlns !== NS.SM) return false
    if (this.#phase === 'resuming' && name === 'resumed') this.#resumed(el)
    else if (this.#phase === 'resuming' && name === 'failed') this.#notResumed(el)
    else if (this.#phase === 'enabling' && name === 'enabled') this.#enabled(el)
    else if (this.#phase === 'enabling' && name === 'failed') this.#open('ping')
    else return false
    return true
  }

  #loggedIn(): void {
    this.#phase = 'restarted'
    this.method = 'external'
    this.xmpp.admitted()
    this.granted(this.pair)
    this.xmpp.restart()
    this.xmpp.initiate(this.pair.remote)
  }

  // ---- stream management

  #ready(features: Element): void {
    if (this.closing) return
    this.xmpp.admitted()
    const before = this.#before
    if (findChild(features, 'sm', NS.SM) === undefined) {
      before?.over()
      return this.#open('ping')
    }
    if (before?.resumeId === undefined) return this.#enable()
    this.#phase = 'resuming'
    this.send(serialize(xml('resume', { xmlns: NS.SM, previd: before.resumeId, h: String(before.h) })))
  }

  #enable(): void {
    this.#phase = 'enabling'
    this.send(`<enable xmlns='${NS.SM}' resume='true'/>`)
  }

  #enabled(el: Element): void {
    const id = el.attrs['id']
    this.talk!.resumeId = isTrue(el.attrs['resume']) && id ? id : undefined
    this.managed = true
    this.#open('sm')
  }

  #resumed(el: Element): void {
    const before = this.#before!
    const h = el.attrs['h'] ?? ''
    if (el.attrs['previd'] !== before.resumeId || !/^\d{1,10}$/.test(h)) {
      throw new StreamError('undefined-condition', 'that is not what was to be resumed')
    }
    for (const pair of this.talk!.sends) before.sends.add(pair)
    for (const pair of this.talk!.receives) before.receives.add(pair)
    this.talk = before
    this.managed = true
    this.#establish()
    before.resumed(this, Number(h))
    this.#outcome.resolve(before)
  }

  #notResumed(el: Element): void {
    const h = el.attrs['h']
    this.#before!.over(h !== undefined && /^\d{1,10}$/.test(h) ? Number(h) : undefined)
    this.#enable()
  }

  #open(how: 'sm' | 'ping'): void {
    this.#establish()
    this.talk!.open(this, how)
    this.#outcome.resolve(this.talk!)
  }

  #establish(): void {
    this.#phase = 'open'
    this.xmpp.established()
    const { method, bidi, managed: sm, ip, pair } = this
    const { protocol: tls } = this.xmpp.transport
    this.server.log.info(
      { domain: pair.remote, local: pair.local, method, tls, bidi, sm, ip },
      'connected to another server',
    )
  }

  // ---- pairs

  get mayAsk(): boolean {
    return this.bidi && this.talk !== undefined
  }

  mayRequest(pair: Pair): boolean {
    if (this.#phase === 'dialback') return pair === this.pair
    return this.#phase === 'open' && this.#moreThanOne && pair.remote === this.pair.remote
  }

  granted(pair: Pair): void {
    this.method ??= 'dialback'
    const talk = (this.talk ??= this.server.talks.begin())
    talk.sends.add(pair)
    if (this.bidi) talk.receives.add(pair)
  }

  admitted(): void {}
}
