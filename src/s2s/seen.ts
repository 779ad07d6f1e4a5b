import type { Entry } from '../core/queue/entry.ts'
import { shortHash } from '../core/queue/fingerprint.ts'
import { Residents } from '../core/residents.ts'
import type { Op, Store, Table, TableSpec } from '../storage/store.ts'
import { NS } from '../xml/index.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { KnownPeers } from './known.ts'

/** Messages remembered of each pair: more than a peer has in flight, or on its disk though acknowledged (see WINDOW in outflow.ts). */
const SIZE = 2048
/** Characters of an id by which a message is recognised. */
const ID = 100
/** Rings in memory that nobody uses, and bytes of all of them. */
const IDLE = 200
const IDLE_BYTES = 16 * 1024 * 1024
/** Bytes that one remembered message costs, about. */
const COST = 250

type Row = [seq: number, key: string]
const TABLE: TableSpec<Row> = { name: 's2s_seen' }
/** Of rows that belong to the server and to none of its hosts. */
const SERVER = ''

/** A message of a peer. */
export interface Known {
  readonly seq: number
  readonly key: string
  /** While it is not yet safe. */
  entry: Entry | undefined
}

/**
 * By what a message is recognised when its server sends it again: the id that it gave it (XEP-0359, `by` its domain), from whom
 * it is and for whom. Undefined where there is none: a server that does so by chance is no worse off.
 */
export function keyOf({ el, from, to }: Stanza): string | undefined {
  for (const child of el.children) {
    if (typeof child === 'string' || child.name !== 'stanza-id' || child.attrs['xmlns'] !== NS.SID) continue
    const { by, id } = child.attrs
    if (by === from.domain && id !== undefined && id.length <= ID && id.isWellFormed()) {
      return `${id} ${shortHash(`${from} ${to}`)}`
    }
  }
  return undefined
}

/**
 * Recognises messages that other servers send again, after a break or a crash of either side: the last {@link SIZE} of each
 * pair, written in the same commit as the message itself.
 */
export class SeenRings {
  readonly #rings: Residents<string, Seen>
  readonly #table: Table<Row>
  readonly #known: KnownPeers

  constructor(store: Store, known: KnownPeers) {
    const table = store.table(SERVER, TABLE)
    this.#table = table
    this.#known = known
    this.#rings = new Residents({
      load: async pair => {
        const rows = await table.scan([pair])
        known.note('seen', pair)
        return new Seen(
          table,
          pair,
          rows.map(({ value }) => value),
        )
      },
      idle: ring => ring.idle,
      weight: ring => ring.size * COST,
      left: () => {},
      max: IDLE,
      maxBytes: IDLE_BYTES,
    })
  }

  /** Of a pair, read from the store where it is not in memory. Who keeps it counts among its `users`. */
  of(pair: string): Seen | Promise<Seen> {
    return this.#rings.need(pair) as Seen | Promise<Seen>
  }

  /** Rings in memory. */
  get size(): number {
    return this.#rings.size
  }

  /** One message more is remembered. */
  grew(): void {
    this.#rings.grew(COST)
  }

  /** Pairs of which nothing has come for long are forgotten. Rejects as the store does. */
  sweep(): Promise<void> {
    return this.#known.sweep('seen', async pair => {
      if (this.#rings.get(pair) === undefined) await this.#table.clear([pair])
    })
  }
}

/** The messages of one pair that were seen last. */
export class Seen {
  /** Conversations that have it. */
  users = 0
  readonly #table: Table<Row>
  readonly #pair: readonly [string]
  readonly #slots: (Known | undefined)[] = []
  readonly #known = new Map<string, Known>()
  #unsafe = 0
  #next = 0

  constructor(table: Table<Row>, pair: string, rows: readonly Row[]) {
    this.#table = table
    this.#pair = [pair]
    for (const [seq, key] of rows.toSorted((a, b) => a[0] - b[0])) {
      this.#place({ seq, key, entry: undefined })
      this.#next = seq + 1
    }
  }

  get idle(): boolean {
    return this.users === 0 && this.#unsafe === 0
  }

  get size(): number {
    return this.#known.size
  }

  find(key: string): Known | undefined {
    return this.#known.get(key)
  }

  /** Remembers a message in place of the oldest. */
  add(key: string, entry: Entry | undefined): Known {
    const known = { seq: this.#next++, key, entry }
    if (entry !== undefined) this.#unsafe++
    this.#place(known)
    return known
  }

  #place(known: Known): void {
    const slot = known.seq % SIZE
    const old = this.#slots[slot]
    if (old !== undefined && this.#known.get(old.key) === old) this.#known.delete(old.key)
    this.#slots[slot] = known
    this.#known.set(known.key, known)
  }

  /** What is to be written with the message; undefined where it is remembered no more. */
  row(known: Known): Op | undefined {
    const slot = known.seq % SIZE
    if (this.#slots[slot] !== known) return undefined
    return this.#table.putOp(this.#pair, [slot], [known.seq, known.key])
  }

  /** Of a message that nothing is written of, for it went to clients at once or nowhere. Not waited for. */
  note({ seq, key }: Known): void {
    // At worst it comes twice, after a crash.
    this.#table.put(this.#pair, [seq % SIZE], [seq, key]).catch(() => {})
  }

  /** The message is safe: a copy of it needs no waiting. */
  settle(known: Known): void {
    if (known.entry === undefined) return
    known.entry = undefined
    this.#unsafe--
  }

  /** Its sender was told that the message failed: sending it again is a new attempt. */
  forget(known: Known): void {
    this.settle(known)
    if (this.#known.get(known.key) === known) this.#known.delete(known.key)
    const slot = known.seq % SIZE
    if (this.#slots[slot] !== known) return
    this.#slots[slot] = undefined
    this.#table.del(this.#pair, [slot]).catch(() => {})
  }
}
