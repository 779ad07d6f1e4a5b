import type { Readable } from 'node:stream'
import { cut } from '../util/text.ts'
import { StoreError } from './store.ts'

/**
 * Where pictures and files lie: bytes under a key. Rows of tables hold the keys.
 *
 * A key is a path such as `avatars/example.org/5f3a/0beec7`: segments of letters, digits and `._%=~+-`, at most
 * {@link MAX_KEY} characters, no segment starting with a dot. No key is a folder of another.
 *
 * What the store cannot do now rejects with a {@link StoreError} that says what to do; a key that cannot be, or a body that
 * is not as long as was said, with a TypeError.
 */
export interface BlobStore {
  /** Resolves when the bytes are safe; until then, and if it rejects, what was there before stays. */
  put(key: string, body: BlobBody, about: BlobAbout): Promise<void>
  /**
   * The body must be read to its end or destroyed. Of a `part`, nothing but it is read, where the bytes lie; `size` stays that
   * of the whole.
   */
  get(key: string, part?: BlobPart): Promise<Blob | undefined>
  stat(key: string): Promise<BlobInfo | undefined>
  /** Nothing happens if there is none. */
  del(key: string): Promise<void>
  /**
   * Where the bytes can be had by HTTP for `ttl` ms (`Infinity` where the store can do that: at most a week with S3 unless its
   * bucket is public). Says nothing about whether they are there.
   */
  link(key: string, ttl: number): Promise<string>
  /**
   * Whether the server's own HTTP listener may serve the key to who comes with this query: that of a link which was made here
   * and is not over. False where links lead elsewhere.
   */
  allows(key: string, query: URLSearchParams): boolean
  /** Keys that start with `prefix`, in order of their characters, those after `after`; at most `limit`, default 1000. */
  list(prefix: string, after?: string, limit?: number): Promise<BlobEntry[]>
  close(): Promise<void>
}

export type BlobBody = Uint8Array | Readable

export interface BlobAbout {
  /** Media type. */
  type: string
  /** Bytes. */
  size: number
}

/** Where to begin, and how many bytes at most; what lies beyond the end is left out. */
export interface BlobPart {
  start: number
  /** Default: to the end. */
  length?: number
}

export interface BlobInfo extends BlobAbout {
  /** When it was put, ms since 1970. */
  at: number
}

export interface Blob extends BlobInfo {
  body: Readable
}

export interface BlobEntry {
  key: string
  size: number
  at: number
}

/** Characters of a key. */
export const MAX_KEY = 512
export const LIST_LIMIT = 1000

const SEGMENT = /^[A-Za-z0-9_%=~+-][A-Za-z0-9._%=~+-]{0,199}$/
const TYPE = /^[A-Za-z0-9!#$&^_.+-]{1,127}\/[A-Za-z0-9!#$&^_.+-]{1,127}(?:; ?[\x20-\x7e]{1,200})?$/

/** Throws a TypeError for what is no key: nothing that a stranger chose may lead out of the store. */
export function checkKey(key: string): void {
  if (key.length > MAX_KEY || !key.split('/').every(segment => SEGMENT.test(segment))) {
    throw new TypeError(`"${cut(key, 100)}" is no key for a blob`)
  }
}

export function isMediaType(text: string): boolean {
  return TYPE.test(text)
}

export function checkAbout({ type, size }: BlobAbout): void {
  if (!isMediaType(type)) throw new TypeError(`"${cut(type, 100)}" is no media type`)
  if (!Number.isSafeInteger(size) || size < 0) throw new TypeError(`a blob cannot have ${size} bytes`)
}

/** First and last byte of a part, as far as there are such; undefined where there are none. Throws a TypeError for what is no part. */
export function bytesOf(part: BlobPart, size: number): { start: number; end: number } | undefined {
  const { start, length = Number.POSITIVE_INFINITY } = part
  if (!Number.isSafeInteger(start) || start < 0 || !(length >= 0)) throw new TypeError('that is no part of a blob')
  const end = Math.min(start + length, size) - 1
  return start > end ? undefined : { start, end }
}

/** The chunks of a body; throws a TypeError as soon as there are more bytes than `size`, or at the end if there are fewer. */
export async function* chunksOf(body: BlobBody, size: number): AsyncGenerator<Uint8Array> {
  let count = 0
  for await (const chunk of body instanceof Uint8Array ? [body] : body) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : (chunk as Uint8Array)
    count += bytes.length
    if (count > size) throw new TypeError(`a body of ${size} bytes was announced, and more came`)
    if (bytes.length > 0) yield bytes
  }
  if (count < size) throw new TypeError(`a body of ${size} bytes was announced, ${count} came`)
}

/** All of a body, in memory; rejects as {@link chunksOf}. */
export async function bytesIn(body: BlobBody, size: number): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of chunksOf(body, size)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** The whole of a blob. Rejects with a StoreError where it has more than `limit` bytes, or breaks off. */
export async function readBlob(blob: Blob, limit: number): Promise<Buffer> {
  if (blob.size > limit) {
    blob.body.destroy()
    throw new StoreError(`a blob of ${blob.size} bytes is larger than the ${limit} that were wanted`, { retry: false })
  }
  try {
    return await bytesIn(blob.body, blob.size)
  } catch (error) {
    if (error instanceof StoreError) throw error
    throw new StoreError('a blob broke off while it was read; try again', { cause: error })
  }
}
