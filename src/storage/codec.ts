/**
 * How rows look in an ordered key-value store: shared by the drivers and by the dump, so that a dump of one loads into any.
 *
 * Key: `tuple(host, table) tuple(pk) / tuple(ck)`. Value: one byte of version, then JSON text or bytes.
 */

import { AFTER, encodeTuple, readTuple } from '../util/tuple.ts'
import { type Key, MAX_COMMIT, type Op, type Range, StoreError, type TableSpec } from './store.ts'

/** Longest value, in bytes or UTF-16 units of its JSON: what is larger is a blob. */
export const MAX_VALUE_LENGTH = 16 * 1024 * 1024

/** A value as stored. Text stands for its UTF-8 (drivers that keep text as text save a copy). */
export type RawValue = string | Uint8Array

// Between pk and ck; sorts before both tags, so that a partition comes before those whose key extends its own.
const SLASH = '/'
const AFTER_SLASH = '0'

export function tablePrefix(host: string, table: string): string {
  return encodeTuple([host, table])
}

/** What the keys of one partition begin with. */
export function partitionPrefix(tablePrefix: string, pk: Key): string {
  return tablePrefix + encodeTuple(pk) + SLASH
}

/** The least text above every key of the partition with this prefix. */
export function afterPartition(prefix: string): string {
  return prefix.slice(0, -1) + AFTER_SLASH
}

/** The pk of a row key that begins with the table's prefix. */
export function partitionOf(tablePrefix: string, rowKey: string): Key {
  return readTuple(rowKey, tablePrefix.length).key
}

/** The ck of a row key that begins with the partition's prefix. */
export function clusteringKey(partitionPrefix: string, rowKey: string): Key {
  return readTuple(rowKey, partitionPrefix.length).key
}

interface RowKey {
  host: string
  table: string
  pk: Key
  ck: Key
}

/** Takes a row key apart; throws a StoreError when it is none. */
export function parseRowKey(rowKey: string): RowKey {
  try {
    const left = readTuple(rowKey, 0)
    const right = readTuple(rowKey, left.end + 1)
    const [host, table, ...pk] = left.key
    if (typeof host === 'string' && typeof table === 'string') {
      if (rowKey[left.end] === SLASH && right.end === rowKey.length) return { host, table, pk, ck: right.key }
    }
  } catch (cause) {
    throw new StoreError(`not a row key: ${JSON.stringify(rowKey)}`, { cause, retry: false })
  }
  throw new StoreError(`not a row key: ${JSON.stringify(rowKey)}`, { retry: false })
}

/** Bounds of the texts of clustering keys: `low <= text < high`. */
export interface Bounds {
  low: string
  high: string
  reverse: boolean
  /** Infinity without one. */
  limit: number
  /** Infinity without one. */
  bytes: number
}

const EVERYTHING: Bounds = Object.freeze({ low: '', high: AFTER, reverse: false, limit: Infinity, bytes: Infinity })

export function bounds(range: Range | undefined): Bounds {
  if (range === undefined) return EVERYTHING
  const { gt, gte, lt, lte, reverse = false, limit = Infinity, bytes = Infinity } = range
  if (limit !== Infinity && !(Number.isSafeInteger(limit) && limit >= 0)) throw new TypeError(`limit ${limit}`)
  if (!(bytes > 0)) throw new TypeError(`bytes ${bytes}`)
  let low = gte ? encodeTuple(gte) : ''
  let high = lte ? encodeTuple(lte) + AFTER : AFTER
  if (gt) {
    const text = encodeTuple(gt) + AFTER
    if (text > low) low = text
  }
  if (lt) {
    const text = encodeTuple(lt)
    if (text < high) high = text
  }
  return { low, high, reverse, limit, bytes }
}

/** How many of these values a scan takes that ends with the one that reaches `bytes`. */
export function within(values: Iterable<RawValue>, bytes: number): number {
  let count = 0
  let size = 0
  for (const value of values) {
    if (size >= bytes) break
    size += value.length
    count++
  }
  return count
}

/** Turns the values of one table into bytes and back. */
export interface Codec<V> {
  readonly text: boolean
  encode(value: V): RawValue
  decode(raw: RawValue): V
}

/** Throws a TypeError when the spec's version is not an integer of 0..127 (default 1). */
export function codec<V>(spec: TableSpec<V>): Codec<V> {
  const version = spec.version ?? 1
  if (!(Number.isInteger(version) && version >= 0 && version < 128)) {
    throw new TypeError(`table ${spec.name}: version ${version} is not of 0..127`)
  }
  const today = (value: unknown, found: number): V => {
    if (found === version) return value as V
    if (found < version && spec.migrate) return spec.migrate(value, found)
    const why = found > version ? 'was written by a newer hermod' : 'is old and the table has no migrate'
    throw new StoreError(`table ${spec.name}: a row of version ${found} ${why} (want ${version})`, { retry: false })
  }
  return spec.codec === 'bytes' ? bytesCodec(spec.name, version, today) : jsonCodec(spec.name, version, today)
}

type Today<V> = (value: unknown, found: number) => V

function jsonCodec<V>(table: string, version: number, today: Today<V>): Codec<V> {
  const head = String.fromCharCode(version)
  return {
    text: true,
    encode(value) {
      const text = JSON.stringify(value) as string | undefined
      if (text === undefined) throw new TypeError(`table ${table}: a value that JSON cannot hold`)
      checkLength(table, text.length)
      return head + text
    },
    decode(raw) {
      const text = typeof raw === 'string' ? raw : utf8(raw)
      let value: unknown
      try {
        value = JSON.parse(text.slice(1))
      } catch (cause) {
        throw new StoreError(`table ${table}: a damaged row`, { cause, retry: false })
      }
      return today(value, text.charCodeAt(0))
    },
  }
}

function bytesCodec<V>(table: string, version: number, today: Today<V>): Codec<V> {
  return {
    text: false,
    encode(value) {
      if (!(value instanceof Uint8Array)) throw new TypeError(`table ${table}: a value that is not bytes`)
      checkLength(table, value.length)
      const raw = Buffer.allocUnsafe(value.length + 1)
      raw[0] = version
      raw.set(value, 1)
      return raw
    },
    decode(raw) {
      const bytes = typeof raw === 'string' ? Buffer.from(raw) : raw
      const found = bytes[0]
      if (found === undefined) throw new StoreError(`table ${table}: a damaged row`, { retry: false })
      return today(Buffer.from(bytes.buffer, bytes.byteOffset + 1, bytes.length - 1), found)
    },
  }
}

function checkLength(table: string, length: number): void {
  if (length > MAX_VALUE_LENGTH) {
    throw new TypeError(`table ${table}: a value of ${length} bytes, at most ${MAX_VALUE_LENGTH}`)
  }
}

/** Throws a TypeError when these are more than one commit takes. */
export function assertCommit(ops: readonly Op[]): void {
  let size = 0
  for (const op of ops) size += op.size
  if (size > MAX_COMMIT) throw new TypeError(`a commit of ${size} bytes, at most ${MAX_COMMIT}`)
}

function utf8(raw: Uint8Array): string {
  return Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString()
}

export function rawBytes(raw: RawValue): Uint8Array {
  return typeof raw === 'string' ? Buffer.from(raw) : raw
}
