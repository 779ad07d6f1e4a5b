import { type Op, pages, partitionsOf, type Store, type Table } from '../storage/store.ts'

/** Anything with an ordered id in front. */
type Item = readonly [id: string, ...rest: unknown[]]

/** A part of a group; ids are exclusive unless the name says otherwise. */
export interface Span {
  /** From this id on, itself included. */
  readonly from?: string | undefined
  readonly after?: string | undefined
  readonly before?: string | undefined
  /** The newest of it rather than the oldest, newest first. */
  readonly backwards: boolean
  readonly limit: number
}

/** Items of a chunk at most, and characters of it. */
const SIZE = 100
const CHARACTERS = 16 * 1024
/** Chunks and partitions that are read at a time; of chunks, the first time less, for one may be enough. */
const PAGE = 32
const FIRST_PAGE = 2

/**
 * Small items, by owner, group and ordered id, many in one row of the store: a group to which much is added is written once
 * at a time and not with each item. The key of a row is the owner, then the group and the least id of the chunk. What is put
 * later should be newer: chunks that overlap are read as one after the other.
 */
export class Chunks<T extends Item> {
  readonly #store: Pick<Store, 'commit'>
  readonly #table: Table<readonly T[]>

  constructor(store: Pick<Store, 'commit'>, table: Table<readonly T[]>) {
    this.#store = store
    this.#table = table
  }

  /** In any order. All or nothing. */
  async put(owner: string, group: string, items: readonly T[]): Promise<void> {
    const sorted = [...items].sort((a, b) => (a[0] < b[0] ? -1 : 1))
    await this.#store.commit(chunked(sorted).map(items => this.#putOp(owner, group, items)))
  }

  #putOp(owner: string, group: string, items: readonly T[]): Op {
    return this.#table.putOp([owner], [group, items[0]![0]], items)
  }

  /** Puts an item in the place of the one with its id; false where that is not found. Not while it may be purged. */
  async replace(owner: string, group: string, item: T): Promise<boolean> {
    const range = { gte: [group], lte: [group, item[0]], reverse: true, limit: 1 }
    const [row] = await this.#table.scan([owner], range)
    const at = row?.value.findIndex(([id]) => id === item[0]) ?? -1
    if (row === undefined || at < 0) return false
    await this.#table.put([owner], row.ck, row.value.with(at, item))
    return true
  }

  async read(owner: string, group: string, { from = '', after = '', before, backwards, limit }: Span): Promise<T[]> {
    const found: T[] = []
    const least = after >= from ? after : from
    const pages = backwards ? this.backwards(owner, group, before) : this.#forwards(owner, group, least)
    for await (const page of pages) {
      for (const item of page) {
        const [id] = item
        if (found.length >= limit) return found
        const tooOld = id <= after || id < from
        const tooNew = before !== undefined && id >= before
        if (backwards ? tooOld : tooNew) return found
        if (!tooOld && !tooNew) found.push(item)
      }
    }
    return found
  }

  /** Newest first, in pages; `before` only says where to begin. */
  async *backwards(owner: string, group: string, before?: string): AsyncGenerator<T[]> {
    let less = before
    for (let limit = FIRST_PAGE; ; limit = Math.min(limit * 4, PAGE)) {
      const rows = await this.#table.scan([owner], {
        ...(less === undefined ? { lte: [group] } : { lt: [group, less] }),
        gte: [group],
        reverse: true,
        limit,
      })
      yield rows.flatMap(({ value }) => value.toReversed())
      if (rows.length < limit) return
      less = String(rows.at(-1)!.ck[1])
    }
  }

  /** Oldest first, in pages, from the chunk that has `id` or would have it. */
  async *#forwards(owner: string, group: string, id: string): AsyncGenerator<T[]> {
    const [first] = await this.#table.scan([owner], { gte: [group], lte: [group, id], reverse: true, limit: 1 })
    let low: { gte: readonly string[] } | { gt: readonly string[] } = {
      gte: first === undefined ? [group] : [group, String(first.ck[1])],
    }
    for (let limit = FIRST_PAGE; ; limit = Math.min(limit * 4, PAGE)) {
      const rows = await this.#table.scan([owner], { ...low, lte: [group], limit })
      yield rows.flatMap(({ value }) => value)
      if (rows.length < limit) return
      low = { gt: [group, String(rows.at(-1)!.ck[1])] }
    }
  }

  /** All groups of an owner, in order: one look at the store for each. */
  async *groups(owner: string): AsyncGenerator<string> {
    for (let last: string | undefined; ; ) {
      const [key] = await this.#table.keys([owner], { limit: 1, ...(last === undefined ? {} : { gt: [last] }) })
      if (key === undefined) return
      last = String(key[0])
      yield last
    }
  }

  /** All owners: for administration. */
  async *owners(): AsyncGenerator<string> {
    for await (const [owner] of partitionsOf(this.#table)) yield String(owner)
  }

  /**
   * Removes what is older than `id` in all groups of an owner; resolves with how many items that were. What is put meanwhile
   * has a row of its own, and stays.
   */
  async purge(owner: string, id: string): Promise<number> {
    let count = 0
    for await (const group of this.groups(owner)) count += await this.#purge(owner, group, id)
    return count
  }

  async #purge(owner: string, group: string, id: string): Promise<number> {
    let count = 0
    for await (const rows of pages(this.#table, [owner], { gte: [group], lt: [group, id], limit: PAGE })) {
      const ops: Op[] = []
      for (const { ck, value } of rows) {
        const rest = value.filter(([one]) => one >= id)
        count += value.length - rest.length
        ops.push(this.#table.delOp([owner], ck))
        if (rest.length > 0) ops.push(this.#putOp(owner, group, rest))
      }
      await this.#store.commit(ops)
    }
    return count
  }

  async clear(owner: string): Promise<void> {
    await this.#table.clear([owner])
  }
}

/** In order, as they come: so many, and of such a size, together. */
function chunked<T extends Item>(items: readonly T[]): T[][] {
  const chunks: T[][] = []
  let size = CHARACTERS
  for (const item of items) {
    const last = chunks.at(-1)
    const length = JSON.stringify(item).length
    if (last === undefined || last.length >= SIZE || size + length > CHARACTERS) {
      chunks.push([item])
      size = length
    } else {
      last.push(item)
      size += length
    }
  }
  return chunks
}
