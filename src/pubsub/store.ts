import { setImmediate } from 'node:timers/promises'
import { type Key, type Op, partitionsOf, type Range, type Store, type Table } from '../storage/store.ts'
import type { IdGenerator } from '../util/ids.ts'
import { Lru } from '../util/lru.ts'
import { Jid } from '../xmpp/jid.ts'
import { EntityCache } from './entitycache.ts'
import { empty, ItemStore, type StoredItem } from './itemstore.ts'
import {
  differences,
  entitySize,
  Node,
  type Shelf,
  type StoredEntity,
  type StoredNode,
  type Subscription,
} from './node.ts'
import type { Affiliation, NodeConfig } from './types.ts'

/** Partition `[service]`: the key of its shelf. */
export interface PubsubTables {
  /** `[service]` x `[node]` */
  nodes: Table<StoredNode>
  /** `[service, node]` x what {@link ItemStore} says. */
  items: Table<StoredItem | string>
  /** `[service]` x `[node, 'a', bare]` and `[node, 's', jid]` */
  entities: Table<StoredEntity>
  /** The same by who it is: `[bare]` x `[service, node]` */
  byEntity: Table<Relation>
}

/** What a bare address is to a node, in the table by who it is. */
export interface Relation {
  owner: boolean
  /** It made the node, where everybody has nodes: that counts as long as the node is there, whoever owns it. */
  made?: true
}

/** Bytes of who is what to which node that one host keeps in memory. */
const MEMORY = 64 * 1024 * 1024

/** The nodes of all services of a host, in tables. Writes are called under {@link PubsubStore.write}. */
export class PubsubStore {
  readonly #store: Pick<Store, 'commit'>
  readonly #tables: PubsubTables
  readonly items: ItemStore
  /** By the defaults that they add to. */
  readonly #configs = new WeakMap<NodeConfig, Lru<string, NodeConfig>>()
  readonly #inMemory: EntityCache

  /** @param memory bytes of who is what to which node, that are kept in memory */
  constructor(
    store: Pick<Store, 'commit'>,
    tables: PubsubTables,
    ids: IdGenerator,
    now: () => number,
    memory = MEMORY,
  ) {
    this.#store = store
    this.#tables = tables
    this.items = new ItemStore(store, tables.items, ids)
    this.#inMemory = new EntityCache(memory, now)
  }

  /** Bytes of who is what to which node, in memory. */
  get memory(): number {
    return this.#inMemory.bytes
  }

  /** The shelf of one owner's nodes; of a service where everybody has nodes, the last `cache` used ones are in memory. */
  shelf(key: string, defaults: NodeConfig, cache?: number): Shelf {
    const nodes = cache === undefined ? new Map<string, Node>() : new Lru<string, Node>(cache)
    const map = () => (cache === undefined ? new Map<string, number>() : new Lru<string, number>(cache))
    const known = { personal: cache === undefined, nodes, totals: map(), entityTotals: map() }
    return { key, defaults, ...known, complete: false, loading: undefined, tail: Promise.resolve() }
  }

  /**
   * Runs one change of a service after the other, so that what one has read still holds when it writes. Only reads are
   * waited for here: `run` gives the promise of its write in an object, for the caller to await.
   */
  write<T>(shelf: Shelf, run: () => Promise<T>): Promise<T> {
    const done = shelf.tail.then(run, run)
    shelf.tail = done.catch(() => {})
    return done
  }

  // ---- nodes

  async node(shelf: Shelf, name: string): Promise<Node | undefined> {
    const there = shelf.nodes.get(name)
    if (there !== undefined) return there
    if (shelf.nodes instanceof Map) {
      await this.load(shelf)
      return shelf.nodes.get(name)
    }
    const stored = await this.#tables.nodes.get([shelf.key], [name])
    // Somebody else may have read it, or made it, meanwhile.
    const meanwhile = shelf.nodes.get(name)
    if (meanwhile !== undefined || stored === undefined) return meanwhile
    const node = new Node(name, stored, this.#config(shelf, stored))
    shelf.nodes.set(name, node)
    return node
  }

  /** Of an account: all its nodes. */
  async load(shelf: Shelf): Promise<void> {
    if (shelf.complete) return
    shelf.loading ??= this.#load(shelf).finally(() => {
      shelf.loading = undefined
    })
    await shelf.loading
  }

  async #load(shelf: Shelf): Promise<void> {
    for (const { ck, value } of await this.#tables.nodes.scan([shelf.key])) {
      const name = String(ck[0])
      if (shelf.nodes.get(name) === undefined) shelf.nodes.set(name, new Node(name, value, this.#config(shelf, value)))
    }
    shelf.complete = true
  }

  /** Names of the nodes in order, from behind `after`. */
  async names(shelf: Shelf, after?: string, limit?: number): Promise<string[]> {
    const range: Range = {}
    if (after !== undefined) range.gt = [after]
    if (limit !== undefined) range.limit = limit
    return (await this.#tables.nodes.scan([shelf.key], range)).map(row => String(row.ck[0]))
  }

  /** `owned`: it is noted that the creator owns it, which goes without saying for an account's own. */
  create(
    shelf: Shelf,
    name: string,
    config: NodeConfig,
    creator: Jid,
    now: number,
    owned = false,
  ): { node: Node; saved: Promise<void> } {
    const stored = { config: differences(config, shelf.defaults), creator: creator.toString(), created: now }
    const node = new Node(name, stored, this.#config(shelf, stored))
    node.entities = 'loaded'
    node.count = 0
    node.bytes = 0
    shelf.nodes.set(name, node)
    const ops = [this.#tables.nodes.putOp([shelf.key], [name], stored)]
    if (owned) ops.push(...this.#affiliation(shelf, node, creator, 'owner'))
    const saved = this.#store.commit(ops).catch((error: unknown) => {
      if (shelf.nodes.get(name) === node) shelf.nodes.delete(name)
      this.#unsaved(shelf, node)
      throw error
    })
    return { node, saved }
  }

  /** Characters of the names and configurations of all nodes of an account, which are all in memory. */
  textOf(shelf: Shelf): number {
    if (!(shelf.nodes instanceof Map)) return 0
    let size = 0
    for (const node of shelf.nodes.values()) {
      node.textSize ??= textSize(node.name, differences(node.config, shelf.defaults))
      size += node.textSize
    }
    return size
  }

  async configure(shelf: Shelf, node: Node, config: NodeConfig): Promise<void> {
    const before = node.config
    node.config = config
    node.textSize = undefined
    const { creator, created } = node
    const stored = { config: differences(config, shelf.defaults), creator, created }
    try {
      await this.#tables.nodes.put([shelf.key], [node.name], stored)
    } catch (error) {
      if (node.config === config) node.config = before
      node.textSize = undefined
      throw error
    }
  }

  /** With its items and all that anybody is to it. */
  async delete(shelf: Shelf, node: Node): Promise<void> {
    if (node.entities !== 'loaded') await this.entities(shelf, node)
    shelf.nodes.delete(node.name)
    empty(shelf, node)
    const bares = new Set(node.affiliations.keys())
    const subscribers = [...node.subscriptions.values()]
    this.#grow(shelf, node, -node.entityBytes)
    this.#inMemory.forget(node)
    if (!shelf.personal) bares.add(node.creator)
    for (const { jid } of subscribers) bares.add(jid.bare.toString())
    const deleted = Promise.all([
      this.#tables.items.clear([shelf.key, node.name]),
      this.#tables.entities.clear([shelf.key], { gte: [node.name], lte: [node.name] }),
      ...[...bares].map(bare => this.#tables.byEntity.del([bare], [shelf.key, node.name])),
      this.#tables.nodes.del([shelf.key], [node.name]),
    ])
    await deleted.catch((error: unknown) => {
      shelf.complete = false // what is left of it is found again
      shelf.totals.delete(node.creator)
      shelf.entityTotals.delete(node.creator)
      throw error
    })
  }

  /** Bytes, about, of who is what to all nodes that an entity made. Counted once; called under {@link write}. */
  async entityBytes(shelf: Shelf, creator: string): Promise<number> {
    const known = shelf.entityTotals.get(creator)
    if (known !== undefined) return known
    let total = 0
    for (const name of await this.#madeBy(shelf, creator)) {
      let after: Key | undefined
      do {
        const range = { gte: [name], lte: [name], limit: 1000, ...(after === undefined ? {} : { gt: after }) }
        const keys = await this.#tables.entities.keys([shelf.key], range)
        for (const ck of keys) total += entitySize(String(ck[2]))
        after = keys.at(-1)
        await setImmediate()
      } while (after !== undefined)
    }
    shelf.entityTotals.set(creator, total)
    return total
  }

  #change(shelf: Shelf, node: Node, change: () => void): void {
    const before = node.entityBytes
    this.#inMemory.changed(node, change)
    this.#grow(shelf, node, node.entityBytes - before)
  }

  #grow({ entityTotals }: Shelf, { creator }: Node, bytes: number): void {
    const total = entityTotals.get(creator)
    if (total !== undefined) entityTotals.set(creator, total + bytes)
  }

  /** Bytes of the items in all nodes that an entity made. They are counted once; called under {@link write}. */
  async bytes(shelf: Shelf, creator: string): Promise<number> {
    const known = shelf.totals.get(creator)
    if (known !== undefined) return known
    let total = 0
    for (const name of await this.#madeBy(shelf, creator)) {
      const node = await this.node(shelf, name)
      if (node !== undefined) total += await this.items.bytes(shelf, node)
    }
    shelf.totals.set(creator, total)
    return total
  }

  async #madeBy(shelf: Shelf, creator: string): Promise<string[]> {
    if (shelf.personal) return this.names(shelf)
    return (await this.nodesOf(creator, shelf.key)).filter(({ made }) => made === true).map(({ node }) => node)
  }

  /** Nodes that are configured alike share one configuration in memory, for most are. */
  #config(shelf: Shelf, { config }: StoredNode): NodeConfig {
    const { defaults } = shelf
    const alike = this.#configs.get(defaults) ?? new Lru<string, NodeConfig>(500)
    this.#configs.set(defaults, alike)
    const key = JSON.stringify(config)
    const made = alike.get(key) ?? { ...defaults, ...config }
    alike.set(key, made)
    return made
  }

  // ---- entities

  /** Reads who is what to the node, unless that is known. Throws StanzaError where there is no room for it now. */
  entities(shelf: Shelf, node: Node): void | Promise<void> {
    if (node.entities === 'loaded') return this.#inMemory.used(node)
    if (node.entities === undefined) {
      this.#inMemory.makeRoom()
      node.entities = this.#entities(shelf, node)
    }
    return node.entities
  }

  async #entities(shelf: Shelf, node: Node): Promise<void> {
    try {
      const rows = await this.#tables.entities.scan([shelf.key], { gte: [node.name], lte: [node.name] })
      for (const { ck, value } of rows) {
        const jid = Jid.parse(String(ck[2]))
        if (jid === undefined) continue
        if ('affiliation' in value) node.setAffiliation(jid.toString(), value.affiliation)
        else node.setSubscription(jid.toString(), { jid, state: value.subscription, deliver: value.deliver })
      }
      node.entities = 'loaded'
      this.#inMemory.used(node)
    } catch (error) {
      node.entities = undefined
      throw error
    }
  }

  async affiliate(shelf: Shelf, node: Node, bare: Jid, affiliation: Affiliation): Promise<void> {
    await this.#saveEntity(shelf, node, this.#affiliation(shelf, node, bare, affiliation))
  }

  #affiliation(shelf: Shelf, node: Node, bare: Jid, affiliation: Affiliation): Op[] {
    const key = bare.toString()
    const ck = [node.name, 'a', key]
    this.#change(shelf, node, () => node.setAffiliation(key, affiliation))
    const op =
      affiliation === 'none'
        ? this.#tables.entities.delOp([shelf.key], ck)
        : this.#tables.entities.putOp([shelf.key], ck, { affiliation })
    return [op, this.#relation(shelf, node, key)]
  }

  /** `subscription` undefined: there is none any more. */
  async subscribe(
    shelf: Shelf,
    node: Node,
    jid: Jid,
    subscription: Omit<Subscription, 'jid'> | undefined,
  ): Promise<void> {
    const key = jid.toString()
    const ck = [node.name, 's', key]
    this.#change(shelf, node, () => node.setSubscription(key, subscription && { jid, ...subscription }))
    const op =
      subscription === undefined
        ? this.#tables.entities.delOp([shelf.key], ck)
        : this.#tables.entities.putOp([shelf.key], ck, {
            subscription: subscription.state,
            deliver: subscription.deliver,
          })
    await this.#saveEntity(shelf, node, [op, this.#relation(shelf, node, jid.bare.toString())])
  }

  /** What somebody is to a node now, by who it is. */
  #relation(shelf: Shelf, node: Node, bare: string): Op {
    const { byEntity } = this.#tables
    const ck = [shelf.key, node.name]
    const made = shelf.key === '' && node.creator === bare
    if (!made && !node.isKnown(bare)) return byEntity.delOp([bare], ck)
    return byEntity.putOp([bare], ck, {
      owner: node.affiliations.get(bare) === 'owner',
      ...(made ? { made } : {}),
    })
  }

  async #saveEntity(shelf: Shelf, node: Node, ops: readonly Op[]): Promise<void> {
    try {
      await this.#store.commit(ops)
    } catch (error) {
      this.#unsaved(shelf, node)
      throw error
    }
  }

  /** What is in memory is not what is in the store: read again. */
  #unsaved(shelf: Shelf, node: Node): void {
    this.#inMemory.forget(node)
    shelf.entityTotals.delete(node.creator)
  }

  /** Nodes of a service, or of all, that this bare address is something to; so many of them. */
  async nodesOf(
    bare: string,
    service?: string,
    limit?: number,
  ): Promise<(Relation & { service: string; node: string })[]> {
    const range: Range = service === undefined ? {} : { gte: [service], lte: [service] }
    if (limit !== undefined) range.limit = limit
    const rows = await this.#tables.byEntity.scan([bare], range)
    return rows.map(({ ck, value }) => ({ ...value, service: String(ck[0]), node: String(ck[1]) }))
  }

  // ---- administration

  /** The key of every shelf that has nodes, for administration. */
  async *shelves(): AsyncGenerator<string> {
    for await (const [key] of partitionsOf(this.#tables.nodes)) yield String(key)
  }
}

/** Characters, about, that a node has in memory for its name and what differs from the defaults. */
export function textSize(name: string, config: Partial<NodeConfig>): number {
  return name.length + JSON.stringify(config).length
}
