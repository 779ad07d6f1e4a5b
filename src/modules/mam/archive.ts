import type { Span } from '../../core/chunks.ts'
import type { Host } from '../../core/host.ts'
import type { Logger } from '../../core/log.ts'
import type { Row, Table } from '../../storage/store.ts'
import type { Element } from '../../xml/index.ts'
import { parseElement } from '../../xml/index.ts'
import { Jid } from '../../xmpp/jid.ts'
import { PeerIndex } from './peers.ts'

/** One message of an archive. */
export interface Archived {
  readonly id: string
  readonly el: Element
}

/** Which part of an archive. */
export interface Slice extends Span {
  /** With this bare address only. */
  readonly peer?: Jid | undefined
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
  readonly #rows: Table<Buffer>
  readonly #peers: PeerIndex
  readonly #tallies: Table<Tally>
  readonly #log: Logger
  #failing = false

  constructor(host: Host, log: Logger) {
    this.#rows = host.archive
    this.#peers = new PeerIndex(host, (user, bytes) => peerOf(parseElement(bytes), Jid.of(user, host.name))?.toString())
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

  /** Joins the writes of this moment: the message's own, and whatever acknowledges it, fail or succeed with it. */
  add(user: string, id: string, peer: Jid, bytes: Buffer): Promise<void> {
    const written = this.#rows.put([user], [id], bytes)
    this.#peers.add(user, peer.bare.toString(), id)
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
    return (await this.#rows.get([user], [id])) !== undefined
  }

  async get(user: string, id: string): Promise<Archived | undefined> {
    const bytes = await this.#rows.get([user], [id])
    return bytes && { id, el: parseElement(bytes) }
  }

  /** In the order of the scan: with `backwards` the newest first. */
  async read(user: string, slice: Slice): Promise<Archived[]> {
    const found: Archived[] = []
    for (const { ck, value } of await this.#scan(user, slice))
      found.push({ id: String(ck[0]), el: parseElement(value) })
    return found
  }

  async #scan(user: string, slice: Slice): Promise<Row<Buffer>[]> {
    const { from, after, before, peer, backwards, limit } = slice
    if (peer !== undefined) return this.#scanPeer(user, peer.bare.toString(), slice)
    return this.#rows.scan([user], {
      ...(after !== undefined && (from === undefined || after >= from) ? { gt: [after] } : {}),
      ...(from !== undefined && (after === undefined || after < from) ? { gte: [from] } : {}),
      ...(before === undefined ? {} : { lt: [before] }),
      reverse: backwards,
      limit,
    })
  }

  /** As many as are wanted, though some that the index knows have gone meanwhile. */
  async #scanPeer(user: string, peer: string, slice: Slice): Promise<Row<Buffer>[]> {
    const found: Row<Buffer>[] = []
    let rest: Span = slice
    for (;;) {
      const ids = await this.#peers.ids(user, peer, rest)
      const values = await Promise.all(ids.map(id => this.#rows.get([user], [id])))
      for (const [i, value] of values.entries()) if (value !== undefined) found.push({ ck: [ids[i]!], value })
      const limit = slice.limit - found.length
      if (ids.length < rest.limit || limit === 0) return found
      const last = ids.at(-1)!
      rest = { ...rest, limit, ...(slice.backwards ? { before: last } : { after: last }) }
    }
  }

  /** The oldest and the newest id; undefined for an empty archive. */
  async bounds(user: string): Promise<{ first: string; last: string } | undefined> {
    const [[first], [last]] = await Promise.all([
      this.#rows.scan([user], { limit: 1 }),
      this.#rows.scan([user], { limit: 1, reverse: true }),
    ])
    return first && last && { first: String(first.ck[0]), last: String(last.ck[0]) }
  }

  /** Puts other content in the place of a message; its id, and so its time, stays. */
  async replace(user: string, id: string, bytes: Buffer): Promise<void> {
    await this.#rows.put([user], [id], bytes)
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
      const page = await this.#rows.scan([user], { gt: [upTo], limit: PAGE })
      count += page.length
      if (page.length > 0) upTo = String(page.at(-1)!.ck[0])
      if (page.length < PAGE) break
    }
    if (upTo !== before) await this.#tallies.put([user], [], { upTo, count })
    return count
  }

  /** The id of the last of the oldest `count` messages. */
  async lastOfOldest(user: string, count: number): Promise<string | undefined> {
    let last: string | undefined
    for (let left = count; left > 0; ) {
      const limit = Math.min(PAGE, left)
      const page = await this.#rows.scan([user], { limit, ...(last === undefined ? {} : { gt: [last] }) })
      if (page.length > 0) last = String(page.at(-1)!.ck[0])
      if (page.length < limit) break
      left -= page.length
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
      const rows = await this.#rows.scan([user], { lt: [id], limit: PAGE })
      if (rows.length > 0) await this.#rows.clear([user], { lte: [String(rows.at(-1)!.ck[0])] })
      count += rows.length
      if (rows.length < PAGE) break
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
/** Above every id. */
const PAST_ALL = 'g'

/** The other side of a message in the archive of `owner`, bare; the owner, where it is from and to the same account. */
export function peerOf(el: Element, owner: Jid): Jid | undefined {
  const from = Jid.parse(el.attrs['from'] ?? '')
  if (from?.bare.equals(owner) !== true) return from?.bare
  return el.attrs['to'] === undefined ? owner : Jid.parse(el.attrs['to'])?.bare
}
