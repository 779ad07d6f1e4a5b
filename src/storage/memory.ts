import { AFTER, decodeTuple, encodeTuple } from '../util/tuple.ts'
import type { Bounds, Codec, RawValue } from './codec.ts'
import { assertCommit, bounds, codec, parseRowKey, partitionPrefix, rawBytes, tablePrefix, within } from './codec.ts'
import { readDump, writeDump } from './dump.ts'
import { type Key, type Op, type Range, type Row, type Store, StoreError, type Table, type TableSpec } from './store.ts'

/** A store that forgets everything when the process ends: for tests and for trying things out. */
export function openMemoryStore(): Store {
  return new MemoryStore()
}

/** Rows of one partition: keys are texts of clustering keys, in order. */
interface Partition {
  keys: string[]
  values: Map<string, RawValue>
}

/** Partitions of one table by the text of their key; none is empty. */
type Partitions = Map<string, Partition>

interface MemoryOp extends Op {
  readonly partitions: Partitions
  readonly pk: string
  readonly ck: string
  /** Undefined to delete it. */
  readonly raw: RawValue | undefined
}

class MemoryStore implements Store {
  readonly #tables = new Map<string, Partitions>()
  #closed = false

  table<V>(host: string, spec: TableSpec<V>): Table<V> {
    return new MemoryTable(this.#rows(host, spec.name), codec(spec), () => this.#assertOpen())
  }

  async commit(ops: readonly Op[]): Promise<void> {
    this.#assertOpen()
    assertCommit(ops)
    for (const { partitions, pk, ck, raw } of ops as readonly MemoryOp[]) {
      if (raw === undefined) del(partitions, pk, ck)
      else put(partitions, pk, ck, raw)
    }
  }

  async *dump(): AsyncIterable<Uint8Array> {
    this.#assertOpen()
    const rows: [string, Uint8Array][] = []
    for (const [prefix, partitions] of this.#tables) {
      for (const [pk, { keys, values }] of partitions) {
        for (const ck of keys) rows.push([partitionPrefix(prefix, decodeTuple(pk)) + ck, rawBytes(values.get(ck)!)])
      }
    }
    rows.sort(([a], [b]) => (a < b ? -1 : 1))
    yield* writeDump([rows])
  }

  async load(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    this.#assertOpen()
    for (const partitions of this.#tables.values()) {
      if (partitions.size > 0) throw new StoreError('the store to load into is not empty', { retry: false })
    }
    try {
      for await (const rows of readDump(chunks)) {
        for (const [rowKey, value] of rows) {
          const { host, table, pk, ck } = parseRowKey(rowKey)
          put(this.#rows(host, table), encodeTuple(pk), encodeTuple(ck), value)
        }
      }
    } catch (error) {
      for (const partitions of this.#tables.values()) partitions.clear()
      throw error
    }
  }

  async close(): Promise<void> {
    this.#closed = true
  }

  #rows(host: string, table: string): Partitions {
    const prefix = tablePrefix(host, table)
    let partitions = this.#tables.get(prefix)
    if (!partitions) this.#tables.set(prefix, (partitions = new Map()))
    return partitions
  }

  #assertOpen(): void {
    if (this.#closed) throw new StoreError('the store is closed', { retry: false })
  }
}

class MemoryTable<V> implements Table<V> {
  readonly #partitions: Partitions
  readonly #codec: Codec<V>
  readonly #assertOpen: () => void

  constructor(partitions: Partitions, codec: Codec<V>, assertOpen: () => void) {
    this.#partitions = partitions
    this.#codec = codec
    this.#assertOpen = assertOpen
  }

  async get(pk: Key, ck: Key = []): Promise<V | undefined> {
    this.#assertOpen()
    const raw = this.#partitions.get(encodeTuple(pk))?.values.get(encodeTuple(ck))
    return raw === undefined ? undefined : this.#decode(raw)
  }

  async put(pk: Key, ck: Key, value: V): Promise<void> {
    this.#assertOpen()
    put(this.#partitions, encodeTuple(pk), encodeTuple(ck), this.#codec.encode(value))
  }

  async putIfAbsent(pk: Key, ck: Key, value: V): Promise<boolean> {
    this.#assertOpen()
    if (this.#partitions.get(encodeTuple(pk))?.values.has(encodeTuple(ck))) return false
    put(this.#partitions, encodeTuple(pk), encodeTuple(ck), this.#codec.encode(value))
    return true
  }

  async del(pk: Key, ck: Key = []): Promise<void> {
    this.#assertOpen()
    del(this.#partitions, encodeTuple(pk), encodeTuple(ck))
  }

  async scan(pk: Key, range?: Range): Promise<Row<V>[]> {
    this.#assertOpen()
    const limits = bounds(range)
    const partition = this.#partitions.get(encodeTuple(pk))
    if (!partition) return []
    const keys = select(partition.keys, limits)
    if (limits.bytes !== Infinity)
      keys.length = within(
        keys.map(ck => partition.values.get(ck)!),
        limits.bytes,
      )
    return keys.map(ck => ({ ck: decodeTuple(ck), value: this.#decode(partition.values.get(ck)!) }))
  }

  async keys(pk: Key, range?: Range): Promise<Key[]> {
    this.#assertOpen()
    const limits = bounds(range)
    const partition = this.#partitions.get(encodeTuple(pk))
    return partition === undefined ? [] : select(partition.keys, limits).map(decodeTuple)
  }

  putOp(pk: Key, ck: Key, value: V): Op {
    return this.#op(pk, ck, this.#codec.encode(value))
  }

  delOp(pk: Key, ck: Key = []): Op {
    return this.#op(pk, ck, undefined)
  }

  async clear(pk: Key, range?: Range): Promise<void> {
    this.#assertOpen()
    const limits = bounds(range)
    const partition = this.#partitions.get(encodeTuple(pk))
    if (!partition) return
    const gone = new Set(select(partition.keys, limits))
    for (const ck of gone) partition.values.delete(ck)
    partition.keys = partition.keys.filter(ck => !gone.has(ck))
    if (partition.keys.length === 0) this.#partitions.delete(encodeTuple(pk))
  }

  async partitions(after?: Key, limit = Infinity): Promise<Key[]> {
    this.#assertOpen()
    const from = after && encodeTuple(after)
    const keys = [...this.#partitions.keys()].filter(pk => from === undefined || pk > from).sort()
    return keys.slice(0, limit).map(decodeTuple)
  }

  #op(pk: Key, ck: Key, raw: RawValue | undefined): MemoryOp {
    const key = { pk: encodeTuple(pk), ck: encodeTuple(ck) }
    const size = key.pk.length + key.ck.length + (raw?.length ?? 0)
    return { partitions: this.#partitions, ...key, raw, size }
  }

  /** A copy, so that who gets bytes may change them. */
  #decode(raw: RawValue): V {
    return this.#codec.decode(typeof raw === 'string' ? raw : Buffer.from(raw))
  }
}

function put(partitions: Partitions, pk: string, ck: string, raw: RawValue): void {
  let partition = partitions.get(pk)
  if (!partition) partitions.set(pk, (partition = { keys: [], values: new Map() }))
  if (!partition.values.has(ck)) partition.keys.splice(indexOf(partition.keys, ck), 0, ck)
  partition.values.set(ck, raw)
}

function del(partitions: Partitions, pk: string, ck: string): void {
  const partition = partitions.get(pk)
  if (!partition?.values.delete(ck)) return
  partition.keys.splice(indexOf(partition.keys, ck), 1)
  if (partition.keys.length === 0) partitions.delete(pk)
}

function select(keys: string[], { low, high, reverse, limit }: Bounds): string[] {
  const start = indexOf(keys, low)
  const end = high === AFTER ? keys.length : Math.max(start, indexOf(keys, high))
  if (!reverse) return keys.slice(start, Math.min(end, start + limit))
  return keys.slice(Math.max(start, end - limit), end).reverse()
}

/** Where the first key that is not below `key` stands; ids mostly come in order, so the end is tried first. */
function indexOf(keys: string[], key: string): number {
  let high = keys.length
  if (high === 0 || keys[high - 1]! < key) return high
  let low = 0
  while (low < high) {
    const middle = (low + high) >>> 1
    if (keys[middle]! < key) low = middle + 1
    else high = middle
  }
  return low
}
