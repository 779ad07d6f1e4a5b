import type { Account } from '../core/account.ts'
import type { Session } from '../core/session.ts'
import type { Element } from '../xml/index.ts'
import type { Jid } from '../xmpp/jid.ts'

export type AccessModel = 'open' | 'presence' | 'roster' | 'authorize' | 'whitelist'
export type PublishModel = 'publishers' | 'subscribers' | 'open'
export type SendLast = 'never' | 'on_sub' | 'on_sub_and_presence'
export type Affiliation = 'owner' | 'publisher' | 'publish-only' | 'member' | 'none' | 'outcast'
export type SubscriptionState = 'none' | 'pending' | 'subscribed'

/** How a node behaves: the fields of XEP-0060 16.4.4 without their `pubsub#`. */
export interface NodeConfig {
  title: string
  description: string
  /** The namespace of its payloads. */
  type: string
  language: string
  access_model: AccessModel
  roster_groups_allowed: readonly string[]
  publish_model: PublishModel
  persist_items: boolean
  /** `max` is the most that this server keeps of any node. */
  max_items: number | 'max'
  /** Seconds after which an item is deleted; `max` is never, unless the server says otherwise. */
  item_expire: number | 'max'
  max_payload_size: number
  send_last_published_item: SendLast
  deliver_notifications: boolean
  deliver_payloads: boolean
  notify_config: boolean
  notify_delete: boolean
  notify_retract: boolean
  notify_sub: boolean
  notification_type: 'headline' | 'normal' | 'chat'
  /** With `publisher`, items say who published them (XEP-0060 12.18). */
  itemreply: 'owner' | 'publisher' | 'none'
  /** The items go when the publisher goes offline. */
  purge_offline: boolean
  /** Whether entities may subscribe. */
  subscribe: boolean
}

/** An item of a node. */
export interface Item {
  readonly id: string
  payload: Element
  /** Bare address of who published it. */
  readonly publisher?: string
  /** ms since 1970 */
  readonly at: number
}

/** An item in general: of a node that only tells that something happened (`deliver_payloads`), it may have no payload. */
export interface NodeItem extends Omit<Item, 'payload'> {
  payload: Element | undefined
}

/** The personal nodes of accounts (XEP-0163), for other modules. They act as the account itself does. */
export interface PepService {
  /**
   * Publishes an item; a node that is absent is made, with `config` beyond the defaults. Does not run `pep_publish`.
   * Resolves when it is durable; rejects with the StanzaError that a client would get (limits).
   */
  publish(account: Account, node: string, id: string, payload: Element, config?: Partial<NodeConfig>): Promise<void>
  /** Items newest first: all, or those of these ids. Empty where there is no such node. */
  items(account: Account, node: string, ids?: readonly string[]): Promise<Item[]>
  /** Bytes that the items of a node have; 0 where there is no such node. */
  bytes(account: Account, node: string): Promise<number>
  /** Deletes an item; nothing happens where it is not there. `notify` tells who would be told of it. */
  retract(account: Account, node: string, id: string, notify: boolean): Promise<void>
  /** Deletes a node with its items; nothing happens where it is not there. */
  remove(account: Account, node: string): Promise<void>
  /** Whether this address may read the items of a node; false where there is no such node. */
  mayRead(account: Account, node: string, jid: Jid): Promise<boolean>
  /** Sends the last items of these nodes that `to` may see, as to a client that has just come online (XEP-0163 4.3.4). */
  sendLast(account: Account, nodes: ReadonlySet<string>, to: Jid): Promise<void>
}

declare module '../core/services.ts' {
  interface ServiceMap {
    pep: PepService
  }
}

declare module '../core/hooks.ts' {
  interface HookMap {
    /**
     * An item of a user is about to be stored in one of the account's nodes. A handler may replace `payload`, and `id` where
     * it follows from the payload; or it throws StanzaError to refuse. `session` is the client that published it, where it is
     * one of this server.
     */
    pep_publish: { account: Account; node: string; id: string; payload: Element; session: Session | undefined }
    /** An item is durable, whoever published it. */
    pep_published: { account: Account; node: string; id: string; payload: Element }
    /** Items are gone: retracted, purged, expired, pushed out by newer ones, or with their node. */
    pep_retracted: { account: Account; node: string; ids: readonly string[] }
    /** Items are about to leave the server, in an answer or a notification; a handler may replace a payload by what it stands for. */
    pep_read: { account: Account; node: string; items: Item[] }
  }
}
