import { type Key, type Op, pages, type Range, type Store, type Table } from '../storage/store.ts'
import { type IdGenerator, orderedTime } from '../util/ids.ts'
import { parseElement, serialize } from '../xml/index.ts'
import { noRoom } from './errors.ts'
import type { Node, Shelf } from './node.ts'
import type { NodeItem } from './types.ts'

/** An item as it lies in the store, under its place in the order of publication. */
export interface StoredItem {
  id: string
  xml: string
  publisher?: string
}

/** An item with its place in the order. */
interface PlacedItem {
  readonly order: string
  readonly item: NodeItem
}

/** Items that went, and the write that takes them away. */
interface Taken {
  readonly gone: string[]
  readonly saved: Promise<void>
}

interface Place {
  id: string
  order: string
  /** Bytes. */
  size: number
}

/** Items that are read at once: they may be large. */
const STEP = 8

/**
 * The items of all nodes of a host. `[service, node]` x `['o', order]` -> item, and x `['i', id]` -> its order; orders are
 * UUIDv7, which tell the time. What changes them is called under {@link PubsubStore.write}.
 */
export class ItemStore {
  readonly #store: Pick<Store, 'commit'>
  readonly #table: Table<StoredItem | string>
  readonly #ids: IdGenerator

  constructor(store: Pick<Store, 'commit'>, table: Table<StoredItem | string>, ids: IdGenerator) {
    this.#store = store
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
    if (after !== undefined) range[reverse ? 'lt' : 'gt'] = ['o', after]
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
    for await (const rows of pages(this.#table, pk, { gte: ['i'], lte: ['i'] })) count += rows.length
    const [last] = await this.#table.scan(pk, { gte: ['o'], lte: ['o'], reverse: true, limit: 1 })
    if (last !== undefined) this.#ids.after(String(last.ck[1]))
    node.count = count
    return count
  }

  /** How many bytes the items of a node have. */
  async bytes(shelf: Shelf, node: Node): Promise<number> {
    if (node.bytes !== undefined) return node.bytes
    let bytes = 0
    for await (const { size } of this.#places(this.#pk(shelf, node))) bytes += size
    node.bytes = bytes
    return bytes
  }

  /**
   * Puts an item, as the newest, and takes away the oldest beyond `keep`. Throws a StanzaError where that needs more bytes
   * than there is `room` for.
   * @returns the ids that were taken away, and the promise of the write
   */
  async put(
    shelf: Shelf,
    node: Node,
    item: Omit<NodeItem, 'at'>,
    keep: number,
    room: number,
  ): Promise<{ gone: string[]; at: number; saved: Promise<void> }> {
    const pk = this.#pk(shelf, node)
    const before = await this.#placeOf(pk, item.id)
    const count = await this.count(shelf, node)
    const order = this.#ids.ordered()
    const ops: Op[] = []
    if (before !== undefined) ops.push(this.#table.delOp(pk, ['o', before.order]))
    const stored = storedOf(item)
    ops.push(this.#table.putOp(pk, ['o', order], stored), this.#table.putOp(pk, ['i', item.id], order))
    const total = before === undefined ? count + 1 : count
    const gone: string[] = []
    let growth = sizeOf(stored) - (before?.size ?? 0)
    if (total > keep) {
      for (const old of await this.#oldest(pk, total - keep + 1)) {
        if (old.id === item.id || gone.length === total - keep) continue
        gone.push(old.id)
        growth -= old.size
        ops.push(...this.#without(pk, old))
      }
    }
    if (growth > 0 && growth > room) throw noRoom()
    node.count = total - gone.length
    grow(shelf, node, growth)
    return { gone, at: orderedTime(order) ?? 0, saved: this.#commit(shelf, node, ops) }
  }

  async #oldest(pk: Key, limit: number): Promise<Place[]> {
    const oldest: Place[] = []
    if (limit === 0) return oldest
    for await (const place of this.#places(pk, limit)) if (oldest.push(place) === limit) break
    return oldest
  }

  /** Where the items are, oldest first; a few are read at once. */
  async *#places(pk: Key, limit = STEP): AsyncGenerator<Place> {
    const range = { gte: ['o'], lte: ['o'], limit: Math.min(limit, STEP) }
    for await (const rows of pages(this.#table, pk, range)) {
      for (const { ck, value } of rows) {
        if (typeof value !== 'string') yield { id: value.id, order: String(ck[1]), size: sizeOf(value) }
      }
    }
  }

  async #placeOf(pk: Key, id: string): Promise<Place | undefined> {
    const order = await this.#table.get(pk, ['i', id])
    if (typeof order !== 'string') return undefined
    const stored = await this.#table.get(pk, ['o', order])
    return { id, order, size: stored === undefined || typeof stored === 'string' ? 0 : sizeOf(stored) }
  }

  /** Takes one item away. Undefined where there is no such item. */
  async take(shelf: Shelf, node: Node, id: string): Promise<Taken | undefined> {
    const place = await this.#placeOf(this.#pk(shelf, node), id)
    if (place === undefined) return undefined
    await this.count(shelf, node)
    return this.#takeAll(shelf, node, [place])
  }

  /** Takes away what is older than `before` (ms since 1970). */
  async takeOlder(shelf: Shelf, node: Node, before: number): Promise<Taken> {
    await this.count(shelf, node)
    const old: Place[] = []
    for await (const place of this.#places(this.#pk(shelf, node))) {
      if ((orderedTime(place.order) ?? 0) >= before) break
      old.push(place)
    }
    return this.#takeAll(shelf, node, old)
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
    empty(shelf, node)
    return { gone, saved: this.#saving(shelf, node, this.#table.clear(this.#pk(shelf, node))) }
  }

  #takeAll(shelf: Shelf, node: Node, items: readonly Place[]): Taken {
    const pk = this.#pk(shelf, node)
    const ops = items.flatMap(place => this.#without(pk, place))
    if (node.count !== undefined) node.count -= items.length
    grow(shelf, node, -items.reduce((sum, { size }) => sum + size, 0))
    const saved = ops.length === 0 ? Promise.resolve() : this.#commit(shelf, node, ops)
    return { gone: items.map(({ id }) => id), saved }
  }

  #without(pk: Key, { id, order }: Place): Op[] {
    return [this.#table.delOp(pk, ['o', order]), this.#table.delOp(pk, ['i', id])]
  }

  #commit(shelf: Shelf, node: Node, ops: readonly Op[]): Promise<void> {
    return this.#saving(shelf, node, this.#store.commit(ops))
  }

  async #saving(shelf: Shelf, node: Node, saved: Promise<void>): Promise<void> {
    try {
      await saved
    } catch (error) {
      // To be counted again.
      node.count = undefined
      node.bytes = undefined
      shelf.totals.delete(node.creator)
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

function storedOf({ id, payload, publisher }: Omit<NodeItem, 'at'>): StoredItem {
  const stored: StoredItem = { id, xml: payload === undefined ? '' : serialize(payload) }
  if (publisher !== undefined) stored.publisher = publisher
  return stored
}

/** Bytes that an item will have in the store, for who looks before there is a node to put it in. */
export function sizeInStore(item: Omit<NodeItem, 'at'>): number {
  return sizeOf(storedOf(item))
}

function sizeOf({ id, xml, publisher = '' }: StoredItem): number {
  return Buffer.byteLength(id) + Buffer.byteLength(xml) + publisher.length
}

function grow(shelf: Shelf, node: Node, bytes: number): void {
  if (node.bytes !== undefined) node.bytes += bytes
  const total = shelf.totals.get(node.creator)
  if (total !== undefined) shelf.totals.set(node.creator, total + bytes)
}

/** The items of a node are gone. */
export function empty(shelf: Shelf, node: Node): void {
  if (node.bytes === undefined) shelf.totals.delete(node.creator)
  else grow(shelf, node, -node.bytes)
  node.bytes = 0
}
