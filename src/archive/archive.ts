import type { Span } from '../core/chunks.ts'
import type { Host } from '../core/host.ts'
import type { Logger } from '../core/log.ts'
import { pages, type Row, type Table } from '../storage/store.ts'
import { type Element, parseElement } from '../xml/index.ts'
import { Jid } from '../xmpp/jid.ts'
import { Archived, notedOf, peerOf } from './archived.ts'
import { PeerIndex } from './peers.ts'

/** Which part of an archive. */
export interface Slice extends Span {
  /** With this bare address only. */
  readonly peer?: Jid | undefined
  /** It ends with the message with which it has so many bytes, though there may be more. */
  readonly bytes: number
}

/** Messages, and bytes of them. */
export interface Amount {
  readonly count: number
  readonly bytes: number
}

/** Of a user: how much there is up to the message of this id. Older versions did not count bytes. */
interface Tally {
  readonly upTo: string
  readonly count: number
  readonly bytes?: number
}

const NOTHING = { upTo: '', count: 0, bytes: 0 }

/**
 * The messages of the users of one host, by user and time-ordered id, with an index that finds those of one conversation. The
 * bytes of a received message are the only ones that are stored of it: its queue entry points here.
 */
export class Archive {
  readonly #hostName: string
  readonly #rows: Table<Buffer>
  readonly #peers: PeerIndex
  readonly #tallies: Table<Tally>
  readonly #log: Logger
  #failing = false

  constructor(host: Host, log: Logger) {
    this.#rows = host.archive
    this.#hostName = host.name
    this.#peers = new PeerIndex(host, (user, bytes) => {
      const el = parseElement(bytes)
      const owner = this.#owner(user)
      return { peer: peerOf(el, owner)?.toString(), noted: notedOf(el, owner) }
    })
    this.#tallies = host.store.table(host.name, { name: 'archive_count' })
    this.#log = log
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

  /**
   * Joins the writes of this moment: the message's own, and whatever acknowledges it, fail or succeed with it. `el` is what
   * the bytes say.
   */
  add(user: string, id: string, peer: Jid, bytes: Buffer, el: Element): Promise<void> {
    const written = this.#rows.put([user], [id], bytes)
    this.#peers.add(user, peer.bare.toString(), id, notedOf(el, this.#owner(user)))
    written.then(this.#written, this.#failed)
    return written
  }

  readonly #written = (): void => {
    this.#failing = false
  }

  readonly #failed = (error: unknown): void => {
    if (!this.#failing) this.#log.error({ err: error }, 'messages could not be archived')
    this.#failing = true
  }

  async has(user: string, id: string): Promise<boolean> {
    return (await this.get(user, id)) !== undefined
  }

  async get(user: string, id: string): Promise<Archived | undefined> {
    if (id.length > MAX_ID) return undefined
    const bytes = await this.#rows.get([user], [id])
    return bytes && new Archived(id, bytes)
  }

  /** In the order of the scan: with `backwards` the newest first. Fewer than `limit` and `bytes` allow are the end. */
  async read(user: string, slice: Slice): Promise<Archived[]> {
    const { from, after, before, peer, backwards, limit, bytes } = slice
    if (peer !== undefined) return this.#readPeer(user, peer.bare.toString(), slice)
    const rows = await this.#rows.scan([user], {
      ...(after !== undefined && (from === undefined || after >= from) ? { gt: [after] } : {}),
      ...(from !== undefined && (after === undefined || after < from) ? { gte: [from] } : {}),
      ...(before === undefined ? {} : { lt: [before] }),
      reverse: backwards,
      limit,
      bytes,
    })
    return rows.map(({ ck, value }) => new Archived(String(ck[0]), value))
  }

  /** As many as are wanted, though some that the index knows have gone meanwhile. */
  async #readPeer(user: string, peer: string, slice: Slice): Promise<Archived[]> {
    const found: Archived[] = []
    let rest: Span = slice
    let size = 0
    for (;;) {
      const ids = await this.#peers.ids(user, peer, rest)
      for (const id of ids) {
        const value = await this.#rows.get([user], [id])
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
  async bounds(user: string): Promise<{ first: string; last: string } | undefined> {
    const [[first], [last]] = await Promise.all([
      this.#rows.keys([user], { limit: 1 }),
      this.#rows.keys([user], { limit: 1, reverse: true }),
    ])
    return first && last && { first: String(first[0]), last: String(last[0]) }
  }

  /** How many of the last `most` messages from a peer wait for the user: newer than this one and than their last answer. */
  unread(user: string, peer: Jid, after: string, most: number): Promise<number> {
    return this.#peers.unread(user, peer.bare.toString(), after, most)
  }

  /** The newest message of a conversation that its sender, an owner or the peer, gave this id. */
  find(user: string, peer: Jid, messageId: string, sent: boolean): Promise<string | undefined> {
    return this.#peers.find(user, peer.bare.toString(), messageId, sent)
  }

  /** Puts other content in the place of a message; its id, and so its time, stays. */
  async replace(user: string, id: string, peer: Jid, bytes: Buffer, el: Element): Promise<void> {
    const before = await this.#rows.get([user], [id])
    await this.#rows.put([user], [id], bytes)
    await this.#less(user, id, { count: 0, bytes: (before?.length ?? 0) - bytes.length })
    await this.#peers.change(user, peer.bare.toString(), id, {
      ...notedOf(el, this.#owner(user)),
      messageId: undefined,
    })
  }

  #owner(user: string): Jid {
    return Jid.of(user, this.#hostName)
  }

  users(after: string | undefined, limit: number): Promise<string[]> {
    return this.#rows
      .partitions(after === undefined ? undefined : [after], limit)
      .then(keys => keys.map(key => String(key[0])))
  }

  /** How much a user has; only what came since the last time is looked at. */
  async size(user: string): Promise<Amount> {
    const tally = await this.#tallies.get([user], [])
    let { upTo, count, bytes = 0 } = tally?.bytes === undefined ? NOTHING : tally
    const before = upTo
    for await (const page of pages(this.#rows, [user], { gt: [upTo] })) {
      upTo = String(page.at(-1)!.ck[0])
      count += page.length
      bytes += bytesOf(page)
    }
    if (upTo !== before) await this.#tallies.put([user], [], { upTo, count, bytes })
    return { count, bytes }
  }

  /** The id of the last of the oldest messages that have to go so that no more is left than this; undefined for none. */
  async beyond(user: string, most: Amount): Promise<string | undefined> {
    let { count, bytes } = await this.size(user)
    let last: string | undefined
    if (count <= most.count && bytes <= most.bytes) return undefined
    for await (const page of pages(this.#rows, [user])) {
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
  async purge(user: string, id: string): Promise<number> {
    let count = 0
    let bytes = 0
    for await (const page of pages(this.#rows, [user], { lt: [id] })) {
      await this.#rows.clear([user], { lte: page.at(-1)!.ck })
      count += page.length
      bytes += bytesOf(page)
    }
    if (count === 0) return 0
    await this.#peers.purge(user, id)
    await this.#less(user, id, { count, bytes })
    return count
  }

  /** So much has gone that was older than `id`. What was not counted yet may be among it: then all is counted anew. */
  async #less(user: string, id: string, { count, bytes }: Amount): Promise<void> {
    const tally = await this.#tallies.get([user], [])
    if (tally === undefined) return
    if (tally.upTo < id || tally.bytes === undefined) return this.#tallies.del([user], [])
    await this.#tallies.put([user], [], { ...tally, count: tally.count - count, bytes: tally.bytes - bytes })
  }

  /** Removes all of a user. */
  async clear(user: string): Promise<void> {
    await this.#rows.clear([user])
    await this.#peers.purge(user, PAST_ALL)
    await this.#tallies.del([user], [])
  }
}

function bytesOf(page: readonly Row<Buffer>[]): number {
  return page.reduce((sum, { value }) => sum + value.length, 0)
}

/** No id is longer. */
const MAX_ID = 64
/** Above every id. */
const PAST_ALL = 'g'
