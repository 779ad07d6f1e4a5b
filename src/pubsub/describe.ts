import type { DiscoItem } from '../core/disco.ts'
import { type Element, NS, xml } from '../xml/index.ts'
import type { Jid } from '../xmpp/jid.ts'
import { metadataForm } from './config.ts'
import { findNode, type Service } from './engine.ts'
import { pageSize } from './items.ts'
import type { Node } from './node.ts'

/** What every service can do (XEP-0060 10). */
const NAMES = `
  access-authorize access-open access-presence access-roster access-whitelist auto-create config-node
  config-node-max create-and-configure create-nodes delete-items delete-nodes instant-nodes item-ids
  manage-subscriptions member-affiliation meta-data modify-affiliations multi-items outcast-affiliation
  persistent-items publish publish-only-affiliation publish-options publisher-affiliation purge-nodes
  retract-items retrieve-affiliations retrieve-default retrieve-default-sub retrieve-items
  retrieve-subscriptions rsm subscribe subscription-notifications subscription-options
`
export const FEATURES: readonly string[] = [NS.PUBSUB, ...features(NAMES)]

/** The features of these names (XEP-0060 10). */
export function features(names: string): string[] {
  return [...names.matchAll(/\S+/g)].map(([name]) => `${NS.PUBSUB}#${name}`)
}

/** disco#info of a node (XEP-0060 5.3, 5.4); undefined where there is none that `from` may know of. */
export async function nodeInfo(service: Service, name: string, from: Jid): Promise<Element[] | undefined> {
  const node = await visible(service, name, from)
  if (node === undefined) return undefined
  const subscribers = [...node.subscriptions.values()].filter(({ state }) => state === 'subscribed').length
  const form = metadataForm(node.config, [
    { var: 'pubsub#creator', values: [node.creator] },
    { var: 'pubsub#creation_date', values: [new Date(node.created).toISOString()] },
    { var: 'pubsub#owner', values: service.engine.access.owners(service, node).map(String) },
    { var: 'pubsub#num_subscribers', values: [String(subscribers)] },
  ])
  const feature = xml('feature', { var: NS.PUBSUB })
  return [xml('identity', { category: 'pubsub', type: 'leaf', name: node.config.title || undefined }), feature, form]
}

/** disco#items of a node: its newest items (XEP-0060 5.5). */
export async function nodeItems(
  service: Service,
  name: string,
  from: Jid,
  limit: number,
): Promise<DiscoItem[] | undefined> {
  const node = await visible(service, name, from)
  if (node === undefined || (await service.engine.access.notReading(service, node, from)) !== undefined)
    return undefined
  const items: DiscoItem[] = []
  const step = pageSize(service.engine.limits)
  let after: string | undefined
  while (items.length < limit) {
    const page = { limit: Math.min(step, limit - items.length), after }
    const found = await service.engine.store.items.page(service.shelf, node, page)
    for (const { item } of found) items.push({ jid: service.jid.toString(), name: item.id })
    if (found.length < page.limit) break
    after = found.at(-1)!.order
  }
  return items
}

/** disco#items of a service: the nodes that `from` may know of (XEP-0060 5.2). */
export async function serviceItems(service: Service, from: Jid, limit: number): Promise<DiscoItem[]> {
  const items: DiscoItem[] = []
  for (const name of await service.engine.store.names(service.shelf, undefined, limit)) {
    const node = await visible(service, name, from)
    if (node === undefined) continue
    const { title } = node.config
    items.push({ jid: service.jid.toString(), node: name, ...(title === '' ? {} : { name: title }) })
  }
  return items
}

/** A node that `from` could subscribe to; others are not told of. */
async function visible(service: Service, name: string, from: Jid): Promise<Node | undefined> {
  const node = await findNode(service, name)
  if (node === undefined) return undefined
  return (await service.engine.access.notSubscribing(service, node, from)) === undefined ? node : undefined
}
