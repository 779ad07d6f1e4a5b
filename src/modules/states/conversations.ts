import type { Chunks } from '../../core/chunks.ts'

/** What became of a message: the server's id of it and its sender's, and more. */
type Row = readonly [id: string, messageId: string, ...rest: unknown[]]

/** A conversation that was not written for so long (ms) is written at once. */
const PAUSE = 1000
/** Rows in memory at which they are written before their time. */
const MAX_PENDING = 10_000
/** Conversations that are remembered after they were written, and the newest messages of each. */
const MAX_CONVERSATIONS = 5000
const MAX_RECENT = 20
/** How far back a message is looked for by the id that its sender gave it. */
const MAX_LOOKED_AT = 2000

/** What an owner and somebody else wrote, and was noted of late. */
interface Conversation<R> {
  readonly owner: string
  readonly peer: string
  /** Not in the store yet. */
  fresh: R[]
  /** In the store. */
  recent: R[]
  /** When `fresh` was last written, ms since 1970. */
  written: number
}

/**
 * What is noted of messages, by owner and peer. The first of a conversation after a pause is written at once; what follows it
 * soon is written in the background, some at a time: after a crash, of a busy conversation the last second is not known.
 */
export class Conversations<R extends Row> {
  readonly #chunks: Chunks<R>
  readonly #now: () => number
  readonly #all = new Map<string, Map<string, Conversation<R>>>()
  #size = 0
  /** Those with something to write, at once or in a while, and how many rows that is. */
  #urgent: Conversation<R>[] = []
  readonly #dirty = new Set<Conversation<R>>()
  #pending = 0

  constructor(chunks: Chunks<R>, now: () => number) {
    this.#chunks = chunks
    this.#now = now
  }

  add(owner: string, peer: string, row: R): void {
    const conversation = this.#conversation(owner, peer)
    const now = this.#now()
    conversation.fresh.push(row)
    this.#dirty.add(conversation)
    // Once: where it fails, the next attempt is that of the next second.
    if (++this.#pending === MAX_PENDING) void this.flush()
    if (now - conversation.written < PAUSE) return
    conversation.written = now
    this.#urgent.push(conversation)
    // At the end of this turn, which may bring more of it; not later, for it leaves its queue now.
    if (this.#urgent.length === 1) queueMicrotask(() => void this.#flushSome(this.#urgent.splice(0)))
  }

  /** The newest of the last rows that has this id of its sender's. */
  async find(owner: string, peer: string, messageId: string): Promise<R | undefined> {
    const there = this.#all.get(owner)?.get(peer)
    for (const rows of [there?.fresh, there?.recent]) {
      const found = rows?.findLast(row => row[1] === messageId)
      if (found !== undefined) return found
    }
    await this.flush()
    let looked = 0
    for await (const rows of this.#chunks.backwards(owner, peer)) {
      const found = rows.find(row => row[1] === messageId)
      if (found !== undefined) return found
      looked += rows.length
      if (looked >= MAX_LOOKED_AT) return undefined
    }
    return undefined
  }

  /** Puts a row in the place of the one with its id, if that is there. */
  async replace(owner: string, peer: string, row: R): Promise<void> {
    const there = this.#all.get(owner)?.get(peer)
    for (const rows of [there?.fresh, there?.recent]) {
      const at = rows?.findIndex(([id]) => id === row[0]) ?? -1
      if (at >= 0) rows![at] = row
      if (at >= 0 && rows === there?.fresh) return
    }
    await this.#chunks.replace(owner, peer, row)
  }

  /** Newest first, in pages; `before` only says where to begin. What is in memory is written first. */
  async *backwards(owner: string, peer: string, before?: string): AsyncGenerator<R[]> {
    await this.flush()
    yield* this.#chunks.backwards(owner, peer, before)
  }

  /** Writes what waits. Never rejects: what cannot be written waits for the next time. */
  async flush(): Promise<void> {
    await this.#flushSome([...this.#dirty])
    if (this.#size > MAX_CONVERSATIONS) this.#forgetWritten()
  }

  /** Forgets what is older than `id`; resolves with how many messages that were. */
  async purge(id: string): Promise<number> {
    let count = 0
    for await (const owner of this.#chunks.owners()) count += await this.#chunks.purge(owner, id)
    return count
  }

  async forget(owner: string): Promise<void> {
    await this.flush()
    await this.#chunks.clear(owner)
    this.#size -= this.#all.get(owner)?.size ?? 0
    this.#all.delete(owner)
  }

  #conversation(owner: string, peer: string): Conversation<R> {
    let all = this.#all.get(owner)
    if (all === undefined) {
      all = new Map()
      this.#all.set(owner, all)
    }
    let found = all.get(peer)
    if (found === undefined) {
      found = { owner, peer, fresh: [], recent: [], written: Number.NEGATIVE_INFINITY }
      all.set(peer, found)
      this.#size++
    }
    return found
  }

  async #flushSome(conversations: readonly Conversation<R>[]): Promise<void> {
    await Promise.all(conversations.map(one => this.#flushOne(one)))
  }

  async #flushOne(conversation: Conversation<R>): Promise<void> {
    const { owner, peer, fresh, recent } = conversation
    if (fresh.length === 0) return
    this.#dirty.delete(conversation)
    this.#pending -= fresh.length
    conversation.fresh = []
    conversation.recent = [...recent, ...fresh].slice(-MAX_RECENT)
    conversation.written = this.#now()
    try {
      await this.#chunks.put(owner, peer, fresh)
    } catch {
      if (this.#pending >= MAX_PENDING) return
      conversation.fresh.unshift(...fresh)
      this.#pending += fresh.length
      this.#dirty.add(conversation)
    }
  }

  #forgetWritten(): void {
    this.#all.clear()
    this.#size = 0
    for (const one of this.#dirty) {
      const all = this.#all.get(one.owner)
      if (all === undefined) this.#all.set(one.owner, new Map([[one.peer, one]]))
      else all.set(one.peer, one)
      this.#size++
    }
  }
}
