import { opt } from '../config/schema.ts'
import type { Account } from '../core/account.ts'
import type { DiscoItem } from '../core/disco.ts'
import type { HookEvent } from '../core/hooks.ts'
import type { AccountRequest, IqRequest, IqTarget } from '../core/iq.ts'
import { defineModule, type Identity } from '../core/module.ts'
import { type Element, NS, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'

declare module '../core/hooks.ts' {
  interface HookMap {
    /** Somebody asks about a node; who knows it sets `answer` to what goes into the `<query/>`. */
    disco_info: Async<DiscoNode & { answer: readonly Element[] | undefined }>
    /**
     * Somebody asks for items; `node` is empty for those of the host or account itself. Who knows the node sets `known`.
     * `trusted`: they may see the account's presence (always true of the host).
     */
    disco_items: Async<DiscoNode & { items: DiscoItem[]; known: boolean }>
  }
}

declare module '../core/services.ts' {
  interface ServiceMap {
    disco: DiscoService
  }
}

interface DiscoNode {
  readonly scope: IqTarget
  readonly from: Jid
  readonly account: Account | undefined
  readonly trusted: boolean
  readonly node: string
}

/** What the host and its accounts say of themselves, for other modules. */
export interface DiscoService {
  /** The answer to disco#info of the host or of an account, without a node. The same object until it changes: read only. */
  info(scope: IqTarget): Element
}

/** Of the host, or of an account. */
type Asked = IqRequest & { readonly account?: Account | undefined }

const addresses = (role: string) =>
  opt.list(opt.text(undefined, '', { maxLength: 1024, words: 'an address as a URI' }), [], `For ${role}.`)

/** XEP-0030 8: strangers learn nothing of an account, not even whether it exists. */
export const mod_disco = defineModule({
  name: 'mod_disco',
  xep: [
    { number: 30, version: '2.5.0', name: 'Service Discovery' },
    { number: 128, version: '1.0.1', name: 'Service Discovery Extensions' },
    { number: 157, version: '1.1.1', name: 'Contact Addresses for XMPP Services' },
  ],
  summary: 'Tells clients and servers what this server and its accounts can do, and whom to contact.',
  options: {
    name: opt.text('hermod', 'What the server calls itself in service discovery.', { maxLength: 256 }),
    contact_addresses: opt.object(
      {
        abuse: addresses('reports of abuse'),
        admin: addresses('administrative matters'),
        feedback: addresses('customer feedback'),
        sales: addresses('sales'),
        security: addresses('security issues'),
        status: addresses('news of the state of the service'),
        support: addresses('customer support'),
      },
      'Where to reach the people behind the service, as URIs (XEP-0157).',
      { example: { abuse: ['mailto:abuse@example.org', 'xmpp:abuse@example.org'] } },
    ),
  },
  start(ctx) {
    const { disco, hooks } = ctx.host
    ctx.identity({ category: 'server', type: 'im', name: ctx.options.name })
    ctx.identity({ category: 'account', type: 'registered' }, 'account')
    ctx.feature(NS.DISCO_INFO, 'server', 'account')
    ctx.feature(NS.DISCO_ITEMS, 'server', 'account')

    const contacts = contactFields(ctx.options.contact_addresses)
    if (contacts.length > 0) ctx.form(NS.SERVERINFO, contacts)

    const cache: Partial<Record<IqTarget, { version: number; query: Element }>> = {}
    const info = (scope: IqTarget): Element => {
      const there = cache[scope]
      if (there !== undefined && there.version === disco.version) return there.query
      const query = describe(disco.identities(scope), disco.features(scope), scope === 'server' ? disco.forms() : [])
      cache[scope] = { version: disco.version, query }
      return query
    }
    ctx.provide('disco', { info })

    const trusts = ({ own, account, from }: AccountRequest): boolean =>
      own || (account !== undefined && ctx.use('roster')?.isSubscribedFrom(account, from.bare) === true)

    const answerInfo = (scope: IqTarget, request: Asked, trusted: boolean): Element | Promise<Element> => {
      const node = request.payload.attrs['node'] ?? ''
      if (node === '') return withChildren({ xmlns: NS.DISCO_INFO }, info(scope).children)
      const { from, account } = request
      const event: HookEvent<'disco_info'> = { scope, from, account, trusted, node, answer: undefined }
      return after(hooks.run('disco_info', event), () => {
        if (event.answer === undefined) throw new StanzaError('item-not-found')
        return withChildren({ xmlns: NS.DISCO_INFO, node }, event.answer)
      })
    }

    const answerItems = (scope: IqTarget, request: Asked, trusted: boolean): Element | Promise<Element> => {
      const node = request.payload.attrs['node'] ?? ''
      const { from, account } = request
      const items: DiscoItem[] = scope === 'server' && node === '' ? [...disco.items] : []
      if (node === '' && trusted)
        for (const session of account?.available() ?? []) items.push({ jid: session.jid.toString() })
      const event = { scope, from, account, trusted, node, items, known: node === '' || !trusted }
      return after(hooks.run('disco_items', event), () => {
        if (!event.known) throw new StanzaError('item-not-found')
        const children = items.map(({ jid, name, node }) => xml('item', { jid, name, node }))
        return withChildren({ xmlns: NS.DISCO_ITEMS, node: node === '' ? undefined : node }, children)
      })
    }

    ctx.iq('server', 'get', NS.DISCO_INFO, 'query', request => answerInfo('server', request, true))
    ctx.iq('server', 'get', NS.DISCO_ITEMS, 'query', request => answerItems('server', request, true))
    ctx.iq('account', 'get', NS.DISCO_INFO, 'query', request => {
      if (!trusts(request)) throw new StanzaError('service-unavailable')
      return answerInfo('account', request, true)
    })
    ctx.iq('account', 'get', NS.DISCO_ITEMS, 'query', request => {
      // Of no account the answer is that of one that has nothing to show.
      if (request.account === undefined) {
        const { node } = request.payload.attrs
        return withChildren({ xmlns: NS.DISCO_ITEMS, node }, [])
      }
      return answerItems('account', request, trusts(request))
    })
  },
})

function describe(identities: readonly Identity[], features: readonly string[], forms: readonly Element[]): Element {
  const query = xml('query', { xmlns: NS.DISCO_INFO })
  const seen = new Set<string>()
  for (const { category, type, name } of identities) {
    // XEP-0115 5.4: an answer with the same identity twice is ill-formed.
    if (seen.has(`${category}/${type}`)) continue
    seen.add(`${category}/${type}`)
    query.append(xml('identity', { category, type, name }))
  }
  for (const feature of features) query.append(xml('feature', { var: feature }))
  for (const form of forms) query.append(form)
  return query
}

/** A `<query/>` that shares its children with others: they are only read from here on. */
function withChildren(attrs: Record<string, string | undefined>, children: readonly (Element | string)[]): Element {
  const query = xml('query', attrs)
  query.children = [...children]
  return query
}

function contactFields(contacts: { readonly [role: string]: readonly string[] }) {
  return Object.entries(contacts)
    .filter(([, values]) => values.length > 0)
    .map(([role, values]) => ({ var: `${role}-addresses`, type: 'list-multi', values }))
}

function after<T>(done: unknown, then: () => T): T | Promise<T> {
  return done instanceof Promise ? done.then(then) : then()
}
