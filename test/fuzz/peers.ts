/**
 * Another server that sends whatever it likes, over an authenticated stream, in the name of its domain and of whoever it says
 * lives there; while a user here asks again and again whether the server is still there.
 */
import type { TestContext } from 'node:test'
import { type Element, NS, setAttr } from '../../src/xml/index.ts'
import { type Chance, chance } from '../support/chance.ts'
import { Net } from '../support/federated.ts'
import { freeAddress } from '../support/loopback.ts'
import { NS_BIDI, NS_SM, RawPeer } from '../support/rawpeer.ts'
import type { XmlElement } from '../support/rawxml.ts'
import { available } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'
import { Hostile, write } from './generate.ts'
import { type Vocabulary, vocabulary } from './vocabulary.ts'

interface PeerCampaignOptions {
  seed: number
  /** Ms. */
  duration: number
  /** Only this batch, to see again what it did. */
  batch?: number
  /** The longest that an answer may take (ms). */
  patience: number
}

interface PeerCampaignResult {
  batches: number
  elements: number
  connections: number
  /** Stanzas that came back. */
  answers: number
  /** What is wrong, each in words. */
  failures: string[]
}

const THEM = 'peer.example'
const PEOPLE = [THEM, `eve@${THEM}`, `eve@${THEM}/x`, `friend@${THEM}`, `friend@${THEM}/y`, `hall@${THEM}/nick`]
const HERE = ['localhost', 'victim@localhost', 'victim@localhost/r1', 'victim@localhost/gone', 'nobody@localhost']
/** Error and fatal (pino). */
const ERROR = 50
/** Stanzas that one may bring back, on the whole: the victim has few clients, and no contacts. */
const MOST_ANSWERS = 3

/** Stands in what is for the victim alone, and in no word that a peer knows. */
const MARK = 'kept-for-oneself'
/** What the victim keeps and no peer may change. */
const KEPT = [
  "<query xmlns='jabber:iq:roster'/>",
  "<blocklist xmlns='urn:xmpp:blocking'/>",
  "<vCard xmlns='vcard-temp'/>",
  "<query xmlns='jabber:iq:private'><note xmlns='urn:note'/></query>",
]

export async function peerCampaign(t: TestContext, options: PeerCampaignOptions): Promise<PeerCampaignResult> {
  const campaign = new PeerCampaign(t, options, await vocabulary())
  return campaign.run()
}

class PeerCampaign {
  readonly #t: TestContext
  readonly #options: PeerCampaignOptions
  readonly #words: Vocabulary
  readonly #result: PeerCampaignResult = { batches: 0, elements: 0, connections: 0, answers: 0, failures: [] }
  readonly #ip = freeAddress()
  #net!: Net
  #server!: TestServer
  /** Stanzas on this stream. */
  #came = 0

  constructor(t: TestContext, options: PeerCampaignOptions, words: Vocabulary) {
    this.#t = t
    this.#options = options
    this.#words = words
  }

  async run(): Promise<PeerCampaignResult> {
    const result = this.#result
    const until = performance.now() + this.#options.duration
    this.#net = await Net.start(this.#t)
    const log = { write: (line: string) => this.#logged(line) }
    const config = { loglevel: 'warn' }
    this.#server = await this.#net.server(this.#ip, ['localhost'], { logTo: log, config, http: {} })
    const [victim, bystander] = [await this.#client('victim', 'r1'), await this.#client('bystander', 'b')]
    await victim.request('set', `<query xmlns='jabber:iq:private'><note xmlns='urn:note'>${MARK}</note></query>`)
    await victim.request('set', "<vCard xmlns='vcard-temp'><FN>Victim</FN></vCard>")
    await victim.request('set', `<block xmlns='urn:xmpp:blocking'><item jid='${MARK}@localhost'/></block>`)
    await victim.request('set', `<query xmlns='jabber:iq:roster'><item jid='${MARK}@localhost'/></query>`)
    const kept = await this.#kept(victim)
    let peer: RawPeer | undefined
    for (let number = 0; performance.now() < until && result.failures.length < 20; number++) {
      const { batch, seed, patience } = this.#options
      if (batch !== undefined && number > batch) break
      if (batch !== undefined && number < batch) continue
      const luck = chance((seed * 1_000_003 + number) >>> 0)
      peer ??= await this.#peer(luck)
      const elements = this.#batch(luck)
      result.batches++
      result.elements += elements.length
      const open = await this.#talk(peer, elements, number)
      if (!open) peer = undefined
      await bystander.ping(patience).catch(() => this.#fail(`batch ${number}: the bystander was not answered`))
      if (number % 20 === 0 && (await this.#kept(victim)) !== kept) {
        this.#fail(`up to batch ${number} something of the victim’s has changed`)
        break
      }
    }
    if ((await this.#kept(victim)) !== kept) this.#fail('something of the victim’s has changed')
    if (result.answers > MOST_ANSWERS * result.elements) this.#fail(`${result.answers} stanzas came back`)
    peer?.cut()
    return result
  }

  async #client(user: string, resource: string) {
    const client = await this.#server.client(user, { resource })
    client.options.inbox = false
    client.on('violation', what => this.#fail(`${user} got what it should not: ${what}`))
    await available(client)
    return client
  }

  #fail(what: string): void {
    this.#result.failures.push(what)
  }

  #logged(line: string): void {
    if (!line.startsWith('{')) return
    const { level } = JSON.parse(line) as { level: number | string }
    if (typeof level === 'number' ? level >= ERROR : ['error', 'fatal'].includes(level))
      this.#fail(`in the log: ${line}`)
  }

  async #kept(victim: Awaited<ReturnType<TestServer['client']>>): Promise<string> {
    const answers: XmlElement[] = []
    for (const payload of KEPT) answers.push((await victim.request('get', payload)).children[0]!)
    return JSON.stringify(answers)
  }

  /** A stream on which both sides may send, authenticated by certificate. */
  async #peer(luck: Chance): Promise<RawPeer> {
    this.#result.connections++
    this.#came = 0
    const peer = await RawPeer.connect({ ip: this.#ip })
    this.#t.after(() => peer.cut())
    await peer.encrypt(THEM, 'localhost', this.#net.ca.issue([THEM]))
    peer.write(`<bidi xmlns='${NS_BIDI}'/>`)
    await peer.external(THEM, 'localhost')
    peer.write(`<enable xmlns='${NS_SM}'${luck.one(0.5) ? " resume='true'" : ''}/>`)
    return peer
  }

  /** Stanzas, and what else may stand between them; now and then from or to somebody who is not this stream’s business. */
  #batch(luck: Chance): string[] {
    const hostile = new Hostile(this.#words, luck)
    return Array.from({ length: luck.int(1, 8) }, () => {
      const el = hostile.element()
      if (['message', 'presence', 'iq'].includes(el.name)) {
        if (luck.one(0.997)) setAttr(el.attrs, 'from', luck.pick(PEOPLE))
        if (luck.one(0.997)) setAttr(el.attrs, 'to', luck.pick(HERE))
        if (el.attrs['xmlns'] === NS.CLIENT) delete el.attrs['xmlns']
        if (el.name === 'presence' && luck.one(0.7)) this.#relate(luck, el)
      }
      return write(el)
    })
  }

  #relate(luck: Chance, el: Element): void {
    const types = ['subscribe', 'subscribed', 'unsubscribe', 'unsubscribed', 'probe', 'unavailable', 'error', undefined]
    const type = luck.pick(types)
    if (type === undefined) delete el.attrs['type']
    else el.attrs['type'] = type
  }

  /** Sends, and reads until all of it is acknowledged; false where the stream has ended. */
  async #talk(peer: RawPeer, elements: readonly string[], number: number): Promise<boolean> {
    for (const element of elements) peer.write(element)
    peer.write(`<r xmlns='${NS_SM}'/>`)
    for (;;) {
      let heard: Awaited<ReturnType<RawPeer['next']>>
      try {
        heard = await peer.next(this.#options.patience)
      } catch {
        this.#fail(`batch ${number} was neither acknowledged nor its stream closed: ${elements.join('\n    ')}`)
        peer.cut()
        return false
      }
      if ('end' in heard) {
        peer.cut()
        return false
      }
      if (!('el' in heard)) continue
      const { el } = heard
      if (el.ns === NS_SM && el.name === 'a') return true
      // What is not acknowledged comes again on the next stream.
      if (el.ns === NS_SM && el.name === 'r') peer.write(`<a xmlns='${NS_SM}' h='${this.#came}'/>`)
      if (!['message', 'presence', 'iq'].includes(el.name)) continue
      this.#came++
      this.#result.answers++
      this.#check(el, number)
    }
  }

  #check(el: XmlElement, number: number): void {
    const { from = '', to = '' } = el.attrs
    const domain = (jid: string) => jid.split('/')[0]!.split('@').at(-1)!
    if (!/^(.+\.)?localhost$/.test(domain(from)) || domain(to) !== THEM) {
      this.#fail(`batch ${number} was answered from ${from} to ${to}`)
    }
    if (JSON.stringify(el).includes(MARK)) {
      this.#fail(`batch ${number} was told what is the victim’s alone: ${JSON.stringify(el)}`)
    }
  }
}
