import type { Fanout } from '../core/fanout.ts'
import type { Logger } from '../core/log.ts'
import type { Store } from '../storage/store.ts'
import { Attempts } from '../util/attempts.ts'
import type { IdGenerator } from '../util/ids.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import { Access, type ContactsOf } from './access.ts'
import { type Limits, wellKnown } from './config.ts'
import { noSuchNode, pubsubError } from './errors.ts'
import { Events } from './events.ts'
import type { Node } from './node.ts'
import type { Place } from './place.ts'
import { PubsubStore, type PubsubTables } from './store.ts'
import type { NodeConfig } from './types.ts'

/** What services are built from that have their nodes in the same tables. */
interface EngineParts {
  readonly log: Logger
  readonly ids: IdGenerator
  readonly now: () => number
  readonly tables: PubsubTables
  readonly commit: Store['commit']
  readonly limits: Limits
  /** Nodes that one account may own. */
  readonly maxNodes: number
  /** Of the items in all nodes that one account made. */
  readonly maxBytes: number
  /** Subscriptions of one node. */
  readonly maxSubscriptions: number
  readonly contactsOf: ContactsOf
  /** What is told of a node, to many. */
  readonly fanout: Pick<Fanout, 'send'>
  route(stanza: Stanza): void
}

/** Of the addresses of those who are something to one node; more where more may subscribe. */
const ENTITY_BYTES = 1024 * 1024

/** Times that somebody may ask the owners of a node for a subscription, within so many ms. */
const MAX_ASKS = 10
const ASKS_WITHIN = 3_600_000

/** Times that one user sends what is at a node to those who have come to see it by a change of access, within so many ms. */
const MAX_OPENINGS = 30
const OPENINGS_WITHIN = 600_000

/** What services have in common. */
export interface Engine extends Omit<EngineParts, 'tables' | 'commit' | 'contactsOf' | 'fanout'> {
  readonly store: PubsubStore
  readonly access: Access
  readonly events: Events
  /** Of who is what to one node: addresses, about. */
  readonly maxEntityBytes: number
  /** The same of all nodes that one account made. */
  readonly maxEntityTotal: number
  /** How often owners send what is there to those who come to see it, by user: they could shut and open a node all day. */
  readonly openings: Attempts
  /** How often somebody may ask the owners of a node. */
  readonly asks: Attempts
}

export function createEngine({ tables, commit, contactsOf, fanout, ...parts }: EngineParts): Engine {
  const { ids, now, limits, maxSubscriptions } = parts
  const store = new PubsubStore({ commit }, tables, ids, now)
  const access = new Access(contactsOf, now)
  const maxEntityBytes = Math.max(ENTITY_BYTES, 100 * maxSubscriptions)
  return {
    ...parts,
    store,
    access,
    events: new Events({ store, access, limits, ids, now, fanout }),
    maxEntityBytes,
    maxEntityTotal: 16 * maxEntityBytes,
    openings: new Attempts(MAX_OPENINGS, OPENINGS_WITHIN, now),
    asks: new Attempts(MAX_ASKS, ASKS_WITHIN, now),
  }
}

/** A publish-subscribe service: of an account (XEP-0163), of a host, or of whoever else keeps nodes. */
export interface Service extends Place {
  readonly engine: Engine
  mayCreate(jid: Jid): boolean
}

/** Characters of the name of a node, and of an item. */
export const MAX_NAME = 1023

/** The `node` attribute of a request. */
export function nodeName(name: string | undefined): string {
  if (name === undefined || name === '') throw pubsubError('bad-request', 'nodeid-required')
  return name
}

/** The node of a request, with who is what to it. Throws `item-not-found`. */
export async function openNode(service: Service, name: string | undefined): Promise<Node> {
  const node = await findNode(service, nodeName(name))
  if (node === undefined) throw noSuchNode()
  return node
}

/** How a node is that is made with these options. */
export function initialConfig(service: Service, name: string, options: Partial<NodeConfig>): NodeConfig {
  const { shelf, owner } = service
  return { ...shelf.defaults, ...(owner === undefined ? {} : wellKnown(name)), ...options }
}

export async function findNode(service: Service, name: string): Promise<Node | undefined> {
  if (name.length > MAX_NAME) return undefined
  const node = await service.engine.store.node(service.shelf, name)
  if (node !== undefined) await service.engine.store.entities(service.shelf, node)
  return node
}

/**
 * Changes a node that is still there, one change of a service after the other; resolves when it is durable. Throws
 * `item-not-found`.
 */
export async function change<T extends { saved: Promise<unknown> } | undefined>(
  service: Service,
  name: string,
  run: (node: Node) => Promise<T>,
): Promise<T> {
  const done = await service.engine.store.write(service.shelf, async () => run(await openNode(service, name)))
  await done?.saved
  return done
}
