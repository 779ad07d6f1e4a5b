import { delayElement } from '../core/delivery.ts'
import type { DestinationQueue } from '../core/queue/destinationqueue.ts'
import type { Entry, Holder, Origin } from '../core/queue/entry.ts'
import { orderedTime } from '../util/ids.ts'
import { parseElement, parseHead } from '../xml/index.ts'
import { Jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import type { Connection } from './connection.ts'

/** What the messages of a component need of it. */
interface Owner {
  readonly name: string
  readonly connections: readonly Connection[]
  /** Whose share a sender is; undefined where nobody is connected. */
  shareOf(sender: () => Jid | undefined): Connection | undefined
}

/**
 * The messages for one component: they wait in a durable queue while it is away, and leave it when a connection has confirmed
 * them. For the queue all connections are one that takes them; here they get their shares.
 */
export class Backlog implements Holder {
  readonly queue: DestinationQueue
  readonly #owner: Owner
  readonly #queued: (entry: Entry) => void
  readonly #now: () => number

  constructor(owner: Owner, queue: DestinationQueue, queued: (entry: Entry) => void, now: () => number) {
    this.queue = queue
    this.#queued = queued
    this.#owner = owner
    this.#now = now
  }

  /** Throws StanzaError where too much waits. */
  push(stanza: Stanza, origin: Origin | undefined): void {
    const taker = this.#owner.connections.length > 0 ? this : undefined
    this.#queued(this.queue.push(stanza, this.#owner.name, origin, taker))
  }

  take(entry: Entry, late: boolean): void {
    const connection = this.#owner.shareOf(() => Jid.parse(entry.about?.from ?? parseHead(entry.bytes).attrs['from']!))
    if (connection === undefined) return this.queue.release(this, [entry])
    connection.give(entry, late ? this.#delayed(entry) : entry.bytes)
  }

  /** XEP-0203. */
  #delayed(entry: Entry): string | Buffer {
    const stanza = Stanza.of(parseElement(entry.bytes))
    const delay = delayElement(stanza, this.#owner.name, orderedTime(entry.id) ?? this.#now())
    return delay === undefined ? entry.bytes : stanza.changed(el => el.append(delay)).toString()
  }

  get full(): boolean {
    return this.#owner.connections.every(({ outflow }) => outflow.full)
  }

  async room(): Promise<boolean> {
    const { connections } = this.#owner
    if (connections.length === 0) return false
    return (await Promise.race(connections.map(({ outflow }) => outflow.room()))) || connections.length > 0
  }

  committed(): void {
    for (const { outflow } of this.#owner.connections) outflow.due()
  }

  /** A connection is there. */
  joined(): void {
    void this.queue.attach(this)
  }

  /** A connection is gone: what it has not confirmed is for others, or waits. */
  left(entries: readonly Entry[]): void {
    if (this.#owner.connections.length === 0) this.queue.detach(this)
    this.queue.release(this, entries)
  }

  /** A connection has closed its stream in order: it has what it read. */
  async closed(entries: readonly Entry[], hasRead: Promise<boolean>): Promise<void> {
    if (this.#owner.connections.length === 0) this.queue.detach(this)
    if (entries.length === 0) return
    if (!(await hasRead)) return this.queue.release(this, entries)
    for (const entry of entries) this.queue.confirm(entry, this)
  }
}
