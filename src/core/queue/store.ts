import type { Table } from '../../storage/store.ts'
import type { Entry, Holder } from './entry.ts'
import type { MessageQueue } from './queue.ts'

/** How long (ms) a message may be in flight before it is written, if nobody waits for it to be safe. */
const LAZY = 1000

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

/** What the queues of a host tell it, and ask it. */
export interface QueueHandlers {
  failed(queue: MessageQueue, entry: Entry, error: unknown): void
  unread?(queue: MessageQueue, error: unknown): void
  confirmed?(queue: MessageQueue, entry: Entry, holder: Holder): void
  confirmedAgain?(queue: MessageQueue, entry: Entry, holder: Holder): void
  archived?(key: readonly [string], id: string): Promise<Buffer | undefined>
}

interface Batch {
  readonly promise: Promise<void>
  readonly items: { queue: MessageQueue; entry: Entry; pointer: boolean }[]
}

/** The queue table of one host: writes gather, and who waits for them learns in one sweep per commit. */
export class QueueStore {
  readonly table: Table<Buffer>
  readonly #handlers: QueueHandlers
  /** Rows that are to be removed, by id; see {@link erase}. */
  readonly #gone = new Map<string, readonly [string]>()
  #eraseTimer: NodeJS.Timeout | undefined
  #later: { queue: MessageQueue; entry: Entry }[] = []
  #timer: NodeJS.Timeout | undefined
  #open: Batch | undefined

  constructor(table: Table<Buffer>, handlers: QueueHandlers) {
    this.table = table
    this.#handlers = handlers
  }

  /** A page of a backlog could not be read; it will be tried again. */
  unread(queue: MessageQueue, error: unknown): void {
    this.#handlers.unread?.(queue, error)
  }

  /** A session has acknowledged a message. */
  confirmed(queue: MessageQueue, entry: Entry, holder: Holder): void {
    this.#handlers.confirmed?.(queue, entry, holder)
  }

  /** A further session has acknowledged it. */
  confirmedAgain(queue: MessageQueue, entry: Entry, holder: Holder): void {
    this.#handlers.confirmedAgain?.(queue, entry, holder)
  }

  /** The bytes of a row: its own, or those it points to. Undefined for a pointer to nothing. */
  bytesOf(key: readonly [string], id: string, value: Buffer): Buffer | Promise<Buffer | undefined> {
    return isPointer(value) ? (this.#handlers.archived?.(key, id) ?? Promise.resolve(undefined)) : value
  }

  writeLater(queue: MessageQueue, entry: Entry): void {
    entry.lazy = true
    this.#later.push({ queue, entry })
    this.#timer ??= setTimeout(() => void this.flush(), LAZY).unref()
  }

  /** Writes what waits for its time; resolves when all that was called for is written, or could not be. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const { queue, entry } of this.#later.splice(0)) {
      if (entry.lazy && !entry.done && !queue.ended) this.write(queue, entry)
    }
    await this.#open?.promise.catch(() => {})
  }

  write(queue: MessageQueue, entry: Entry): void {
    entry.lazy = false
    const pointer = entry.archived
    const promise = this.table.put(queue.key, [entry.id], pointer ? pointerTo(entry.bytes) : entry.bytes)
    let batch = this.#open
    if (batch === undefined || batch.promise !== promise) {
      const opened: Batch = { promise, items: [] }
      batch = opened
      this.#open = opened
      promise.then(
        () => {
          for (const { queue, entry, pointer } of opened.items) {
            // The archive failed meanwhile: what was written points to nothing.
            if (pointer && !entry.archived && !entry.done) this.write(queue, entry)
            else queue.onCommitted(entry)
          }
        },
        (error: unknown) => {
          for (const { queue, entry } of opened.items) this.#handlers.failed(queue, entry, error)
        },
      )
    }
    batch.items.push({ queue, entry, pointer })
  }

  /** Removes a row; where that fails, it counts as gone and is removed as soon as the store writes again. */
  erase(queue: MessageQueue, entry: Entry): void {
    this.#erase(queue.key, entry.id)
  }

  eraseRow(key: readonly [string], id: string): void {
    this.#erase(key, id)
  }

  #erase(key: readonly [string], id: string): void {
    this.table.del(key, [id]).then(
      () => this.#gone.delete(id),
      () => {
        // At the bound a row stays, and is delivered once more under the same stanza-id: allowed, not lost.
        if (this.#gone.size < MAX_GONE) this.#gone.set(id, key)
        this.#eraseTimer ??= setTimeout(() => {
          this.#eraseTimer = undefined
          for (const [late, owner] of this.#gone) this.#erase(owner, late)
        }, ERASE_AGAIN).unref()
      },
    )
  }

  /** Delivered, though its row could not be removed yet. */
  isGone(id: string): boolean {
    return this.#gone.has(id)
  }
}
