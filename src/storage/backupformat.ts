/**
 * What lies in the file of a backup:
 *
 *     "hermod backup 2\n"
 *     the rows, a dump (dump.ts) in pieces: u32 length, bytes; u32 0 after the last
 *     per blob: u32 length of its head, the head as JSON (key, type, size), its bytes; u32 0 after the last
 *     u64 number of blobs, SHA-256 of everything before
 *
 * Integers are big-endian. A dump by itself is the backup of earlier versions, without blobs.
 */

import { createHash, type Hash } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Contents, Summary } from './backup.ts'
import { type Blob, type BlobAbout, type BlobStore, checkAbout, checkKey } from './blob.ts'
import { parseRowKey } from './codec.ts'
import { DUMP_MAGIC, readDump } from './dump.ts'
import { StoreError } from './store.ts'

/** Blobs of a backup. */
export interface BackedUp {
  count: number
  /** Of those: pictures as users sent them; their smaller sizes are not counted as such. */
  pictures: number
  /** Those that are in the blob store and damaged there: a backup leaves them out. */
  missing: number
}

interface BlobHead extends BlobAbout {
  key: string
}

const MAGIC = Buffer.from('hermod backup 2\n')
const PIECE = 256 * 1024
const MAX_PIECE = 1024 * 1024
const MAX_HEAD = 4096
/** How often reading a blob is begun again where the connection to it breaks. */
const TRIES = 4

/** Chunks of at most about a megabyte. `counted` is filled in on the way. */
export async function* writeBackup({ store, blobs }: Contents, counted: BackedUp): AsyncIterable<Uint8Array> {
  const hash = createHash('sha256')
  const told = (bytes: Uint8Array): Uint8Array => {
    hash.update(bytes)
    return bytes
  }
  yield told(MAGIC)
  for await (const chunk of store.dump()) {
    for (let at = 0; at < chunk.length; at += PIECE) {
      const piece = chunk.subarray(at, at + PIECE)
      yield told(u32(piece.length))
      yield told(piece)
    }
  }
  yield told(u32(0))
  for await (const key of blobs === undefined ? [] : keysOf(blobs)) {
    for await (const chunk of writeBlob(blobs!, key, counted)) yield told(chunk)
  }
  const end = Buffer.alloc(12)
  end.writeBigUInt64BE(BigInt(counted.count), 4)
  yield told(end)
  yield hash.digest()
}

async function* keysOf(blobs: BlobStore): AsyncIterable<string> {
  for (let after: string | undefined; ; ) {
    const page = await blobs.list('', after)
    for (const { key } of page) yield key
    after = page.at(-1)?.key
    if (after === undefined) return
  }
}

async function* writeBlob(blobs: BlobStore, key: string, counted: BackedUp): AsyncIterable<Uint8Array> {
  let blob: Blob | undefined
  try {
    blob = await blobs.get(key)
  } catch (error) {
    // What is damaged stays so however often it is read: the rest is worth a backup.
    if (!(error instanceof StoreError) || error.retry) throw error
    counted.missing++
    return
  }
  if (blob === undefined) return
  const { type, size } = blob
  const head = Buffer.from(JSON.stringify({ key, type, size } satisfies BlobHead))
  yield Buffer.concat([u32(head.length), head])
  let at = 0
  for (let tries = 1; ; tries++) {
    try {
      for await (const chunk of blob.body) {
        at += (chunk as Uint8Array).length
        yield chunk as Uint8Array
      }
    } catch (error) {
      if (tries >= TRIES)
        throw new StoreError(`the file ${key} broke off while it was read; try again`, { cause: error })
    }
    if (at === size) break
    if (tries >= TRIES || at > size) throw new StoreError(`the file ${key} broke off while it was read; try again`)
    const rest = await blobs.get(key, { start: at })
    if (rest?.size !== size) {
      rest?.body.destroy()
      throw new StoreError(`the file ${key} was changed while it was read; try again`)
    }
    blob = rest
  }
  count(counted, key)
}

/** Pictures lie below `avatars/`, smaller sizes of them beside them with the size in the name. */
function count(counted: BackedUp, key: string): void {
  counted.count++
  if (/^avatars\/.*\/[^./]+$/.test(key)) counted.pictures++
}

/**
 * Reads a backup to its end; throws a StoreError at the first thing that is wrong with it, at the end at the latest. With
 * `into`, its rows are loaded, and those of its blobs are put that are not there.
 */
export async function readBackup(chunks: AsyncIterable<Uint8Array>, into?: Contents): Promise<Omit<Summary, 'bytes'>> {
  const source = new Source(chunks)
  const blobs: BackedUp = { count: 0, pictures: 0, missing: 0 }
  const found = { rows: 0, tables: new Map<string, number>(), blobs }
  const load = async (rows: AsyncIterable<Uint8Array>): Promise<void> => {
    if (into !== undefined) return into.store.load(rows)
    for await (const page of readDump(rows)) {
      found.rows += page.length
      for (const [key] of page) {
        const { table } = parseRowKey(key)
        found.tables.set(table, (found.tables.get(table) ?? 0) + 1)
      }
    }
  }
  const start = await source.upTo(DUMP_MAGIC.length)
  const cut = start.length < DUMP_MAGIC.length
  if (cut && ![DUMP_MAGIC, MAGIC].some(magic => magic.subarray(0, start.length).equals(start))) throw foreign()
  if (cut) throw damaged('it is cut short')
  if (start.equals(DUMP_MAGIC)) {
    await load(source.all(start))
    return found
  }
  const magic = Buffer.concat([start, await source.read(MAGIC.length - start.length)])
  if (!magic.equals(MAGIC)) throw foreign()
  await load(rowsOf(source))
  for (;;) {
    const length = await source.u32()
    if (length === 0) break
    if (length > MAX_HEAD) throw damaged('what is said of a file is too long')
    const head = headOf(await source.read(length))
    await takeBlob(head, source, into?.blobs)
    count(blobs, head.key)
  }
  const number = await source.read(8)
  if (number.readBigUInt64BE() !== BigInt(blobs.count)) throw damaged('files are missing')
  const digest = source.hash.digest()
  if (!digest.equals(await source.read(32, false))) throw damaged('its checksum is wrong')
  if (!(await source.ended())) throw damaged('something follows its end')
  return found
}

async function* rowsOf(source: Source): AsyncIterable<Uint8Array> {
  for (;;) {
    const length = await source.u32()
    if (length === 0) return
    if (length > MAX_PIECE) throw damaged('a piece of it is too long')
    yield await source.read(length)
  }
}

function headOf(bytes: Buffer): BlobHead {
  try {
    const { key, type, size } = JSON.parse(bytes.toString('utf8')) as BlobHead
    checkKey(key)
    checkAbout({ type, size })
    return { key, type, size }
  } catch {
    throw damaged('what is said of a file makes no sense')
  }
}

async function takeBlob({ key, type, size }: BlobHead, source: Source, blobs: BlobStore | undefined): Promise<void> {
  const body = source.some(size)
  // Keys are made of what is in them, or at random: the same size is the same blob. One that is damaged is put anew.
  const wanted = blobs !== undefined && (await blobs.stat(key).catch(damagedOnly))?.size !== size
  if (wanted) await blobs.put(key, Readable.from(body, { objectMode: false }), { type, size })
  else for await (const _ of body);
}

function damagedOnly(error: unknown): undefined {
  if (!(error instanceof StoreError) || error.retry) throw error
}

/** Bytes in order, hashed as they are taken. */
class Source {
  readonly hash: Hash = createHash('sha256')
  readonly #chunks: AsyncIterator<Uint8Array>
  #rest: Buffer = Buffer.alloc(0)

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]()
  }

  /** So many, all at once. */
  async read(length: number, hashed = true): Promise<Buffer> {
    const bytes = await this.upTo(length, hashed)
    if (bytes.length < length) throw damaged('it is cut short')
    return bytes
  }

  /** So many, or all that are left. */
  async upTo(length: number, hashed = true): Promise<Buffer> {
    const parts: Buffer[] = []
    for (let left = length; left > 0; ) {
      const part = await this.#take(left)
      if (part === undefined) break
      parts.push(part)
      left -= part.length
    }
    const bytes = parts.length === 1 ? parts[0]! : Buffer.concat(parts)
    if (hashed) this.hash.update(bytes)
    return bytes
  }

  async u32(): Promise<number> {
    return (await this.read(4)).readUInt32BE()
  }

  /** So many, as they come. */
  async *some(length: number): AsyncIterable<Buffer> {
    for (let left = length; left > 0; ) {
      const part = await this.#take(left)
      if (part === undefined) throw damaged('it is cut short')
      this.hash.update(part)
      left -= part.length
      yield part
    }
  }

  /** `start`, then all that follows. */
  async *all(start: Buffer): AsyncIterable<Buffer> {
    yield start
    for (;;) {
      const part = await this.#take(PIECE)
      if (part === undefined) return
      yield part
    }
  }

  async ended(): Promise<boolean> {
    return (await this.#take(1)) === undefined
  }

  async #take(most: number): Promise<Buffer | undefined> {
    while (this.#rest.length === 0) {
      const { value, done } = await this.#chunks.next()
      if (done === true) return undefined
      this.#rest = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    }
    const taken = this.#rest.subarray(0, most)
    this.#rest = this.#rest.subarray(taken.length)
    return taken
  }
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function foreign(): StoreError {
  return damaged('it is no backup of hermod, or of a newer one')
}

function damaged(what: string): StoreError {
  return new StoreError(`the backup cannot be read: ${what}`, { retry: false })
}
