import type { Lru } from '../util/lru.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { Affiliation, NodeConfig, SubscriptionState } from './types.ts'

/** A node as it lies in the store; `config` holds what differs from the defaults of its service. */
export interface StoredNode {
  config: Partial<NodeConfig>
  /** Bare address. */
  creator: string
  /** ms since 1970 */
  created: number
}

/** What an entity is to a node, as it lies in the store. */
export type StoredEntity =
  | { affiliation: Affiliation }
  | { subscription: Exclude<SubscriptionState, 'none'>; deliver: boolean }

export interface Subscription {
  /** Bare or full, as it was subscribed. */
  readonly jid: Jid
  readonly state: Exclude<SubscriptionState, 'none'>
  /** The subscriber wants notifications now (`pubsub#deliver`). */
  readonly deliver: boolean
}

const NOBODY: ReadonlyMap<string, never> = new Map<string, never>()

/** A node in memory. What it is to whom is read when it is first needed; `count` and `bytes` are of its items, once they were counted. */
export class Node {
  readonly name: string
  readonly creator: string
  readonly created: number
  config: NodeConfig
  /** By bare address; who is not in it is nobody to the node. */
  affiliations: ReadonlyMap<string, Affiliation> = NOBODY
  /** By address. */
  subscriptions: ReadonlyMap<string, Subscription> = NOBODY
  count: number | undefined
  bytes: number | undefined
  entities: Promise<void> | 'loaded' | undefined
  /** Characters of its name and configuration, about; see {@link PubsubStore.configured}. */
  textSize: number | undefined
  /** Bytes of who is what to it, as far as that is in memory. */
  entityBytes = 0

  /** `config` may be that of other nodes too: it is replaced, not changed. */
  constructor(name: string, { creator, created }: StoredNode, config: NodeConfig) {
    this.name = name
    this.creator = creator
    this.created = created
    this.config = config
  }

  setAffiliation(bare: string, affiliation: Affiliation): void {
    const next = affiliation === 'none' ? undefined : affiliation
    this.#count(bare, this.affiliations.has(bare), next !== undefined)
    this.affiliations = changed(this.affiliations, bare, next)
  }

  setSubscription(jid: string, subscription: Subscription | undefined): void {
    this.#count(jid, this.subscriptions.has(jid), subscription !== undefined)
    this.subscriptions = changed(this.subscriptions, jid, subscription)
  }

  /** What is known of who is what to it is not to be trusted: it is read again. */
  forgetEntities(): void {
    this.affiliations = NOBODY
    this.subscriptions = NOBODY
    this.entities = undefined
    this.entityBytes = 0
  }

  #count(jid: string, before: boolean, after: boolean): void {
    if (before !== after) this.entityBytes += after ? entitySize(jid) : -entitySize(jid)
  }

  /** Somebody with this bare address is something to the node, or wants to be. */
  isKnown(bare: string): boolean {
    return this.affiliations.has(bare) || !this.subscriptionsOf(bare).next().done
  }

  /** The subscriptions of a bare address: by itself, and by its full addresses. */
  *subscriptionsOf(bare: string): Generator<Subscription> {
    const start = `${bare}/`
    for (const [key, subscription] of this.subscriptions) if (key === bare || key.startsWith(start)) yield subscription
  }

  /** Somebody with this bare address is subscribed. */
  isSubscribed(bare: string): boolean {
    for (const { state } of this.subscriptionsOf(bare)) if (state === 'subscribed') return true
    return false
  }
}

/** A service's nodes in memory; writes are one after another. */
export interface Shelf {
  /** The partition. */
  readonly key: string
  /** All nodes are of one owner. They are few: all are kept in memory. */
  readonly personal: boolean
  readonly defaults: NodeConfig
  readonly nodes: NodeCache
  /** Bytes of the items in all nodes that an entity (bare) made; of those that were counted. */
  readonly totals: Map<string, number> | Lru<string, number>
  /** The same of who is what to those nodes. */
  readonly entityTotals: Map<string, number> | Lru<string, number>
  /** All nodes that there are, are in `nodes`. */
  complete: boolean
  loading: Promise<void> | undefined
  /** The last of the writes that wait for one another. */
  tail: Promise<unknown>
}

type NodeCache = Map<string, Node> | Lru<string, Node>

/** Bytes, about, of an entity of a node in memory. */
export function entitySize(jid: string): number {
  return 32 + Buffer.byteLength(jid)
}

/** Most nodes have nobody in either map: all these share one. */
function changed<V>(map: ReadonlyMap<string, V>, key: string, value: V | undefined): ReadonlyMap<string, V> {
  if (map === NOBODY && value === undefined) return map
  const own = map === NOBODY ? new Map<string, V>() : (map as Map<string, V>)
  if (value === undefined) own.delete(key)
  else own.set(key, value)
  return own
}

/** The options of a configuration that differ from the defaults: what is stored. */
export function differences(config: NodeConfig, defaults: NodeConfig): Partial<NodeConfig> {
  const entries = Object.entries(config).filter(
    ([key, value]) => String(value) !== String(defaults[key as keyof NodeConfig]),
  )
  return Object.fromEntries(entries) as Partial<NodeConfig>
}
