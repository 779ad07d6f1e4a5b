import type { Fanout } from '../core/fanout.ts'
import type { IdGenerator } from '../util/ids.ts'
import { clone, type Element, NS, xml } from '../xml/index.ts'
import type { Jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { type Access, isForContacts } from './access.ts'
import { type Limits, lifetime } from './config.ts'
import type { Node } from './node.ts'
import type { Place } from './place.ts'
import type { PubsubStore } from './store.ts'
import type { Item, NodeItem } from './types.ts'

interface EventParts {
  readonly store: PubsubStore
  readonly access: Access
  readonly limits: Limits
  readonly ids: IdGenerator
  readonly now: () => number
  readonly fanout: Pick<Fanout, 'send'>
}

/** What services tell: who hears of an event, and in which words (XEP-0060 7.1.2, XEP-0163 4.3). */
export class Events {
  readonly #parts: EventParts

  constructor(parts: EventParts) {
    this.#parts = parts
  }

  /** An item was published. */
  async published(place: Place, node: Node, item: NodeItem | undefined): Promise<void> {
    const recipients = await this.recipients(place, node)
    if (recipients.length === 0) return
    const content = await this.#content(place, node, item)
    await this.#send(place, node, recipients, content)
  }

  retracted(place: Place, node: Node, ids: readonly string[]): Promise<void> {
    const retracts = ids.map(id => xml('retract', { id }))
    return this.#tell(place, node, () => xml('items', { node: node.name }, retracts))
  }

  purged(place: Place, node: Node): Promise<void> {
    return this.#tell(place, node, () => xml('purge', { node: node.name }))
  }

  /** `recipients` as they were before the node went. */
  async deleted(place: Place, node: Node, recipients: readonly Jid[], uri: string | undefined): Promise<void> {
    const redirect = uri === undefined ? undefined : xml('redirect', { uri })
    await this.#send(place, node, recipients, xml('delete', { node: node.name }, redirect))
  }

  configured(place: Place, node: Node, form: Element | undefined): Promise<void> {
    return this.#tell(place, node, () => xml('configuration', { node: node.name }, form))
  }

  /** The last item, to one who has come to the node, or has come online (XEP-0060 6.1.7). */
  async last(place: Place, node: Node, to: readonly Jid[]): Promise<void> {
    if (to.length === 0 || !node.config.persist_items || !node.config.deliver_notifications) return
    const { store, limits, now } = this.#parts
    const [newest] = await store.items.page(place.shelf, node, { limit: 1 })
    const item = newest?.item
    if (item === undefined || item.at < now() - lifetime(node.config, limits)) return
    const stamp = new Date(item.at).toISOString()
    // Without `from`, as in XEP-0163 4.3.4: a client's own account, named there, would look as if somebody forged it.
    const delay = xml('delay', { xmlns: NS.DELAY, stamp })
    await this.#send(place, node, to, await this.#content(place, node, item), delay)
  }

  /** To the one whose subscription has changed (XEP-0060 12.11). */
  async subscription(place: Place, node: Node, jid: Jid, state: string): Promise<void> {
    const content = xml('subscription', { node: node.name, jid: jid.toString(), subscription: state })
    await this.#send(place, node, [jid], content)
  }

  /** The owners hear who comes and goes, where they want to (`notify_sub`). */
  async ownersTold(place: Place, node: Node, jid: Jid, state: string): Promise<void> {
    if (!node.config.notify_sub) return
    const content = xml('subscription', { node: node.name, jid: jid.toString(), subscription: state })
    await this.#send(place, node, this.#parts.access.ownersToTell(place, node), content)
  }

  /** Everybody who hears of a node, each once: clients by their interest, subscribers by their addresses. */
  async recipients(place: Place, node: Node): Promise<Jid[]> {
    if (!node.config.deliver_notifications) return []
    const { store, access } = this.#parts
    await store.entities(place.shelf, node)
    const list: Jid[] = []
    const full = new Set<string>()
    const bare = new Set<string>()
    const { owner } = place
    for (const jid of owner?.listeners(node) ?? []) {
      list.push(jid)
      full.add(jid.toString())
      bare.add(jid.bare.toString())
    }
    const owners = isForContacts(node) ? await access.contactsAt(place, node) : []
    for (const { jid, state, deliver } of node.subscriptions.values()) {
      if (state !== 'subscribed' || !deliver || !access.mayStay(place, node, jid, owners)) continue
      const key = jid.toString()
      // XEP-0163 4.3.2: who hears of it as a client does not hear of it as an address too.
      if (jid.isBare ? bare.has(key) : full.has(key)) continue
      if (owner?.blocks(jid) === true) continue
      list.push(jid)
    }
    return list
  }

  async #tell(place: Place, node: Node, make: () => Element): Promise<void> {
    const recipients = await this.recipients(place, node)
    if (recipients.length > 0) await this.#send(place, node, recipients, make())
  }

  async #content(place: Place, node: Node, item: NodeItem | undefined): Promise<Element> {
    const items = xml('items', { node: node.name })
    if (item === undefined) return items
    const payloads = node.config.deliver_payloads
    const [shown] = payloads ? await readable(place, node, [item]) : [item]
    if (shown !== undefined) items.append(itemElement(node, shown, payloads))
    return items
  }

  /** What is told of a node arrives in order; to many it takes a while, in which its publisher waits. */
  #send(place: Place, node: Node, to: readonly Jid[], content: Element, delay?: Element): void | Promise<void> {
    const { notification_type: type } = node.config
    const event = xml('event', { xmlns: NS.PUBSUB_EVENT }, content)
    const message = xml(
      'message',
      { type: type === 'normal' ? undefined : type, id: this.#parts.ids.random() },
      event,
      delay,
    )
    const key = `pubsub ${place.shelf.key} ${node.name}`
    const spare = delay !== undefined // the last item: who comes online again gets it then
    return this.#parts.fanout.send(key, Stanza.make(message, place.jid, undefined), to, spare)
  }
}

/** Items as they leave the server. */
export function readable({ owner }: Place, { name }: Node, items: NodeItem[]): NodeItem[] | Promise<NodeItem[]> {
  return owner === undefined || items.length === 0 ? items : owner.reading(name, items)
}

export function hasPayload<T extends Pick<NodeItem, 'payload'>>(item: T): item is T & Pick<Item, 'payload'> {
  return item.payload !== undefined
}

/** `<item/>`; who published it is told where the node is so configured (XEP-0060 12.18). */
export function itemElement(node: Node, item: NodeItem, withPayload = true): Element {
  const publisher = node.config.itemreply === 'publisher' ? item.publisher : undefined
  const payload = withPayload && item.payload !== undefined ? clone(item.payload) : undefined
  return xml('item', { id: item.id, publisher }, payload)
}
