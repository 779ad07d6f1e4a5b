import type { Account } from '../core/account.ts'
import type { Host } from '../core/host.ts'
import type { Logger } from '../core/log.ts'
import type { Attempts } from '../util/attempts.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { Access } from './access.ts'
import { type Limits, wellKnown } from './config.ts'
import { noSuchNode, pubsubError } from './errors.ts'
import type { Events } from './events.ts'
import type { Interest } from './interest.ts'
import type { Node } from './node.ts'
import type { PubsubStore, Shelf } from './store.ts'
import type { NodeConfig } from './types.ts'

/** A publish-subscribe service: that of an account (XEP-0163), or that of the host. */
export interface Service {
  readonly jid: Jid
  readonly shelf: Shelf
  /** Undefined for the service of the host. */
  readonly account: Account | undefined
}

/** What all services of a host have in common. */
export interface Engine {
  readonly host: Host
  readonly log: Logger
  readonly store: PubsubStore
  readonly access: Access
  readonly events: Events
  readonly interest: Interest
  readonly limits: Limits
  /** Nodes that one account may own. */
  readonly maxNodes: number
  /** Of the items in all nodes that one account made. */
  readonly maxBytes: number
  /** Subscriptions of one node. */
  readonly maxSubscriptions: number
  /** Of who is what to one node: addresses, about. */
  readonly maxEntityBytes: number
  /** The same of all nodes that one account made. */
  readonly maxEntityTotal: number
  /** How often owners send what is there to those who come to see it, by user: they could shut and open a node all day. */
  readonly openings: Attempts
  /** How often somebody may ask the owners of a node. */
  readonly asks: Attempts
  /** Who may make nodes at the service of the host. */
  readonly mayCreate: (jid: Jid) => boolean
  now(): number
}

/** Characters of the name of a node, and of an item. */
export const MAX_NAME = 1023

/** The `node` attribute of a request. */
export function nodeName(name: string | undefined): string {
  if (name === undefined || name === '') throw pubsubError('bad-request', 'nodeid-required')
  return name
}

/** The node of a request, with who is what to it. Throws `item-not-found`. */
export async function openNode(engine: Engine, service: Service, name: string | undefined): Promise<Node> {
  const node = await findNode(engine, service, nodeName(name))
  if (node === undefined) throw noSuchNode()
  return node
}

/** How a node is that is made with these options. */
export function initialConfig(service: Service, name: string, options: Partial<NodeConfig>): NodeConfig {
  const { shelf, account } = service
  return { ...shelf.defaults, ...(account === undefined ? {} : wellKnown(name)), ...options }
}

export async function findNode(engine: Engine, service: Service, name: string): Promise<Node | undefined> {
  if (name.length > MAX_NAME) return undefined
  const node = await engine.store.node(service.shelf, name)
  if (node !== undefined) await engine.store.entities(service.shelf, node)
  return node
}

/** Changes a node that is still there, one change of a service after the other. Throws `item-not-found`. */
export function change<T>(engine: Engine, service: Service, name: string, run: (node: Node) => Promise<T>): Promise<T> {
  return engine.store.write(service.shelf, async () => run(await openNode(engine, service, name)))
}
