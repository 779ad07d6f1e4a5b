import { Chunks, type Span } from '../../core/chunks.ts'
import type { Host } from '../../core/host.ts'
import type { Row, Table } from '../../storage/store.ts'
import type { IdGenerator } from '../../util/ids.ts'
import { Turns } from '../../util/turns.ts'

type Id = readonly [id: string]

/** Up to which id everything is in the index; `clean`: and there was nothing beyond when the server stopped. */
interface Reached {
  readonly upTo: string
  readonly clean: boolean
}

/** Ids in memory at which they are written before their time; where that fails, no more are kept. */
const MAX_PENDING = 20_000
const PAGE = 500

/**
 * Finds the messages of one conversation in an archive. Written in the background, for it only repeats what the archive says:
 * what a crash or a failed write left out is put in from there, and until that is done, who asks waits.
 */
export class PeerIndex {
  readonly #chunks: Chunks<Id>
  readonly #rows: Table<Buffer>
  readonly #reached: Table<Reached>
  readonly #peerOf: (user: string, bytes: Buffer) => string | undefined
  readonly #ids: IdGenerator
  /** By user, then peer. */
  #pending = new Map<string, Map<string, Id[]>>()
  #size = 0
  #upTo = ''
  /** Something beyond `#upTo` is missing. */
  #behind = false
  #mending: Promise<void> | undefined
  /** Some that came while it was mended could not be kept. */
  #again = false
  /** What writes, one after the other. */
  readonly #turns = new Turns()

  /** `peerOf` a message of a user's archive: the other side, bare. */
  constructor(host: Host, peerOf: (user: string, bytes: Buffer) => string | undefined) {
    this.#chunks = new Chunks(host.store.table(host.name, { name: 'archive_peers' }))
    this.#rows = host.archive
    this.#reached = host.store.table(host.name, { name: 'archive_indexed' })
    this.#peerOf = peerOf
    this.#ids = host.ids
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

  add(user: string, peer: string, id: string): void {
    if (this.#size >= MAX_PENDING) {
      this.#forgetPending()
      this.#again = true
    }
    let peers = this.#pending.get(user)
    if (peers === undefined) {
      peers = new Map()
      this.#pending.set(user, peers)
    }
    const ids = peers.get(peer)
    if (ids === undefined) peers.set(peer, [[id]])
    else ids.push([id])
    if (++this.#size === MAX_PENDING) void this.flush()
  }

  /** Ids of one conversation, in the order of the span. Rejects with a StoreError where the index cannot be mended. */
  async ids(user: string, peer: string, span: Span): Promise<string[]> {
    if (this.#behind) await this.#mend()
    if (this.#pending.has(user)) await this.flush()
    return (await this.#chunks.read(user, peer, span)).map(([id]) => id)
  }

  /** Removes what is older than `id`. */
  async purge(user: string, id: string): Promise<void> {
    await this.flush()
    await this.#inTurn(() => this.#chunks.purge(user, id))
  }

  /** Writes what waits. Never rejects: what cannot be written is missing until it can. */
  async flush(): Promise<void> {
    await (this.#behind ? this.#mend().catch(() => {}) : this.#inTurn(() => this.#flush()))
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.#turns.run('', work)
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
    try {
      await this.#put(pending)
      await this.#reach(upTo)
    } catch {
      this.#behind = true
    }
  }

  /** In one turn, so in one commit: all or nothing. */
  async #put(found: Map<string, Map<string, Id[]>>): Promise<void> {
    const puts: Promise<void>[] = []
    for (const [user, peers] of found) {
      for (const [peer, ids] of peers) puts.push(this.#chunks.put(user, peer, ids))
    }
    await Promise.all(puts)
  }

  async #reach(upTo: string): Promise<void> {
    await this.#reached.put(['host'], [], { upTo, clean: false })
    this.#upTo = upTo
  }

  #mend(): Promise<void> {
    this.#mending ??= this.#inTurn(() => this.#mendAll()).finally(() => {
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
    let last: string | undefined
    for (;;) {
      const users = await this.#rows.partitions(last === undefined ? undefined : [last], PAGE)
      for (const [user] of users) await this.#mendUser(String(user), until)
      if (users.length < PAGE) break
      last = String(users.at(-1)![0])
    }
    await this.#reach(until)
    this.#behind = this.#again
  }

  async #mendUser(user: string, until: string): Promise<void> {
    let after = this.#upTo
    for (;;) {
      const rows = await this.#rows.scan([user], { gt: [after], lt: [until], limit: PAGE })
      if (rows.length > 0) {
        await this.#mendPage(user, after, rows)
        after = String(rows.at(-1)!.ck[0])
        this.#ids.after(after)
      }
      if (rows.length < PAGE) return
    }
  }

  async #mendPage(user: string, after: string, rows: readonly Row<Buffer>[]): Promise<void> {
    const last = String(rows.at(-1)!.ck[0])
    const peers = new Map<string, Id[]>()
    for (const { ck, value } of rows) {
      const peer = this.#peerOf(user, value)
      if (peer === undefined) continue
      const ids = peers.get(peer)
      if (ids === undefined) peers.set(peer, [[String(ck[0])]])
      else ids.push([String(ck[0])])
    }
    for (const [peer, ids] of peers) {
      const span = { after, before: `${last}~`, backwards: false, limit: Number.POSITIVE_INFINITY }
      const there = new Set((await this.#chunks.read(user, peer, span)).map(([id]) => id))
      const missing = ids.filter(([id]) => !there.has(id))
      if (missing.length > 0) await this.#chunks.put(user, peer, missing)
    }
  }
}
