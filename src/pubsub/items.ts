import type { Session } from '../core/session.ts'
import { clone, type Element, elementNs, serialize } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'
import { itemsKept, type Limits, lifetime, unmet } from './config.ts'
import { change, type Engine, findNode, initialConfig, MAX_NAME, openNode, type Service } from './engine.ts'
import { noRoom, noSuchNode, pubsubError, unsupported } from './errors.ts'
import { hasPayload } from './events.ts'
import { sizeInStore } from './itemstore.ts'
import type { Node } from './node.ts'
import { createNode, mayMake } from './nodes.ts'
import type { Item, NodeConfig, NodeItem } from './types.ts'

interface Publication {
  node: string
  /** Undefined where the request has no `<item/>`. */
  item: { id: string | undefined; payload: Element | undefined } | undefined
  /** What the node must be, or is made with (XEP-0060 7.1.5). */
  options: Partial<NodeConfig>
  publisher: Jid
  session: Session | undefined
  /** A module of the server publishes: it asks nobody. */
  trusted: boolean
}

/**
 * Publishes an item (XEP-0060 7.1). It is durable when this resolves; who is to hear of it has been told.
 * @returns the item's id; undefined where nothing is kept, nor named
 */
export async function publish(service: Service, publication: Publication): Promise<string | undefined> {
  const { store, limits } = service.engine
  const { node: name, publisher, options } = publication
  const there = await findNode(service, name)
  if (there === undefined) mayMake(service, publisher)
  else allow(service, there, publication)
  const expected = there?.config ?? initialConfig(service, name, options)
  check(expected, publication.item)
  // Before modules keep parts of it elsewhere.
  if (publication.item?.payload !== undefined) mustBeOf(expected, publication.item.payload)
  const item = await prepare(service, publication)
  const id = item?.id
  const written = await store.write(service.shelf, async () => {
    const waits: Promise<unknown>[] = []
    let node = await findNode(service, name)
    const config = node?.config ?? initialConfig(service, name, options)
    // Again, for it may have changed while the item was prepared.
    if (node !== undefined) allow(service, node, publication)
    check(config, item)
    if (item?.payload !== undefined) fit(config, item.payload, Math.min(limits.payload, config.max_payload_size))
    const kept = item !== undefined && config.persist_items
    const room = kept ? await roomFor(service, node?.creator ?? publisher.bare.toString()) : 0
    if (node === undefined) {
      if (kept && sizeInStore(item) > room) throw noRoom()
      const created = await createNode(service, name, options, publisher)
      created.saved.catch(() => {}) // whoever waits for it below is told
      waits.push(created.saved)
      node = created.node
    }
    if (!kept) return { node, waits, gone: [], at: service.engine.now() }
    const { gone, at, saved } = await store.items.put(service.shelf, node, item, itemsKept(config, limits), room)
    waits.push(saved)
    return { node, waits, gone, at }
  })
  await Promise.all(written.waits)
  const { node, gone, at } = written
  if (item !== undefined) {
    const { owner } = service
    // Whoever asks for it in another way afterwards finds it there. A module may be in the midst of that other way.
    const settled = !publication.trusted
    if (hasPayload(item)) await owner?.published(name, item, settled)
    await owner?.retracted(name, gone, settled)
    // XEP-0060 7.1.2.5. Of a node for one item, everybody knows that the new one takes its place.
    if (gone.length > 0 && node.config.notify_retract && node.config.max_items !== 1) {
      await told(service, node, service.engine.events.retracted(service, node, gone))
    }
  }
  const shown = item === undefined ? undefined : { ...item, at }
  await told(service, node, service.engine.events.published(service, node, shown))
  return id
}

/** What is done is done, whoever could not be told. */
async function told({ engine: { log } }: Service, { name }: Node, telling: Promise<void>): Promise<void> {
  await telling.catch((error: unknown) => {
    log.error({ err: error, node: name }, 'a node has changed, and that could not be told')
  })
}

/** Bytes that one account may still store at a service; below 0 where it was allowed more once. */
async function roomFor({ engine: { store, maxBytes }, shelf }: Service, creator: string): Promise<number> {
  return maxBytes === Number.POSITIVE_INFINITY ? maxBytes : maxBytes - (await store.bytes(shelf, creator))
}

function allow(service: Service, node: Node, publication: Publication): void {
  if (publication.trusted) return
  if (!service.engine.access.mayPublish(service, node, publication.publisher)) throw new StanzaError('forbidden')
  const option = unmet(node.config, publication.options, service.engine.limits)
  if (option === undefined) return
  throw pubsubError('conflict', 'precondition-not-met', { text: `the node differs in ${option}` })
}

/** XEP-0060 7.1.3.6, by the table of 4.3. */
function check(config: NodeConfig, item: { payload: Element | undefined } | undefined): void {
  const { persist_items: persistent, deliver_payloads: payloads } = config
  if (item === undefined) {
    if (persistent || payloads) throw pubsubError('bad-request', 'item-required')
    return
  }
  if (!persistent && !payloads) throw pubsubError('bad-request', 'item-forbidden')
  if (item.payload === undefined && payloads) throw pubsubError('bad-request', 'payload-required')
}

function mustBeOf(config: NodeConfig, payload: Element): void {
  if (config.type !== '' && elementNs(payload) !== config.type) {
    throw pubsubError('bad-request', 'invalid-payload', { text: `payloads are of the namespace ${config.type}` })
  }
}

function fit(config: NodeConfig, payload: Element, most: number): void {
  mustBeOf(config, payload)
  if (Buffer.byteLength(serialize(payload)) > most) {
    throw pubsubError('not-acceptable', 'payload-too-big', { text: `a payload has ${most} bytes at most` })
  }
}

/** The item as it will be stored; what modules make of it is decided here. */
async function prepare(
  service: Service,
  { node, item, publisher, session, trusted }: Publication,
): Promise<Omit<NodeItem, 'at'> | undefined> {
  if (item === undefined) return undefined
  const id = item.id ?? service.engine.ids.random()
  if (id.length > MAX_NAME) throw new StanzaError('not-acceptable', `an id has ${MAX_NAME} characters at most`)
  const payload = item.payload && clone(item.payload)
  const own = { id, payload, publisher: publisher.bare.toString() }
  if (trusted || payload === undefined || service.owner === undefined) return own
  return { ...own, ...(await service.owner.publishing(node, { id, payload }, session)) }
}

/** Takes an item away (XEP-0060 7.2). False where there is none of this id. */
export async function retract(
  service: Service,
  name: string,
  id: string,
  by: Jid | undefined,
  notify: boolean | undefined,
): Promise<boolean> {
  const done = await change(service, name, async node => {
    if (by !== undefined) await mayRetract(service, node, id, by)
    const taken = await service.engine.store.items.take(service.shelf, node, id)
    return taken && { node, saved: taken.saved }
  })
  if (done === undefined) return false
  await service.owner?.retracted(name, [id], by !== undefined)
  if (notify ?? done.node.config.notify_retract) {
    await told(service, done.node, service.engine.events.retracted(service, done.node, [id]))
  }
  return true
}

/** XEP-0060 4.1: owners any item, others what they have published. */
async function mayRetract(service: Service, node: Node, id: string, by: Jid): Promise<void> {
  const affiliation = service.engine.access.affiliation(service, node, by)
  if (affiliation === 'owner') {
    if (!node.config.persist_items) throw unsupported('persistent-items')
    return
  }
  if (!service.engine.access.mayPublish(service, node, by)) throw new StanzaError('forbidden')
  const item = await service.engine.store.items.get(service.shelf, node, id)
  if (item !== undefined && item.publisher !== by.bare.toString()) throw new StanzaError('forbidden')
}

/** Takes all items away (XEP-0060 8.5). */
export async function purge(service: Service, name: string, by: Jid | undefined): Promise<void> {
  const { node, gone } = await change(service, name, async node => {
    if (by !== undefined) {
      service.engine.access.mustOwn(service, node, by)
      if (!node.config.persist_items) throw unsupported('persistent-items')
    }
    return { node, ...(await service.engine.store.items.purge(service.shelf, node)) }
  })
  await service.owner?.retracted(name, gone, by !== undefined)
  if (node.config.notify_retract) await told(service, node, service.engine.events.purged(service, node))
}

/** Takes away what is older than the node keeps it (`item_expire`). The number of items that went. */
export async function expire(service: Service, node: Node): Promise<number> {
  const life = lifetime(node.config, service.engine.limits)
  if (!Number.isFinite(life)) return 0
  const { store } = service.engine
  const before = service.engine.now() - life
  const [oldest] = await store.items.page(service.shelf, node, { limit: 1, reverse: false })
  if (oldest === undefined || oldest.item.at >= before) return 0
  const taken = await store.write(service.shelf, async () => {
    const now = await findNode(service, node.name)
    return now && store.items.takeOlder(service.shelf, now, before)
  })
  if (taken === undefined) return 0
  await taken.saved
  await service.owner?.retracted(node.name, taken.gone, false)
  return taken.gone.length
}

/** The same of all nodes. `serviceOf` finds a service by the key of its shelf. */
export async function expireAll(
  engine: Engine,
  serviceOf: (key: string) => Promise<Service | undefined>,
): Promise<number> {
  const { store } = engine
  let count = 0
  for await (const key of store.shelves()) {
    const service = await serviceOf(key)
    if (service === undefined) continue
    for (const name of await store.names(service.shelf)) {
      const node = await findNode(service, name)
      if (node !== undefined) count += await expire(service, node)
    }
  }
  return count
}

interface ItemsRequest {
  /** Those of these ids; else the newest. */
  readonly ids?: readonly string[]
  readonly max?: number | undefined
  /** The page behind (older than) the item of this id, or before (newer than) it. */
  readonly after?: string | undefined
  readonly before?: string | undefined
}

/** Items that are read at once, where they are small; bytes of one answer, and of what is read at once. */
const PAGE = 50
const MAX_ANSWER = 1024 * 1024

/** How many items may be read at once, whatever their size. */
export function pageSize({ payload }: Limits): number {
  return Math.min(PAGE, Math.max(1, Math.floor(MAX_ANSWER / payload)))
}

/** Items, newest first (XEP-0060 6.5). `cut`: there are more of them than are given. */
export async function readItems(
  service: Service,
  name: string | undefined,
  by: Jid | undefined,
  request: ItemsRequest,
): Promise<{ node: Node; items: NodeItem[]; cut: boolean }> {
  const node = await openNode(service, name)
  if (by !== undefined) {
    const refusal = await service.engine.access.notReading(service, node, by)
    if (refusal !== undefined) throw refusal
    if (!node.config.persist_items) throw unsupported('persistent-items')
  }
  const since = service.engine.now() - lifetime(node.config, service.engine.limits)
  const fresh = (item: NodeItem | undefined): item is NodeItem => item !== undefined && item.at >= since
  const { ids, before } = request
  const all: NodeItem[] = []
  if (ids !== undefined) {
    let size = 0
    for (const id of new Set(ids)) {
      const item = await service.engine.store.items.get(service.shelf, node, id)
      if (!fresh(item)) continue
      all.push(item)
      if (by !== undefined && (size += sizeOf(item)) > MAX_ANSWER) return { node, items: all, cut: true }
    }
    return { node, items: all, cut: false }
  }
  const backwards = before !== undefined
  const bound = await placeOf(service, node, request.after ?? before)
  const max = request.max ?? Number.POSITIVE_INFINITY
  const step = pageSize(service.engine.limits)
  let after = bound
  let size = 0
  for (;;) {
    const limit = Math.min(step, max - all.length + 1)
    const page = await service.engine.store.items.page(service.shelf, node, { limit, after, reverse: !backwards })
    for (const item of page) {
      if (!fresh(item.item)) continue
      if (all.length >= max || (by !== undefined && size > MAX_ANSWER)) {
        return { node, items: backwards ? all.reverse() : all, cut: true }
      }
      all.push(item.item)
      size += sizeOf(item.item)
    }
    if (page.length < limit) return { node, items: backwards ? all.reverse() : all, cut: false }
    after = page.at(-1)!.order
  }
}

async function placeOf(service: Service, node: Node, id: string | undefined): Promise<string | undefined> {
  if (id === undefined || id === '') return undefined
  const order = await service.engine.store.items.orderOf(service.shelf, node, id)
  if (order === undefined) throw new StanzaError('item-not-found', 'there is no such item to page from') // XEP-0059 2.2
  return order
}

/** As many of the items as fit into one answer, but one at least; from the last on, with `backwards`. */
export function fitting(items: readonly NodeItem[], backwards: boolean): readonly NodeItem[] {
  const order = backwards ? items.toReversed() : items
  let size = 0
  let count = 0
  for (const item of order) {
    size += sizeOf(item)
    if (size > MAX_ANSWER && count > 0) break
    count++
  }
  return backwards ? items.slice(items.length - count) : items.slice(0, count)
}

function sizeOf(item: NodeItem): number {
  return item.id.length + (item.payload === undefined ? 0 : serialize(item.payload).length)
}

/** Items with payloads, for modules. */
export async function itemsOf(service: Service, name: string, ids?: readonly string[]): Promise<Item[]> {
  try {
    const { items } = await readItems(service, name, undefined, ids === undefined ? {} : { ids })
    return items.filter(hasPayload)
  } catch (error) {
    if (error instanceof StanzaError && error.condition === noSuchNode().condition) return []
    throw error
  }
}
