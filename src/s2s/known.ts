import { pages, type Store, type Table, type TableSpec } from '../storage/store.ts'
import { Lru } from '../util/lru.ts'

const DAY = 86_400_000
/** After so long without a word it is forgotten. */
const KEPT = 60 * DAY
/** Names of which it is known that today's row is written. */
const NOTED = 5000

/** `[kind]` x `[name]` -> when it was last so, ms since 1970; to a day. */
const TABLE: TableSpec<number> = { name: 's2s_known' }
const SERVER = ''

/** `reached`: domains that were reached. `seen`: pairs of which messages are remembered. */
type Kind = 'reached' | 'seen'

/** What is to be known of other servers for long: a row each, written once a day at most, and removed when nothing comes of it. */
export class KnownPeers {
  readonly #table: Table<number>
  readonly #now: () => number
  readonly #noted = new Lru<string, number>(NOTED)

  constructor(store: Store, now: () => number) {
    this.#table = store.table(SERVER, TABLE)
    this.#now = now
  }

  /** It is so now. */
  note(kind: Kind, name: string): void {
    const now = this.#now()
    const key = `${kind} ${name}`
    const last = this.#noted.get(key)
    if (last !== undefined && now - last < DAY) return
    this.#noted.set(key, now)
    this.#table.put([kind], [name], now).catch(() => this.#noted.delete(key))
  }

  /** Whether it was so in the last weeks. Rejects as the store does. */
  async has(kind: Kind, name: string): Promise<boolean> {
    return this.#noted.get(`${kind} ${name}`) !== undefined || (await this.#table.get([kind], [name])) !== undefined
  }

  /** Forgets what is long ago; `forget` is told of each. Rejects as the store does. */
  async sweep(kind: Kind, forget: (name: string) => Promise<void>): Promise<void> {
    for await (const rows of pages(this.#table, [kind])) {
      for (const { ck, value } of rows) {
        if (this.#now() - value < KEPT) continue
        await forget(String(ck[0]))
        await this.#table.del([kind], ck)
      }
    }
  }
}
