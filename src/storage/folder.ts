import { access, open, readFile, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { makePrivate } from '../util/private.ts'
import { type Progress, restoreFromFile, type Summary, syncFolder } from './backup.ts'
import type { BlobStore } from './blob.ts'
import { type LevelOptions, openLevelStore } from './level.ts'
import { type Store, StoreError } from './store.ts'

/**
 * The store in a data folder. A backup is restored beside the store in use and takes its place at the next start, so that
 * a running server never sees half of it. The store that it replaces is kept, under a name with the time, until somebody
 * removes it. A kill between any two steps leaves what the next start goes on with.
 */
export async function openStoreFolder(data: string, options: LevelOptions): Promise<Store> {
  await makePrivate(data, options.log)
  const { store, restored, ready } = paths(data)
  if (await exists(ready)) await replace(data, options)
  await makePrivate(store)
  const opened = await openLevelStore(store, options)
  // What a restore left that was killed before it was complete. Only who has the store open may: another may be at it.
  await rm(restored, { recursive: true, force: true })
  return opened
}

/** The steps from the old store to the new one; each is skipped that was done before a kill. */
async function replace(data: string, { log }: LevelOptions): Promise<void> {
  const { store, restored, ready } = paths(data)
  const former = await formerOf(data)
  if (await exists(restored)) {
    if (await exists(store)) {
      await assertUnused(store)
      await rename(store, former)
      await syncFolder(data)
    }
    await rename(restored, store)
    await syncFolder(data)
  }
  await rm(ready)
  await syncFolder(data)
  log?.warn({ kept: former }, 'a restored backup is the store now; the one before is kept')
}

/** Rejects where another process has it open, which would go on writing to it. What is damaged is nobody's. */
async function assertUnused(store: string): Promise<void> {
  const opened = await openLevelStore(store).catch((error: unknown) => {
    const { cause } = error as { cause?: { code?: string } }
    if (cause?.code === 'LEVEL_LOCKED') throw error
  })
  await opened?.close()
}

/** What a backup had in it, and where the store that it replaces will be. */
interface Restored extends Summary {
  kept: string
}

/**
 * Reads a backup into the folder, and its pictures and files into their store; the next {@link openStoreFolder} opens it.
 * Rejects with StoreError; then the next start is as if nothing had been.
 */
export async function prepareRestore(
  data: string,
  blobs: BlobStore,
  file: string,
  onProgress?: Progress,
): Promise<Restored> {
  const { restored, ready } = paths(data)
  if (await exists(ready)) throw new StoreError('a restored backup already waits for the restart of the server')
  await rm(restored, { recursive: true, force: true })
  const store = await openLevelStore(restored)
  try {
    const found = await restoreFromFile({ store, blobs }, file, onProgress)
    await store.close()
    const kept = await freeName(data)
    await writeWhole(data, ready, path.basename(kept))
    return { ...found, kept }
  } catch (error) {
    await store.close().catch(() => {})
    await rm(restored, { recursive: true, force: true })
    throw error
  }
}

/** Where the store goes that is replaced: as was said when the backup was read. */
async function formerOf(data: string): Promise<string> {
  const name = (await readFile(paths(data).ready, 'utf8')).trim()
  return /^store\.before-restore-[\w-]+$/.test(name) ? path.join(data, name) : freeName(data)
}

async function freeName(data: string): Promise<string> {
  const stamp = new Date()
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(':', '-')
  for (let n = 1; ; n++) {
    const name = path.join(data, `store.before-restore-${stamp}${n === 1 ? '' : `-${n}`}`)
    if (!(await exists(name))) return name
  }
}

/** A file that is there whole and on the disk, or not at all. */
async function writeWhole(folder: string, file: string, text: string): Promise<void> {
  const partial = `${file}.partial`
  const handle = await open(partial, 'w', 0o600)
  try {
    await handle.writeFile(`${text}\n`)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await syncFolder(folder)
  await rename(partial, file)
  await syncFolder(folder)
}

function paths(data: string) {
  return {
    store: path.join(data, 'store'),
    restored: path.join(data, 'store.restored'),
    ready: path.join(data, 'restore-ready'),
  }
}

function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  )
}
