import type { Session } from '../core/session.ts'
import type { Element } from '../xml/index.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { Node, Shelf } from './node.ts'
import type { NodeItem } from './types.ts'

/** Whom the owner of a node shows their presence to (XEP-0060 4.5: `presence` and `roster`). */
export interface Contacts {
  /** The groups that this one (bare) is in; undefined for who is no contact. */
  groups(contact: Jid): readonly string[] | undefined
}

/** Whose all nodes of a service are (XEP-0163 3.2), and who looks at what is published there. */
export interface Owner extends Contacts {
  /** Bare. */
  readonly jid: Jid
  blocks(jid: Jid): boolean
  /** The clients that hear of a node and have not subscribed to it (XEP-0163 4.3). */
  listeners(node: Node): Iterable<Jid>
  /** An item as it is to be stored. Rejects with a StanzaError where it may not be. `session`: the client of this server. */
  publishing(node: Node['name'], item: Payload, session: Session | undefined): Promise<Payload>
  /** An item is durable. `settled`: and will be found wherever else it shows, when this resolves. */
  published(node: Node['name'], item: Payload, settled: boolean): void | Promise<void>
  /** Items, of which there may be none, are gone. */
  retracted(node: Node['name'], ids: readonly string[], settled: boolean): void | Promise<void>
  /** Items as they leave the server. */
  reading(node: Node['name'], items: NodeItem[]): NodeItem[] | Promise<NodeItem[]>
}

export interface Payload {
  readonly id: string
  readonly payload: Element
}

/** Where nodes are. */
export interface Place {
  readonly jid: Jid
  readonly shelf: Shelf
  /** Undefined where everybody may have nodes: each has owners of its own. */
  readonly owner: Owner | undefined
}
