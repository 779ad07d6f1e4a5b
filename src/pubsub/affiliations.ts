import { type Element, NS, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import type { Access } from './access.ts'
import { change, type Engine, findNode, type Service } from './engine.ts'
import { entitySize, type Node } from './node.ts'
import { remove } from './nodes.ts'
import { MAX_CHANGES, nodesOf } from './subscriptions.ts'
import type { Affiliation } from './types.ts'

const AFFILIATIONS = new Set<string>(['owner', 'publisher', 'publish-only', 'member', 'none', 'outcast'])
/** Entities that a node keeps in mind, besides its subscribers. */
const MAX_AFFILIATIONS = 5000
/** Each hears of who wants to subscribe, and did not ask to be an owner. */
const MAX_OWNERS = 20

/** XEP-0060 5.7: one's own affiliations, at one node or all. */
export async function ownAffiliations(
  service: Service,
  name: string | undefined,
  from: Jid,
): Promise<{ node: string; affiliation: Affiliation }[]> {
  const nodes = await nodesOf(service, name, from)
  return nodes
    .map(node => ({ node: node.name, affiliation: service.engine.access.affiliation(service, node, from) }))
    .filter(({ affiliation }) => affiliation !== 'none')
}

/**
 * XEP-0060 8.9.2: an owner changes affiliations. Who becomes an outcast is subscribed no longer. Throws `not-acceptable` where
 * one cannot be, or no owner would be left, and then changes none.
 */
export async function affiliate(service: Service, name: string, list: Element[], by: Jid): Promise<void> {
  if (list.length > MAX_CHANGES) throw new StanzaError('policy-violation', `${MAX_CHANGES} changes at a time`)
  const { access, store, events } = service.engine
  const { node, ended } = await change(service, name, async node => {
    access.mustOwn(service, node, by)
    const changes = new Map<string, Affiliation>()
    const refuse = (text: string): never => {
      throw new StanzaError('not-acceptable', text, unchanged(access, service, node, list))
    }
    for (const { attrs } of list) {
      const jid = Jid.parse(attrs['jid'] ?? '')?.bare
      const affiliation = attrs['affiliation']
      if (affiliation === undefined) continue
      if (jid === undefined || !AFFILIATIONS.has(affiliation)) {
        return refuse('an address has one of the affiliations of XEP-0060 4.1')
      }
      if (changes.has(jid.toString())) throw new StanzaError('bad-request', `${jid} is named twice`)
      // XEP-0163 3.2: an account's nodes are its own, and nobody else's.
      const own = service.owner?.jid.equals(jid) === true
      if (service.owner !== undefined && own !== (affiliation === 'owner')) {
        refuse('the nodes of an account have one owner')
      }
      if (!own) changes.set(jid.toString(), affiliation as Affiliation)
    }
    const after = new Map([...node.affiliations, ...changes])
    const owners = [...after.values()].filter(affiliation => affiliation === 'owner').length
    if (service.owner === undefined && owners === 0) refuse('a node has an owner')
    if (owners > MAX_OWNERS) throw new StanzaError('policy-violation', `a node has at most ${MAX_OWNERS} owners`)
    if (after.size > MAX_AFFILIATIONS) {
      throw new StanzaError('policy-violation', `a node keeps ${MAX_AFFILIATIONS} entities in mind`)
    }
    const fresh = [...changes.keys()].filter(bare => !node.affiliations.has(bare))
    const bytes = fresh.reduce((sum, bare) => sum + entitySize(bare), 0)
    const total = bytes + (await store.entityBytes(service.shelf, node.creator))
    if (
      bytes > 0 &&
      (node.entityBytes + bytes > service.engine.maxEntityBytes || total > service.engine.maxEntityTotal)
    ) {
      throw new StanzaError('policy-violation', 'the addresses that the node keeps in mind are too long')
    }
    const ended = [...node.subscriptions.values()].filter(s => changes.get(s.jid.bare.toString()) === 'outcast')
    const saved = [...changes].map(([bare, affiliation]) =>
      store.affiliate(service.shelf, node, Jid.from(bare), affiliation),
    )
    for (const { jid } of ended) saved.push(store.subscribe(service.shelf, node, jid, undefined))
    return { node, ended, saved: Promise.all(saved) }
  })
  for (const { jid } of ended) await events.subscription(service, node, jid, 'none')
}

/** XEP-0060 8.9.2.4: what was asked for, as it is; what is not named would count as done. */
function unchanged(access: Access, service: Service, node: Node, list: readonly Element[]): { payload: Element } {
  const entries = list.map(({ attrs }) => {
    const jid = Jid.parse(attrs['jid'] ?? '')
    const affiliation = jid === undefined ? 'none' : access.affiliation(service, node, jid)
    return xml('affiliation', { jid: attrs['jid'], affiliation })
  })
  const payload = xml('pubsub', { xmlns: NS.PUBSUB_OWNER }, xml('affiliations', { node: node.name }, entries))
  return { payload }
}

/**
 * An account is removed: nobody is subscribed, or more than others, by its address at any node of this host. Nodes that it
 * alone owned go with it.
 */
export async function forgetEntity(
  engine: Engine,
  user: Jid,
  serviceOf: (key: string) => Promise<Service | undefined>,
): Promise<void> {
  for (const { service: key, node: name } of await engine.store.nodesOf(user.toString())) {
    const service = await serviceOf(key)
    if (service === undefined || (await findNode(service, name)) === undefined) continue
    const { orphan } = await change(service, name, async node => {
      const mine = [...node.subscriptions.values()].filter(({ jid }) => jid.bare.equals(user))
      const saved = mine.map(({ jid }) => engine.store.subscribe(service.shelf, node, jid, undefined))
      saved.push(engine.store.affiliate(service.shelf, node, user, 'none'))
      return { saved: Promise.all(saved), orphan: engine.access.owners(service, node).length === 0 }
    })
    if (orphan) await remove(service, name, undefined)
  }
}
