import { delayElement } from '../core/delivery.ts'
import type { DestinationQueue } from '../core/queue/destinationqueue.ts'
import type { Entry, Holder, Origin } from '../core/queue/entry.ts'
import { orderedTime } from '../util/ids.ts'
import { parseElement, parseHead } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import type { Connection } from './connection.ts'

/** Stanzas that are not queued, and characters of them, that wait behind messages that are. */
const MAX_HELD = 1000
const MAX_HELD_TEXT = 1024 * 1024

/** What the messages of a component need of it. */
interface Owner {
  readonly name: string
  readonly connections: readonly Connection[]
  /** Whose share a sender is; undefined where nobody is connected. */
  shareOf(sender: () => Jid | undefined): Connection | undefined
  /** Sends what is not queued, or refuses it. Never throws. */
  pass(stanza: Stanza): void
}

/**
 * The messages for one component: they wait in a durable queue while it is away, and leave it when a connection has confirmed
 * them. For the queue all connections are one that takes them; here they get their shares.
 */
export class Backlog implements Holder {
  readonly queue: DestinationQueue
  readonly #owner: Owner
  readonly #queued: (entry: Entry) => void
  /** What came after messages that are still to be read from the store: it is sent in its place (RFC 6120 10.1). */
  #held: { readonly stanza: Stanza; readonly after: string }[] = []
  #heldText = 0
  /** The newest message. */
  #last = ''
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
    const entry = this.queue.push(stanza, this.#owner.name, origin, taker)
    this.#last = entry.id
    this.#queued(entry)
  }

  /** Whether a stanza waits for its place behind what is queued. Throws StanzaError where too much waits. */
  holds(stanza: Stanza): boolean {
    if (this.#held.length === 0 && this.queue.isLive(this)) return false
    const { length } = stanza.toString()
    if (this.#held.length >= MAX_HELD || this.#heldText + length > MAX_HELD_TEXT) {
      throw new StanzaError('resource-constraint', `too much waits for ${this.#owner.name}; try again later`)
    }
    this.#held.push({ stanza, after: this.#last })
    this.#heldText += length
    return true
  }

  /** What came before a message, or all of it. */
  #sendHeld(before?: string): void {
    while (this.#held.length > 0) {
      const { stanza, after } = this.#held[0]!
      if (before !== undefined && after >= before) return
      this.#held.shift()
      this.#heldText -= stanza.toString().length
      this.#owner.pass(stanza)
    }
  }

  /** The component has got all there was, or is gone. */
  #goOn(): void {
    if (this.#held.length > 0 && (this.#owner.connections.length === 0 || this.queue.isLive(this))) this.#sendHeld()
  }

  /** A connection has a message. */
  confirm(entry: Entry): void {
    this.queue.confirm(entry, this)
    this.#goOn()
  }

  take(entry: Entry, late: boolean): void {
    if (this.#held.length > 0) this.#sendHeld(entry.id)
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
    void this.queue.attach(this).then(() => this.#goOn())
  }

  /** A connection is gone: what it has not confirmed is for others, or waits. */
  left(entries: readonly Entry[]): void {
    this.#release(entries)
    this.#goOn()
  }

  /** The others may have got what is newer by now: they begin anew, with the oldest that nobody has. */
  #release(entries: readonly Entry[]): void {
    const others = this.#owner.connections.length > 0
    if (entries.length > 0 || !others) this.queue.detach(this)
    this.queue.release(this, entries)
    if (others) this.joined()
  }

  /** A connection has closed its stream in order: it has what it read. */
  async closed(entries: readonly Entry[], hasRead: Promise<boolean>): Promise<void> {
    if (this.#owner.connections.length === 0) this.queue.detach(this)
    this.#goOn()
    if (entries.length === 0) return
    if (!(await hasRead)) return this.#release(entries)
    for (const entry of entries) this.queue.confirm(entry, this)
  }
}
