import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { readDump } from './dump.ts'
import { type Store, StoreError } from './store.ts'

/** Bytes done so far, of `total` where that is known. */
export type Progress = (bytes: number, total?: number) => void

/**
 * Writes a dump of the store, as of one moment, to a file; resolves to its size in bytes. A file of that name is replaced
 * only when the new one is complete and on disk.
 */
export async function backupToFile(store: Store, path: string, onProgress?: Progress): Promise<number> {
  const partial = `${path}.partial`
  let bytes = 0
  try {
    const file = await open(partial, 'w', 0o600)
    try {
      for await (const chunk of store.dump()) {
        await file.writeFile(chunk)
        bytes += chunk.length
        onProgress?.(bytes)
      }
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(partial, path)
  } catch (cause) {
    await rm(partial, { force: true })
    throw cause instanceof StoreError ? cause : new StoreError(`cannot write the backup ${path}`, { cause })
  }
  await syncFolder(dirname(path))
  return bytes
}

/**
 * Fills an empty store from a file of {@link backupToFile}; resolves to the number of rows. The whole file is checked before
 * the store is touched. Progress counts the bytes of both passes: `total` is twice the size of the file.
 */
export async function restoreFromFile(store: Store, path: string, onProgress?: Progress): Promise<number> {
  const file = await open(path, 'r').catch(cause => {
    throw new StoreError(`cannot read the backup ${path}`, { cause, retry: false })
  })
  try {
    const { size } = await file.stat()
    let done = 0
    const pass = async function* (): AsyncIterable<Uint8Array> {
      for await (const chunk of file.createReadStream({ autoClose: false, start: 0, highWaterMark: 1 << 18 })) {
        done += (chunk as Uint8Array).length
        onProgress?.(done, size * 2)
        yield chunk as Uint8Array
      }
    }
    let rows = 0
    for await (const page of readDump(pass())) rows += page.length
    await store.load(pass())
    return rows
  } finally {
    await file.close()
  }
}

/** Makes a rename durable. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
