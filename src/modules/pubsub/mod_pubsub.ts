import { opt } from '../../config/schema.ts'
import type { Account } from '../../core/account.ts'
import { arg } from '../../core/commands/command.ts'
import { OBSERVE, STOP } from '../../core/hooks.ts'
import { defineModule, type ModuleContext } from '../../core/module.ts'
import { forgetEntity } from '../../pubsub/affiliations.ts'
import { pepDefaults, serviceDefaults } from '../../pubsub/config.ts'
import { FEATURES, nodeInfo, nodeItems, serviceItems } from '../../pubsub/describe.ts'
import { createEngine, type Engine, type Service } from '../../pubsub/engine.ts'
import { expireAll } from '../../pubsub/items.ts'
import { answer } from '../../pubsub/requests.ts'
import { answered, endForContact, isAnswer } from '../../pubsub/subscriptions.ts'
import { NS, xml } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import type { Jid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'
import { Interest } from './interest.ts'
import { PEP_FEATURES, Pep } from './pep.ts'

const options = {
  host: opt.text('pubsub.@HOST@', 'The domain of the service for everybody; `@HOST@` stands for the host.', {
    maxLength: 1023,
  }),
  access_createnode: opt.access(
    'local',
    'Who may make nodes at the service for everybody. Everybody may make nodes of their own account.',
  ),
  ignore_pep_from_offline: opt.bool(
    false,
    'A client that comes online gets the last items only of those contacts that are online.',
  ),
  max_user_nodes: opt.int(500, 'Nodes that one account may have, and nodes that one may make at the service.', {
    min: 10,
    max: 100_000,
  }),
  max_items_node: opt.int(1000, 'Items of one node; this is what `max` means in its configuration.', {
    min: 1,
    max: 1_000_000,
  }),
  max_item_expire_node: opt.duration('infinity', 'How long items are kept; this is what `max` means.', {
    min: 1000,
    infinity: true,
  }),
  max_item_size: opt.size('256 KiB', 'Largest item.', { min: 1024 }),
  max_bytes_per_account: opt.size(
    '50 MiB',
    'Items that one account may store in its own nodes, and as much again in nodes that it made at the service.',
    { min: 65_536, infinity: true },
  ),
  max_subscriptions_node: opt.int(5000, 'Subscriptions of one node.', { min: 1, max: 1_000_000 }),
  max_nodes_discoitems: opt.int(100, 'Nodes, or items, that service discovery lists.', { min: 0, max: 10_000 }),
}
type Ctx = ModuleContext<typeof options>

/** Nodes of the service for everybody that are kept in memory. */
const NODE_CACHE = 2000

export const mod_pubsub = defineModule({
  name: 'mod_pubsub',
  xep: [
    {
      number: 60,
      version: '1.30.0',
      name: 'Publish-Subscribe',
      partial:
        'No collections, subscription ids, leases, digests, keywords, nor the list of pending subscriptions (8.7); one item a request; an owner subscribes nobody; a notification that comes back ends no subscription.',
    },
    {
      number: 163,
      version: '1.2.2',
      name: 'Personal Eventing Protocol',
      partial:
        'Notifications do not say which client published (XEP-0033 `replyto`); who only sends directed presence hears of nothing.',
    },
    { number: 222, version: '1.0', name: 'Persistent Storage of Public Data via PubSub' },
    { number: 223, version: '1.1.1', name: 'Persistent Storage of Private Data via PubSub' },
  ],
  summary:
    'Keeps what users publish, for their contacts, for everybody or for their own clients, and tells who wants to know.',
  options,
  start(ctx) {
    const { host, options } = ctx
    const limits = {
      items: options.max_items_node,
      payload: options.max_item_size,
      expire: options.max_item_expire_node / 1000,
    }
    const engine = createEngine({
      log: ctx.log,
      ids: host.ids,
      now: ctx.now,
      commit: ops => ctx.commit(ops),
      tables: {
        nodes: ctx.table({ name: 'pubsub_node', version: 1 }),
        items: ctx.table({ name: 'pubsub_item', version: 1 }),
        entities: ctx.table({ name: 'pubsub_entity', version: 1 }),
        byEntity: ctx.table({ name: 'pubsub_by_entity', version: 1 }),
      },
      limits,
      maxNodes: options.max_user_nodes,
      maxBytes: options.max_bytes_per_account,
      maxSubscriptions: options.max_subscriptions_node,
      contactsOf: ({ local, domain }) => (domain === host.name ? ofAccount(local) : Promise.resolve(undefined)),
      fanout: host.fanout,
      route: stanza => ctx.route(stanza),
    })
    const interest = new Interest(ctx, engine.access, options.ignore_pep_from_offline)
    const pep = new Pep(engine, interest, pepDefaults(limits))
    const ofAccount = async (user: string) => {
      const account = await ctx.account(user)
      return account && pep.of(account)
    }
    serveAccounts(ctx, pep)
    interest.start()
    ctx.provide('pep', pep)
    const common = serveHost(ctx, engine, serviceDefaults(limits))
    /** By the partition of its nodes. */
    const serviceOf = async (key: string): Promise<Service | undefined> =>
      key === common.shelf.key ? common : ofAccount(key)
    // What is sent meanwhile is not sent to who may not see it: see Access.mayStay.
    const recheck = ({ account, contact }: { account: Account; contact: Jid }): void => {
      const ended = Promise.all([common, pep.of(account)].map(service => endForContact(service, contact)))
      void ctx.aside(ended, 'subscriptions of a contact did not end', { user: account.user })
    }
    ctx.hook('subscription_revoked', recheck)
    // XEP-0163 6.1: access is looked at again when an item of the roster changes.
    ctx.hook('contact_moved', event => {
      recheck(event)
      return pep.moved(event.account, event.contact, event.before)
    })
    ctx.hook('remove_user', async ({ user }) => {
      await pep.forget(user)
      await forgetEntity(engine, user, serviceOf)
    })
    ctx.command({
      name: 'delete_expired_pubsub_items',
      summary: 'Deletes the items of all nodes that are older than their node keeps them. Gives their number.',
      args: { host: arg.host('Only of this host', { optional: true }) },
      returns: 'int',
      example: 'delete_expired_pubsub_items',
      run: () => expireAll(engine, serviceOf),
    })
  },
})

/** Each account is a service (XEP-0163). */
function serveAccounts(ctx: Ctx, pep: Pep): void {
  const { max_nodes_discoitems: listed } = ctx.options
  // An account says what it can do (XEP-0163 6.1); there are clients, for OMEMO and OpenPGP, that ask the host.
  for (const feature of PEP_FEATURES) ctx.feature(feature, 'account', 'server')
  ctx.identity({ category: 'pubsub', type: 'pep' }, 'account')
  for (const ns of [NS.PUBSUB, NS.PUBSUB_OWNER]) {
    for (const type of ['get', 'set'] as const) {
      ctx.iq('account', type, ns, 'pubsub', request => pep.answer(request))
    }
  }
  ctx.hook('disco_info', async event => {
    const { scope, account, node, from } = event
    if (scope !== 'account' || account === undefined || event.answer !== undefined) return
    event.answer = await nodeInfo(pep.of(account), node, from)
  })
  ctx.hook('disco_items', async event => {
    const { scope, account, node, from, items } = event
    if (scope !== 'account' || account === undefined) return
    if (node === '') {
      items.push(...(await serviceItems(pep.of(account), from, listed)))
      return
    }
    const found = await nodeItems(pep.of(account), node, from, listed)
    if (found === undefined) return
    event.known = true
    items.push(...found)
  })
  const takeAnswer = async (stanza: Stanza): Promise<typeof STOP | undefined> => {
    const account = await ctx.account(stanza.from.local)
    return account !== undefined && (await answered(pep.of(account), stanza)) ? STOP : undefined
  }
  // What an owner answers to the question whether somebody may subscribe.
  ctx.hook('filter_packet', { order: OBSERVE }, ({ stanza }) => {
    const { kind, from } = stanza
    const to = stanza.to!
    if (kind !== 'message' || from.resource === '' || !to.isBare || !to.equals(from.bare)) return
    if (to.domain !== ctx.host.name || !isAnswer(stanza)) return
    return takeAnswer(stanza)
  })
  ctx.hook('unset_presence', ({ session }) => {
    const { account } = session
    if (account.available().length > 0) return
    const failed = 'what was to go with a user’s presence could not be deleted'
    void ctx.aside(pep.wentOffline(account), failed, { user: account.user })
  })
}

/** The service for everybody, at a domain of its own. */
function serveHost(ctx: Ctx, engine: Engine, defaults: ReturnType<typeof serviceDefaults>): Service {
  const { host, max_nodes_discoitems: listed } = ctx.options
  const common = {
    engine,
    shelf: engine.store.shelf('', defaults, NODE_CACHE),
    owner: undefined,
    mayCreate: (jid: Jid): boolean => ctx.allowed(ctx.options.access_createnode, jid),
  }
  // Below an IP literal there are no domains.
  if (ctx.host.name.startsWith('[')) return { ...common, jid: ctx.host.jid }
  const domain = ctx.domain(host, {
    name: 'Publish-Subscribe',
    async packet(stanza) {
      if (stanza.kind === 'message' && stanza.to!.local === '' && (await answered(service, stanza))) return
      if (stanza.kind === 'presence' || stanza.type === 'error' || stanza.type === 'result') return
      throw new StanzaError('service-unavailable')
    },
    info: ({ stanza, from }, node) => {
      return stanza.to!.local === '' ? nodeInfo(service, node, from) : undefined
    },
    async items({ stanza, from }, node) {
      if (stanza.to!.local !== '') return undefined
      const items =
        node === '' ? await serviceItems(service, from, listed) : await nodeItems(service, node, from, listed)
      return items?.map(({ jid, name, node }) => xml('item', { jid, name, node }))
    },
  })
  const service: Service = { ...common, jid: domain.jid }
  domain.disco.addIdentity('server', { category: 'pubsub', type: 'service' })
  for (const feature of FEATURES) domain.disco.addFeature('server', feature)
  for (const ns of [NS.PUBSUB, NS.PUBSUB_OWNER]) {
    for (const type of ['get', 'set'] as const) {
      domain.iq('server', type, ns, 'pubsub', request => answer(service, request))
    }
  }
  return service
}
