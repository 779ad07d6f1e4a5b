import { type Options, opt } from '../../config/schema.ts'
import type { DiscoItem } from '../../core/disco.ts'
import { OBSERVE } from '../../core/hooks.ts'
import { type IqDispatch, type IqTarget, Later } from '../../core/iq.ts'
import { defineModule, type ModuleContext } from '../../core/module.ts'
import { childElements, clone, type Element, elementNs, findChildren, NS, xml } from '../../xml/index.ts'
import { Jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { DELEGATION, forward } from './forward.ts'

/** What stands for discovery at bare addresses: of nodes that nobody here knows, and of items (XEP-0355 7.2.4 and 7.2.5). */
const BARE_INFO = `${DELEGATION}:bare:disco#info:*`
const BARE_ITEMS = `${DELEGATION}:bare:disco#items:*`
/** Requests of one sender that are on their way; who asks more waits. */
const MAX_ASKED = 20
/** How long (ms) a managing entity has to say what it can do. */
const DESCRIBES = 30_000
/** Features, identities and forms that one is taken to have. */
const MAX_FEATURES = 500

const options = {
  namespaces: opt.map(
    opt.object({
      to: opt.required(opt.domain(undefined, 'The component that answers.')),
      filtering: opt.list(
        opt.text(undefined, '', { maxLength: 256 }),
        [],
        'Attributes that the first element of a request must have; others are answered here.',
      ),
    }),
    'Who answers iqs to this host and its users, by the namespace of what is asked.',
    { example: { 'urn:example:game': { to: 'games.example.org' } } },
  ),
}

type Ctx = ModuleContext<typeof options>
type Delegated = Options<typeof options>['namespaces'][string]

export const mod_delegation = defineModule({
  name: 'mod_delegation',
  xep: {
    number: 355,
    version: '0.5',
    name: 'Namespace Delegation',
    partial: 'Only what the configuration delegates: users delegate nothing themselves (client mode).',
  },
  summary: 'Has components answer what users ask of the server, by namespace.',
  optional: true,
  options,
  start(ctx) {
    const { host } = ctx
    const managers = new Map<string, Manager>()
    const asked = new Map<string, number>()
    for (const [ns, delegated] of Object.entries(ctx.options.namespaces)) {
      const jid = Jid.parse(delegated.to)
      if (jid === undefined) throw new Error(`${delegated.to} is no domain`)
      // XEP-0355 9: nobody may have this delegated.
      if (ns === DELEGATION || ns === '') throw new Error(`${ns} cannot be delegated`)
      let manager = managers.get(jid.domain)
      if (manager === undefined) managers.set(jid.domain, (manager = new Manager(ctx, jid)))
      manager.namespaces.set(ns, delegated)
      if (ns === BARE_INFO) unknownNodes(ctx, jid)
      else if (ns === BARE_ITEMS) bareItems(ctx, jid)
      else {
        ctx.delegate(ns, {
          takes: ({ from, payload }) =>
            from.domain !== jid.domain && delegated.filtering.every(name => payload.attrs[name] !== undefined),
          answer: request => answered(ctx, jid, request, asked),
        })
      }
    }
    ctx.feature(DELEGATION)
    ctx.hook('component_connected', ({ component }) => managers.get(component.domain)?.connected())
    ctx.hook('component_gone', ({ component }) => managers.get(component.domain)?.gone())
    for (const manager of managers.values()) {
      if (host.router.destinations.get(manager.jid.domain)?.connected !== false) manager.connected()
      ctx.onStop(() => manager.gone())
    }
  },
})

/** The stream that asks goes on meanwhile (XEP-0355 8), unless it asks too much at a time. */
function answered({ host }: Ctx, manager: Jid, { stanza }: IqDispatch, asked: Map<string, number>) {
  const sender = stanza.from.bare.toString()
  const count = asked.get(sender) ?? 0
  asked.set(sender, count + 1)
  const answer = forward(host, manager, stanza).finally(() => {
    const left = (asked.get(sender) ?? 1) - 1
    if (left > 0) asked.set(sender, left)
    else asked.delete(sender)
  })
  return count < MAX_ASKED ? new Later(answer, Promise.resolve()) : answer
}

/** What a question to a bare address would have been, where it is not at hand. */
function question(ctx: Ctx, from: Jid, to: Jid, ns: string, node: string): Stanza {
  const query = xml('query', { xmlns: ns, node: node === '' ? undefined : node })
  return Stanza.make(xml('iq', { type: 'get', id: ctx.host.ids.random() }, query), from, to)
}

/** XEP-0355 7.2.4. */
function unknownNodes(ctx: Ctx, manager: Jid): void {
  ctx.hook('disco_info', { order: OBSERVE }, async event => {
    const { scope, account, from, node } = event
    if (scope !== 'account' || account === undefined || event.answer !== undefined || from.domain === manager.domain)
      return
    const query = await forward(ctx.host, manager, question(ctx, from, account.jid, NS.DISCO_INFO, node))
    if (query?.is('query', NS.DISCO_INFO) === true) event.answer = childElements(query)
  })
}

/** XEP-0355 7.2.5: the items of who manages them, and no others; nodes that are not known here. */
function bareItems(ctx: Ctx, manager: Jid): void {
  ctx.hook('disco_items', { order: OBSERVE }, async event => {
    const { scope, account, from, node } = event
    if (scope !== 'account' || account === undefined || from.domain === manager.domain) return
    if (node !== '' && event.known) return
    const query = await forward(ctx.host, manager, question(ctx, from, account.jid, NS.DISCO_ITEMS, node))
    if (query?.is('query', NS.DISCO_ITEMS) !== true) return
    event.known = true
    const items = findChildren(query, 'item').map(({ attrs: { jid = '', name, node: of } }): DiscoItem => {
      return { jid, ...(name !== undefined && { name }), ...(of !== undefined && { node: of }) }
    })
    event.items.splice(0, event.items.length, ...items)
  })
}

/** Who answers some namespaces: while it is connected, what it can do is said in place of what the server could. */
class Manager {
  readonly jid: Jid
  readonly namespaces = new Map<string, Delegated>()
  readonly #ctx: Ctx
  #laid: (() => void)[] = []
  /** Since it was last connected. */
  #spell = Symbol('spell')

  constructor(ctx: Ctx, jid: Jid) {
    this.#ctx = ctx
    this.jid = jid
  }

  connected(): void {
    const { host } = this.#ctx
    const spell = Symbol('spell')
    this.#spell = spell
    const delegation = xml('delegation', { xmlns: DELEGATION })
    for (const [namespace, { filtering }] of this.namespaces) {
      delegation.append(xml('delegated', { namespace }, ...filtering.map(name => xml('attribute', { name }))))
    }
    const el = xml('message', { id: host.ids.random() }, delegation, xml('no-store', { xmlns: NS.HINTS }))
    this.#ctx.route(Stanza.make(el, host.jid, this.jid))
    for (const ns of this.namespaces.keys()) {
      if (ns === BARE_INFO || ns === BARE_ITEMS) continue
      for (const scope of ['server', 'account'] as const) {
        void this.#ctx.aside(this.#describe(ns, scope, spell), 'what a component can do could not be learnt', { ns })
      }
    }
  }

  gone(): void {
    this.#spell = Symbol('gone')
    for (const undo of this.#laid.splice(0)) undo()
  }

  /** XEP-0355 7.2.1 and 7.2.2. */
  async #describe(ns: string, scope: IqTarget, spell: symbol): Promise<void> {
    const node = `${DELEGATION}${scope === 'server' ? '::' : ':bare:'}${ns}`
    const { host } = this.#ctx
    const answer = await this.#ctx.request(this.jid, 'get', xml('query', { xmlns: NS.DISCO_INFO, node }), DESCRIBES)
    if (answer?.type !== 'result' || this.#spell !== spell) return
    const query = answer.payload
    if (query?.is('query', NS.DISCO_INFO) !== true) return
    const children = childElements(query).slice(0, MAX_FEATURES)
    const own = (name: string): Element[] => children.filter(child => child.name === name)
    this.#laid.push(
      host.disco.overlay({
        scope,
        ns,
        identities: own('identity').flatMap(({ attrs: { category, type, name } }) =>
          category && type ? [{ category, type, ...(name !== undefined && { name }) }] : [],
        ),
        features: own('feature').flatMap(({ attrs }) => attrs['var'] ?? []),
        forms: children.filter(child => child.name === 'x' && elementNs(child) === NS.DATA).map(form => clone(form)),
      }),
    )
  }
}
