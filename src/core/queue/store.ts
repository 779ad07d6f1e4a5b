import type { Op, Store, Table, TableSpec } from '../../storage/store.ts'
import { type Entry, type Holder, NO_ROWS } from './entry.ts'
import type { MessageQueue } from './queue.ts'

/** How long (ms) a message may be in flight before it is written, if nobody waits for it to be safe. */
const LAZY = 1000

/** The same where somebody waits who is patient. Each commit costs a sync of the disk, however little is in it. */
const SOON = 25

/** How long (ms) until rows are removed again that could not be, and how many of them are remembered. */
const ERASE_AGAIN = 500
const MAX_GONE = 100_000

/** What the row of a message that is in the archive begins with: no message does. How many bytes it has there follows. */
const POINTER = 0
const POINTER_LENGTH = 5

function pointerTo(bytes: Buffer): Buffer {
  const pointer = Buffer.alloc(POINTER_LENGTH)
  pointer.writeUInt32BE(bytes.length, 1)
  return pointer
}

/** Whether the bytes of a row's message are in the archive. Rows of older versions that say so are empty. */
export function isPointer(row: Buffer): boolean {
  return row.length === 0 || row[0] === POINTER
}

/** Bytes of the message of a row; 0 where an older version has not noted them. */
export function sizeOfRow(row: Buffer): number {
  return isPointer(row) && row.length > 0 ? row.readUInt32BE(1) : row.length
}

/** `[user]` x `[id]` -> the message, or that it is in the archive. */
export const QUEUE: TableSpec<Buffer> = { name: 'queue', codec: 'bytes', unique: true }

/** What the queues of a table tell whose it is, and ask. */
export interface QueueHandlers {
  /** Nothing was kept of an entry and its rows. */
  failed(queue: MessageQueue, entry: Entry, error: unknown): void
  /** Something else went wrong, in words for the log. */
  trouble?(what: string, key: string, error: unknown): void
  /** A session has acknowledged a message: rows that are written as it leaves the queue, or not at all. */
  confirmed?(queue: MessageQueue, entry: Entry, holder: Holder): readonly Op[]
  /** A further session has acknowledged it. */
  confirmedAgain?(queue: MessageQueue, entry: Entry, holder: Holder): void
  archived?(key: readonly [string], id: string): Promise<Buffer | undefined>
}

interface Batch {
  readonly promise: Promise<void>
  /** `rest`: without the row of the queue, which is not written yet. */
  readonly items: { queue: MessageQueue; entry: Entry; rest: boolean }[]
}

/** A table of queues: writes gather, and who waits for them learns in one sweep per commit. */
export class QueueStore {
  readonly table: Table<Buffer>
  readonly #store: Store
  readonly handlers: QueueHandlers
  /** Rows that are to be removed, by id; see {@link erase}. */
  readonly #gone = new Map<string, readonly [string]>()
  #eraseTimer: NodeJS.Timeout | undefined
  #later: { queue: MessageQueue; entry: Entry }[] = []
  #timer: NodeJS.Timeout | undefined
  #soon: { queue: MessageQueue; entry: Entry }[] = []
  #soonTimer: NodeJS.Timeout | undefined
  #open: Batch | undefined

  constructor(store: Store, table: Table<Buffer>, handlers: QueueHandlers) {
    this.table = table
    this.#store = store
    this.handlers = handlers
  }

  /** The bytes of a row: its own, or those it points to. Undefined for a pointer to nothing. */
  bytesOf(key: readonly [string], id: string, value: Buffer): Buffer | Promise<Buffer | undefined> {
    return isPointer(value) ? (this.handlers.archived?.(key, id) ?? Promise.resolve(undefined)) : value
  }

  /** Its rows at once, for others look for them; itself when its time has come. */
  writeLater(queue: MessageQueue, entry: Entry): void {
    entry.lazy = true
    this.#later.push({ queue, entry })
    this.#timer ??= setTimeout(() => void this.flush(), LAZY).unref()
    if (entry.rows.length > 0) this.#commit(queue, entry, entry.rows, true)
  }

  /** With what else comes in the next moment. */
  writeSoon(queue: MessageQueue, entry: Entry): void {
    entry.lazy = true
    this.#soon.push({ queue, entry })
    this.#soonTimer ??= setTimeout(() => this.#writeSoon(), SOON)
  }

  #writeSoon(): void {
    clearTimeout(this.#soonTimer)
    this.#soonTimer = undefined
    this.#writeAll(this.#soon.splice(0))
  }

  #writeAll(entries: readonly { queue: MessageQueue; entry: Entry }[]): void {
    for (const { queue, entry } of entries) if (entry.lazy && !entry.done && !queue.ended) this.write(queue, entry)
  }

  /** What waits for its time is written alone. */
  dropRows(): void {
    for (const { entry } of this.#later) entry.dropRows()
  }

  /** Writes what waits for its time; resolves when all that was called for is written, or could not be. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#writeSoon()
    this.#writeAll(this.#later.splice(0))
    await this.#open?.promise.catch(() => {})
  }

  write(queue: MessageQueue, entry: Entry): void {
    entry.lazy = false
    const own = this.table.putOp(queue.key, [entry.id], entry.archived ? pointerTo(entry.bytes) : entry.bytes)
    const remembered = entry.origin?.row?.()
    const ops = remembered === undefined ? [own, ...entry.rows] : [own, remembered, ...entry.rows]
    this.#commit(queue, entry, ops, false)
  }

  #commit(queue: MessageQueue, entry: Entry, ops: readonly Op[], rest: boolean): void {
    const promise = this.#store.commit(ops)
    let batch = this.#open
    if (batch === undefined || batch.promise !== promise) {
      const opened: Batch = { promise, items: [] }
      batch = opened
      this.#open = opened
      promise.then(
        () => {
          for (const { queue, entry, rest } of opened.items) {
            entry.rows = NO_ROWS
            if (!rest) queue.onCommitted(entry)
          }
        },
        (error: unknown) => {
          for (const { queue, entry, rest } of opened.items) {
            // What is left of it goes with the message, if that still has to be written.
            if (rest) this.handlers.trouble?.('a message could not be archived', queue.key[0], error)
            else this.handlers.failed(queue, entry, error)
          }
        },
      )
    }
    batch.items.push({ queue, entry, rest })
  }

  /**
   * An entry leaves the queue, and these rows are written with that, or not at all. Where that fails, it counts as gone and is
   * removed as soon as the store writes again.
   */
  erase(queue: MessageQueue, entry: Entry, rows: readonly Op[]): void {
    // One that is lazy has no row yet.
    if (!entry.lazy) this.eraseRow(queue.key, entry.id, rows)
    else if (rows.length > 0) this.#store.commit(rows).catch((error: unknown) => this.#unkept(queue.key, error))
  }

  eraseRow(key: readonly [string], id: string, rows = NO_ROWS): void {
    const done =
      rows.length === 0 ? this.table.del(key, [id]) : this.#store.commit([this.table.delOp(key, [id]), ...rows])
    done.then(
      () => this.#gone.delete(id),
      (error: unknown) => {
        if (rows.length > 0) this.#unkept(key, error)
        // At the bound a row stays, and is delivered once more under the same stanza-id: allowed, not lost.
        if (this.#gone.size < MAX_GONE) this.#gone.set(id, key)
        this.#eraseTimer ??= setTimeout(() => {
          this.#eraseTimer = undefined
          for (const [late, owner] of this.#gone) this.eraseRow(owner, late)
        }, ERASE_AGAIN).unref()
      },
    )
  }

  #unkept([user]: readonly [string], error: unknown): void {
    this.handlers.trouble?.('a message could not be kept for other devices', user, error)
  }

  /** Delivered, though its row could not be removed yet. */
  isGone(id: string): boolean {
    return this.#gone.has(id)
  }
}
