import { setImmediate } from 'node:timers/promises'
import type { Span } from '../../core/chunks.ts'
import type { Host } from '../../core/host.ts'
import type { Logger } from '../../core/log.ts'
import type { Table } from '../../storage/store.ts'
import { type Element, parseElement } from '../../xml/index.ts'
import { Jid } from '../../xmpp/jid.ts'
import { Archived, notedOf, peerOf } from './archived.ts'
import { PeerIndex } from './peers.ts'

/** Which part of an archive. */
export interface Slice extends Span {
  /** With this bare address only. */
  readonly peer?: Jid | undefined
  /** It ends with the message with which it has so many bytes, though there may be more. */
  readonly bytes: number
}

/** Of a user: how many messages there are up to the one of this id. */
interface Tally {
  upTo: string
  count: number
}

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
    await this.#rows.put([user], [id], bytes)
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

  /** How many messages a user has; only what came since the last time is counted. */
  async count(user: string): Promise<number> {
    let { upTo, count } = (await this.#tallies.get([user], [])) ?? { upTo: '', count: 0 }
    const before = upTo
    for (;;) {
      const page = await this.#rows.keys([user], { gt: [upTo], limit: PAGE })
      count += page.length
      if (page.length > 0) upTo = String(page.at(-1)![0])
      if (page.length < PAGE) break
      await setImmediate()
    }
    if (upTo !== before) await this.#tallies.put([user], [], { upTo, count })
    return count
  }

  /** The id of the last of the oldest `count` messages. */
  async lastOfOldest(user: string, count: number): Promise<string | undefined> {
    let last: string | undefined
    for (let left = count; left > 0; ) {
      const limit = Math.min(PAGE, left)
      const page = await this.#rows.keys([user], { limit, ...(last === undefined ? {} : { gt: [last] }) })
      if (page.length > 0) last = String(page.at(-1)![0])
      if (page.length < limit) break
      left -= page.length
      await setImmediate()
    }
    return last
  }

  /** Removes what is older than `id`, oldest first; resolves with how many messages that were. */
  async purge(user: string, id: string): Promise<number> {
    const removed = await this.#purge(user, id)
    const tally = removed > 0 ? await this.#tallies.get([user], []) : undefined
    // What was not counted yet may be among them: then all is counted anew.
    if (tally !== undefined && tally.upTo < id) await this.#tallies.del([user], [])
    else if (tally !== undefined) await this.#tallies.put([user], [], { ...tally, count: tally.count - removed })
    return removed
  }

  async #purge(user: string, id: string): Promise<number> {
    let count = 0
    for (;;) {
      const ids = await this.#rows.keys([user], { lt: [id], limit: PAGE })
      if (ids.length > 0) await this.#rows.clear([user], { lte: ids.at(-1)! })
      count += ids.length
      if (ids.length < PAGE) break
    }
    if (count > 0) await this.#peers.purge(user, id)
    return count
  }

  clear(user: string): Promise<number> {
    return this.purge(user, PAST_ALL)
  }
}

/** Rows that are read or removed at a time. */
const PAGE = 500
/** No id is longer. */
const MAX_ID = 64
/** Above every id. */
const PAST_ALL = 'g'
