import { access, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { makePrivate } from '../util/private.ts'
import { type Progress, restoreFromFile } from './backup.ts'
import { type LevelOptions, openLevelStore } from './level.ts'
import { type Store, StoreError } from './store.ts'

/**
 * The store in a data folder. A backup is restored beside the store in use and takes its place at the next start, so that
 * a running server never sees half of it; the store that it replaces is kept as `store.before-restore`.
 */
export async function openStoreFolder(data: string, options: LevelOptions): Promise<Store> {
  await makePrivate(data, options.log)
  const { store, restored, replaced, ready } = paths(data)
  if (await exists(ready)) {
    await rm(replaced, { recursive: true, force: true })
    if (await exists(store)) await rename(store, replaced)
    await rename(restored, store)
    await rm(ready)
  }
  await makePrivate(store)
  return openLevelStore(store, options)
}

/** Reads a backup into the folder; the next {@link openStoreFolder} opens it. Rejects with StoreError and leaves nothing. */
export async function prepareRestore(data: string, file: string, onProgress?: Progress): Promise<number> {
  const { restored, ready } = paths(data)
  if (await exists(ready)) throw new StoreError('a restored backup already waits for the restart of the server')
  await rm(restored, { recursive: true, force: true })
  const store = await openLevelStore(restored)
  try {
    const bytes = await restoreFromFile(store, file, onProgress)
    await store.close()
    await writeFile(ready, '')
    return bytes
  } catch (error) {
    await store.close().catch(() => {})
    await rm(restored, { recursive: true, force: true })
    throw error
  }
}

function paths(data: string) {
  return {
    store: path.join(data, 'store'),
    restored: path.join(data, 'store.restored'),
    replaced: path.join(data, 'store.before-restore'),
    ready: path.join(data, 'restore-ready'),
  }
}

function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  )
}
