import type { Span } from '../core/chunks.ts'
import { type Op, pages, partitionsOf, type Row, type Store, type Table } from '../storage/store.ts'
import type { IdGenerator } from '../util/ids.ts'
import { type Element, parseElement } from '../xml/index.ts'
import { Jid } from '../xmpp/jid.ts'
import { Archived, notedOf, peerOf } from './archived.ts'
import { PeerIndex, type PeerTables } from './peers.ts'

/** Which part of an archive. */
interface Slice extends Span {
  /** With this bare address only. */
  readonly peer?: Jid | undefined
  /** It ends with the message with which it has so many bytes, though there may be more. */
  readonly bytes: number
}

/** Messages, and bytes of them. */
interface Amount {
  readonly count: number
  readonly bytes: number
}

/** Of an owner: how much there is up to the message of this id. Older versions did not count bytes. */
interface Tally {
  readonly upTo: string
  readonly count: number
  readonly bytes?: number
}

const NOTHING = { upTo: '', count: 0, bytes: 0 }

/** `[localpart]` of the owner is the partition of each. */
interface ArchiveTables extends PeerTables {
  /** x `[id]` -> the message as it was delivered. */
  readonly messages: Table<Buffer>
  /** x `[]` */
  readonly counts: Table<Tally>
}

/** What archives are built from. */
interface ArchiveParts {
  /** The domain of their owners. */
  readonly domain: string
  readonly store: Pick<Store, 'commit'>
  readonly tables: ArchiveTables
  readonly ids: IdGenerator
}

/**
 * The messages of the owners (bare addresses: accounts, rooms) of one domain, by owner and time-ordered id, with an index that
 * finds those of one conversation. Of a message that an account received, its bytes are stored here only: its queue entry
 * points here.
 */
export class Archive {
  readonly #domain: string
  readonly #store: Pick<Store, 'commit'>
  readonly #rows: Table<Buffer>
  readonly #peers: PeerIndex
  readonly #tallies: Table<Tally>

  constructor({ domain, store, tables, ids }: ArchiveParts) {
    this.#store = store
    this.#rows = tables.messages
    this.#domain = domain
    this.#peers = new PeerIndex(tables, ids, (local, bytes) => {
      const el = parseElement(bytes)
      const owner = Jid.of(local, domain)
      return { peer: peerOf(el, owner)?.toString(), noted: notedOf(el, owner) }
    })
    this.#tallies = tables.counts
  }

  /** Before anything else; a part of an archive that was there may still be put in order beside that. */
  open(): Promise<void> {
    return this.#peers.open()
  }

  close(): Promise<void> {
    return this.#peers.close()
  }

  /** Writes what only repeats the messages. Never rejects. */
  flush(): Promise<void> {
    return this.#peers.flush()
  }

  /** Adds a message, by a row that the caller commits; `el` is what the bytes say. */
  add(owner: Jid, id: string, peer: Jid, bytes: Buffer, el: Element): Op {
    this.#peers.add(owner.local, peer.bare.toString(), id, notedOf(el, owner))
    return this.#rows.putOp([owner.local], [id], bytes)
  }

  async get(owner: Jid, id: string): Promise<Archived | undefined> {
    if (id.length > MAX_ID) return undefined
    const bytes = await this.#rows.get([owner.local], [id])
    return bytes && new Archived(id, bytes)
  }

  /** In the order of the scan: with `backwards` the newest first. Fewer than `limit` and `bytes` allow are the end. */
  async read(owner: Jid, slice: Slice): Promise<Archived[]> {
    const { from, after, before, peer, backwards, limit, bytes } = slice
    if (peer !== undefined) return this.#readPeer(owner, peer.bare.toString(), slice)
    const rows = await this.#rows.scan([owner.local], {
      ...(after === undefined ? {} : { gt: [after] }),
      ...(from === undefined ? {} : { gte: [from] }),
      ...(before === undefined ? {} : { lt: [before] }),
      reverse: backwards,
      limit,
      bytes,
    })
    return rows.map(({ ck, value }) => new Archived(String(ck[0]), value))
  }

  /** As many as are wanted, though some that the index knows have gone meanwhile. */
  async #readPeer(owner: Jid, peer: string, slice: Slice): Promise<Archived[]> {
    const found: Archived[] = []
    let rest: Span = slice
    let size = 0
    for (;;) {
      const ids = await this.#peers.ids(owner.local, peer, rest)
      for (const id of ids) {
        const value = await this.#rows.get([owner.local], [id])
        if (value === undefined) continue
        found.push(new Archived(id, value))
        size += value.length
        if (size >= slice.bytes) return found
      }
      const limit = slice.limit - found.length
      if (ids.length < rest.limit || limit === 0) return found
      const last = ids.at(-1)!
      rest = { ...rest, limit, ...(slice.backwards ? { before: last } : { after: last }) }
    }
  }

  /** The oldest and the newest id; undefined for an empty archive. */
  async bounds(owner: Jid): Promise<{ first: string; last: string } | undefined> {
    const [[first], [last]] = await Promise.all([
      this.#rows.keys([owner.local], { limit: 1 }),
      this.#rows.keys([owner.local], { limit: 1, reverse: true }),
    ])
    return first && last && { first: String(first[0]), last: String(last[0]) }
  }

  /** How many of the last `most` messages from a peer wait for the owner: newer than this one and than their last answer. */
  unread(owner: Jid, peer: Jid, after: string, most: number): Promise<number> {
    return this.#peers.unread(owner.local, peer.bare.toString(), after, most)
  }

  /** The newest message of a conversation that its sender, an owner or the peer, gave this id. */
  find(owner: Jid, peer: Jid, messageId: string, sent: boolean): Promise<string | undefined> {
    return this.#peers.find(owner.local, peer.bare.toString(), messageId, sent)
  }

  /** Puts other content in the place of a message; its id, and so its time, stays. */
  async replace(owner: Jid, id: string, peer: Jid, bytes: Buffer, el: Element): Promise<void> {
    const before = await this.#rows.get([owner.local], [id])
    await this.#store.commit([
      this.#rows.putOp([owner.local], [id], bytes),
      ...(await this.#less(owner, id, { count: 0, bytes: (before?.length ?? 0) - bytes.length })),
    ])
    await this.#peers.change(owner.local, peer.bare.toString(), id, {
      ...notedOf(el, owner),
      messageId: undefined,
    })
  }

  async *owners(): AsyncGenerator<Jid> {
    for await (const [local] of partitionsOf(this.#rows)) yield Jid.of(String(local), this.#domain)
  }

  /** How much an owner has; only what came since the last time is looked at. */
  async size(owner: Jid): Promise<Amount> {
    const tally = await this.#tallies.get([owner.local], [])
    let { upTo, count, bytes = 0 } = tally?.bytes === undefined ? NOTHING : tally
    const before = upTo
    for await (const page of pages(this.#rows, [owner.local], { gt: [upTo] })) {
      upTo = String(page.at(-1)!.ck[0])
      count += page.length
      bytes += bytesOf(page)
    }
    if (upTo !== before) await this.#tallies.put([owner.local], [], { upTo, count, bytes })
    return { count, bytes }
  }

  /** The id of the last of the oldest messages that have to go so that no more is left than this; undefined for none. */
  async beyond(owner: Jid, most: Amount): Promise<string | undefined> {
    let { count, bytes } = await this.size(owner)
    let last: string | undefined
    if (count <= most.count && bytes <= most.bytes) return undefined
    for await (const page of pages(this.#rows, [owner.local])) {
      for (const { ck, value } of page) {
        if (count <= most.count && bytes <= most.bytes) return last
        last = String(ck[0])
        count--
        bytes -= value.length
      }
    }
    return last
  }

  /** Removes what is older than `id`, oldest first; resolves with how many messages that were. */
  async purge(owner: Jid, id: string): Promise<number> {
    let count = 0
    for await (const page of pages(this.#rows, [owner.local], { lt: [id] })) {
      await this.#store.commit([
        ...page.map(({ ck }) => this.#rows.delOp([owner.local], ck)),
        ...(await this.#less(owner, id, { count: page.length, bytes: bytesOf(page) })),
      ])
      count += page.length
    }
    if (count > 0) await this.#peers.purge(owner.local, id)
    return count
  }

  /** So much has gone that was older than `id`. What was not counted yet may be among it: then all is counted anew. */
  async #less({ local }: Jid, id: string, { count, bytes }: Amount): Promise<Op[]> {
    const tally = await this.#tallies.get([local], [])
    if (tally === undefined) return []
    if (tally.upTo < id || tally.bytes === undefined) return [this.#tallies.delOp([local])]
    return [this.#tallies.putOp([local], [], { ...tally, count: tally.count - count, bytes: tally.bytes - bytes })]
  }

  /** Removes all of an owner. */
  async clear(owner: Jid): Promise<void> {
    await this.#rows.clear([owner.local])
    await this.#peers.purge(owner.local, PAST_ALL)
    await this.#tallies.del([owner.local], [])
  }
}

function bytesOf(page: readonly Row<Buffer>[]): number {
  return page.reduce((sum, { value }) => sum + value.length, 0)
}

/** No id is longer. */
const MAX_ID = 64
/** Above every id. */
const PAST_ALL = 'g'
