import { AFTER, encodeTuple } from '../util/tuple.ts'
import {
  afterPartition,
  assertCommit,
  type Bounds,
  bounds,
  type Codec,
  clusteringKey,
  codec,
  parseRowKey,
  partitionOf,
  partitionPrefix,
  type RawValue,
  tablePrefix,
} from './codec.ts'
import { type RawRow, readDump, writeDump } from './dump.ts'
import { type Change, GroupCommit, type GroupCommitOptions, type RowChange } from './groupcommit.ts'
import { type Key, type Op, type Range, type Row, type Store, StoreError, type Table, type TableSpec } from './store.ts'

/** Least text above the keys of all rows; those begin with a string. */
export const ROWS_END = 't'
/** No row's key is below; what is belongs to the engine. */
export const ROWS_START = 's'

/** An ordered map from texts to values, on disk. All methods throw or reject with a {@link StoreError}. */
export interface Engine {
  /** While set, the engine cannot be read: wait for it first. It never rejects. */
  readonly paused: Promise<void> | undefined
  /** As text or as bytes. */
  get(key: string, text: boolean): RawValue | undefined
  /** Rows of `low <= key < high`. The bytes are the caller's own. */
  scan(bounds: Bounds, text: boolean): Promise<[key: string, value: RawValue][]>
  /** As {@link Engine.scan}, without values. */
  keys(bounds: Bounds): Promise<string[]>
  /** All rows of one moment, in pages, in order. */
  snapshot(): AsyncIterable<RawRow[]>
  /** All or nothing; durable when it resolves. One call at a time. */
  write(changes: ReadonlyMap<string, Change>): Promise<void>
  /** Runs `fill` such that a store left half filled, even by a crash, is emptied or does not open again. */
  fill(fill: () => Promise<void>): Promise<void>
  close(): Promise<void>
}

/** Keys read at a time when many are to be walked. */
const PAGE = 1000

/** A clear at work. Reads of its keys wait until it has decided what goes; later writes of its keys survive it. */
interface Clearing {
  low: string
  high: string
  rewritten: Set<string>
  decided: Promise<void>
}

/** Tables over an ordered engine, with writes grouped. */
export class OrderedStore implements Store {
  readonly engine: Engine
  readonly group: GroupCommit
  readonly #clearings = new Set<Clearing>()
  #closed = false

  constructor(engine: Engine, options: Omit<GroupCommitOptions, 'write'>) {
    this.engine = engine
    this.group = new GroupCommit({ write: changes => engine.write(changes), ...options })
  }

  table<V>(host: string, spec: TableSpec<V>): Table<V> {
    return new OrderedTable(this, tablePrefix(host, spec.name), spec)
  }

  commit(ops: readonly Op[]): Promise<void> {
    try {
      this.assertOpen()
      assertCommit(ops)
      const changes = ops as readonly RowOp[]
      for (const { key } of changes) this.written(key)
      return this.group.apply(changes)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async *dump(): AsyncIterable<Uint8Array> {
    this.assertOpen()
    await this.settle(ROWS_START, ROWS_END)
    yield* writeDump(this.engine.snapshot())
  }

  async load(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    this.assertOpen()
    await this.settle(ROWS_START, ROWS_END)
    const some = await this.engine.keys({ low: ROWS_START, high: ROWS_END, reverse: false, limit: 1, bytes: Infinity })
    if (some.length > 0) throw new StoreError('the store to load into is not empty', { retry: false })
    await this.engine.fill(async () => {
      for await (const rows of readDump(chunks)) {
        for (const [key] of rows) parseRowKey(key)
        await this.group.apply(rows.map(([key, change]) => ({ key, change, unique: false })))
      }
    })
  }

  waiting(): { rows: number; bytes: number } {
    return this.group.waiting
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const { decided } of this.#clearings) await decided
    await this.group.flush()
    await this.engine.close()
  }

  assertOpen(): void {
    if (this.#closed) throw new StoreError('the store is closed', { retry: false })
  }

  /** True when a read has to wait for {@link OrderedStore.unblock} first. */
  get blocked(): boolean {
    return this.#clearings.size > 0 || this.engine.paused !== undefined
  }

  /** Waits for clears of these keys that began before, and for the engine. */
  async unblock(low: string, high: string): Promise<void> {
    for (const clearing of [...this.#clearings]) {
      if (clearing.low < high && low < clearing.high) await clearing.decided
    }
    while (this.engine.paused) await this.engine.paused
  }

  /** Waits until the engine alone knows the truth about these keys. */
  async settle(low: string, high: string): Promise<void> {
    if (this.blocked) await this.unblock(low, high)
    const settled = this.group.settle(low, high)
    if (settled) await settled
  }

  /** Says that a key is written now: clears that began before shall leave it. */
  written(key: string): void {
    for (const { low, high, rewritten } of this.#clearings) if (low <= key && key < high) rewritten.add(key)
  }

  /** Deletes in groups of {@link PAGE}, so that the largest partition fits in memory. */
  async clear({ low, high, reverse, limit, bytes }: Bounds): Promise<void> {
    const { promise: decided, resolve } = Promise.withResolvers<void>()
    const earlier = this.settle(low, high)
    const clearing: Clearing = { low, high, rewritten: new Set(), decided }
    this.#clearings.add(clearing)
    let last: Promise<void> | undefined
    try {
      await earlier
      let left = limit
      for (let rest = { low, high }; left > 0; ) {
        const keys = await this.engine.keys({ ...rest, reverse, limit: Math.min(left, PAGE), bytes })
        if (keys.length === 0) break
        await last
        last = this.group.apply(
          keys.filter(key => !clearing.rewritten.has(key)).map(key => ({ key, change: null, unique: false })),
        )
        left -= keys.length
        const end = keys[keys.length - 1]!
        rest = reverse ? { low, high: end } : { low: `${end}\0`, high }
      }
    } finally {
      this.#clearings.delete(clearing)
      resolve()
    }
    await last
  }
}

type RowOp = Op & RowChange

class OrderedTable<V> implements Table<V> {
  readonly #store: OrderedStore
  readonly #prefix: string
  readonly #codec: Codec<V>
  readonly #unique: boolean

  constructor(store: OrderedStore, prefix: string, spec: TableSpec<V>) {
    this.#store = store
    this.#prefix = prefix
    this.#codec = codec(spec)
    this.#unique = spec.unique === true
  }

  async get(pk: Key, ck: Key = []): Promise<V | undefined> {
    const store = this.#store
    store.assertOpen()
    const key = this.#key(pk, ck)
    if (store.blocked) await store.unblock(key, `${key}\0`)
    const change = store.group.pending(key)
    if (change === null) return undefined
    // A copy: who gets bytes may change them.
    if (change !== undefined) return this.#codec.decode(typeof change === 'string' ? change : Buffer.from(change))
    const raw = store.engine.get(key, this.#codec.text)
    return raw === undefined ? undefined : this.#codec.decode(raw)
  }

  put(pk: Key, ck: Key, value: V): Promise<void> {
    try {
      return this.#put(this.#key(pk, ck), value)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async putIfAbsent(pk: Key, ck: Key, value: V): Promise<boolean> {
    const store = this.#store
    store.assertOpen()
    const key = this.#key(pk, ck)
    for (;;) {
      while (store.blocked) await store.unblock(key, `${key}\0`)
      const state = store.group.state(key)
      if (state === undefined) {
        if (store.engine.get(key, this.#codec.text) !== undefined) return false
        break
      }
      // A deletion of the group that ours joins has the same fate as ours.
      if (state.change === null && !state.started) break
      // Whether the row is there is known when that write has ended; a put that failed leaves the place to us.
      const kept = await state.promise.then(
        () => true,
        () => false,
      )
      if (kept && state.change !== null) return false
    }
    await this.#put(key, value)
    return true
  }

  del(pk: Key, ck: Key = []): Promise<void> {
    try {
      this.#store.assertOpen()
      const key = this.#key(pk, ck)
      this.#store.written(key)
      return this.#store.group.del(key, this.#unique)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async scan(pk: Key, range?: Range): Promise<Row<V>[]> {
    const store = this.#store
    store.assertOpen()
    const prefix = partitionPrefix(this.#prefix, pk)
    const within = inPartition(prefix, bounds(range))
    await store.settle(within.low, within.high)
    const rows = await store.engine.scan(within, this.#codec.text)
    return rows.map(([key, raw]) => ({ ck: clusteringKey(prefix, key), value: this.#codec.decode(raw) }))
  }

  async keys(pk: Key, range?: Range): Promise<Key[]> {
    const store = this.#store
    store.assertOpen()
    const prefix = partitionPrefix(this.#prefix, pk)
    const within = inPartition(prefix, bounds(range))
    await store.settle(within.low, within.high)
    return (await store.engine.keys(within)).map(key => clusteringKey(prefix, key))
  }

  putOp(pk: Key, ck: Key, value: V): RowOp {
    return this.#op(this.#key(pk, ck), this.#codec.encode(value))
  }

  delOp(pk: Key, ck: Key = []): RowOp {
    return this.#op(this.#key(pk, ck), null)
  }

  #op(key: string, change: Change): RowOp {
    return { key, change, unique: this.#unique, size: key.length + (change?.length ?? 0) }
  }

  async clear(pk: Key, range?: Range): Promise<void> {
    this.#store.assertOpen()
    await this.#store.clear(inPartition(partitionPrefix(this.#prefix, pk), bounds(range)))
  }

  async partitions(after?: Key, limit = Infinity): Promise<Key[]> {
    const store = this.#store
    store.assertOpen()
    const high = this.#prefix + AFTER
    let low = after ? afterPartition(partitionPrefix(this.#prefix, after)) : this.#prefix
    await store.settle(low, high)
    const found: Key[] = []
    while (found.length < limit) {
      const [first] = await store.engine.keys({ low, high, reverse: false, limit: 1, bytes: Infinity })
      if (first === undefined) break
      const pk = partitionOf(this.#prefix, first)
      found.push(pk)
      low = afterPartition(partitionPrefix(this.#prefix, pk))
    }
    return found
  }

  #key(pk: Key, ck: Key): string {
    return partitionPrefix(this.#prefix, pk) + encodeTuple(ck)
  }

  #put(key: string, value: V): Promise<void> {
    this.#store.assertOpen()
    const raw = this.#codec.encode(value)
    this.#store.written(key)
    return this.#store.group.put(key, raw)
  }
}

function inPartition(prefix: string, within: Bounds): Bounds {
  return { ...within, low: prefix + within.low, high: prefix + within.high }
}
