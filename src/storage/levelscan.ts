/** How the rows of a range come out of LevelDB: page by page, and not more of them than are wanted. */

import type { Bounds, RawValue } from './codec.ts'
import { ROWS_END, ROWS_START } from './ordered.ts'

/** Bytes of a scan that are worth a word to the iterator that read them. */
const LARGE = 64 * 1024
/** Bytes and rows that an iterator fetches at a time. */
const PAGE_BYTES = 1024 * 1024
export const PAGE_ROWS = 1000

export function rangeOptions({ low, high, reverse, limit, bytes }: Bounds, valueEncoding: 'utf8' | 'buffer') {
  return {
    gte: low,
    lt: high,
    reverse,
    limit: Number.isFinite(limit) ? limit : -1,
    valueEncoding,
    highWaterMarkBytes: Math.min(PAGE_BYTES, bytes),
  }
}

interface Pages<T> {
  nextv(size: number): Promise<T[]>
  close(): Promise<void>
}

export async function all<T>(iterator: Pages<T>, limit: number): Promise<T[]> {
  const found: T[] = []
  try {
    while (found.length < limit) {
      const page = await iterator.nextv(Math.min(PAGE_ROWS, limit - found.length))
      if (page.length === 0) break
      for (const row of page) found.push(row)
    }
  } finally {
    void iterator.close() // never fails, and closing the database waits for it
  }
  return found
}

type Rows = Pages<[string, RawValue]> & { seek(target: string): void }

export async function rowsOf(iterator: Rows, { limit, bytes, reverse }: Bounds): Promise<[string, RawValue][]> {
  const found: [string, RawValue][] = []
  let size = 0
  try {
    while (found.length < limit && size < bytes) {
      const page = await iterator.nextv(Math.min(PAGE_ROWS, limit - found.length))
      if (page.length === 0) break
      for (const row of page) {
        found.push(row)
        size += row[1].length
        if (size >= bytes) break
      }
    }
    if (size >= LARGE) await forget(iterator, reverse)
  } finally {
    void iterator.close() // never fails, and closing the database waits for it
  }
  return found
}

/**
 * An iterator keeps a copy of what it read last, outside of the heap, until it reads again or is collected: of which V8, who
 * does not know how large it is, sees no need. Behind the end there is nothing to read, and nothing is kept.
 */
async function forget(iterator: Rows, reverse: boolean): Promise<void> {
  iterator.seek(reverse ? ROWS_START : ROWS_END)
  await iterator.nextv(1)
}
