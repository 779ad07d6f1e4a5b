import { setTimeout as pause } from 'node:timers/promises'
import type { HookEvent, Hooks } from '../core/hooks.ts'
import type { Logger } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import { type DestinationLimits, DestinationQueues } from '../core/queue/destinationqueue.ts'
import type { Entry } from '../core/queue/entry.ts'
import { Residents } from '../core/residents.ts'
import type { Router } from '../core/router.ts'
import type { Store } from '../storage/store.ts'
import type { IdGenerator } from '../util/ids.ts'
import { Lru } from '../util/lru.ts'
import { Conversation, RESUME_WITHIN, type Society } from './conversation.ts'
import { KnownPeers } from './known.ts'
import { Link, type LinkSurroundings } from './link.ts'
import { type Pair, pairFrom, pairKey } from './pair.ts'
import { PeerError } from './peererror.ts'
import { Pings } from './pings.ts'
import { Resumable } from './resumable.ts'
import { SeenRings } from './seen.ts'
import type { Talks } from './server.ts'
import type { Talk } from './wire.ts'

/** Links in memory with which nothing goes on, and bytes of them. */
const IDLE = 2000
const IDLE_BYTES = 16 * 1024 * 1024
/** Between the first attempts to reach one peer and the next after a start (ms). */
const APART = 10

/** What the configuration says; asked each time, as it may change. */
export interface LinkSettings {
  readonly limits: DestinationLimits
  /** The longest pause (ms) between two attempts to reach a peer. */
  readonly retryMax: number
  /** Ms without a connection until a peer counts as gone. */
  readonly goneAfter: number
}

/** Opens streams to other servers. */
export interface Connecting {
  /** A conversation in which we may send for a pair; or `before` again, resumed. Rejects with PeerError. */
  connect(pair: Pair, before: Talk | undefined, signal: AbortSignal): Promise<Talk>
}

export interface LinksOptions {
  readonly store: Store
  readonly router: Router
  readonly ids: IdGenerator
  readonly log: Logger
  readonly metrics: Metrics
  readonly settings: LinkSettings
  readonly now?: () => number
}

/** What is said with other servers: the links that send, and the conversations that both sides speak in. */
export class Links implements Society {
  readonly router: Router
  readonly pings: Pings
  readonly seen: SeenRings
  readonly resumable = new Resumable()
  readonly counters: Society['counters']
  readonly conversations = new Set<Conversation>()
  /** Set before the first stanza comes. */
  connector!: Connecting
  readonly #options: LinksOptions
  readonly #now: () => number
  readonly #queues: DestinationQueues
  readonly #known: KnownPeers
  readonly #links: Residents<string, Link>
  /** Those that are being loaded, until all who waited for them have had their turn. */
  readonly #coming = new Map<string, Promise<Link>>()
  readonly #around: LinkSurroundings
  /** Why peers could not be reached, as the log was told. */
  readonly #reasons = new Lru<string, string>(IDLE)
  readonly #stopping = new AbortController()

  constructor(options: LinksOptions) {
    const { store, router, ids, log, metrics, settings, now = Date.now } = options
    this.#options = options
    this.#now = now
    this.router = router
    this.pings = new Pings(ids)
    this.#known = new KnownPeers(store, now)
    this.seen = new SeenRings(store, this.#known)
    this.counters = {
      received: metrics.counter('s2s_messages_received_total', 'Messages that came from other servers'),
      again: metrics.counter(
        's2s_messages_again_total',
        'Messages among them that had come before, and were recognised',
      ),
    }
    const acknowledged = metrics.counter(
      's2s_messages_acknowledged_total',
      'Messages that other servers have acknowledged',
    )
    this.#queues = new DestinationQueues({
      store,
      table: 's2s_queue',
      ids,
      log,
      limits: () => settings.limits,
      bounced: (key, stanza, reason, entry) => {
        const hooks = this.#hooksOf(pairFrom(key))
        if (hooks?.has('peer_message_bounced')) hooks.notify('peer_message_bounced', eventOf(key, entry))
        // Not in the name of who is elsewhere, where that is all there is: of a host that is no more.
        if (router.destinations.has(stanza.from.domain)) void router.bounce(stanza, reason, { lasting: true })
      },
      acknowledged: (key, entry) => {
        acknowledged.value++
        const hooks = this.#hooksOf(pairFrom(key))
        if (hooks?.has('peer_message_accepted')) hooks.notify('peer_message_accepted', eventOf(key, entry))
      },
      now,
    })
    this.#around = {
      connect: async (pair, before, signal) => (await this.connector.connect(pair, before, signal)) as Conversation,
      shared: pair => this.#shared(pair),
      hears: pair => this.hears(pair),
      wasReached: remote => this.#known.has('reached', remote),
      reached: remote => {
        this.#known.note('reached', remote)
        this.#reasons.delete(remote)
      },
      failed: (pair, error) => this.#failed(pair, error),
      gone: pair => this.#hooksOf(pair)?.notify('peer_gone', pair),
      back: pair => this.#hooksOf(pair)?.notify('peer_back', pair),
      queued: (pair, entry) => {
        const hooks = this.#hooksOf(pair)
        if (hooks?.has('peer_message_queued')) hooks.notify('peer_message_queued', eventOf(pairKey(pair), entry))
      },
      bounce: (stanza, reason) => void router.bounce(stanza, reason),
      retryMax: () => settings.retryMax,
      goneAfter: () => settings.goneAfter,
      now,
    }
    this.#links = new Residents({
      load: async key => {
        const link = new Link(pairFrom(key), await this.#queues.open(key), this.#around)
        if (this.#stopping.signal.aborted) link.halt()
        return link
      },
      idle: link => link.idle,
      weight: link => link.weight,
      left: link => {
        this.#coming.delete(pairKey(link.pair))
        link.close()
      },
      max: IDLE,
      maxBytes: IDLE_BYTES,
    })
    metrics.gauge('s2s_queue_messages', 'Messages that wait for other servers', () => this.#queues.total.messages)
    metrics.gauge(
      's2s_queue_bytes',
      'Bytes of the messages that wait for other servers',
      () => this.#queues.total.bytes,
    )
    const count = (ours: boolean) => () =>
      [...this.conversations].filter(talk => talk.ours === ours && talk.connected).length
    metrics.gauge('s2s_streams_out', 'Streams that this server has begun with others', count(true))
    metrics.gauge('s2s_streams_in', 'Streams that other servers have begun', count(false))
  }

  // ---- links

  /** The link of a pair, with what waits for it. At once if it is in memory; rejects as the store does. */
  need(pair: Pair): Link | Promise<Link> {
    const key = pairKey(pair)
    // Who waited for it comes before who comes now: nobody's stanzas are overtaken.
    const coming = this.#coming.size === 0 ? undefined : this.#coming.get(key)
    if (coming !== undefined) return coming
    const link = this.#links.need(key) as Link | Promise<Link>
    if (!(link instanceof Promise)) return link
    this.#coming.set(key, link)
    const over = (): void => {
      if (this.#coming.get(key) === link) this.#coming.delete(key)
    }
    link.then(() => setImmediate(over), over)
    return link
  }

  /** Those that are in memory. */
  links(): IterableIterator<Link> {
    return this.#links.values()
  }

  /** Those of a domain elsewhere, or of one pair, with what waits in the store. */
  async ofRemote(remote: string, local?: string): Promise<Link[]> {
    const keys = new Set(await this.#queues.keys())
    for (const { pair } of this.#links.values()) keys.add(pairKey(pair))
    const wanted = [...keys]
      .map(pairFrom)
      .filter(pair => pair.remote === remote && (local ?? pair.local) === pair.local)
    return Promise.all(wanted.map(pair => this.need(pair)))
  }

  /** Looks for what waits from before a restart, and tries to deliver it. Resolves when that is under way. Never rejects. */
  async start(): Promise<void> {
    const { signal } = this.#stopping
    try {
      for (const key of await this.#queues.keys()) {
        if (signal.aborted) return
        const link = await this.need(pairFrom(key))
        link.wake()
        await pause(APART, undefined, { signal, ref: false })
      }
      await this.seen.sweep()
      await this.#known.sweep('reached', async () => {})
    } catch (error) {
      if (!signal.aborted)
        this.#options.log.error({ err: error }, 'what waits for other servers could not be looked for')
    }
  }

  /** Resolves when all that is queued is durable. */
  flush(): Promise<void> {
    return this.#queues.flush()
  }

  /** No attempts any more; what is under way is given so long (ms) to arrive. Resolves when all that is queued is durable. */
  async stop(timeout: number): Promise<void> {
    this.#stopping.abort()
    for (const link of this.#links.values()) link.halt()
    await Promise.all([...this.conversations].map(talk => talk.settled(timeout)))
    for (const talk of [...this.conversations]) talk.close()
    for (const link of this.#links.values()) link.close()
    await this.#queues.flush()
  }

  #failed({ local, remote }: Pair, { condition, text }: PeerError): void {
    const reason = `${condition}: ${text}`
    if (this.#reasons.get(remote) === reason) return
    this.#reasons.set(remote, reason)
    this.#options.log.warn({ domain: remote, local, condition, reason: text }, 'another server could not be reached')
  }

  #hooksOf({ local }: Pair): Hooks | undefined {
    return this.router.hosts.get(local)?.hooks
  }

  // ---- conversations

  /** For streams. */
  readonly talks: Talks = {
    begin: () => new Conversation(this),
    resume: (id, pair) => this.resume(id, pair),
    endOf: (id, pair) => this.resumable.endOf(id, pair),
    resumable: RESUME_WITHIN / 1000,
    offered: (pair, talk) => this.#offered(pair, talk as Conversation),
  }

  /** One that the peer began, for it comes back; when what came in it before is safe. */
  async resume(id: string, pair: Pair): Promise<Conversation | undefined> {
    const found = this.resumable.find(id, pair)
    if (found === undefined) return undefined
    found.detach()
    await found.ready()
    // Another connection may have been faster meanwhile.
    if (found.isOver) return undefined
    found.detach()
    return found
  }

  opened(talk: Conversation): void {
    this.conversations.add(talk)
    for (const pair of [...talk.receives]) this.#links.get(pairKey(pair))?.heard()
    if (!talk.ours) for (const pair of [...talk.sends]) this.#offered(pair, talk)
  }

  unanswered(talk: Conversation): void {
    const [pair] = talk.sends
    if (pair === undefined) return
    this.#failed(
      pair,
      new PeerError(
        'remote-server-timeout',
        `${pair.remote} takes what it is sent and answers nothing: can it reach ${pair.local}, by the DNS of that domain?`,
      ),
    )
  }

  ended(talk: Conversation): void {
    this.conversations.delete(talk)
  }

  /** A stream that the peer began may carry what we send for this pair (XEP-0288). */
  #offered(pair: Pair, talk: Conversation): void {
    if (talk.connected && !talk.ours) this.#links.get(pairKey(pair))?.offer(talk)
  }

  /** Whether the peer has a connection to us for a pair. */
  hears({ local, remote }: Pair): boolean {
    for (const talk of this.conversations) if (talk.connected && talk.receives.has(local, remote)) return true
    return false
  }

  /**
   * One with the peer that carries the pair too: a stream that it began and that goes both ways, or one for another domain of
   * ours on which it takes this one. An attempt that is under way for another domain of ours is waited for. Never rejects.
   */
  async #shared(pair: Pair): Promise<Conversation | undefined> {
    for (const link of this.#links.values()) {
      if (link.pair.remote === pair.remote && link.pair.local !== pair.local) await link.attempted
    }
    for (const talk of this.conversations) {
      if (talk.connected && talk.sends.has(pair.local, pair.remote)) return talk
    }
    for (const talk of this.conversations) {
      if (talk.connected && talk.ours && talk.sends.hasRemote(pair.remote) && (await talk.carries(pair))) return talk
    }
    return undefined
  }
}

function eventOf(key: string, { about, id }: Entry): HookEvent<'peer_message_queued'> {
  return { about: about!, ...pairFrom(key), id }
}
