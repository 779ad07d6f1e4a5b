/** Servers whose links and conversations meet on connections that a test can cut, hold back and refuse. */
import type { Host } from '../../../src/core/host.ts'
import { Metrics } from '../../../src/core/metrics.ts'
import { Router } from '../../../src/core/router.ts'
import type { Conversation } from '../../../src/s2s/conversation.ts'
import { Federation } from '../../../src/s2s/federation.ts'
import type { Link } from '../../../src/s2s/link.ts'
import { Links } from '../../../src/s2s/links.ts'
import type { Pair } from '../../../src/s2s/pair.ts'
import { PeerError } from '../../../src/s2s/peererror.ts'
import type { StreamInfo, Wire } from '../../../src/s2s/wire.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import { IdGenerator } from '../../../src/util/ids.ts'
import { NS, parseElement } from '../../../src/xml/index.ts'
import type { StanzaCondition, StreamError } from '../../../src/xmpp/errors.ts'
import { isStanzaName, Stanza } from '../../../src/xmpp/stanza.ts'
import { faultyStore } from '../../support/faultystore.ts'
import { FakeSession, host as makeHost, silent } from '../core/support.ts'

/** How two servers speak with each other. */
export interface Manner {
  readonly sm: boolean
  readonly bidi: boolean
}

/** One end of a connection: what it sends arrives at the other in order, some turns later, unless that holds still. */
class End implements Wire {
  readonly maxBytes = Number.POSITIVE_INFINITY
  readonly info: StreamInfo
  readonly talk: Conversation
  other!: End
  /** What came and was not read. */
  readonly #inbox: string[] = []
  readonly #net: Net
  #reading = false
  #open = true
  /** Everything that was ever sent. */
  readonly sent: string[] = []
  taken = true

  constructor(net: Net, talk: Conversation, direction: 'in' | 'out', { sm, bidi }: Manner) {
    this.#net = net
    this.talk = talk
    this.info = { direction, ip: '127.0.0.1', port: 5269, tls: 'TLSv1.3', method: 'external', bidi, sm, since: 0 }
  }

  get open(): boolean {
    return this.#open
  }

  get backlog(): number {
    return this.taken ? 0 : this.sent.reduce((sum, { length }) => sum + length, 0)
  }

  send(data: string | Buffer): void {
    if (!this.#open) return
    this.sent.push(data.toString())
    this.other.#inbox.push(data.toString())
    void this.other.read()
  }

  /** Reads what came, one after the other. */
  async read(): Promise<void> {
    if (this.#reading) return
    this.#reading = true
    while (this.#open && this.#inbox.length > 0) {
      await this.#net.turn(this)
      if (!this.#open) break
      const text = this.#inbox.shift()!
      if (this.#net.poison !== undefined && text.includes(this.#net.poison)) {
        this.break('not well-formed')
        break
      }
      const el = parseElement(text)
      if (isStanzaName(el.name)) await this.talk.receive(Stanza.of(el))
      else if (el.name === 'r') this.talk.requested()
      else this.talk.acknowledged(el)
    }
    this.#reading = false
  }

  fail(error: StreamError): void {
    this.break(error.message)
  }

  abandon(reason: string): void {
    this.break(reason)
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    const { other } = this
    const wasOpen = other.#open
    other.#open = false
    this.talk.over()
    if (wasOpen) other.talk.over()
    this.#net.ends.delete(this)
    this.#net.ends.delete(other)
  }

  /** The connection is gone, for both: what was not read is lost. */
  break(reason: string): void {
    for (const end of [this, this.other]) {
      if (!end.#open) continue
      end.#open = false
      this.#net.ends.delete(end)
      end.talk.parted(end, reason)
    }
  }

  /** This side knows nothing any more: it has crashed. */
  vanish(): void {
    this.#open = false
    this.#net.ends.delete(this)
    this.other.break('the connection broke')
  }

  authenticate(pair: Pair): Promise<boolean> {
    if (!this.#net.sharing) return Promise.resolve(false)
    this.talk.sends.add(pair)
    this.other.talk.receives.add({ local: pair.remote, remote: pair.local })
    return Promise.resolve(true)
  }
}

/** What lies between servers. */
export class Net {
  readonly ends = new Set<End>()
  readonly sides = new Map<string, Side>()
  readonly manner: Manner
  /** Why nobody is reached now. */
  down: StanzaCondition | undefined
  /** Streams may be used for further pairs. */
  sharing = false
  /** What nobody bears to read: the connection breaks. */
  poison: string | undefined
  /** Attempts to reach somebody so far. */
  attempts = 0
  /** Those who read nothing now, by domain. */
  readonly still = new Set<string>()
  #woken = Promise.withResolvers<void>()

  constructor(manner: Manner) {
    this.manner = manner
  }

  /** One more piece is read. */
  async turn(end: End): Promise<void> {
    const [pair] = [...end.talk.receives, ...end.talk.sends]
    await new Promise(resolve => setImmediate(resolve))
    while (this.still.has(pair!.local)) await this.#woken.promise
  }

  wake(): void {
    this.still.clear()
    this.#woken.resolve()
    this.#woken = Promise.withResolvers()
  }

  cut(): void {
    for (const end of [...this.ends]) end.break('the connection broke')
  }

  /** As a stream does it: authenticated, resumed or begun. */
  async connect(from: Side, pair: Pair, before: Conversation | undefined, signal: AbortSignal): Promise<Conversation> {
    this.attempts++
    const ours = from.links
    await new Promise(resolve => setImmediate(resolve))
    const to = this.sides.get(pair.remote)
    if (this.down !== undefined || to === undefined) {
      throw new PeerError(this.down ?? 'remote-server-not-found', `${pair.remote} cannot be reached`)
    }
    const theirs = { local: pair.remote, remote: pair.local }
    const id = before?.resumeId
    const answering = to.links
    const found = id === undefined ? undefined : await answering.resume(id, theirs)
    // Neither of them has crashed meanwhile.
    const stands = (): boolean => from.links === ours && to.links === answering
    if (!stands()) throw new PeerError('remote-server-timeout', 'the connection broke')
    if (before?.isParted === true && found !== undefined && !signal.aborted) {
      const [h, told] = [before.h, found.h]
      const [end, other] = this.#cable(before, found)
      found.resumed(other, h)
      before.resumed(end, told)
      return before
    }
    before?.over(id === undefined ? undefined : answering.resumable.endOf(id, theirs))
    const talk = ours.talks.begin() as Conversation
    const answer = answering.talks.begin() as Conversation
    talk.sends.add(pair)
    answer.receives.add(theirs)
    if (this.manner.bidi) {
      talk.receives.add(pair)
      answer.sends.add(theirs)
    }
    if (this.manner.sm) {
      const resumeId = to.ids.random()
      talk.resumeId = resumeId
      answer.resumeId = resumeId
    }
    const [end, other] = this.#cable(talk, answer)
    const how = this.manner.sm ? 'sm' : 'ping'
    answer.open(other, how)
    await new Promise(resolve => setImmediate(resolve))
    if (signal.aborted || !stands()) end.break('the attempt was given up')
    signal.throwIfAborted()
    if (!end.open) throw new PeerError('remote-server-timeout', 'the connection broke')
    talk.open(end, how)
    return talk
  }

  #cable(talk: Conversation, answer: Conversation): [End, End] {
    const end = new End(this, talk, 'out', this.manner)
    const other = new End(this, answer, 'in', this.manner)
    end.other = other
    other.other = end
    this.ends.add(end).add(other)
    return [end, other]
  }
}

export const LIMITS = { messages: 1000, bytes: 1e7, senderMessages: 1000, senderBytes: 1e7, lifetime: 3_600_000 }

/** A server of one host, over a store that outlives it. */
export class Side {
  readonly name: string
  readonly net: Net
  readonly ids = new IdGenerator()
  disk = faultyStore()
  host!: Host
  links!: Links
  limits = LIMITS
  retryMax = 4
  goneAfter = 60_000
  allowed = true
  readonly #inner = openMemoryStore()
  readonly #more: readonly string[]

  /** @param more further domains of it */
  constructor(net: Net, name: string, more: readonly string[] = []) {
    this.net = net
    this.name = name
    this.#more = more
    for (const domain of [name, ...more]) net.sides.set(domain, this)
    this.begin()
  }

  begin(): void {
    const { name, ids } = this
    this.disk = faultyStore({ inner: this.#inner })
    const { store } = this.disk
    const router = new Router(silent)
    this.host = makeHost({ name, store, ids, router })
    for (const other of this.#more) makeHost({ name: other, store, ids, router })
    const side = this
    this.links = new Links({
      store,
      router,
      ids,
      log: silent,
      metrics: new Metrics(),
      settings: {
        get limits() {
          return side.limits
        },
        get retryMax() {
          return side.retryMax
        },
        get goneAfter() {
          return side.goneAfter
        },
      },
    })
    const { links, net } = this
    links.connector = {
      connect: (pair, before, signal) => net.connect(this, pair, before as Conversation | undefined, signal),
    }
    router.fallback = new Federation(links, () => this.allowed)
  }

  /** The process dies, and another begins: what is durable is all that is left. */
  async crash(): Promise<void> {
    const { troubles } = this.disk
    for (const link of this.links.links()) link.halt()
    const mine = [...this.net.ends].filter(end => this.links.conversations.has(end.talk))
    troubles.failWrites = true
    troubles.failDeletes = true
    this.links.connector = { connect: () => new Promise(() => {}) }
    this.begin()
    for (const end of mine) end.vanish()
    troubles.writes.open()
    await this.links.start()
  }

  /** A client of a user here, available. */
  async client(user: string): Promise<FakeSession> {
    const account = (await this.host.account(user))!
    const session = new FakeSession(account, 'r', 0)
    await account.queue.attach(session)
    return session
  }

  async link(remote: string, local = this.name): Promise<Link> {
    return await this.links.need({ local, remote })
  }

  route(xml: string): void | Promise<void> {
    return this.host.router.route(Stanza.of(parseElement(xml)))
  }
}

/** What wires carried, without what is said in between. */
export function stanzasOf(net: Net): string[] {
  return [...net.ends].flatMap(({ sent }) => sent.filter(xml => !xml.includes(NS.SM)))
}

export function bodyIn(xml: string): string | undefined {
  return /<body>(.*?)<\/body>/.exec(xml)?.[1]
}
