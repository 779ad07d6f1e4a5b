/**
 * Two servers in this process, each of which takes the other for one elsewhere. Between them is a link, which tests cut as they
 * like; with HERMOD_TEST_OVER=streams, streams as between any two servers (test/protocol/federation-streams.test.ts).
 */
import type { TestContext } from 'node:test'
import { keepsForOthers } from '../../src/core/delivery.ts'
import { OBSERVE } from '../../src/core/hooks.ts'
import type { MessageAbout } from '../../src/core/queue/entry.ts'
import type { Waiting } from '../../src/core/queue/queue.ts'
import type { Destination, Source } from '../../src/core/router.ts'
import { parseElement } from '../../src/xml/index.ts'
import { type StanzaCondition, StanzaError } from '../../src/xmpp/errors.ts'
import { isInstantMessage, Stanza } from '../../src/xmpp/stanza.ts'
import { faultyStore } from './faultystore.ts'
import { Net } from './federated.ts'
import { freeAddress } from './loopback.ts'
import type { RawClient } from './rawclient.ts'
import { type Matches, nothing as nothingHere } from './talk.ts'
import { type TestOptions, TestServer, testModule } from './testserver.ts'

interface Sent {
  readonly text: string
  /** Of a message that is kept until the other server has it. */
  readonly waiting: Waiting | undefined
}

/** What one server sends to the other: as text, in order, each stanza when the one before it was taken; or by its streams. */
class Way implements Destination {
  readonly name = ''
  readonly filter = undefined
  readonly #from: () => TestServer
  readonly #to: () => TestServer
  /** By which it goes on, where that is not the link itself. */
  streams: Destination | undefined
  #sent: Sent[] = []
  #busy = false
  #held = false
  #isUp = true
  /** Nothing gets through: what is no message comes back with this condition; undefined loses it without a word. */
  #broken: { readonly condition: StanzaCondition | undefined } | undefined

  constructor(from: () => TestServer, to: () => TestServer) {
    this.#from = from
    this.#to = to
  }

  deliver(stanza: Stanza, source: Source = {}): void | Promise<void> {
    if (this.streams !== undefined && !this.#held) return this.streams.deliver(stanza, source)
    const { domain } = stanza.to!
    if (!this.#to().server.router.destinations.has(domain)) throw new StanzaError('remote-server-not-found')
    const isKept = keepsForOthers(stanza)
    if (this.#broken !== undefined && !isKept) {
      if (this.#broken.condition === undefined) return
      throw new StanzaError(this.#broken.condition)
    }
    const text = stanza.toString()
    const waiting = isKept
      ? { id: this.#from().server.ids.ordered(), bytes: Buffer.from(text), about: aboutOf(stanza) }
      : undefined
    this.#sent.push({ text, waiting })
    void this.#pass()
  }

  /** As if a client of the server had sent it. */
  inject(stanza: Stanza): void {
    if (this.streams === undefined) void this.deliver(stanza)
    else void this.#to().server.router.route(stanza)
  }

  async waiting(local: string, remote: string, limit: number): Promise<Waiting[]> {
    const there = await this.streams?.waiting?.(local, remote, limit)
    return [...(there ?? []), ...this.#sent.flatMap(({ waiting }) => waiting ?? [])]
  }

  break(condition: StanzaCondition | undefined): void {
    this.#broken = { condition }
    this.#held = true
  }

  mend(): void {
    this.#broken = undefined
    this.#held = false
    void this.#pass()
  }

  /** What has waited too long. */
  giveUp(): void {
    const { router } = this.#from().server
    for (const { text, waiting } of this.#sent.splice(0)) {
      if (waiting === undefined) continue
      this.#tell('peer_message_bounced', waiting)
      void router.bounce(Stanza.of(parseElement(text)), new StanzaError('remote-server-timeout'), { lasting: true })
    }
  }

  /** Whether the server that it goes to runs: until it does, what is sent waits. */
  set isUp(isUp: boolean) {
    this.#isUp = isUp
    void this.#pass()
  }

  async #pass(): Promise<void> {
    if (this.#busy) return
    this.#busy = true
    // In a turn of its own, as what comes over a network does.
    await null
    while (!this.#held && this.#isUp) {
      const sent = this.#sent.shift()
      if (sent === undefined) break
      const stanza = Stanza.of(parseElement(sent.text))
      if (this.streams !== undefined) await this.streams.deliver(stanza, {})
      else {
        await this.#to().server.router.route(stanza)
        if (sent.waiting !== undefined) this.#tell('peer_message_accepted', sent.waiting)
      }
    }
    this.#busy = false
  }

  #tell(what: 'peer_message_accepted' | 'peer_message_bounced', { id, about }: Waiting): void {
    const [local, remote] = [this.#from().host, this.#to().host]
    this.#from().server.host(local)!.hooks.notify(what, { id, about: about!, local, remote })
  }
}

function aboutOf({ from, to, id, el }: Stanza): MessageAbout {
  const messageId = id !== undefined && isInstantMessage(el) ? id : ''
  return { from: from.bare.toString(), to: to!.bare.toString(), messageId }
}

/** Options by which a server finds the other one, and is found: at an address that no other process takes. */
function overStreams(net: Net, which: 'capulet' | 'montague', options: TestOptions): Promise<TestOptions> {
  const ip = freeAddress()
  const domain = `${which}.example`
  net.name(ip, domain, `pubsub.${domain}`, `upload.${domain}`)
  return net.options(ip, [domain], options)
}

/** capulet.example and montague.example. */
export class TwoServers {
  capulet!: TestServer
  montague!: TestServer
  /** Those that run. */
  readonly #running = new Set<TestServer>()
  readonly #options: { readonly capulet: TestOptions; readonly montague: TestOptions }
  readonly #ways = {
    capulet: new Way(
      () => this.capulet,
      () => this.montague,
    ),
    montague: new Way(
      () => this.montague,
      () => this.capulet,
    ),
  }

  private constructor(options: { capulet: TestOptions; montague: TestOptions }) {
    this.#options = options
  }

  /** Both stop with the test. */
  static async start(
    t: TestContext,
    { capulet = {}, montague = {} }: { capulet?: TestOptions; montague?: TestOptions } = {},
  ): Promise<TwoServers> {
    const net = process.env['HERMOD_TEST_OVER'] === 'streams' ? await Net.start(t) : undefined
    const kept = (which: 'capulet' | 'montague', options: TestOptions): TestOptions | Promise<TestOptions> => {
      const given = { store: faultyStore().store, hosts: [`${which}.example`], ...options }
      return net === undefined ? given : overStreams(net, which, given)
    }
    const two = new TwoServers({
      capulet: await kept('capulet', capulet),
      montague: await kept('montague', montague),
    })
    t.after(async () => {
      await Promise.all(Array.from(two.#running, server => server.stop()))
    })
    await two.#start('capulet')
    await two.#start('montague')
    return two
  }

  async #start(which: 'capulet' | 'montague'): Promise<void> {
    const options = this.#options[which]
    // Before anything goes out: sessions of before a restart ask at once what has become of their contacts.
    const way = this.#ways[which]
    const mod_link = testModule('mod_link', ({ host: { router } }) => {
      if (options.s2s !== undefined) way.streams = router.fallback
      router.fallback = way
    })
    this[which] = await TestServer.start({ ...options, extra: [...(options.extra ?? []), mod_link] })
    this.#running.add(this[which])
  }

  /** Other options of modules from here on; the rest stays as it is. */
  async reload(which: 'capulet' | 'montague', modules: TestOptions['modules']): Promise<void> {
    await this[which].reload({ ...this.#options[which], ...(modules && { modules }) })
  }

  /** The server ends in order, and another one starts on what it has stored. */
  async restart(which: 'capulet' | 'montague'): Promise<void> {
    const there = this.#ways[which === 'capulet' ? 'montague' : 'capulet']
    await this[which].stop()
    this.#running.delete(this[which])
    there.isUp = false
    await this.#start(which)
    there.isUp = true
  }

  /**
   * No connection between them: messages wait for {@link mend}, the rest comes back with this error; or is lost, without
   * one.
   */
  cut(condition?: StanzaCondition): void {
    for (const way of Object.values(this.#ways)) way.break(condition)
  }

  mend(): void {
    for (const way of Object.values(this.#ways)) way.mend()
  }

  /** Messages that wait have waited too long: they come back. */
  giveUp(): void {
    for (const way of Object.values(this.#ways)) way.giveUp()
  }

  /** A stanza that a server sends though nobody there has: of a hostile one. */
  send(xml: string): void {
    const stanza = Stanza.of(parseElement(xml))
    this.#ways[stanza.to!.domain.endsWith('capulet.example') ? 'montague' : 'capulet'].inject(stanza)
  }

  /** Each server learns that the other is gone for long, or back. */
  tell(hook: 'peer_gone' | 'peer_back'): void {
    const [capulet, montague] = ['capulet.example', 'montague.example']
    this.capulet.server.host(capulet)!.hooks.notify(hook, { local: capulet, remote: montague })
    this.montague.server.host(montague)!.hooks.notify(hook, { local: montague, remote: capulet })
  }

  /** Everything that these clients have sent so far has come to both servers, and what either said to it has come back. */
  async settled(...clients: RawClient[]): Promise<void> {
    for (const client of clients) {
      await client.ping()
      for (let round = 0; round < 2; round++) {
        for (const domain of ['capulet.example', 'montague.example']) {
          await client.request('get', "<ping xmlns='urn:xmpp:ping'/>", domain)
        }
      }
    }
  }

  /** Nothing that matches has come to `client` of what `senders` have sent so far, wherever they are. */
  async nothing(client: RawClient, matches: Matches, ...senders: RawClient[]): Promise<void> {
    await this.settled(...senders, client)
    await nothingHere(client, matches)
  }

  /** What comes to a server from the other one from now on, in words: `presence probe FROM TO`. */
  arrivals(which: 'capulet' | 'montague'): string[] {
    const lines: string[] = []
    const host = this[which].server.host(this[which].host)!
    const note = ({ stanza: { kind, type, from, to } }: { stanza: Stanza }): void => {
      if (from.domain !== host.name && to!.domain === host.name) lines.push(`${kind} ${type} ${from} ${to}`)
    }
    host.hooks.add('test', 'filter_packet', note, { order: OBSERVE })
    return lines
  }
}
