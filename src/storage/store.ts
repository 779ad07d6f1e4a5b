/**
 * The narrow waist between modules and databases.
 *
 * One shape of table: partition key + clustering key -> value. It is a key range in LevelDB and a
 * `PRIMARY KEY ((host, partition), clustering)` in Cassandra alike, so there are no counts, joins or secondary indexes: who
 * needs another order writes a second table, and what must agree in one {@link Store.commit} (docs/decisions/008).
 */

import { setImmediate } from 'node:timers/promises'

/** A part of a key. Numbers are finite and order numerically; strings order by code point. Numbers sort before strings. */
type KeyPart = string | number
/** A tuple of key parts, compared part by part; a shorter key sorts before its extensions. */
export type Key = readonly KeyPart[]

/** Limits of a scan or a clear within one partition, on the clustering key. A bound that is a prefix covers its extensions. */
export interface Range {
  gt?: Key
  gte?: Key
  lt?: Key
  lte?: Key
  reverse?: boolean
  /** Rows at most; default unlimited. */
  limit?: number
  /**
   * Size at most, of a scan only (bytes of a `bytes` table, characters of JSON): it ends with the row whose value reaches
   * it, so that at least one comes. Fewer rows than `limit` are then not the end; an empty scan is. See {@link pages}.
   */
  bytes?: number
}

export interface Row<V> {
  ck: Key
  value: V
}

/** One row to be put or deleted by a {@link Store.commit}; made by its table, of any host. May be committed again. */
export interface Op {
  /** Characters and bytes of its key and value. */
  readonly size: number
}

/** Most of one commit: the sizes of its rows together. */
export const MAX_COMMIT = 32 * 1024 * 1024

/**
 * How values lie in the store. `version` is kept with each value; `migrate` turns an older one into today's when it is
 * read (and is called only then). `json` takes anything JSON can hold; `bytes` takes a Buffer as it is.
 */
export interface TableSpec<V> {
  /** snake_case, unique within its host. */
  name: string
  codec?: 'json' | 'bytes'
  version?: number
  migrate?: (value: unknown, version: number) => V
  /**
   * Keys are never written twice (ids): a row that is deleted before it reached the disk need not be written at all. Its
   * put then resolves, or rejects, with the other writes of its moment.
   */
  unique?: boolean
}

/**
 * Promises of writes resolve when the write is durable (synced) and reject with a {@link StoreError} when it failed; then
 * nothing of that call was kept. A read sees every write that was called before it, awaited or not.
 *
 * Keys and values that cannot be stored (a lone surrogate, NaN, a key above 16,384 characters, a value above 16 MiB, what JSON
 * cannot hold) reject with a TypeError. Values are taken as they are at the call; what is read is the reader's own.
 */
export interface Table<V> {
  get(pk: Key, ck?: Key): Promise<V | undefined>
  put(pk: Key, ck: Key, value: V): Promise<void>
  /** True if the row was absent and is now written. Atomic among callers of this store. */
  putIfAbsent(pk: Key, ck: Key, value: V): Promise<boolean>
  del(pk: Key, ck?: Key): Promise<void>
  /** Rows of one partition in key order, as one array: use `limit` and `bytes` for what may be long. */
  scan(pk: Key, range?: Range): Promise<Row<V>[]>
  /** As {@link scan}, the clustering keys only: values, however large, are neither held nor decoded. */
  keys(pk: Key, range?: Range): Promise<Key[]>
  /** As {@link put} and {@link del}, for {@link Store.commit}. Throws a TypeError where these reject with one. */
  putOp(pk: Key, ck: Key, value: V): Op
  delOp(pk: Key, ck?: Key): Op
  /** Deletes what was there at the call. When a clear of more than 1000 rows rejects, a part of them may be gone already. */
  clear(pk: Key, range?: Range): Promise<void>
  /**
   * Keys of the partitions that there are, after this one, in an order of the driver's own. Reads every partition once: for
   * commands of administrators, and for what is done now and then (starts, sweeps, repairs); never for a user's request.
   */
  partitions(after?: Key, limit?: number): Promise<Key[]>
}

export interface Store {
  /** A table of one host. Asking twice for the same name gives the same rows. */
  table<V>(host: string, spec: TableSpec<V>): Table<V>
  /**
   * All of these rows, of any tables, partitions and hosts, or none of them: whether the disk fails, the process dies or too
   * much waits. Of two with one key the later counts. One read (a get, a scan, keys) sees all of a commit or nothing; who
   * reads two partitions may find it in one and not yet in the other. Rejects with a TypeError above {@link MAX_COMMIT}.
   */
  commit(ops: readonly Op[]): Promise<void>
  /** Every row of every table of one consistent moment, as opaque chunks, in order. */
  dump(): AsyncIterable<Uint8Array>
  /** Fills an empty store from chunks made by {@link Store.dump} (of any driver). */
  load(chunks: AsyncIterable<Uint8Array>): Promise<void>
  /** What waits for the disk at this moment: rows, and their size (about bytes). */
  waiting?(): { rows: number; bytes: number }
  /** Waits for pending writes, then closes. */
  close(): Promise<void>
}

/** What {@link pages} reads at a time if not told otherwise. */
const PAGE_ROWS = 500
const PAGE_BYTES = 1024 * 1024

/**
 * All rows of a range, page by page: `limit` and `bytes` (500 rows, 1 MiB if left out) are those of one page, so that whoever
 * goes through a partition of any size holds one page, and others have their turn between two. For tables none of whose
 * keys begins another.
 */
export async function* pages<V>(table: Table<V>, pk: Key, range: Range = {}): AsyncGenerator<Row<V>[]> {
  const page = { limit: PAGE_ROWS, bytes: PAGE_BYTES, ...range }
  let rest: Range = page
  for (;;) {
    const rows = await table.scan(pk, rest)
    const last = rows.at(-1)?.ck
    if (last === undefined) return
    yield rows
    // A range has one tighter bound on each side: the new one is the tighter.
    rest = page.reverse === true ? { ...page, lt: last } : { ...page, gt: last }
    await setImmediate()
  }
}

/** All partition keys. For administration only: see {@link Table.partitions}. */
export async function* partitionsOf(table: Pick<Table<unknown>, 'partitions'>): AsyncGenerator<Key> {
  for (let after: Key | undefined; ; ) {
    const keys = await table.partitions(after, PAGE_ROWS)
    yield* keys
    if (keys.length < PAGE_ROWS) return
    after = keys.at(-1)
  }
}

/** A read or write that the database refused. `retry` says whether the same call may succeed later (a full disk). */
export class StoreError extends Error {
  readonly retry: boolean
  constructor(message: string, options: { cause?: unknown; retry?: boolean } = {}) {
    super(message, { cause: options.cause })
    this.name = 'StoreError'
    this.retry = options.retry ?? true
  }
}
