import { type FileHandle, lstat, open, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { type BackedUp, readBackup, writeBackup } from './backupformat.ts'
import type { BlobStore } from './blob.ts'
import { type Store, StoreError } from './store.ts'

/** Bytes done so far, of `total` where that is known. */
export type Progress = (bytes: number, total?: number) => void

/** What is backed up and restored together: rows, and the pictures and files that they refer to. */
export interface Contents {
  store: Store
  /** Left out: rows alone. */
  blobs?: BlobStore
}

/** What a backup has in it. */
export interface Summary {
  /** Of the file. */
  bytes: number
  rows: number
  /** Rows by table, of all hosts together. */
  tables: ReadonlyMap<string, number>
  blobs: BackedUp
}

/**
 * Writes the rows of one moment, and the blobs that are there, to a file; resolves to its size in bytes, and how many blobs are
 * in it. A file of that name is replaced only when the new one is complete and on disk. Rejects with a StoreError in words.
 */
export async function backupToFile(
  contents: Contents,
  file: string,
  onProgress?: Progress,
): Promise<{ bytes: number; blobs: BackedUp }> {
  const partial = `${file}.partial`
  let bytes = 0
  const blobs: BackedUp = { count: 0, pictures: 0, missing: 0 }
  await refuseOddFile(file)
  try {
    // A file that lies there already may be another user's, who would read what is written to it.
    await rm(partial, { force: true })
    const handle = await open(partial, 'wx', 0o600)
    try {
      for await (const chunk of writeBackup(contents, blobs)) {
        await handle.writeFile(chunk)
        bytes += chunk.length
        onProgress?.(bytes)
      }
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(partial, file)
    await syncFolder(path.dirname(file))
  } catch (cause) {
    await rm(partial, { force: true }).catch(() => {})
    throw cause instanceof StoreError ? cause : failed('write', file, cause)
  }
  return { bytes, blobs }
}

/**
 * Fills an empty store from a file of {@link backupToFile}, and puts the blobs that are not there. The whole file is checked
 * before either is touched; blobs are put before it resolves, none is deleted or replaced by another. Progress counts the bytes
 * of both passes: `total` is twice the size of the file.
 */
export async function restoreFromFile(contents: Contents, file: string, onProgress?: Progress): Promise<Summary> {
  await refuseOddFile(file)
  const handle = await open(file, 'r').catch(cause => {
    throw failed('read', file, cause)
  })
  try {
    const { size } = await handle.stat()
    let done = 0
    const pass = () =>
      chunksOf(handle, bytes => {
        done += bytes
        onProgress?.(done, size * 2)
      })
    const found = await readBackup(pass())
    await readBackup(pass(), contents)
    return { ...found, bytes: size }
  } catch (cause) {
    throw cause instanceof StoreError ? cause : failed('read', file, cause)
  } finally {
    await handle.close()
  }
}

async function* chunksOf(file: FileHandle, read: (bytes: number) => void): AsyncIterable<Uint8Array> {
  for await (const chunk of file.createReadStream({ autoClose: false, start: 0, highWaterMark: 1 << 18 })) {
    read((chunk as Uint8Array).length)
    yield chunk as Uint8Array
  }
}

/** A device would be replaced by a file, a pipe cannot be read twice. */
async function refuseOddFile(file: string): Promise<void> {
  const there = await lstat(file).catch(() => undefined)
  if (there === undefined || there.isFile() || there.isSymbolicLink()) return
  throw new StoreError(`${file} is ${there.isDirectory() ? 'a folder' : 'no file'}: name a file`, { retry: false })
}

const REASONS: Record<string, string> = {
  ENOSPC: 'the disk is full: make room',
  EDQUOT: 'the quota of the disk is used up: raise it or make room',
  EROFS: 'the disk is mounted read-only',
  EIO: 'the disk has an error',
  ENAMETOOLONG: 'its name is too long',
  EISDIR: 'it is a folder: name a file',
}

/** Whose fault it is, and what to do. The server writes and reads, not who typed the command. */
function failed(what: 'read' | 'write', file: string, cause: unknown): StoreError {
  const { code = '', message = String(cause) } = (cause ?? {}) as NodeJS.ErrnoException
  const user = `the user that the server runs as (${process.geteuid?.() ?? 'not you'})`
  const folder = path.dirname(file)
  const reasons: Record<string, string> = {
    ...REASONS,
    ENOENT: what === 'read' ? 'there is no such file' : `there is no folder ${folder}: make it`,
    ENOTDIR: `${folder} is no folder`,
    EACCES:
      what === 'read'
        ? `${user} may not read it: give it the file`
        : `${user} may not write in ${folder}: give it that folder, or name another`,
  }
  reasons['EPERM'] = reasons['EACCES']!
  return new StoreError(`cannot ${what} the backup ${file}: ${reasons[code] ?? message}`, { cause, retry: false })
}

/** Makes a rename durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
