import { PASSWD } from './auth/record.ts'
import type { Config } from './config/core.ts'
import type { BackupReport, RestoreReport } from './core/commands/server/control.ts'
import type { Logger } from './core/log.ts'
import { backupToFile } from './storage/backup.ts'
import type { BackedUp } from './storage/backupformat.ts'
import type { HeldBlobs } from './storage/blob-held.ts'
import { prepareRestore } from './storage/folder.ts'
import { type Store, StoreError } from './storage/store.ts'

interface BackupParts {
  readonly store: Store
  readonly blobs: HeldBlobs
  readonly log: Logger
  readonly config: Pick<Config, 'data' | 'storage'>
}

/** Writes backups of a running server, and reads them: one of each at a time. */
export class Backups {
  readonly #parts: BackupParts
  #backingUp = false
  #restoring = false

  constructor(parts: BackupParts) {
    this.#parts = parts
  }

  /** Rejects with a StoreError in words. */
  async write(file: string, rowsOnly: boolean, progress: (text: string) => void): Promise<BackupReport> {
    // Two of them into one file would spoil each other.
    if (this.#backingUp) throw new StoreError('a backup is being written already: wait until it is done')
    this.#backingUp = true
    const { store, blobs, log } = this.#parts
    const release = await blobs.hold()
    try {
      const written = await backupToFile(rowsOnly ? { store } : { store, blobs }, file, done =>
        progress(`${done} bytes`),
      )
      const report = { bytes: written.bytes, ...countOf(written.blobs) }
      log.info({ file, ...report }, 'a backup was written')
      return report
    } finally {
      this.#backingUp = false
      release()
    }
  }

  /** What it resolves with takes the place of the store by a restart. Rejects with a StoreError in words. */
  async restore(file: string, progress: (text: string) => void): Promise<RestoreReport> {
    const { blobs, log } = this.#parts
    const { data, storage } = this.#parts.config
    if (storage.driver !== 'level') throw new StoreError('a store in memory cannot be restored into')
    if (this.#restoring) throw new StoreError('a backup is being restored already')
    this.#restoring = true
    // Held until the restart: what is there for the rows that come is not to go for those that leave.
    const release = await blobs.hold()
    try {
      const found = await prepareRestore(data, blobs, file, done => progress(`${done} bytes`))
      const { bytes, rows, tables, kept } = found
      const messages = { waiting: tables.get('queue') ?? 0, archived: tables.get('archive') ?? 0 }
      const report = { bytes, rows, accounts: tables.get(PASSWD.name) ?? 0, ...messages, ...countOf(found.blobs), kept }
      log.warn({ file, ...report }, 'a backup was read, and takes the place of the store by a restart')
      return report
    } catch (error) {
      this.#restoring = false
      release()
      throw error
    }
  }
}

function countOf({ count, pictures, missing }: BackedUp): { pictures: number; files: number; missing: number } {
  return { pictures, files: count - pictures, missing }
}
