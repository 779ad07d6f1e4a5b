import type { Host } from '../../core/host.ts'
import type { Logger } from '../../core/log.ts'
import type { Row, Table } from '../../storage/store.ts'
import type { Element } from '../../xml/index.ts'
import { parseElement } from '../../xml/index.ts'
import { Jid } from '../../xmpp/jid.ts'

/** One message of an archive. */
export interface Archived {
  readonly id: string
  readonly el: Element
}

/** Which part of an archive; ids are exclusive unless the name says otherwise. */
export interface Slice {
  /** From this id on, itself included: see {@link firstIdAt}. */
  readonly from?: string | undefined
  readonly after?: string | undefined
  readonly before?: string | undefined
  /** With this bare address only. */
  readonly peer?: Jid | undefined
  /** The newest of it rather than the oldest. */
  readonly backwards: boolean
  readonly limit: number
}

const EMPTY = Buffer.alloc(0)

/** Of a user: how many messages there are up to the one of this id. */
interface Tally {
  upTo: string
  count: number
}

/**
 * The messages of the users of one host, by user and time-ordered id, with a second table that finds those of one
 * conversation. The bytes of a received message are the only ones that are stored of it: its queue entry points here.
 */
export class Archive {
  readonly #rows: Table<Buffer>
  readonly #peers: Table<Buffer>
  readonly #tallies: Table<Tally>
  readonly #host: string
  readonly #log: Logger
  #failing = false

  constructor(host: Host, log: Logger) {
    this.#rows = host.archive
    this.#peers = host.store.table(host.name, { name: 'archive_by_peer', codec: 'bytes' })
    this.#tallies = host.store.table(host.name, { name: 'archive_count' })
    this.#host = host.name
    this.#log = log
  }

  /** Joins the writes of this moment: the message's own, and whatever acknowledges it, fail or succeed with it. */
  add(user: string, id: string, peer: Jid, bytes: Buffer): Promise<void> {
    const written = this.#rows.put([user], [id], bytes)
    void this.#peers.put([user, peer.bare.toString()], [id], EMPTY).catch(() => {})
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

  async #scan(user: string, { from, after, before, peer, backwards, limit }: Slice): Promise<Row<Buffer>[]> {
    const range = {
      ...(after !== undefined && (from === undefined || after >= from) ? { gt: [after] } : {}),
      ...(from !== undefined && (after === undefined || after < from) ? { gte: [from] } : {}),
      ...(before === undefined ? {} : { lt: [before] }),
      reverse: backwards,
      limit,
    }
    if (peer === undefined) return this.#rows.scan([user], range)
    const keys = await this.#peers.scan([user, peer.bare.toString()], range)
    const values = await Promise.all(keys.map(({ ck }) => this.#rows.get([user], ck)))
    return keys.flatMap(({ ck }, i) => (values[i] === undefined ? [] : [{ ck, value: values[i] }]))
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
      if (rows.length === 0) return count
      for (const [peer, ids] of this.#byPeer(user, rows)) {
        await this.#peers.batch(
          [user, peer],
          ids.map(one => ({ type: 'del', ck: [one] })),
        )
      }
      await this.#rows.clear([user], { lte: [String(rows.at(-1)!.ck[0])] })
      count += rows.length
      if (rows.length < PAGE) return count
    }
  }

  clear(user: string): Promise<number> {
    return this.purge(user, PAST_ALL)
  }

  #byPeer(user: string, rows: readonly Row<Buffer>[]): Map<string, string[]> {
    const owner = Jid.of(user, this.#host)
    const found = new Map<string, string[]>()
    for (const { ck, value } of rows) {
      const peer = peerOf(parseElement(value), owner)?.toString()
      if (peer === undefined) continue
      const ids = found.get(peer)
      if (ids === undefined) found.set(peer, [String(ck[0])])
      else ids.push(String(ck[0]))
    }
    return found
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
