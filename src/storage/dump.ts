/**
 * A dump: every row of a store as one stream of bytes, the same for every driver.
 *
 *     "hermod dump 1\n"
 *     per row, in key order: u32 length of the key, the key (see codec.ts), u32 length of the value, the value
 *     u32 0, u64 number of rows, SHA-256 of everything before
 *
 * Integers are big-endian. What is cut short, longer than it should be or changed is noticed when the end is read.
 */

import { createHash } from 'node:crypto'
import { MAX_KEY_LENGTH } from '../util/tuple.ts'
import { MAX_VALUE_LENGTH } from './codec.ts'
import { StoreError } from './store.ts'

export type RawRow = [key: string, value: Uint8Array]

export const DUMP_MAGIC = Buffer.from('hermod dump 1\n')
const TAIL = 4 + 8 + 32
const CHUNK = 256 * 1024
const MAX_KEY_BYTES = MAX_KEY_LENGTH * 3 * 3
const MAX_VALUE_BYTES = MAX_VALUE_LENGTH * 3 + 1

/** Chunks of about 256 KiB (more where a value is larger). */
export async function* writeDump(
  pages: Iterable<readonly RawRow[]> | AsyncIterable<readonly RawRow[]>,
): AsyncIterable<Uint8Array> {
  const hash = createHash('sha256')
  let parts: Uint8Array[] = [DUMP_MAGIC]
  let size = DUMP_MAGIC.length
  let count = 0n
  for await (const page of pages) {
    for (const [key, value] of page) {
      const head = Buffer.allocUnsafe(8 + Buffer.byteLength(key))
      head.writeUInt32BE(head.length - 8, 0)
      head.write(key, 4)
      head.writeUInt32BE(value.length, head.length - 4)
      parts.push(head, value)
      size += head.length + value.length
      count++
      if (size >= CHUNK) {
        const chunk = Buffer.concat(parts, size)
        hash.update(chunk)
        yield chunk
        parts = []
        size = 0
      }
    }
  }
  const end = Buffer.alloc(12)
  end.writeBigUInt64BE(count, 4)
  const chunk = Buffer.concat([...parts, end])
  yield Buffer.concat([chunk, hash.update(chunk).digest()])
}

/** The rows of a dump, in pages. Throws a StoreError at the first thing that is wrong, at the end at the latest. */
export async function* readDump(chunks: AsyncIterable<Uint8Array>): AsyncIterable<RawRow[]> {
  const hash = createHash('sha256')
  let rest: Buffer = Buffer.alloc(0)
  let count = 0n
  let started = false
  let ended = false
  // Chunks of a row still short of this many bytes wait in a list: a large value costs one copy, not one per chunk.
  let waiting: Uint8Array[] = []
  let have = 0
  let need = DUMP_MAGIC.length
  for await (const chunk of chunks) {
    waiting.push(chunk)
    have += chunk.length
    if (have < need) continue
    rest = waiting.length === 1 ? view(chunk) : Buffer.concat(waiting, have)
    let at = 0
    if (!started) {
      if (!rest.subarray(0, DUMP_MAGIC.length).equals(DUMP_MAGIC))
        throw damaged('it is not a dump of hermod, or of a newer one')
      started = true
      at = DUMP_MAGIC.length
    }
    const rows: RawRow[] = []
    need = 0
    while (!ended && need === 0) {
      const read = readRow(rest, at)
      if (typeof read === 'number') need = read
      else if (read === 'end') ended = true
      else {
        rows.push(read.row)
        at = read.end
        count++
      }
    }
    if (ended) need = TAIL
    hash.update(rest.subarray(0, at))
    if (rows.length > 0) yield rows
    rest = rest.subarray(at)
    waiting = [rest]
    have = rest.length
  }
  if (!ended || have < TAIL) throw damaged('it is cut short')
  const tail = Buffer.concat(waiting, have)
  if (tail.length > TAIL) throw damaged('something follows its end')
  if (tail.readBigUInt64BE(4) !== count) throw damaged('rows are missing')
  if (!hash.update(tail.subarray(0, 12)).digest().equals(tail.subarray(12))) throw damaged('its checksum is wrong')
}

/** A row and where it ends, or `end`, or how many bytes from `at` are needed to go on. */
function readRow(bytes: Buffer, at: number): { row: RawRow; end: number } | 'end' | number {
  const have = bytes.length - at
  if (have < 4) return 4
  const keyLength = bytes.readUInt32BE(at)
  if (keyLength === 0) return 'end'
  if (keyLength > MAX_KEY_BYTES) throw damaged('a key is too long')
  if (have < 8 + keyLength) return 8 + keyLength
  const valueLength = bytes.readUInt32BE(at + 4 + keyLength)
  if (valueLength > MAX_VALUE_BYTES) throw damaged('a value is too long')
  const start = at + 8 + keyLength
  const end = start + valueLength
  if (end > bytes.length) return end - at
  return { row: [bytes.toString('utf8', at + 4, at + 4 + keyLength), Buffer.from(bytes.subarray(start, end))], end }
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function damaged(what: string): StoreError {
  return new StoreError(`the dump cannot be read: ${what}`, { retry: false })
}
