import { open as openFile, readdir, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { Level } from 'level'
import { type Bounds, type RawValue, rawBytes } from './codec.ts'
import type { RawRow } from './dump.ts'
import type { Change, CommitReport } from './groupcommit.ts'
import { all, PAGE_ROWS, rangeOptions, rowsOf } from './levelscan.ts'
import { type Engine, OrderedStore, ROWS_END, ROWS_START } from './ordered.ts'
import { type Store, StoreError } from './store.ts'

export interface LevelOptions {
  /** `sync` (default): a write resolves when it survives a power cut; `async`: when it survives the death of the process. */
  durability?: 'sync' | 'async'
  /** Milliseconds to gather writes before each commit; default 0, what one turn of the event loop wrote. */
  commitDelay?: number
  /** Size (about bytes) of writes that may wait for the disk before further ones are refused; default 64 MiB. */
  maxPending?: number
  /** Bytes of LevelDB's cache of blocks; default 32 MiB. */
  cacheSize?: number
  log?: StoreLog
  /** Called after each commit, also of a failed one. Must not throw. */
  onCommit?: (report: CommitReport) => void
  /** Runs before each commit and fails it by throwing: slow and failing disks for tests. */
  beforeCommit?: () => void | Promise<void>
}

/** The part of a pino logger that is used. */
interface StoreLog {
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Opens the store in this folder, made if need be. Rejects with a {@link StoreError} that says what to do. */
export async function openLevelStore(path: string, options: LevelOptions = {}): Promise<Store> {
  const engine = new LevelEngine(path, options)
  await engine.open()
  const { commitDelay: delay = 0, maxPending = 64 * 1024 * 1024, onCommit } = options
  return new OrderedStore(engine, { delay, maxPending, onCommit })
}

type Database = Level<string, RawValue>

/** The layout of keys and values (codec.ts); a store of another is not opened. */
const FORMAT = { key: '!format', value: '1' }
/** There while a dump is loaded. */
const FILLING = '!filling'
/** After a failed write: the least pause between attempts, and the free bytes that a reopen is certain to do with. */
const RETRY_MS = 200
const REOPEN_BYTES = 16 * 1024 * 1024
const TEXT = { valueEncoding: 'utf8' }
const BYTES = { valueEncoding: 'buffer' }

/**
 * One LevelDB.
 *
 * After a failed write LevelDB is not to be written again: the log may end in a torn record, behind which a recovery would
 * lose what was acknowledged later, or may hold the failed batch in full, which a recovery would bring back. Reads go on; the
 * next commit, when there is room, reopens the database (recovery drops the torn end) and undoes what came back.
 */
class LevelEngine implements Engine {
  readonly #path: string
  readonly #options: LevelOptions
  readonly #sync: boolean
  #db: Database | undefined
  #paused: Promise<void> | undefined
  #closed = false
  /** Set after a failed write: what its rows were before. */
  #undo: Map<string, Uint8Array | undefined> | undefined
  #retryAt = 0
  #recovering: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #reads = 0
  #idle: (() => void) | undefined

  constructor(path: string, options: LevelOptions) {
    this.#path = path
    this.#options = options
    this.#sync = options.durability !== 'async'
  }

  get paused(): Promise<void> | undefined {
    return this.#paused
  }

  async open(createIfMissing = true): Promise<void> {
    // Before the database is made: it begins to open by itself.
    await assertWhole(this.#path)
    const { cacheSize = 32 * 1024 * 1024 } = this.#options
    const db: Database = new Level<string, RawValue>(this.#path, {
      valueEncoding: 'buffer',
      cacheSize,
      createIfMissing,
    })
    try {
      await db.open()
    } catch (cause) {
      throw openError(this.#path, cause)
    }
    try {
      await this.#checkFormat(db)
    } catch (error) {
      await db.close()
      throw error instanceof StoreError
        ? error
        : new StoreError(`cannot read the store in ${this.#path}`, { cause: error })
    }
    this.#db = db
  }

  /**
   * Synchronous on purpose: of rows in LevelDB's memory or block cache, 9 µs of CPU against 50-130 µs by way of the thread
   * pool (bench/parts/store.ts), and the loop waits for a disk only for a block that neither LevelDB nor the kernel holds.
   */
  get(key: string, text: boolean): RawValue | undefined {
    try {
      return this.#open().getSync(key, text ? TEXT : BYTES)
    } catch (cause) {
      throw readError(cause)
    }
  }

  scan(bounds: Bounds, text: boolean): Promise<[string, RawValue][]> {
    return this.#read(db => {
      const iterator = db.iterator(rangeOptions(bounds, text ? 'utf8' : 'buffer'))
      return rowsOf(iterator, bounds)
    })
  }

  keys(bounds: Bounds): Promise<string[]> {
    return this.#read(db => all(db.keys(rangeOptions(bounds, 'buffer')), bounds.limit))
  }

  async *snapshot(): AsyncIterable<RawRow[]> {
    const limits: Bounds = { low: ROWS_START, high: ROWS_END, reverse: false, limit: Infinity, bytes: Infinity }
    const iterator = this.#open().iterator(rangeOptions(limits, 'buffer'))
    try {
      for (;;) {
        const page = await iterator.nextv(PAGE_ROWS)
        if (page.length === 0) return
        yield page.map(([key, value]) => [key, rawBytes(value)])
      }
    } catch (cause) {
      throw readError(cause)
    } finally {
      await iterator.close()
    }
  }

  async write(changes: ReadonlyMap<string, Change>): Promise<void> {
    if (this.#undo) await this.#recover()
    try {
      await this.#options.beforeCommit?.()
      await commit(this.#open(), changes, this.#sync)
    } catch (cause) {
      this.#fail(changes, cause)
      throw new StoreError('the disk refused a write', { cause, retry: true })
    }
  }

  async fill(fill: () => Promise<void>): Promise<void> {
    await this.#open().put(FILLING, '1', { sync: true })
    try {
      await fill()
    } catch (error) {
      // On a disk that refuses writes the mark stays, and says at the next start what to do.
      if (this.#undo) throw error
      await this.#open().clear({ gte: ROWS_START, lt: ROWS_END })
      await this.#open().del(FILLING, { sync: true })
      throw error
    }
    await this.#open().del(FILLING, { sync: true })
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    while (this.#paused) await this.#paused
    await this.#db?.close()
    this.#db = undefined
  }

  async #checkFormat(db: Database): Promise<void> {
    const found = db.getSync(FORMAT.key, { valueEncoding: 'utf8' })
    if (db.getSync(FILLING) !== undefined) {
      throw new StoreError(
        `a restore into ${this.#path} was interrupted and left part of the rows: delete this folder and restore again`,
        { retry: false },
      )
    }
    if (found === FORMAT.value) return
    if (found !== undefined) {
      throw new StoreError(`the store in ${this.#path} has format ${String(found)}: a newer hermod wrote it`, {
        retry: false,
      })
    }
    const [first] = await db.keys({ limit: 1 }).all()
    if (first !== undefined) {
      throw new StoreError(`the LevelDB in ${this.#path} is not hermod's: choose another folder`, { retry: false })
    }
    await db.put(FORMAT.key, FORMAT.value, { sync: true, valueEncoding: 'utf8' })
  }

  #open(): Database {
    if (this.#db) return this.#db
    throw new StoreError(this.#closed ? 'the store is closed' : 'the database could not be reopened yet', {
      retry: !this.#closed,
    })
  }

  /** Keeps the database open while `read` runs. */
  async #read<T>(read: (db: Database) => Promise<T>): Promise<T> {
    while (this.#paused) await this.#paused
    this.#reads++
    try {
      return await read(this.#open())
    } catch (cause) {
      throw readError(cause)
    } finally {
      if (--this.#reads === 0) this.#idle?.()
    }
  }

  #fail(changes: ReadonlyMap<string, Change>, cause: unknown): void {
    this.#retryAt = performance.now() + RETRY_MS
    const undo = new Map<string, Uint8Array | undefined>()
    try {
      for (const key of changes.keys()) undo.set(key, this.#db?.getSync(key) as Uint8Array | undefined)
    } catch (error) {
      this.#options.log?.error({ err: error }, 'rows of a failed write cannot be read: they may come back')
    }
    this.#undo = undo
    this.#options.log?.error(
      { err: cause, rows: changes.size },
      'the disk refused a write; reads go on, writes are refused',
    )
  }

  /** Makes the database fit to be written again, or throws. */
  #recover(): Promise<void> {
    this.#recovering ??= this.#tryToRecover().finally(() => (this.#recovering = undefined))
    return this.#recovering
  }

  async #tryToRecover(): Promise<void> {
    if (performance.now() < this.#retryAt) throw new StoreError('the disk refused a write just before', { retry: true })
    try {
      clearTimeout(this.#timer)
      if (this.#db) await assertRoom(this.#path)
      await this.#reopen()
      const changes = [...this.#undo!].filter(([key, value]) => !same(this.#db!.getSync(key), value))
      const undo = new Map(changes.map(([key, value]) => [key, value ?? null]))
      if (undo.size > 0) await commit(this.#open(), undo, this.#sync)
    } catch (cause) {
      throw new StoreError('the disk still refuses writes', { cause, retry: true })
    } finally {
      this.#retryAt = performance.now() + RETRY_MS
      // Closed, but not open again: reads cannot wait for the next write to try.
      if (!this.#db && !this.#closed) this.#timer = setTimeout(() => this.#recover().catch(() => {}), 2 * RETRY_MS)
    }
    this.#undo = undefined
    this.#options.log?.warn({}, 'the disk takes writes again')
  }

  async #reopen(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#paused = promise
    try {
      if (this.#reads > 0) await new Promise<void>(done => (this.#idle = done))
      await this.#db?.close()
      this.#db = undefined
      // A folder that went away is not to come back empty.
      await this.open(false)
    } finally {
      this.#idle = undefined
      this.#paused = undefined
      resolve()
    }
  }
}

/** One batch. Chained, because the array form reads each operation's properties by name: 2.5-3.3 µs a put against 1.2-1.5. */
async function commit(db: Database, changes: ReadonlyMap<string, Change>, sync: boolean): Promise<void> {
  const batch = db.batch()
  try {
    for (const [key, value] of changes) {
      if (value === null) batch.del(key)
      else if (typeof value === 'string') batch.put(key, value, TEXT)
      else batch.put(key, value)
    }
  } catch (error) {
    await batch.close()
    throw error
  }
  await batch.write({ sync })
}

/** Throws where LevelDB would begin anew beside the data of a database that lost its CURRENT file. */
async function assertWhole(path: string): Promise<void> {
  const names: string[] = await readdir(path).catch(() => [])
  if (names.length === 0 || names.includes('CURRENT')) return
  if (names.some(name => name.endsWith('.ldb') || name.endsWith('.log'))) {
    throw new StoreError(
      `the store in ${path} is damaged (its CURRENT file is missing): move the folder away and restore the last backup`,
      { retry: false },
    )
  }
}

/** Throws unless the disk has room to reopen a database and lets itself be written. */
async function assertRoom(path: string): Promise<void> {
  const { bavail, bsize } = await statfs(path)
  if (bavail * bsize < REOPEN_BYTES) throw new Error(`${bavail * bsize} bytes are free, ${REOPEN_BYTES} are needed`)
  const probe = join(path, 'probe.tmp')
  const file = await openFile(probe, 'w')
  try {
    await file.writeFile('hermod')
    await file.sync()
  } finally {
    await file.close()
    await rm(probe, { force: true })
  }
}

function same(a: RawValue | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return Buffer.compare(rawBytes(a), b) === 0
}

function readError(cause: unknown): StoreError {
  return cause instanceof StoreError ? cause : new StoreError('the database refused a read', { cause, retry: true })
}

function openError(path: string, error: unknown): StoreError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  const code = (cause as { code?: string }).code
  const reason = cause instanceof Error ? cause.message : String(cause)
  if (code === 'LEVEL_LOCKED') {
    return new StoreError(
      `the store in ${path} is in use: another hermod runs on this folder. Stop it, or give this one a folder of its own`,
      { cause, retry: true },
    )
  }
  if (code === 'LEVEL_CORRUPTION') {
    return new StoreError(
      `the store in ${path} is damaged (${reason}): move the folder away and restore the last backup into a new one`,
      { cause, retry: false },
    )
  }
  return new StoreError(`cannot open the store in ${path}: ${reason}`, { cause, retry: true })
}
