import type { AccountRequest, IqRequest } from '../core/iq.ts'
import { childElements, type Element, elementNs, findChild, findChildren, NS, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { pageElement, readPageRequest } from '../xmpp/rsm.ts'
import { affiliate, ownAffiliations } from './affiliations.ts'
import { configForm, readBoolean, readConfig, readPublishOptions } from './config.ts'
import { nodeName, openNode, type Service } from './engine.ts'
import { pubsubError, unsupported } from './errors.ts'
import { itemElement, readable } from './events.ts'
import { expire, fitting, publish, purge, readItems, retract } from './items.ts'
import { configure, create, remove } from './nodes.ts'
import {
  getOptions,
  manage,
  optionsForm,
  ownSubscriptions,
  setOptions,
  subscribe,
  subscriptionElement,
  unsubscribe,
} from './subscriptions.ts'

/** To the service for everybody, or to an account: then the client is known that is the account's own. */
type Request = IqRequest & Partial<Pick<AccountRequest, 'session'>>
type Answer = Promise<Element | undefined>
interface Context {
  service: Service
  request: Request
  /** `<pubsub/>` */
  pubsub: Element
}
/** `el` is the child of `<pubsub/>` that says what is wanted. */
type Operation = (context: Context, el: Element) => Answer

/** Item ids that one request names. */
const MAX_IDS = 200

/** Answers a request to a service: `<pubsub/>` of either namespace (XEP-0060 5 to 8). */
export async function answer(service: Service, request: Request): Answer {
  const { payload: pubsub, stanza } = request
  const ns = elementNs(pubsub)
  const children = childElements(pubsub).filter(el => elementNs(el) === ns)
  const known = ns === NS.PUBSUB_OWNER ? OWNER : PUBSUB
  for (const el of children) {
    const operation = known[`${stanza.type} ${el.name}`]
    if (operation !== undefined) return operation({ service, request, pubsub }, el)
  }
  throw new StanzaError('bad-request', 'nothing that is known is asked for')
}

const PUBSUB: Readonly<Record<string, Operation>> = {
  'set create': async ({ service, request, pubsub }, el) => {
    const configuration = findChild(pubsub, 'configure')
    if (configuration?.attrs['node'] !== undefined) throw new StanzaError('bad-request', 'the node is named once') // 8.1.3
    const config = readConfig(formIn(configuration), service.engine.limits) ?? {}
    const { node } = el.attrs
    const made = await create(service, node, config, request.from)
    return node === made.name ? undefined : result(NS.PUBSUB, xml('create', { node: made.name }))
  },

  'set publish': async ({ service, request, pubsub }, el) => {
    const node = nodeName(el.attrs['node'])
    const items = findChildren(el, 'item')
    if (items.length > 1) throw new StanzaError('bad-request', 'one item at a time')
    const [item] = items
    const payloads = item === undefined ? [] : childElements(item)
    if (payloads.length > 1) throw pubsubError('bad-request', 'invalid-payload')
    const options = findChild(pubsub, 'publish-options')
    const form = formIn(options)
    if (options !== undefined && form === undefined) throw new StanzaError('bad-request', 'publish-options are a form')
    const id = await publish(service, {
      node,
      item: item && { id: item.attrs['id'] || undefined, payload: payloads[0] },
      options: readPublishOptions(form, service.engine.limits),
      publisher: request.from,
      session: request.session,
      trusted: false,
    })
    return result(NS.PUBSUB, xml('publish', { node }, id === undefined ? undefined : xml('item', { id })))
  },

  'set retract': async ({ service, request }, el) => {
    const node = nodeName(el.attrs['node'])
    const [item, ...more] = findChildren(el, 'item')
    const id = item?.attrs['id']
    if (!id) throw pubsubError('bad-request', 'item-required')
    if (more.length > 0) throw new StanzaError('bad-request', 'one item at a time')
    const notify = readBoolean(el.attrs['notify']) === true ? true : undefined
    if (!(await retract(service, node, id, request.from, notify))) {
      throw new StanzaError('item-not-found', 'there is no such item')
    }
    return undefined
  },

  'set subscribe': async ({ service, request, pubsub }, el) => {
    const name = nodeName(el.attrs['node'])
    const options = findChild(pubsub, 'options')
    if (options?.attrs['node'] !== undefined || options?.attrs['jid'] !== undefined) {
      throw new StanzaError('bad-request', 'the options are those of the subscription beside them') // XEP-0060 6.3.7
    }
    const subscription = await subscribe(service, name, el.attrs['jid'], request.from, options)
    const told = subscriptionElement({ name }, subscription)
    if (options === undefined) return result(NS.PUBSUB, told)
    return result(NS.PUBSUB, told, xml('options', {}, optionsForm('result', subscription.deliver)))
  },

  'set unsubscribe': async ({ service, request }, el) => {
    const { node, jid } = el.attrs
    await unsubscribe(service, nodeName(node), jid, request.from)
    return result(NS.PUBSUB, xml('subscription', { node, jid, subscription: 'none' }))
  },

  'get options': async ({ service, request }, el) => {
    const { node, jid } = el.attrs
    const { deliver } = await getOptions(service, el, request.from)
    return result(NS.PUBSUB, xml('options', { node, jid }, optionsForm('form', deliver)))
  },

  'set options': async ({ service, request }, el) => {
    await setOptions(service, nodeName(el.attrs['node']), el, request.from)
    return undefined
  },

  'get default': async (_, el) =>
    result(NS.PUBSUB, xml('default', { node: el.attrs['node'] }, optionsForm('form', true))),

  'get items': async ({ service, request, pubsub }, el) => {
    const name = nodeName(el.attrs['node'])
    const ids = findChildren(el, 'item').flatMap(item => item.attrs['id'] ?? [])
    if (ids.length > MAX_IDS) throw new StanzaError('policy-violation', `no more than ${MAX_IDS} items by their ids`)
    const page = readPageRequest(pubsub)
    const paged = findChild(pubsub, 'set', NS.RSM) !== undefined
    const max = Math.min(page.max ?? Number.POSITIVE_INFINITY, maxItems(el.attrs['max_items']))
    const { after, before } = page
    const asked = ids.length > 0 ? { ids } : { max, after, before }
    const read = await readItems(service, name, request.from, asked)
    const { node } = read
    if (!read.cut) await expire(service, node)
    // What is kept elsewhere and is put in again (pictures) may be large.
    const items = fitting(await readable(service, node, read.items), page.before !== undefined)
    const cut = read.cut || items.length < read.items.length
    const list = xml('items', { node: name })
    for (const item of items) list.append(itemElement(node, item))
    // XEP-0060 6.5.4: who gets a part of it is told so.
    if (ids.length > 0 || (!paged && (!cut || el.attrs['max_items'] !== undefined))) return result(NS.PUBSUB, list)
    const count = await service.engine.store.items.count(service.shelf, node)
    const set = { count, first: items[0]?.id, last: items.at(-1)?.id }
    return result(NS.PUBSUB, list, pageElement(set))
  },

  'get subscriptions': async ({ service, request }, el) => {
    const { node: name } = el.attrs
    const list = await ownSubscriptions(service, name, request.from)
    const children = list.map(({ node, subscription }) => subscriptionElement(node, subscription))
    return result(NS.PUBSUB, xml('subscriptions', { node: name }, children))
  },

  'get affiliations': async ({ service, request }, el) => {
    const { node: name } = el.attrs
    const list = await ownAffiliations(service, name, request.from)
    const children = list.map(({ node, affiliation }) => xml('affiliation', { node, affiliation }))
    return result(NS.PUBSUB, xml('affiliations', { node: name }, children))
  },
}

const OWNER: Readonly<Record<string, Operation>> = {
  'get configure': async ({ service, request }, el) => {
    const node = await openNode(service, el.attrs['node'])
    service.engine.access.mustOwn(service, node, request.from)
    return result(NS.PUBSUB_OWNER, xml('configure', { node: node.name }, configForm('form', node.config)))
  },

  'set configure': async ({ service, request }, el) => {
    const name = nodeName(el.attrs['node'])
    const form = formIn(el)
    if (form === undefined) throw new StanzaError('bad-request', 'a configuration is a form')
    const config = readConfig(form, service.engine.limits)
    if (config !== undefined) await configure(service, name, config, request.from)
    return undefined
  },

  'get default': async ({ service }, el) => {
    if ((el.attrs['type'] ?? 'leaf') !== 'leaf') throw unsupported('collections')
    return result(NS.PUBSUB_OWNER, xml('default', {}, configForm('form', service.shelf.defaults)))
  },

  'set delete': async ({ service, request }, el) => {
    const uri = findChild(el, 'redirect')?.attrs['uri']
    if (uri !== undefined && uri.length > 4096) throw new StanzaError('not-acceptable', 'the address is too long')
    await remove(service, nodeName(el.attrs['node']), request.from, uri)
    return undefined
  },

  'set purge': async ({ service, request }, el) => {
    await purge(service, nodeName(el.attrs['node']), request.from)
    return undefined
  },

  'get subscriptions': async ({ service, request }, el) => {
    const node = await openNode(service, el.attrs['node'])
    service.engine.access.mustOwn(service, node, request.from)
    // XEP-0060 8.8.1: without those that wait for an answer.
    const list = [...node.subscriptions.values()].filter(({ state }) => state === 'subscribed')
    const children = list.map(subscription => subscriptionElement(node, subscription, false))
    return result(NS.PUBSUB_OWNER, xml('subscriptions', { node: node.name }, children))
  },

  'set subscriptions': async ({ service, request }, el) => {
    const list = findChildren(el, 'subscription')
    await manage(service, nodeName(el.attrs['node']), list, request.from)
    return undefined
  },

  'get affiliations': async ({ service, request }, el) => {
    const node = await openNode(service, el.attrs['node'])
    service.engine.access.mustOwn(service, node, request.from)
    const all = new Map(node.affiliations)
    if (service.owner !== undefined) all.set(service.owner.jid.toString(), 'owner')
    const children = [...all].map(([jid, affiliation]) => xml('affiliation', { jid, affiliation }))
    return result(NS.PUBSUB_OWNER, xml('affiliations', { node: node.name }, children))
  },

  'set affiliations': async ({ service, request }, el) => {
    const list = findChildren(el, 'affiliation')
    await affiliate(service, nodeName(el.attrs['node']), list, request.from)
    return undefined
  },
}

function result(xmlns: string, ...children: Element[]): Element {
  return xml('pubsub', { xmlns }, children)
}

function formIn(el: Element | undefined): Element | undefined {
  return el && findChild(el, 'x', NS.DATA)
}

function maxItems(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY
  if (!/^\d{1,9}$/.test(text)) throw new StanzaError('bad-request', 'max_items is a number')
  return Number(text)
}
