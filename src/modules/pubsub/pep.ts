import type { Account } from '../../core/account.ts'
import { sessionOf } from '../../core/directory.ts'
import type { HookEvent } from '../../core/hooks.ts'
import type { AccountRequest } from '../../core/iq.ts'
import { type Session, Slot } from '../../core/session.ts'
import { FEATURES, features } from '../../pubsub/describe.ts'
import { type Engine, findNode, type Service } from '../../pubsub/engine.ts'
import { presenceRequired } from '../../pubsub/errors.ts'
import { hasPayload } from '../../pubsub/events.ts'
import { itemsOf, publish, purge, retract } from '../../pubsub/items.ts'
import type { Node, Shelf } from '../../pubsub/node.ts'
import { remove } from '../../pubsub/nodes.ts'
import type { Owner, Payload } from '../../pubsub/place.ts'
import { answer } from '../../pubsub/requests.ts'
import type { Item, NodeConfig, NodeItem } from '../../pubsub/types.ts'
import { childElements, type Element } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import type { Jid } from '../../xmpp/jid.ts'
import type { Interest } from './interest.ts'

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

declare module '../../core/services.ts' {
  interface ServiceMap {
    pep: PepService
  }
}

declare module '../../core/hooks.ts' {
  interface HookMap {
    /**
     * An item of a user is about to be stored in one of the account's nodes. A handler may replace `payload`, and `id` where
     * it follows from the payload; or it throws StanzaError to refuse. `session` is the client that published it, where it is
     * one of this server.
     */
    pep_publish: Async<{ account: Account; node: string; id: string; payload: Element; session: Session | undefined }>
    /** An item is durable, whoever published it. */
    pep_published: Told<{ account: Account; node: string; id: string; payload: Element }>
    /** Items are gone: retracted, purged, expired, pushed out by newer ones, or with their node. */
    pep_retracted: Told<{ account: Account; node: string; ids: readonly string[] }>
    /** Items are about to leave the server, in an answer or a notification; a handler may replace a payload by what it stands for. */
    pep_read: Async<{ account: Account; node: string; items: Item[] }>
  }
}

/** The nodes of an account, which are its own. */
class Personal implements Service, Owner {
  readonly engine: Engine
  readonly jid: Jid
  readonly shelf: Shelf
  readonly #account: Account
  readonly #interest: Interest

  constructor(engine: Engine, account: Account, defaults: NodeConfig, interest: Interest) {
    this.engine = engine
    this.jid = account.jid
    this.shelf = engine.store.shelf(account.user, defaults)
    this.#account = account
    this.#interest = interest
  }

  get owner(): Owner {
    return this
  }

  mayCreate(jid: Jid): boolean {
    return this.jid.equals(jid.bare)
  }

  groups(contact: Jid): readonly string[] | undefined {
    const roster = this.#account.host.services.use('roster')
    if (roster?.isSubscribedFrom(this.#account, contact) !== true) return undefined
    return roster.groups(this.#account, contact)
  }

  blocks(jid: Jid): boolean {
    return this.#account.host.services.use('blocking')?.blocks(this.#account, jid) === true
  }

  listeners(node: Node): Iterable<Jid> {
    return this.#interest.listeners(this.#account, this, node)
  }

  async publishing(node: string, item: Payload, session: Session | undefined): Promise<Payload> {
    const event: HookEvent<'pep_publish'> = { account: this.#account, node, ...item, session }
    await this.#account.host.hooks.run('pep_publish', event)
    return { id: event.id, payload: event.payload }
  }

  published(node: string, item: Payload, settled: boolean): void | Promise<void> {
    const { id, payload } = item
    return this.#tell('pep_published', { account: this.#account, node, id, payload }, settled)
  }

  retracted(node: string, ids: readonly string[], settled: boolean): void | Promise<void> {
    if (ids.length > 0) return this.#tell('pep_retracted', { account: this.#account, node, ids }, settled)
  }

  #tell<N extends 'pep_published' | 'pep_retracted'>(
    hook: N,
    event: HookEvent<N>,
    settled: boolean,
  ): void | Promise<void> {
    const { hooks } = this.#account.host
    if (settled) return hooks.settle(hook, event)
    hooks.notify(hook, event)
  }

  async reading(node: string, items: NodeItem[]): Promise<NodeItem[]> {
    const { hooks } = this.#account.host
    if (!hooks.has('pep_read')) return items
    const event = { account: this.#account, node, items: items.filter(hasPayload).map(item => ({ ...item })) }
    await hooks.run('pep_read', event)
    const changed = new Map(event.items.map(item => [item.id, item]))
    return items.map(item => changed.get(item.id) ?? item)
  }
}

/** The services of accounts (XEP-0163). */
export class Pep implements PepService {
  readonly #engine: Engine
  readonly #interest: Interest
  readonly #defaults: NodeConfig
  /** An account's service while the account is in memory. */
  readonly #slot = new Slot<Personal>('pep')

  constructor(engine: Engine, interest: Interest, defaults: NodeConfig) {
    this.#engine = engine
    this.#interest = interest
    this.#defaults = defaults
  }

  of(account: Account): Personal {
    return account.slots.ensure(this.#slot, () => new Personal(this.#engine, account, this.#defaults, this.#interest))
  }

  /**
   * Answers a request for an account's nodes. Whoever may not see the account's presence is answered in one way to whatever
   * fails, as by an account that does not exist.
   */
  async answer(request: AccountRequest): Promise<Element | undefined> {
    const { account, from, own } = request
    if (account === undefined) throw presenceRequired()
    const service = this.of(account)
    if (own || service.groups(from.bare) !== undefined) return answer(service, request)
    try {
      const result = await answer(service, request)
      if (!isEmptyList(result)) return result
    } catch (error) {
      if (!(error instanceof StanzaError) || error.application?.name === 'pending-subscription') throw error
    }
    throw presenceRequired()
  }

  async publish(account: Account, node: string, id: string, payload: Element, options = {}): Promise<void> {
    const service = this.of(account)
    const there = await findNode(service, node)
    const publication = { node, item: { id, payload }, publisher: account.jid, session: undefined, trusted: true }
    await publish(service, { ...publication, options: there === undefined ? options : {} })
  }

  items(account: Account, node: string, ids?: readonly string[]): Promise<Item[]> {
    return itemsOf(this.of(account), node, ids)
  }

  async bytes(account: Account, name: string): Promise<number> {
    const service = this.of(account)
    const node = await findNode(service, name)
    return node === undefined ? 0 : this.#engine.store.items.bytes(service.shelf, node)
  }

  async retract(account: Account, node: string, id: string, notify: boolean): Promise<void> {
    if ((await findNode(this.of(account), node)) === undefined) return
    await retract(this.of(account), node, id, undefined, notify)
  }

  async remove(account: Account, node: string): Promise<void> {
    if ((await findNode(this.of(account), node)) === undefined) return
    await remove(this.of(account), node, undefined)
  }

  async mayRead(account: Account, name: string, jid: Jid): Promise<boolean> {
    const service = this.of(account)
    const node = await findNode(service, name)
    return node !== undefined && (await this.#engine.access.notReading(service, node, jid)) === undefined
  }

  async sendLast(account: Account, nodes: ReadonlySet<string>, to: Jid): Promise<void> {
    const { store, access, events } = this.#engine
    const { host } = account
    const service = this.of(account)
    await store.load(service.shelf)
    if (service.shelf.nodes.size === 0) return
    const own = account.jid.equals(to.bare)
    const session = sessionOf(host.router, to)
    for (const name of nodes) {
      const node = service.shelf.nodes.get(name)
      if (node === undefined || node.config.send_last_published_item !== 'on_sub_and_presence') continue
      await store.entities(service.shelf, node)
      if (!own && (!access.isOpenTo(service, node, to) || service.blocks(to))) continue
      if (session?.full === true && !(await session.room())) return
      await events.last(service, node, [to])
    }
  }

  /** A contact was moved: of the nodes that it has come to see by that, it hears what there is (XEP-0060 12.2). */
  async moved(account: Account, contact: Jid, before: readonly string[]): Promise<void> {
    const service = this.of(account)
    const { shelf } = service
    await this.#engine.store.load(shelf)
    const fresh = new Set<string>()
    for (const node of (shelf.nodes as Map<string, Node>).values()) {
      const { access_model: model, roster_groups_allowed: groups } = node.config
      if (model !== 'roster' || before.some(group => groups.includes(group))) continue
      await this.#engine.store.entities(shelf, node)
      if (!node.affiliations.has(contact.toString()) && this.#engine.access.isOpenTo(service, node, contact)) {
        fresh.add(node.name)
      }
    }
    if (fresh.size === 0 || !this.#engine.openings.allow(account.user)) return
    for (const { to, nodes } of this.#interest.wanted(account, contact)) {
      await this.sendLast(account, new Set([...fresh].filter(name => nodes.has(name))), to)
    }
  }

  /** The account has gone offline: what is to go with it, goes (`purge_offline`). */
  async wentOffline(account: Account): Promise<void> {
    const { shelf } = this.of(account)
    await this.#engine.store.load(shelf)
    if (!(shelf.nodes instanceof Map)) return
    for (const node of [...shelf.nodes.values()]) {
      if (account.available().length > 0) return
      if (!node.config.purge_offline || !node.config.persist_items) continue
      // Who comes and goes all the time has nothing left to purge, and nobody is told of it.
      if ((await this.#engine.store.items.count(shelf, node)) > 0) {
        await purge(this.of(account), node.name, undefined)
      }
    }
  }

  /** An account is removed, with its nodes. */
  async forget(jid: Jid): Promise<void> {
    const { store } = this.#engine
    const shelf = store.shelf(jid.local, this.#defaults)
    for (const name of await store.names(shelf)) {
      const node = await store.node(shelf, name)
      if (node !== undefined) await store.delete(shelf, node)
    }
  }
}

/** Lists and defaults that are answered whoever asks tell a stranger that there is an account. */
function isEmptyList(result: Element | undefined): boolean {
  const list = result && childElements(result)[0]
  if (list === undefined) return false
  if (list.name === 'default') return true
  return (list.name === 'subscriptions' || list.name === 'affiliations') && childElements(list).length === 0
}

const NAMES =
  'auto-subscribe filtered-notifications last-published presence-notifications presence-subscribe pubsub-on-a-jid'
/** What each account can do as a service. */
export const PEP_FEATURES: readonly string[] = [...FEATURES, ...features(NAMES)]
