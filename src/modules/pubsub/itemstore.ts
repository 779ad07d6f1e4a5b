import type { Key, Op, Range, Table } from '../../storage/store.ts'
import { type IdGenerator, orderedTime } from '../../util/ids.ts'
import { parseElement, serialize } from '../../xml/index.ts'
import type { Node } from './node.ts'
import type { Shelf } from './store.ts'
import type { NodeItem } from './types.ts'

/** An item as it lies in the store, under its place in the order of publication. */
export interface StoredItem {
  id: string
  xml: string
  publisher?: string
}

/** An item with its place in the order. */
export interface PlacedItem {
  readonly order: string
  readonly item: NodeItem
}

/** Items that went, and the write that takes them away. */
export interface Taken {
  readonly gone: string[]
  readonly saved: Promise<void>
}

interface Place {
  id: string
  order: string
}

/** Rows that one scan reads. */
const PAGE = 500

/**
 * The items of all nodes of a host. `[service, node]` x `['o', order]` -> item, and x `['i', id]` -> its order; orders are
 * UUIDv7, which tell the time. What changes them is called under {@link PubsubStore.write}.
 */
export class ItemStore {
  readonly #table: Table<StoredItem | string>
  readonly #ids: IdGenerator

  constructor(table: Table<StoredItem | string>, ids: IdGenerator) {
    this.#table = table
    this.#ids = ids
  }

  /** Items newest first, or else (`reverse` false) oldest first, from behind the place `after` on. */
  async page(
    shelf: Shelf,
    node: Node,
    { limit, after, reverse = true }: { limit: number; after?: string | undefined; reverse?: boolean },
  ): Promise<PlacedItem[]> {
    const range: Range = { gte: ['o'], lte: ['o'], reverse, limit }
    if (after !== undefined && reverse) {
      delete range.lte
      range.lt = ['o', after]
    } else if (after !== undefined) {
      delete range.gte
      range.gt = ['o', after]
    }
    const rows = await this.#table.scan(this.#pk(shelf, node), range)
    return rows.flatMap(({ ck, value }) => {
      const order = String(ck[1])
      return typeof value === 'string' ? [] : [{ order, item: itemOf(order, value) }]
    })
  }

  /** The ids of all items. */
  async ids(shelf: Shelf, node: Node): Promise<string[]> {
    const rows = await this.#table.scan(this.#pk(shelf, node), { gte: ['i'], lte: ['i'] })
    return rows.map(({ ck }) => String(ck[1]))
  }

  /** The place of an item in the order. */
  async orderOf(shelf: Shelf, node: Node, id: string): Promise<string | undefined> {
    const order = await this.#table.get(this.#pk(shelf, node), ['i', id])
    return typeof order === 'string' ? order : undefined
  }

  async get(shelf: Shelf, node: Node, id: string): Promise<NodeItem | undefined> {
    const order = await this.orderOf(shelf, node, id)
    if (order === undefined) return undefined
    const stored = await this.#table.get(this.#pk(shelf, node), ['o', order])
    return stored === undefined || typeof stored === 'string' ? undefined : itemOf(order, stored)
  }

  /** How many items a node has. */
  async count(shelf: Shelf, node: Node): Promise<number> {
    if (node.count !== undefined) return node.count
    const pk = this.#pk(shelf, node)
    let count = 0
    let after: Key = ['i']
    for (;;) {
      const range: Range = { gt: after, lte: ['i'], limit: PAGE }
      if (count === 0) {
        delete range.gt
        range.gte = ['i']
      }
      const rows = await this.#table.scan(pk, range)
      count += rows.length
      if (rows.length < PAGE) break
      after = rows.at(-1)!.ck
    }
    const [last] = await this.#table.scan(pk, { gte: ['o'], lte: ['o'], reverse: true, limit: 1 })
    if (last !== undefined) this.#ids.after(String(last.ck[1]))
    node.count = count
    return count
  }

  /**
   * Puts an item, as the newest, and takes away the oldest beyond `keep`.
   * @returns the ids that were taken away, and the promise of the write
   */
  async put(
    shelf: Shelf,
    node: Node,
    item: Omit<NodeItem, 'at'>,
    keep: number,
  ): Promise<{ gone: string[]; at: number; saved: Promise<void> }> {
    const pk = this.#pk(shelf, node)
    const before = await this.orderOf(shelf, node, item.id)
    const count = await this.count(shelf, node)
    const order = this.#ids.ordered()
    const ops: Op<StoredItem | string>[] = []
    if (before !== undefined) ops.push({ type: 'del', ck: ['o', before] })
    const stored: StoredItem = { id: item.id, xml: item.payload === undefined ? '' : serialize(item.payload) }
    if (item.publisher !== undefined) stored.publisher = item.publisher
    ops.push({ type: 'put', ck: ['o', order], value: stored }, { type: 'put', ck: ['i', item.id], value: order })
    const total = before === undefined ? count + 1 : count
    const gone: string[] = []
    if (total > keep) {
      for (const old of await this.#oldest(pk, total - keep + 1)) {
        if (old.id === item.id || gone.length === total - keep) continue
        gone.push(old.id)
        ops.push({ type: 'del', ck: ['o', old.order] }, { type: 'del', ck: ['i', old.id] })
      }
    }
    node.count = total - gone.length
    return { gone, at: orderedTime(order) ?? 0, saved: this.#batch(pk, node, ops) }
  }

  async #oldest(pk: Key, limit: number): Promise<Place[]> {
    // Of many, the items themselves are not read: they may be large.
    if (limit > 2) return (await this.#places(pk)).slice(0, limit)
    const rows = await this.#table.scan(pk, { gte: ['o'], lte: ['o'], limit })
    return rows.flatMap(({ ck, value }) => (typeof value === 'string' ? [] : [{ id: value.id, order: String(ck[1]) }]))
  }

  /** Ids with their places, oldest first. */
  async #places(pk: Key): Promise<Place[]> {
    const rows = await this.#table.scan(pk, { gte: ['i'], lte: ['i'] })
    return rows
      .map(({ ck, value }) => ({ id: String(ck[1]), order: String(value) }))
      .sort((a, b) => (a.order < b.order ? -1 : 1))
  }

  /** Takes one item away. Undefined where there is no such item. */
  async take(shelf: Shelf, node: Node, id: string): Promise<Taken | undefined> {
    const order = await this.orderOf(shelf, node, id)
    if (order === undefined) return undefined
    await this.count(shelf, node)
    return this.#takeAll(shelf, node, [{ id, order }])
  }

  /** Takes away what is older than `before` (ms since 1970). */
  async takeOlder(shelf: Shelf, node: Node, before: number): Promise<Taken> {
    await this.count(shelf, node)
    const places = await this.#places(this.#pk(shelf, node))
    return this.#takeAll(
      shelf,
      node,
      places.filter(({ order }) => (orderedTime(order) ?? 0) < before),
    )
  }

  /** Takes away the oldest beyond `keep`. */
  async trim(shelf: Shelf, node: Node, keep: number): Promise<Taken> {
    const excess = (await this.count(shelf, node)) - keep
    if (excess <= 0) return { gone: [], saved: Promise.resolve() }
    return this.#takeAll(shelf, node, await this.#oldest(this.#pk(shelf, node), excess))
  }

  /** Takes away everything. */
  async purge(shelf: Shelf, node: Node): Promise<Taken> {
    const gone = await this.ids(shelf, node)
    node.count = undefined
    return { gone, saved: this.#table.clear(this.#pk(shelf, node)) }
  }

  #takeAll(shelf: Shelf, node: Node, items: readonly Place[]): Taken {
    const ops = items.flatMap(({ id, order }): Op<StoredItem | string>[] => [
      { type: 'del', ck: ['o', order] },
      { type: 'del', ck: ['i', id] },
    ])
    if (node.count !== undefined) node.count -= items.length
    const saved = ops.length === 0 ? Promise.resolve() : this.#batch(this.#pk(shelf, node), node, ops)
    return { gone: items.map(({ id }) => id), saved }
  }

  async #batch(pk: Key, node: Node, ops: readonly Op<StoredItem | string>[]): Promise<void> {
    try {
      await this.#table.batch(pk, ops)
    } catch (error) {
      node.count = undefined // to be counted again
      throw error
    }
  }

  #pk(shelf: Shelf, node: Node): Key {
    return [shelf.key, node.name]
  }
}

function itemOf(order: string, { id, xml, publisher }: StoredItem): NodeItem {
  const item = { id, payload: xml === '' ? undefined : parseElement(xml), at: orderedTime(order) ?? 0 }
  return publisher === undefined ? item : { ...item, publisher }
}
