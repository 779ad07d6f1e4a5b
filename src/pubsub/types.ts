import type { Element } from '../xml/index.ts'

type AccessModel = 'open' | 'presence' | 'roster' | 'authorize' | 'whitelist'
type PublishModel = 'publishers' | 'subscribers' | 'open'
type SendLast = 'never' | 'on_sub' | 'on_sub_and_presence'
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
