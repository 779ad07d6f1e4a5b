import { pages, partitionsOf, type Store, type Table } from '../storage/store.ts'
import { Jid } from '../xmpp/jid.ts'

/** Conversations noted in memory at which they are written before their time. */
const MAX_PENDING = 10_000

export interface Conversation {
  peer: Jid
  /** Of its last message. */
  last: string
}

/** The last message of each conversation; written in the background. Strangers begin as many as they like: see `most`. */
export class Inbox {
  readonly #store: Pick<Store, 'commit'>
  readonly #table: Table<string>
  readonly #recent: Table<string>
  readonly #most: number
  #writing = Promise.resolve()
  readonly #pending = new Map<string, { user: string; peer: string; id: string }>()

  /** `table`: user, peer -> id of the last message; `recent`: user, that id -> peer. `most` conversations are kept. */
  constructor(store: Pick<Store, 'commit'>, table: Table<string>, recent: Table<string>, most: number) {
    this.#store = store
    this.#table = table
    this.#recent = recent
    this.#most = most
  }

  note(user: string, peer: Jid, id: string): void {
    const address = peer.toString()
    this.#pending.set(`${user} ${address}`, { user, peer: address, id })
    if (this.#pending.size >= MAX_PENDING) void this.flush()
  }

  /** Never rejects: what cannot be written is out of date until the next message. */
  flush(): Promise<void> {
    const rows = [...this.#pending.values()]
    this.#pending.clear()
    // One after another: each takes away the place that its conversation had before.
    this.#writing = this.#writing.then(async () => {
      await Promise.all(rows.map(({ user, peer, id }) => this.#write(user, peer, id).catch(() => {})))
    })
    return this.#writing
  }

  async #write(user: string, peer: string, id: string): Promise<void> {
    const before = await this.#table.get([user], [peer])
    if (before !== undefined && before >= id) return
    const ops = [this.#table.putOp([user], [peer], id), this.#recent.putOp([user], [id], peer)]
    if (before !== undefined) ops.push(this.#recent.delOp([user], [before]))
    await this.#store.commit(ops)
  }

  /** Forgets the conversations beyond the most recent ones. */
  async sweep(): Promise<void> {
    for await (const [user] of partitionsOf(this.#recent)) await this.#sweepUser(String(user))
  }

  async #sweepUser(user: string): Promise<void> {
    const kept = await this.#recent.scan([user], { reverse: true, limit: this.#most })
    if (kept.length < this.#most) return
    const oldest = kept.at(-1)!.ck
    for await (const rows of pages(this.#recent, [user], { lt: oldest })) {
      const gone: Promise<void>[] = []
      for (const { ck, value: peer } of rows) {
        const ops = [this.#recent.delOp([user], ck)]
        // Not where it has gone on meanwhile.
        if ((await this.#table.get([user], [peer])) === ck[0]) ops.push(this.#table.delOp([user], [peer]))
        gone.push(this.#store.commit(ops))
      }
      await Promise.all(gone)
    }
  }

  /** The most recent first. */
  async list(user: string): Promise<Conversation[]> {
    await this.flush()
    const rows = await this.#recent.scan([user], { reverse: true, limit: this.#most })
    return rows.flatMap(({ ck, value }) => {
      const peer = Jid.parse(value)
      return peer === undefined ? [] : [{ peer, last: String(ck[0]) }]
    })
  }
}
