import { randomBytes } from 'node:crypto'
import { createReadStream, type Dirent, type Stats } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, rmdir, unlink } from 'node:fs/promises'
import path from 'node:path'
import { Readable } from 'node:stream'
import { makePrivate } from '../util/private.ts'
import { syncFolder } from './backup.ts'
import {
  type Blob,
  type BlobAbout,
  type BlobBody,
  type BlobEntry,
  type BlobInfo,
  type BlobPart,
  type BlobStore,
  bytesOf,
  checkAbout,
  checkKey,
  chunksOf,
  LIST_LIMIT,
} from './blob.ts'
import { BlobLinks } from './blob-links.ts'
import { StoreError } from './store.ts'

interface FileBlobOptions {
  /** What links start with: a path of this server's HTTP listener, or the address under which it is seen from outside. */
  url?: string
  now?: () => number
  log?: { warn(fields: object, message: string): void }
}

/** Files that are being written lie here, on the same file system as those that are done. */
const UNDONE = '.undone'
const SECRET = '.secret'
/** Each file starts with a line about it. */
const MAX_HEAD = 1024

/**
 * Blobs as files in a folder. A file has its name only when all of it is on the disk: it is written aside, synced, and
 * renamed. Its first line is JSON with its type and size; the rest are the bytes.
 */
export async function openFileBlobs(folder: string, options: FileBlobOptions = {}): Promise<FileBlobs> {
  await makePrivate(folder, options.log)
  try {
    // What a crash left half written is nobody's.
    await rm(path.join(folder, UNDONE), { recursive: true, force: true })
    await mkdir(path.join(folder, UNDONE), { mode: 0o700 })
    return new FileBlobs(folder, new BlobLinks(await linkSecret(folder), options.url, options.now))
  } catch (error) {
    throw failure(error, 'open the folder for blobs', folder)
  }
}

export class FileBlobs implements BlobStore {
  readonly #folder: string
  readonly #links: BlobLinks

  constructor(folder: string, links: BlobLinks) {
    this.#folder = folder
    this.#links = links
  }

  async put(key: string, body: BlobBody, about: BlobAbout): Promise<void> {
    const file = this.#path(key)
    checkAbout(about)
    const undone = path.join(this.#folder, UNDONE, randomBytes(12).toString('hex'))
    try {
      await this.#write(undone, body, about)
      await this.#rename(undone, file)
    } catch (error) {
      await rm(undone, { force: true })
      throw failure(error, 'store a blob', file)
    }
  }

  async #write(file: string, body: BlobBody, { type, size }: BlobAbout): Promise<void> {
    const handle = await open(file, 'wx', 0o600)
    try {
      await handle.writeFile(`${JSON.stringify({ type, size })}\n`)
      for await (const chunk of chunksOf(body, size)) await handle.writeFile(chunk)
      await handle.sync()
    } finally {
      await handle.close()
    }
  }

  /** The name and the folders above it are as durable as the bytes. */
  async #rename(from: string, to: string): Promise<void> {
    const folder = path.dirname(to)
    for (let tries = 0; ; tries++) {
      const made = await mkdir(folder, { recursive: true, mode: 0o700 })
      try {
        await rename(from, to)
      } catch (error) {
        // A deletion took the empty folder away in between.
        if (codeOf(error) === 'ENOENT' && tries < 5) continue
        throw error
      }
      const top = made === undefined ? folder : path.dirname(made)
      for (let at = folder; ; at = path.dirname(at)) {
        await syncIfThere(at)
        if (at === top || at === this.#folder) return
      }
    }
  }

  async get(key: string, part: BlobPart = { start: 0 }): Promise<Blob | undefined> {
    const file = this.#path(key)
    bytesOf(part, 0)
    const found = await this.#open(file)
    if (found === undefined) return undefined
    const { handle, head, stats } = found
    const info = { type: head.type, size: head.size, at: stats.mtimeMs }
    const range = bytesOf(part, head.size)
    if (range === undefined) {
      await handle.close()
      return { ...info, body: Readable.from([], { objectMode: false }) }
    }
    // The handle is the stream's from here on: it reads what is there now, whatever is put or deleted meanwhile.
    const body = createReadStream('', { fd: handle, start: head.bytes + range.start, end: head.bytes + range.end })
    body.on('error', () => {}) // whoever reads it hears of it; nobody may have begun
    return { ...info, body }
  }

  async stat(key: string): Promise<BlobInfo | undefined> {
    const found = await this.#open(this.#path(key))
    if (found === undefined) return undefined
    await found.handle.close()
    return { type: found.head.type, size: found.head.size, at: found.stats.mtimeMs }
  }

  async #open(file: string): Promise<{ handle: FileHandle; head: Head; stats: Stats } | undefined> {
    let handle: FileHandle | undefined
    try {
      handle = await open(file, 'r')
      const stats = await handle.stat()
      if (!stats.isFile()) throw Object.assign(new Error('it is a folder'), { code: 'EISDIR' })
      return { handle, stats, head: await readHead(handle, stats.size) }
    } catch (error) {
      await handle?.close()
      if (isAbsence(error)) return undefined
      throw failure(error, 'read a blob', file)
    }
  }

  async del(key: string): Promise<void> {
    const file = this.#path(key)
    try {
      await unlink(file)
      await syncIfThere(path.dirname(file))
      for (let at = path.dirname(file); at !== this.#folder; at = path.dirname(at)) await rmdir(at)
    } catch (error) {
      const code = codeOf(error)
      // A folder that is not empty stays; one that another deletion took away is gone.
      if (isAbsence(error) || code === 'ENOTEMPTY' || code === 'EEXIST') return
      throw failure(error, 'delete a blob', file)
    }
  }

  async link(key: string, ttl: number): Promise<string> {
    checkKey(key)
    return this.#links.make(key, ttl)
  }

  allows(key: string, query: URLSearchParams): boolean {
    return this.#links.allows(key, query)
  }

  async list(prefix: string, after = '', limit = LIST_LIMIT): Promise<BlobEntry[]> {
    const entries: BlobEntry[] = []
    try {
      await this.#walk('', prefix, after, limit, entries)
    } catch (error) {
      throw failure(error, 'list blobs', this.#folder)
    }
    return entries
  }

  async #walk(folder: string, prefix: string, after: string, limit: number, out: BlobEntry[]): Promise<void> {
    for (const name of await namesIn(path.join(this.#folder, folder))) {
      if (out.length >= limit) return
      const key = folder + name
      if (name.endsWith('/')) {
        const mayHold = key.startsWith(prefix) || prefix.startsWith(key)
        // All that is in this folder starts with its name, so it is over where `after` is beyond that.
        if (mayHold && (key > after || after.startsWith(key))) await this.#walk(key, prefix, after, limit, out)
        continue
      }
      if (!key.startsWith(prefix) || key <= after) continue
      const info = await this.stat(key).catch((error: unknown) => {
        // A damaged one is there, too: whoever looks for what to delete must find it.
        if (error instanceof StoreError) return { size: 0, at: 0 }
        throw error
      })
      if (info !== undefined) out.push({ key, size: info.size, at: info.at })
    }
  }

  async close(): Promise<void> {}

  #path(key: string): string {
    checkKey(key)
    return path.join(this.#folder, ...key.split('/'))
  }
}

interface Head extends BlobAbout {
  /** Length of the line. */
  bytes: number
}

async function readHead(handle: FileHandle, length: number): Promise<Head> {
  const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(MAX_HEAD), position: 0 })
  const end = buffer.subarray(0, bytesRead).indexOf(10)
  const { type, size } = JSON.parse(buffer.toString('utf8', 0, Math.max(end, 0))) as BlobAbout
  if (length !== end + 1 + size) throw new Error(`it should have ${end + 1 + size} bytes and has ${length}`)
  return { type, size, bytes: end + 1 }
}

/** In the order of whole keys, folders with their slash. Hidden names are ours. */
async function namesIn(folder: string): Promise<string[]> {
  let entries: Dirent[]
  try {
    entries = await readdir(folder, { withFileTypes: true })
  } catch (error) {
    if (isAbsence(error)) return []
    throw error
  }
  return entries
    .filter(entry => !entry.name.startsWith('.'))
    .map(entry => (entry.isDirectory() ? `${entry.name}/` : entry.name))
    .sort()
}

/** What another deletion has taken away is as it should be. */
async function syncIfThere(folder: string): Promise<void> {
  await syncFolder(folder).catch((error: unknown) => {
    if (!isAbsence(error)) throw error
  })
}

/** Links of earlier starts stay good. */
async function linkSecret(folder: string): Promise<Buffer> {
  const file = path.join(folder, SECRET)
  try {
    const secret = await readFile(file)
    if (secret.length === 32) return secret
  } catch (error) {
    if (!isAbsence(error)) throw error
  }
  const secret = randomBytes(32)
  const undone = path.join(folder, UNDONE, 'secret')
  const handle = await open(undone, 'w', 0o600)
  try {
    await handle.writeFile(secret)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(undone, file)
  await syncFolder(folder)
  return secret
}

const codeOf = (error: unknown): unknown => (error as NodeJS.ErrnoException | undefined)?.code

function isAbsence(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR'
}

const REASONS: Record<string, string> = {
  ENOSPC: 'the disk is full: make room',
  EDQUOT: 'the quota of the disk is used up: raise it or make room',
  EROFS: 'the disk is mounted read-only',
  EACCES: 'the server may not: give its user the folder',
  EPERM: 'the server may not: give its user the folder',
  EMFILE: 'too many files are open: raise the limit (ulimit -n)',
  EIO: 'the disk has an error',
}

function failure(error: unknown, what: string, where: string): unknown {
  if (error instanceof TypeError || error instanceof StoreError) return error
  const reason = REASONS[String(codeOf(error))] ?? (error instanceof Error ? error.message : String(error))
  return new StoreError(`cannot ${what} (${where}): ${reason}`, {
    cause: error,
    // What the system has no word for is a file that is damaged, and stays so.
    retry: codeOf(error) !== undefined,
  })
}
