import { setImmediate } from 'node:timers/promises'
import { Changes } from '../core/changes.ts'
import type { Chunks, Span } from '../core/chunks.ts'
import { pages, partitionsOf, type Row, type Table } from '../storage/store.ts'
import type { IdGenerator } from '../util/ids.ts'

/** What the index says of a message, beyond its id. */
export interface Noted {
  /** The owner of the archive wrote it. */
  readonly sent: boolean
  /** It says something that people read. */
  readonly text: boolean
  /** By which a retraction may name it. */
  readonly messageId: string | undefined
}

/** As stored. Entries of older versions have the id alone. */
export type Item = readonly [id: string, flags?: number, messageId?: string]
const SENT = 1
const TEXT = 2

/** Up to which id everything is in the index; `clean`: and there was nothing beyond when the server stopped. */
interface Reached {
  readonly upTo: string
  readonly clean: boolean
}

export interface PeerTables {
  readonly messages: Table<Buffer>
  /** By owner, the other side, and id. */
  readonly peers: Chunks<Item>
  /** One row. */
  readonly indexed: Table<Reached>
}

/** Entries in memory at which they are written before their time; where that fails, no more are kept. */
const MAX_PENDING = 20_000
/** Changes of what is there that wait. */
const MAX_WAITING = 1000
const PAGE = 500
/** Bytes of messages that are parsed before others have their turn. */
const PORTION = 64 * 1024
/** Entries that are looked at for the message that is retracted, newest first. */
const MAX_LOOKED_AT = 20_000
/** Of messages that an older version has noted the id of alone, so many are read for one question. */
const MAX_READ = 200

/** Of a message in an owner's archive: the other side, bare, and what is noted of it. */
type Describe = (owner: string, bytes: Buffer) => { peer: string | undefined; noted: Noted }

/**
 * Finds the messages of one conversation in an archive. Written in the background, for it only repeats what the archive says:
 * what a crash or a failed write left out is put in from there, and until that is done, who asks waits.
 */
export class PeerIndex {
  readonly #chunks: Chunks<Item>
  readonly #rows: Table<Buffer>
  readonly #reached: Table<Reached>
  readonly #describe: Describe
  readonly #ids: IdGenerator
  /** By owner, then peer. */
  #pending = new Map<string, Map<string, Item[]>>()
  #size = 0
  #upTo = ''
  /** Something beyond `#upTo` is missing. */
  #behind = false
  #mending: Promise<void> | undefined
  /** Some that came while it was mended could not be kept. */
  #again = false
  /** What writes, one after the other. */
  readonly #turns = new Changes(MAX_WAITING)
  /** The flush that has not begun yet: it writes what all who wait for one have added. */
  #flushing: Promise<void> | undefined

  constructor({ messages, peers, indexed }: PeerTables, ids: IdGenerator, describe: Describe) {
    this.#chunks = peers
    this.#rows = messages
    this.#reached = indexed
    this.#describe = describe
    this.#ids = ids
  }

  /** Resolves when messages may be added; what is missing is put in beside that. */
  async open(): Promise<void> {
    const { upTo, clean } = (await this.#reached.get(['host'])) ?? { upTo: '', clean: false }
    // Should the clock have been put back: what comes is newer than what is there.
    this.#ids.after(upTo)
    this.#upTo = clean ? this.#ids.ordered() : upTo
    this.#behind = !clean
    // Before the first message of this run: a crash from here on is seen at the next start.
    await this.#reached.put(['host'], [], { upTo: this.#upTo, clean: false })
    void this.flush()
  }

  async close(): Promise<void> {
    await this.flush()
    if (!this.#behind) await this.#reached.put(['host'], [], { upTo: this.#upTo, clean: true })
  }

  add(owner: string, peer: string, id: string, noted: Noted): void {
    if (this.#size >= MAX_PENDING) {
      this.#forgetPending()
      this.#again = true
    }
    let peers = this.#pending.get(owner)
    if (peers === undefined) {
      peers = new Map()
      this.#pending.set(owner, peers)
    }
    const items = peers.get(peer)
    if (items === undefined) peers.set(peer, [itemOf(id, noted)])
    else items.push(itemOf(id, noted))
    if (++this.#size === MAX_PENDING) void this.flush()
  }

  /** Ids of one conversation, in the order of the span. Rejects with a StoreError where the index cannot be mended. */
  async ids(owner: string, peer: string, span: Span): Promise<string[]> {
    await this.#ready(owner)
    return (await this.#chunks.read(owner, peer, span)).map(([id]) => id)
  }

  /** How many of the last `most` messages after this one are from `peer` and people read them, up to the last answer. */
  async unread(owner: string, peer: string, after: string, most: number): Promise<number> {
    await this.#ready(owner)
    let count = 0
    let budget = MAX_READ
    for (const item of await this.#chunks.read(owner, peer, { after, backwards: true, limit: most })) {
      const noted = notedOf(item) ?? (budget-- > 0 ? await this.#read(owner, item[0]) : undefined)
      if (noted?.text !== true) continue
      if (noted.sent) break
      count++
    }
    return count
  }

  /** The newest message that its sender, one side of a conversation, gave this id. */
  async find(owner: string, peer: string, messageId: string, sent: boolean): Promise<string | undefined> {
    await this.#ready(owner)
    let looked = 0
    let budget = MAX_READ
    for await (const page of this.#chunks.backwards(owner, peer)) {
      for (const item of page) {
        const noted = notedOf(item) ?? (budget-- > 0 ? await this.#read(owner, item[0]) : undefined)
        if (noted?.messageId === messageId && noted.sent === sent) return item[0]
      }
      looked += page.length
      if (looked >= MAX_LOOKED_AT) return undefined
    }
    return undefined
  }

  /** There is something else in the place of a message. */
  async change(owner: string, peer: string, id: string, noted: Noted): Promise<void> {
    await this.#ready(owner)
    await this.#turns.run('', () => this.#chunks.replace(owner, peer, itemOf(id, noted)))
  }

  async #ready(owner: string): Promise<void> {
    if (this.#behind) await this.#mend()
    if (this.#pending.has(owner)) await this.flush()
  }

  async #read(owner: string, id: string): Promise<Noted | undefined> {
    const bytes = await this.#rows.get([owner], [id])
    await setImmediate()
    return bytes && this.#describe(owner, bytes).noted
  }

  /** Removes what is older than `id`. */
  async purge(owner: string, id: string): Promise<void> {
    await this.flush()
    await this.#turns.run('', () => this.#chunks.purge(owner, id))
  }

  /** Writes what waits. Never rejects: what cannot be written is missing until it can. */
  async flush(): Promise<void> {
    if (this.#behind) return this.#mend().catch(() => {})
    this.#flushing ??= this.#turns.must('', () => {
      this.#flushing = undefined
      return this.#flush()
    })
    await this.#flushing
  }

  #forgetPending(): void {
    this.#pending = new Map()
    this.#size = 0
    this.#behind = true
  }

  async #flush(): Promise<void> {
    if (this.#size === 0 || this.#behind) return
    const pending = this.#pending
    const upTo = this.#ids.ordered()
    this.#pending = new Map()
    this.#size = 0
    // Not one commit, which knows a bound: where some of them fail, what is missing is put in by and by.
    const puts: Promise<void>[] = []
    for (const [owner, peers] of pending) {
      for (const [peer, ids] of peers) puts.push(this.#chunks.put(owner, peer, ids))
    }
    try {
      await Promise.all(puts)
      await this.#reach(upTo)
    } catch {
      this.#behind = true
    }
  }

  async #reach(upTo: string): Promise<void> {
    await this.#reached.put(['host'], [], { upTo, clean: false })
    this.#upTo = upTo
  }

  #mend(): Promise<void> {
    this.#mending ??= this.#turns
      .must('', () => this.#mendAll())
      .finally(() => {
        this.#mending = undefined
      })
    return this.#mending
  }

  /** What of the archive is newer than `#upTo` and not in the index is put there. */
  async #mendAll(): Promise<void> {
    // What is added from here on is newer than this, and pending.
    const until = this.#ids.ordered()
    this.#forgetPending()
    this.#again = false
    for await (const [owner] of partitionsOf(this.#rows)) await this.#mendOwner(String(owner), until)
    await this.#reach(until)
    this.#behind = this.#again
  }

  async #mendOwner(owner: string, until: string): Promise<void> {
    let after = this.#upTo
    for await (const rows of pages(this.#rows, [owner], { gt: [after], lt: [until], limit: PAGE })) {
      await this.#mendPage(owner, after, rows)
      after = String(rows.at(-1)!.ck[0])
      this.#ids.after(after)
    }
  }

  async #mendPage(owner: string, after: string, rows: readonly Row<Buffer>[]): Promise<void> {
    const last = String(rows.at(-1)!.ck[0])
    const peers = new Map<string, Item[]>()
    let parsed = 0
    for (const { ck, value } of rows) {
      const { peer, noted } = this.#describe(owner, value)
      parsed += value.length
      if (parsed > PORTION) {
        parsed = 0
        await setImmediate()
      }
      if (peer === undefined) continue
      const item = itemOf(String(ck[0]), noted)
      const items = peers.get(peer)
      if (items === undefined) peers.set(peer, [item])
      else items.push(item)
    }
    for (const [peer, ids] of peers) {
      const span = { after, before: `${last}~`, backwards: false, limit: Number.POSITIVE_INFINITY }
      const there = new Set((await this.#chunks.read(owner, peer, span)).map(([id]) => id))
      const missing = ids.filter(([id]) => !there.has(id))
      if (missing.length > 0) await this.#chunks.put(owner, peer, missing)
    }
  }
}

function itemOf(id: string, { sent, text, messageId }: Noted): Item {
  const flags = (sent ? SENT : 0) | (text ? TEXT : 0)
  return messageId === undefined ? [id, flags] : [id, flags, messageId]
}

function notedOf([, flags, messageId]: Item): Noted | undefined {
  return flags === undefined ? undefined : { sent: (flags & SENT) !== 0, text: (flags & TEXT) !== 0, messageId }
}
