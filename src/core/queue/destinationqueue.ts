import { pages, partitionsOf, type Row, type Store, type TableSpec } from '../../storage/store.ts'
import { firstIdAt, type IdGenerator, orderedTime } from '../../util/ids.ts'
import { parseHead } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { isInstantMessage, type Stanza } from '../../xmpp/stanza.ts'
import { asSent, withStanzaId } from '../delivery.ts'
import type { Logger } from '../log.ts'
import { type Entry, type Holder, type MessageAbout, NO_ROWS, type Origin } from './entry.ts'
import { MessageQueue, type Waiting } from './queue.ts'
import { Rewrites } from './rewrites.ts'
import { QueueStore } from './store.ts'

/** Of the rows of destinations, which belong to the server and to none of its hosts. */
const SERVER = ''

/** One sender may have so many times its share of one destination waiting for all of them together. */
const DESTINATIONS = 10

/** A queue is looked at again so soon (ms) at the earliest for messages that have waited too long. */
const LOOK_AGAIN = 1000
/** ... and at the latest: a reload may have changed how long they may wait. */
const LOOK_ANYWAY = 10 * 60_000

/** What may wait for one destination. `Infinity`: no bound. */
export interface DestinationLimits {
  readonly messages: number
  readonly bytes: number
  /** The same of one sender (bare address). */
  readonly senderMessages: number
  readonly senderBytes: number
  /** Ms that a message waits; then its sender gets `remote-server-timeout`. */
  readonly lifetime: number
}

export interface DestinationOptions {
  readonly store: Store
  /** Name of the table. */
  readonly table: string
  readonly ids: IdGenerator
  readonly log: Logger
  /** Of a destination by its key; asked each time, so that a reload counts at once. */
  limits(key: string): DestinationLimits
  /** A message is truly not going to be delivered: its sender is to be told. The stanza is as it was sent. */
  bounced(key: string, stanza: Stanza, reason: StanzaError, entry: Entry): void
  /** The destination has acknowledged a message, which has left the queue. Its `about` says whose it was. */
  acknowledged?(key: string, entry: Entry): void
  readonly now?: () => number
  /** Ms until a message is written again whose write failed while it was in flight. */
  readonly retryWrites?: number
}

/** Messages, and their bytes. */
interface Amount {
  messages: number
  bytes: number
}

/**
 * The messages that wait for destinations that are not accounts (other servers, components), in one table:
 * `[key]` x `[id]` -> the message. What is for one destination is a {@link DestinationQueue}.
 */
export class DestinationQueues {
  readonly options: DestinationOptions
  readonly store: QueueStore
  /** Of all destinations that are in memory. */
  readonly total: Amount = { messages: 0, bytes: 0 }
  /** By sender. */
  readonly senders = new Map<string, Amount>()
  readonly #open = new Map<string, DestinationQueue>()

  constructor(options: DestinationOptions) {
    const { store, table, log, retryWrites } = options
    const spec: TableSpec<Buffer> = { name: table, codec: 'bytes', unique: true }
    const rewrites = new Rewrites(log, retryWrites)
    this.options = options
    this.store = new QueueStore(store, store.table(SERVER, spec), {
      failed: (queue, entry, error) => rewrites.failed(queue, entry, error),
      trouble: (what, destination, error) => log.error({ err: error, destination }, what),
      confirmed: (queue, entry) => {
        const [key] = queue.key
        this.#open.get(key)?.left(entry)
        options.acknowledged?.(key, entry)
        return NO_ROWS
      },
    })
  }

  /** The queue of a destination that comes into memory. It is to be opened once, and {@link DestinationQueue.close}d. */
  async open(key: string): Promise<DestinationQueue> {
    const rows = pages(this.store.table, [key])
    const opened = new DestinationQueue(this, key)
    let last = ''
    for await (const page of rows) {
      // What was acknowledged is only still to be removed.
      opened.found(page.filter(({ ck }) => !this.store.isGone(String(ck[0]))))
      last = String(page.at(-1)!.ck[0])
    }
    this.options.ids.after(last)
    opened.begin(last)
    this.#open.set(key, opened)
    return opened
  }

  closed(key: string): void {
    this.#open.delete(key)
  }

  /** Keys of the destinations for which something waits. Reads every partition: at starts. */
  async keys(): Promise<string[]> {
    const keys: string[] = []
    for await (const [key] of partitionsOf(this.store.table)) keys.push(String(key))
    return keys
  }

  /** Has everything written that is queued; resolves when it is durable. */
  flush(): Promise<void> {
    return this.store.flush()
  }
}

/**
 * The messages for one destination: safe once durable, gone once the destination acknowledged them (the promise). Bounded by
 * number, bytes and age, by sender too; how much waits is known also after a restart.
 */
export class DestinationQueue {
  readonly key: string
  readonly #queues: DestinationQueues
  #queue!: MessageQueue
  readonly #here: Amount = { messages: 0, bytes: 0 }
  readonly #senders = new Map<string, Amount>()
  #expiry: NodeJS.Timeout | undefined
  #closed = false

  /** For {@link DestinationQueues.open}. */
  constructor(queues: DestinationQueues, key: string) {
    this.#queues = queues
    this.key = key
  }

  /** What the store has. */
  found(rows: readonly Row<Buffer>[]): void {
    for (const { value } of rows) this.#add(aboutOf(value).from, value.length, 1)
  }

  begin(last: string): void {
    this.#queue = new MessageQueue(this.#queues.store, this.key, last)
    this.#queue.onBounce = (entry, reason) => {
      this.left(entry)
      this.#queues.options.bounced(this.key, asSent(entry), reason, entry)
    }
    if (this.#here.messages > 0) void this.#expire(0)
  }

  /** Messages that wait or are in flight. */
  get messages(): number {
    return this.#here.messages
  }

  get bytes(): number {
    return this.#here.bytes
  }

  /** The id of the newest message that came; empty where none is known. */
  get newest(): string {
    return this.#queue.newest
  }

  /** Nothing waits, and nobody is there who takes it. */
  get idle(): boolean {
    return this.#here.messages === 0 && this.#queue.idle
  }

  /** See {@link MessageQueue.isLive}. */
  isLive(holder: Holder): boolean {
    return this.#queue.isLive(holder)
  }

  /**
   * Accepts a message: gives it an id (XEP-0359, `by` whom), hands it to `holder` where that has had all that came before,
   * and has it written. Throws StanzaError where too much waits.
   */
  push(stanza: Stanza, by: string, origin: Origin | undefined, holder: Holder | undefined): Entry {
    const { options } = this.#queues
    const id = options.ids.ordered()
    const bytes = Buffer.from(withStanzaId(stanza, by, id).toString())
    const from = stanza.from.bare.toString()
    this.#check(from, bytes.length)
    const entry = this.#queue.push(id, bytes, origin)
    entry.about = { from, to: stanza.to!.bare.toString(), messageId: nameOf(stanza) }
    this.#add(from, bytes.length, 1)
    origin?.accepted(entry)
    if (holder !== undefined && this.#queue.offer(entry, holder)) holder.take(entry, false)
    if (!entry.done) this.#queue.keep(entry)
    if (this.#expiry === undefined) this.#expireAt(options.limits(this.key).lifetime)
    return entry
  }

  #check(from: string, size: number): void {
    const limits = this.#queues.options.limits(this.key)
    if (isOver(this.#here, size, limits.messages, limits.bytes)) {
      throw new StanzaError('resource-constraint', 'too many messages wait for that domain; try again later')
    }
    const { senderMessages, senderBytes } = limits
    const all = this.#queues.senders.get(from)
    if (
      isOver(this.#senders.get(from), size, senderMessages, senderBytes) ||
      isOver(all, size, DESTINATIONS * senderMessages, DESTINATIONS * senderBytes)
    ) {
      throw new StanzaError('resource-constraint', 'too many of your messages wait; try again later')
    }
  }

  /** See {@link MessageQueue.attach}. */
  attach(holder: Holder): Promise<void> {
    return this.#queue.attach(holder)
  }

  /** See {@link MessageQueue.detach}. */
  detach(holder: Holder): void {
    this.#queue.detach(holder)
  }

  /** The destination has acknowledged a message. */
  confirm(entry: Entry, holder: Holder): void {
    this.#queue.confirm(entry, holder)
  }

  /** See {@link MessageQueue.release}. */
  release(holder: Holder, entries: readonly Entry[]): void {
    this.#queue.release(holder, entries)
  }

  /** The destination will not take a message: its sender gets the reason. */
  refuse(entry: Entry, reason: StanzaError): void {
    this.#queue.bounce(entry, reason)
  }

  /** What waits, oldest first, up to so many; each says whose it is. */
  async peek(limit: number): Promise<Waiting[]> {
    const waiting = await this.#queue.peek(limit)
    return waiting.map(({ id, bytes, about }) => ({ id, bytes, about: about ?? aboutOf(bytes) }))
  }

  /** Gives up all that waits and is in flight to nobody: the senders get the reason. Resolves with how many that were. */
  drop(reason: StanzaError): Promise<number> {
    return this.#queue.giveUp(undefined, reason)
  }

  /** It leaves memory; what waits stays in the store. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#expiry)
    for (const [from, { messages, bytes }] of [...this.#senders]) this.#add(from, -bytes, -messages)
    this.#queues.closed(this.key)
  }

  /** An entry is done with: it is counted no more, and says whose it was. */
  left(entry: Entry): void {
    const about = entry.about ?? aboutOf(entry.bytes)
    entry.about = about
    this.#add(about.from, -entry.bytes.length, -1)
  }

  #add(sender: string, bytes: number, messages: number): void {
    const { total, senders } = this.#queues
    for (const amount of [this.#here, total]) {
      amount.messages += messages
      amount.bytes += bytes
    }
    for (const amounts of [this.#senders, senders]) {
      let amount = amounts.get(sender)
      if (amount === undefined) amounts.set(sender, (amount = { messages: 0, bytes: 0 }))
      amount.messages += messages
      amount.bytes += bytes
      if (amount.messages <= 0) amounts.delete(sender)
    }
  }

  // ---- age

  #expireAt(ms: number): void {
    if (this.#closed) return
    this.#expiry = setTimeout(() => void this.#expire(LOOK_AGAIN), Math.min(Math.max(ms, 0), LOOK_ANYWAY))
    this.#expiry.unref()
  }

  /** Gives up what has waited too long, and looks again when the next one has; in `pause` ms at the earliest. Never rejects. */
  async #expire(pause: number): Promise<void> {
    const { limits, now = Date.now, log } = this.#queues.options
    const { lifetime } = limits(this.key)
    let next = lifetime
    try {
      const reason = new StanzaError('remote-server-timeout', 'the message could not be delivered in time')
      if (Number.isFinite(lifetime)) await this.#queue.giveUp(firstIdAt(now() - lifetime), reason)
      const [oldest] = await this.#queue.peek(1)
      if (oldest === undefined) return void (this.#expiry = undefined)
      next = Math.max((orderedTime(oldest.id) ?? now()) + lifetime - now(), pause)
    } catch (error) {
      log.error({ err: error, destination: this.key }, 'messages that have waited too long could not be looked for')
      next = LOOK_AGAIN
    }
    this.#expireAt(next)
  }
}

/** What its sender calls it, to ask what became of it; empty of what nobody asks for, such as receipts. */
function nameOf({ id, el }: Stanza): string {
  return id !== undefined && isInstantMessage(el) ? id : ''
}

/** As the head of a message says; what was queued before a start may be of any kind. */
function aboutOf(bytes: Buffer): MessageAbout {
  const { from = '', to = '', id = '' } = parseHead(bytes).attrs
  return { from: bare(from), to: bare(to), messageId: id }
}

function bare(address: string): string {
  const slash = address.indexOf('/')
  return slash < 0 ? address : address.slice(0, slash)
}

function isOver(there: Amount | undefined, size: number, messages: number, bytes: number): boolean {
  if (there === undefined) return messages < 1 || size > bytes
  return there.messages >= messages || there.bytes + size > bytes
}
