import { setImmediate } from 'node:timers/promises'
import type { Chunks } from '../../core/chunks.ts'
import type { Entry, MessageAbout } from '../../core/queue/entry.ts'
import type { MessageQueue } from '../../core/queue/queue.ts'
import type { Table } from '../../storage/store.ts'
import { firstIdAt, orderedTime } from '../../util/ids.ts'
import { type Element, parseElement, parseHead } from '../../xml/index.ts'
import { Jid } from '../../xmpp/jid.ts'
import { isInstantMessage } from '../../xmpp/stanza.ts'
import { Conversations } from './conversations.ts'
import { Found, isBefore } from './found.ts'

/** `accepted` by another server, or `failed`: what is known of messages to people elsewhere. */
export type State = 'queued' | 'accepted' | 'failed' | 'delivered' | 'read'

/** What became of one message. Times are ms since 1970. */
export interface MessageState {
  /** The id that the server gave it (XEP-0359). */
  readonly id: string
  /** Bare addresses. */
  readonly from: string
  readonly to: string
  /** The id that its sender gave it. */
  readonly messageId: string
  readonly state: State
  readonly at: number
  /** Since when it is `accepted` or `failed`. */
  readonly since?: number | undefined
  readonly delivered: { readonly at: number; readonly resource: string } | undefined
  readonly read: number | undefined
}

/** A message that was delivered, as stored: the server's id and the sender's, when (ms since 1970) and to which resource. */
export type Delivered = readonly [id: string, messageId: string, at: number, resource: string]

/** Up to which message somebody has read a conversation. */
export interface Mark {
  readonly id: string
  readonly at: number
}

export interface Wanted {
  /** The recipient, bare. */
  readonly to: string
  readonly from?: string | undefined
  /** The sender's ids. */
  readonly messageIds?: ReadonlySet<string> | undefined
  readonly state?: State | undefined
  /** Ms since 1970. */
  readonly since?: number | undefined
  readonly until?: number | undefined
  /** Newest first, at most so many. */
  readonly limit: number
  /** At most so many of those that wait (or 16 MiB), and of each conversation, are looked at; all if left out. */
  readonly lookAt?: number
  /** Only what the reader has told the sender (XEP-0333), not what it told its own clients (XEP-0490). */
  readonly toldOnly?: boolean
}

/** Messages of which there was a receipt and no acknowledgement: beyond, one that comes later is noted once more. */
const MAX_RECEIVED = 10_000
/** Bytes of waiting messages that are looked at where not all of them are. */
const MAX_LOOKED_BYTES = 16 * 1024 * 1024
/** Longest id that is noted; the message with a longer one has no state. */
export const MAX_ID = 256
const DAY = 86_400_000

/** Gives the queue of an account of this host, by bare address. */
export type QueueOf = (to: string) => Promise<MessageQueue | undefined>

/** The states of the messages that came to the users of one host. What waits is in their queues; what was delivered is noted here. */
export class States {
  readonly #chunks: Chunks<Delivered>
  /** By recipient, then sender. */
  readonly #delivered: Conversations<Delivered>
  readonly #marks: Table<Mark>
  readonly #queueOf: QueueOf
  readonly #now: () => number
  /** Messages that are noted as delivered, though no client has acknowledged them yet. */
  readonly #received = new Set<string>()

  /** `marks` by reader, then sender and kind. */
  constructor(chunks: Chunks<Delivered>, marks: Table<Mark>, queueOf: QueueOf, now: () => number) {
    this.#chunks = chunks
    this.#delivered = new Conversations(chunks, now)
    this.#marks = marks
    this.#queueOf = queueOf
    this.#now = now
  }

  delivered(to: string, { from, messageId }: MessageAbout, id: string, resource: string): void {
    if (this.#received.delete(id)) return
    this.#delivered.add(to, from, [id, messageId, this.#now(), resource])
  }

  /** `reader` has read what `from` wrote, up to the message of this id; `told`: and let `from` know. */
  async read(reader: string, from: string, id: string, told: boolean): Promise<void> {
    if ((orderedTime(id) ?? Number.POSITIVE_INFINITY) > this.#now() + DAY) return // no message has this id
    const key = [from, told ? 'told' : 'own']
    const before = await this.#marks.get([reader], key)
    if (before === undefined || before.id < id) await this.#marks.put([reader], key, { id, at: this.#now() })
  }

  async readUpTo(reader: string, from: string): Promise<string> {
    const marks = await Promise.all([
      this.#marks.get([reader], [from, 'told']),
      this.#marks.get([reader], [from, 'own']),
    ])
    return marks.reduce((last, mark) => (mark !== undefined && mark.id > last ? mark.id : last), '')
  }

  async displayed(reader: string, from: string, messageId: string): Promise<void> {
    const id = await this.find(reader, from, messageId)
    if (id !== undefined) await this.read(reader, from, id, true)
  }

  /** A client of `to` says that it has got the message that `from` gave this id (XEP-0184), before it has acknowledged it. */
  async received(to: string, from: string, messageId: string, resource: string): Promise<void> {
    for (const entry of (await this.#queueOf(to))?.inMemory() ?? []) {
      const { id } = entry
      const about = aboutOfEntry(entry)
      if (about?.messageId !== messageId || about.from !== from || this.#received.has(id)) continue
      if (this.#received.size >= MAX_RECEIVED) this.#received.delete(this.#received.values().next().value!)
      this.delivered(to, about, id, resource)
      this.#received.add(id)
      return
    }
  }

  /** The server's id of a message that a session has got, by its sender's. */
  async find(to: string, from: string, messageId: string): Promise<string | undefined> {
    for (const entry of (await this.#queueOf(to))?.inMemory() ?? []) {
      const about = aboutOfEntry(entry)
      if (about?.messageId === messageId && about.from === from) return entry.id
    }
    return (await this.#delivered.find(to, from, messageId))?.[0]
  }

  async list(wanted: Wanted): Promise<MessageState[]> {
    const { to, from, lookAt = Number.POSITIVE_INFINITY } = wanted
    const found = new Found(wanted, sender => this.#marksOf(wanted, sender))
    // The queue first: what is delivered meanwhile is seen twice rather than not at all.
    let looked = 0
    let bytes = 0
    for await (const page of (await this.#queueOf(to))?.waiting() ?? []) {
      for (const waiting of page) {
        const about = waiting.about === undefined ? aboutOfBytes(waiting.bytes, wanted) : waiting.about
        if (about !== null && !this.#received.has(waiting.id) && (from === undefined || about.from === from)) {
          await found.add(waiting.id, about, undefined)
        }
        bytes += waiting.bytes.length
      }
      looked += page.length
      if (found.enough || looked >= lookAt || (lookAt !== Number.POSITIVE_INFINITY && bytes >= MAX_LOOKED_BYTES)) break
      await setImmediate()
    }
    const end = wanted.until === undefined ? undefined : firstIdAt(wanted.until + 1)
    await this.flush()
    for await (const sender of from === undefined ? this.#chunks.groups(to) : [from]) {
      found.begin()
      looked = 0
      for await (const page of this.#delivered.backwards(to, sender, end)) {
        for (const [id, messageId, at, resource] of page) {
          await found.add(id, { from: sender, messageId }, { at, resource })
        }
        looked += page.length
        const tooOld = page.length > 0 && page.every(([id]) => isBefore(id, wanted.since))
        if (found.enough || looked >= lookAt || tooOld) break
      }
    }
    return found.newest()
  }

  /** See {@link Conversations.flush}. */
  flush(): Promise<void> {
    return this.#delivered.flush()
  }

  /** See {@link Conversations.purge}. */
  purge(id: string): Promise<number> {
    return this.#delivered.purge(id)
  }

  async forget(to: string): Promise<void> {
    await this.#delivered.forget(to)
    await this.#marks.clear([to])
  }

  #marksOf({ to, toldOnly }: Wanted, from: string): Promise<(Mark | undefined)[]> {
    const kinds = toldOnly === true ? ['told'] : ['told', 'own']
    return Promise.all(kinds.map(kind => this.#marks.get([to], [from, kind])))
  }
}

/** One that came from the store says it itself, once. */
export function aboutOfEntry(entry: Entry): MessageAbout | null {
  if (entry.about === undefined) entry.about = aboutOf(parseElement(entry.bytes))
  return entry.about
}

/** As {@link aboutOf}, of a message that is parsed only where its sender and its id are wanted. */
function aboutOfBytes(bytes: Buffer, { from, messageIds }: Wanted): MessageAbout | null {
  const { id, from: sender } = parseHead(bytes).attrs
  if (id === undefined || messageIds?.has(id) === false) return null
  if (from !== undefined && Jid.parse(sender ?? '')?.bare.toString() !== from) return null
  return aboutOf(parseElement(bytes))
}

/** What is noted of a message: who wrote to whom, where it has an id to ask for; nothing of one that came back. */
export function aboutOf(el: Element): MessageAbout | null {
  const { id, type } = el.attrs
  if (type === 'error') return null
  const from = Jid.parse(el.attrs['from'] ?? '')
  if (from === undefined || id === undefined || id.length > MAX_ID || !isInstantMessage(el)) return null
  return { from: from.bare.toString(), messageId: id }
}
