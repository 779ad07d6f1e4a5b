import type { Account } from '../core/account.ts'
import { Slot } from '../core/session.ts'
import { NS } from '../xml/index.ts'
import type { Jid } from '../xmpp/jid.ts'
import { itemsOf, publish, purge, retract } from './items.ts'
import type { Node } from './node.ts'
import { remove } from './nodes.ts'
import { type Engine, findNode, type Service } from './service.ts'
import type { NodeConfig, PepService } from './types.ts'

/** The services of accounts (XEP-0163). */
export class Pep {
  readonly #engine: Engine
  readonly #defaults: NodeConfig
  /** An account's service while the account is in memory. */
  readonly #slot = new Slot<Service>('pep')

  constructor(engine: Engine, defaults: NodeConfig) {
    this.#engine = engine
    this.#defaults = defaults
  }

  of(account: Account): Service {
    let service = account.slots.get(this.#slot)
    if (service === undefined) {
      service = { jid: account.jid, shelf: this.#engine.store.shelf(account.user, this.#defaults), account }
      account.slots.set(this.#slot, service)
    }
    return service
  }

  /** What other modules use. */
  service(): PepService {
    const engine = this.#engine
    return {
      publish: async (account, node, id, payload, options = {}) => {
        const there = await findNode(engine, this.of(account), node)
        const publication = { node, item: { id, payload }, publisher: account.jid, session: undefined, trusted: true }
        await publish(engine, this.of(account), { ...publication, options: there === undefined ? options : {} })
      },
      items: (account, node, ids) => itemsOf(engine, this.of(account), node, ids),
      bytes: async (account, name) => {
        const { shelf } = this.of(account)
        const node = await findNode(engine, this.of(account), name)
        return node === undefined ? 0 : engine.store.items.bytes(shelf, node)
      },
      retract: async (account, node, id, notify) => {
        if ((await findNode(engine, this.of(account), node)) === undefined) return
        await retract(engine, this.of(account), node, id, undefined, notify)
      },
      remove: async (account, node) => {
        if ((await findNode(engine, this.of(account), node)) === undefined) return
        await remove(engine, this.of(account), node, undefined)
      },
      mayRead: async (account, name, jid) => {
        const node = await findNode(engine, this.of(account), name)
        return node !== undefined && (await engine.access.notReading(this.of(account), node, jid)) === undefined
      },
      sendLast: (account, nodes, to) => this.#sendLast(account, nodes, to),
    }
  }

  async #sendLast(account: Account, nodes: ReadonlySet<string>, to: Jid): Promise<void> {
    const { store, access, events, host } = this.#engine
    const service = this.of(account)
    if (!service.shelf.complete) await store.load(service.shelf)
    if (service.shelf.nodes.size === 0) return
    const own = account.jid.equals(to.bare)
    const blocking = host.services.use('blocking')
    const session = host.router.hosts.get(to.domain)?.accounts.get(to.local)?.sessions.get(to.resource)
    for (const name of nodes) {
      const node = service.shelf.nodes.get(name)
      if (node === undefined || node.config.send_last_published_item !== 'on_sub_and_presence') continue
      await store.entities(service.shelf, node)
      if (!own && (!access.isOpenTo(account, node, to) || blocking?.blocks(account, to) === true)) continue
      if (session?.full === true && !(await session.room())) return
      await events.last(service, node, [to])
    }
  }

  /** A contact was moved: of the nodes that it has come to see by that, it hears what there is (XEP-0060 12.2). */
  async moved(account: Account, contact: Jid, before: readonly string[]): Promise<void> {
    const { shelf } = this.of(account)
    if (!shelf.complete) await this.#engine.store.load(shelf)
    const fresh = new Set<string>()
    for (const node of (shelf.nodes as Map<string, Node>).values()) {
      const { access_model: model, roster_groups_allowed: groups } = node.config
      if (model !== 'roster' || before.some(group => groups.includes(group))) continue
      await this.#engine.store.entities(shelf, node)
      if (!node.affiliations.has(contact.toString()) && this.#engine.access.isOpenTo(account, node, contact)) {
        fresh.add(node.name)
      }
    }
    if (fresh.size === 0 || !this.#engine.openings.allow(account.user)) return
    for (const { to, nodes } of this.#engine.interest.wanted(account, contact)) {
      await this.#sendLast(account, new Set([...fresh].filter(name => nodes.has(name))), to)
    }
  }

  /** The account has gone offline: what is to go with it, goes (`purge_offline`). */
  async wentOffline(account: Account): Promise<void> {
    const { shelf } = this.of(account)
    if (!shelf.complete) await this.#engine.store.load(shelf)
    if (!(shelf.nodes instanceof Map)) return
    for (const node of [...shelf.nodes.values()]) {
      if (account.available().length > 0) return
      if (!node.config.purge_offline || !node.config.persist_items) continue
      // Who comes and goes all the time has nothing left to purge, and nobody is told of it.
      if ((await this.#engine.store.items.count(shelf, node)) > 0) {
        await purge(this.#engine, this.of(account), node.name, undefined)
      }
    }
  }

  /** An account is removed, with its nodes. */
  async forget(user: string, jid: Jid): Promise<void> {
    const { store } = this.#engine
    const service: Service = { jid, shelf: store.shelf(user, this.#defaults), account: undefined }
    for (const name of await store.names(service.shelf)) {
      const node = await findNode(this.#engine, service, name)
      if (node !== undefined) await store.delete(service.shelf, node)
    }
  }
}

/** What the service of a host can do (XEP-0060 10), and each account too. */
export const SERVICE_FEATURES: readonly string[] = [
  NS.PUBSUB,
  ...[
    'access-authorize',
    'access-open',
    'access-presence',
    'access-roster',
    'access-whitelist',
    'auto-create',
    'config-node',
    'config-node-max',
    'create-and-configure',
    'create-nodes',
    'delete-items',
    'delete-nodes',
    'instant-nodes',
    'item-ids',
    'manage-subscriptions',
    'member-affiliation',
    'meta-data',
    'modify-affiliations',
    'multi-items',
    'outcast-affiliation',
    'persistent-items',
    'publish',
    'publish-only-affiliation',
    'publish-options',
    'publisher-affiliation',
    'purge-nodes',
    'retract-items',
    'retrieve-affiliations',
    'retrieve-default',
    'retrieve-default-sub',
    'retrieve-items',
    'retrieve-subscriptions',
    'rsm',
    'subscribe',
    'subscription-notifications',
    'subscription-options',
  ].map(name => `${NS.PUBSUB}#${name}`),
]

export const PEP_FEATURES: readonly string[] = [
  ...SERVICE_FEATURES,
  ...[
    'auto-subscribe',
    'filtered-notifications',
    'last-published',
    'presence-notifications',
    'presence-subscribe',
    'pubsub-on-a-jid',
  ].map(name => `${NS.PUBSUB}#${name}`),
]
