import { clone, type Element, findChild, NS, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { dataForm, findForm, formValues } from '../xmpp/forms.ts'
import { Jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { isForContacts } from './access.ts'
import { readBoolean } from './config.ts'
import { change, findNode, openNode, type Service } from './engine.ts'
import { pubsubError, unsupported } from './errors.ts'
import { entitySize, type Node, type Subscription } from './node.ts'
import type { SubscriptionState } from './types.ts'

const AUTHORIZATION = 'http://jabber.org/protocol/pubsub#subscribe_authorization'
const DELIVER = 'pubsub#deliver'
/** Subscriptions that one bare address may have at a node. */
const MAX_OWN = 10
/** Subscriptions of a node that wait for its owner: each has sent a message. */
const MAX_PENDING = 100
/** Nodes of the service for everybody that one bare address may be subscribed to, and that one answer lists. */
const MAX_NODES = 1000
/** Subscriptions, or affiliations, that one request changes. */
export const MAX_CHANGES = 500

/** The `jid` of a request, which must be the sender's own, with a resource or without (XEP-0060 6.1.3.1). */
function subscriberOf(text: string | undefined, from: Jid): Jid {
  const jid = Jid.parse(text ?? '')
  if (jid === undefined || !jid.bare.equals(from.bare)) throw pubsubError('bad-request', 'invalid-jid')
  return jid
}

/** XEP-0060 6.1. `options` are those of the subscription, where they come with it (6.3.7). */
export async function subscribe(
  service: Service,
  name: string,
  address: string | undefined,
  from: Jid,
  options: Element | undefined,
): Promise<Subscription> {
  const jid = subscriberOf(address, from)
  const deliver = readOptions(options) ?? true
  const { access, store, events } = service.engine
  const { node, subscription, fresh } = await change(service, name, async node => {
    const refusal = await access.notSubscribing(service, node, jid)
    if (refusal !== undefined) throw refusal
    if (!node.config.subscribe) throw unsupported('subscribe')
    const there = node.subscriptions.get(jid.toString())
    if (there?.state === 'pending') throw pubsubError('not-authorized', 'pending-subscription')
    // XEP-0060 6.1.6: once more is as good as the first time.
    if (there !== undefined) return { node, subscription: there, saved: Promise.resolve(), fresh: false }
    const waits = node.config.access_model === 'authorize' && access.affiliation(service, node, jid) === 'none'
    makeRoom(service, node, jid, waits)
    // Each question is a message that waits for the owners, and no block list of theirs stands before it.
    if (waits && !service.engine.asks.allow(`${service.shelf.key} ${node.name} ${jid.bare}`)) throw tooMany()
    const total = await store.entityBytes(service.shelf, node.creator)
    if (total + entitySize(jid.toString()) > service.engine.maxEntityTotal) throw tooMany()
    if (service.owner === undefined && !node.isKnown(jid.bare.toString())) {
      const nodes = await store.nodesOf(jid.bare.toString(), service.shelf.key, MAX_NODES)
      if (nodes.length >= MAX_NODES) throw tooMany()
    }
    const state = waits ? 'pending' : 'subscribed'
    const saved = store.subscribe(service.shelf, node, jid, { state, deliver })
    return { node, subscription: { jid, state, deliver } as const, saved, fresh: true }
  })
  if (!fresh) return subscription
  if (subscription.state === 'pending') askOwners(service, node, jid)
  else await subscribed(service, node, jid)
  await events.ownersTold(service, node, jid, subscription.state)
  return subscription
}

function tooMany(): StanzaError {
  return pubsubError('policy-violation', 'too-many-subscriptions', { type: 'wait' })
}

function makeRoom({ engine }: Service, node: Node, jid: Jid, waits: boolean): void {
  const { maxSubscriptions, maxEntityBytes } = engine
  let own = 0
  let pending = 0
  for (const other of node.subscriptions.values()) {
    if (other.jid.bare.equals(jid.bare)) own++
    if (other.state === 'pending') pending++
  }
  const fits = node.entityBytes + entitySize(jid.toString()) <= maxEntityBytes
  const room = own < MAX_OWN && node.subscriptions.size < maxSubscriptions && !(waits && pending >= MAX_PENDING)
  if (!room || !fits) throw tooMany()
}

/** XEP-0060 6.1.7. */
async function subscribed(service: Service, node: Node, jid: Jid): Promise<void> {
  if (node.config.send_last_published_item !== 'never') await service.engine.events.last(service, node, [jid])
}

/** XEP-0060 6.2. */
export async function unsubscribe(
  service: Service,
  name: string,
  address: string | undefined,
  from: Jid,
): Promise<void> {
  const jid = Jid.parse(address ?? '')
  if (jid === undefined) throw pubsubError('bad-request', 'invalid-jid')
  const { node } = await change(service, name, async node => {
    if (!jid.bare.equals(from.bare)) throw new StanzaError('forbidden')
    if (!node.subscriptions.has(jid.toString())) throw notSubscribed()
    return { node, saved: service.engine.store.subscribe(service.shelf, node, jid, undefined) }
  })
  await service.engine.events.ownersTold(service, node, jid, 'none')
}

function notSubscribed(): StanzaError {
  return pubsubError('unexpected-request', 'not-subscribed', { type: 'cancel' })
}

// ---- options (XEP-0060 6.3)

/** Whether the subscriber wants notifications; undefined where the form does not say. */
function readOptions(parent: Element | undefined): boolean | undefined {
  if (parent === undefined) return undefined
  const form = findForm(parent, NS.PUBSUB_SUBSCRIBE_OPTIONS)
  const invalid = pubsubError('bad-request', 'invalid-options')
  if (form === undefined || form.attrs['type'] !== 'submit') throw invalid
  const values = formValues(form).get(DELIVER)
  if (values === undefined) return undefined
  const deliver = readBoolean(values[0])
  if (deliver === undefined) throw invalid
  return deliver
}

export function optionsForm(type: 'form' | 'result', deliver: boolean): Element {
  const field = { var: DELIVER, type: 'boolean', label: 'Send notifications', values: [deliver ? '1' : '0'] }
  return dataForm(type, NS.PUBSUB_SUBSCRIBE_OPTIONS, [field])
}

export async function getOptions(service: Service, el: Element, from: Jid): Promise<Subscription> {
  const node = await openNode(service, el.attrs['node'])
  return ownSubscription(node, el, from)
}

function ownSubscription(node: Node, el: Element, from: Jid): Subscription {
  const address = el.attrs['jid']
  if (address === undefined) throw pubsubError('bad-request', 'jid-required')
  const jid = Jid.parse(address)
  if (jid === undefined || !jid.bare.equals(from.bare)) throw new StanzaError('forbidden')
  const there = node.subscriptions.get(jid.toString())
  if (there === undefined) throw notSubscribed()
  return there
}

export async function setOptions(service: Service, name: string, el: Element, from: Jid): Promise<void> {
  const deliver = readOptions(el)
  await change(service, name, async node => {
    const { jid, state, deliver: before } = ownSubscription(node, el, from)
    const options = { state, deliver: deliver ?? before }
    return { saved: service.engine.store.subscribe(service.shelf, node, jid, options) }
  })
}

// ---- approval (XEP-0060 8.6)

/** Asks the owners whether somebody may subscribe. The id of the question names nobody; the form in the answer does. */
function askOwners(service: Service, node: Node, jid: Jid): void {
  const form = dataForm('form', AUTHORIZATION, [
    { var: 'pubsub#node', type: 'text-single', label: 'Node', values: [node.name] },
    { var: 'pubsub#subscriber_jid', type: 'jid-single', label: 'Who asks', values: [jid.toString()] },
    { var: 'pubsub#allow', type: 'boolean', label: 'Allow it?', values: ['0'] },
  ])
  for (const owner of service.engine.access.ownersToTell(service, node)) {
    service.engine.route(
      Stanza.make(xml('message', { id: service.engine.ids.random() }, clone(form)), service.jid, owner),
    )
  }
}

/** A message to a service: true if it is an owner's answer to such a question, which has been taken. */
export async function answered(service: Service, stanza: Stanza): Promise<boolean> {
  const form = findForm(stanza.el, AUTHORIZATION)
  if (form === undefined || stanza.type === 'error') return false
  if (form.attrs['type'] !== 'submit') return form.attrs['type'] === 'cancel'
  const values = formValues(form)
  const name = values.get('pubsub#node')?.[0] ?? ''
  const jid = Jid.parse(values.get('pubsub#subscriber_jid')?.[0] ?? '')
  const allow = readBoolean(values.get('pubsub#allow')?.[0])
  if (jid === undefined || allow === undefined) throw new StanzaError('bad-request')
  const done = await change(service, name, async node => {
    service.engine.access.mustOwn(service, node, stanza.from)
    const there = node.subscriptions.get(jid.toString())
    if (there?.state !== 'pending') return undefined // another owner was faster, or it was taken back
    const next = allow ? ({ state: 'subscribed', deliver: there.deliver } as const) : undefined
    return { node, saved: service.engine.store.subscribe(service.shelf, node, jid, next) }
  })
  if (done === undefined) return true
  await service.engine.events.subscription(service, done.node, jid, allow ? 'subscribed' : 'none')
  if (allow) await subscribed(service, done.node, jid)
  return true
}

/** The form of such an answer is in this message: whoever is not asked here need not look further. */
export function isAnswer(stanza: Stanza): boolean {
  return findChild(stanza.el, 'x', NS.DATA) !== undefined && findForm(stanza.el, AUTHORIZATION) !== undefined
}

/**
 * Somebody is no contact of an account any more: the subscriptions end that were for contacts (XEP-0060 12.14), at this
 * service.
 */
export async function endForContact(service: Service, contact: Jid): Promise<void> {
  const { access, store, events } = service.engine
  for (const { node: name } of await store.nodesOf(contact.bare.toString(), service.shelf.key)) {
    const there = await findNode(service, name)
    if (there === undefined || !isForContacts(there) || !there.isSubscribed(contact.bare.toString())) continue
    const { node, ended } = await change(service, name, async node => {
      const owners = isForContacts(node) ? await access.contactsAt(service, node) : []
      const ended = [...node.subscriptions.values()]
        .map(({ jid }) => jid)
        .filter(jid => jid.bare.equals(contact.bare) && !access.mayStay(service, node, jid, owners))
      const saved = ended.map(jid => store.subscribe(service.shelf, node, jid, undefined))
      return { node, ended, saved: Promise.all(saved) }
    })
    for (const jid of ended) {
      await events.subscription(service, node, jid, 'none')
      await events.ownersTold(service, node, jid, 'none')
    }
  }
}

// ---- lists

/** XEP-0060 5.6: one's own subscriptions, at one node or all. */
export async function ownSubscriptions(
  service: Service,
  name: string | undefined,
  from: Jid,
): Promise<{ node: Node; subscription: Subscription }[]> {
  const found: { node: Node; subscription: Subscription }[] = []
  for (const node of await nodesOf(service, name, from)) {
    for (const subscription of node.subscriptions.values()) {
      if (subscription.jid.bare.equals(from.bare)) found.push({ node, subscription })
    }
  }
  return found
}

/** The node of this name, or all that the entity is something to. */
export async function nodesOf(service: Service, name: string | undefined, who: Jid): Promise<Node[]> {
  if (name !== undefined && name !== '') return [await openNode(service, name)]
  const { owner, shelf } = service
  const rows = await service.engine.store.nodesOf(who.bare.toString(), shelf.key, MAX_NODES)
  const names = new Set(rows.map(row => row.node))
  if (owner?.jid.equals(who.bare) === true) for (const own of await service.engine.store.names(shelf)) names.add(own)
  const nodes: Node[] = []
  for (const each of names) {
    const node = await findNode(service, each)
    if (node !== undefined) nodes.push(node)
  }
  return nodes
}

/**
 * XEP-0060 8.8.2: an owner confirms, refuses and ends subscriptions. Only the subscriber begins one: whoever has not asked
 * cannot be made to listen, nor be flooded from here. Throws `not-acceptable` where one cannot be, and then changes none.
 */
export async function manage(service: Service, name: string, list: Element[], by: Jid): Promise<void> {
  if (list.length > MAX_CHANGES) throw new StanzaError('policy-violation', `${MAX_CHANGES} changes at a time`)
  const { node, changes } = await change(service, name, async node => {
    service.engine.access.mustOwn(service, node, by)
    const changes: { jid: Jid; state: 'none' | 'subscribed' }[] = []
    const named = new Set<string>()
    for (const { attrs } of list) {
      const jid = Jid.parse(attrs['jid'] ?? '')
      const state = attrs['subscription'] as SubscriptionState | undefined
      if (state === undefined) continue
      if (jid === undefined || (state !== 'none' && state !== 'subscribed')) {
        throw new StanzaError('not-acceptable', 'an address becomes subscribed, or none', unchanged(node, list))
      }
      // There are no ids of subscriptions here that would tell them apart.
      if (named.has(jid.toString())) throw new StanzaError('bad-request', `${jid} is named twice`)
      named.add(jid.toString())
      const there = node.subscriptions.get(jid.toString())?.state ?? 'none'
      if (there === 'none' && state !== 'none') {
        throw new StanzaError('not-acceptable', `${jid} has not asked to be subscribed`, unchanged(node, list))
      }
      if (there !== state) changes.push({ jid, state })
    }
    const saved = changes.map(({ jid, state }) => {
      const deliver = node.subscriptions.get(jid.toString())?.deliver ?? true
      return service.engine.store.subscribe(service.shelf, node, jid, state === 'none' ? undefined : { state, deliver })
    })
    return { node, changes, saved: Promise.all(saved) }
  })
  for (const { jid, state } of changes) {
    await service.engine.events.subscription(service, node, jid, state)
    if (state === 'subscribed') await subscribed(service, node, jid)
  }
}

/** XEP-0060 8.8.2.4: what was asked for, as it is; what is not named would count as done. */
function unchanged(node: Node, list: readonly Element[]): { payload: Element } {
  const entries = list.map(({ attrs }) => {
    const jid = Jid.parse(attrs['jid'] ?? '')?.toString()
    const subscription = (jid === undefined ? undefined : node.subscriptions.get(jid)?.state) ?? 'none'
    return xml('subscription', { jid: attrs['jid'], subscription })
  })
  const payload = xml('pubsub', { xmlns: NS.PUBSUB_OWNER }, xml('subscriptions', { node: node.name }, entries))
  return { payload }
}

/** `<subscription/>` as it is told. */
export function subscriptionElement(
  node: { readonly name: string },
  { jid, state }: Subscription,
  named = true,
): Element {
  return xml('subscription', { node: named ? node.name : undefined, jid: jid.toString(), subscription: state })
}
