import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { type BlobInfo, type BlobStore, bytesIn, bytesOf, checkAbout, checkKey, LIST_LIMIT } from './blob.ts'
import { BlobLinks } from './blob-links.ts'

/** Blobs that a restart forgets, for servers whose store is in memory too.  */
export function openMemoryBlobs(now: () => number = Date.now): BlobStore {
  const links = new BlobLinks(randomBytes(32), '/blobs', now)
  const blobs = new Map<string, BlobInfo & { bytes: Buffer }>()
  return {
    async put(key, body, about) {
      checkKey(key)
      checkAbout(about)
      const bytes = await bytesIn(body, about.size)
      blobs.set(key, { type: about.type, size: about.size, at: now(), bytes })
    },
    async get(key, part = { start: 0 }) {
      checkKey(key)
      bytesOf(part, 0)
      const blob = blobs.get(key)
      if (blob === undefined) return undefined
      const { bytes, ...info } = blob
      const range = bytesOf(part, bytes.length)
      const chunks = range === undefined ? [] : [bytes.subarray(range.start, range.end + 1)]
      return { ...info, body: Readable.from(chunks, { objectMode: false }) }
    },
    async stat(key) {
      checkKey(key)
      const blob = blobs.get(key)
      return blob === undefined ? undefined : { type: blob.type, size: blob.size, at: blob.at }
    },
    async del(key) {
      checkKey(key)
      blobs.delete(key)
    },
    async link(key, ttl) {
      checkKey(key)
      return links.make(key, ttl)
    },
    allows: (key, query) => links.allows(key, query),
    async list(prefix, after = '', limit = LIST_LIMIT) {
      return [...blobs]
        .filter(([key]) => key.startsWith(prefix) && key > after)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .slice(0, limit)
        .map(([key, { size, at }]) => ({ key, size, at }))
    },
    async close() {},
  }
}
