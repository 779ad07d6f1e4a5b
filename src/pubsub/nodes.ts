import { StanzaError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'
import { configForm, itemsKept } from './config.ts'
import { change, findNode, initialConfig, MAX_NAME, type Service } from './engine.ts'
import { pubsubError } from './errors.ts'
import { differences, type Node } from './node.ts'
import { textSize } from './store.ts'
import type { NodeConfig } from './types.ts'

/** Characters of the names and configurations of all nodes of one account. */
const MAX_TEXT = 256 * 1024

/** Makes a node; whoever makes it owns it. Under {@link PubsubStore.write}, where there is none of that name. */
export async function createNode(
  service: Service,
  name: string,
  config: Partial<NodeConfig>,
  creator: Jid,
): Promise<{ node: Node; saved: Promise<void> }> {
  const { store, maxNodes } = service.engine
  const { shelf, owner } = service
  mayMake(service, creator)
  if (name.length > MAX_NAME) throw new StanzaError('not-acceptable', `a name has ${MAX_NAME} characters at most`)
  if ((await made(service, creator)) >= maxNodes) {
    throw pubsubError('policy-violation', 'max-nodes-exceeded', {
      type: 'wait',
      text: `you may make ${maxNodes} nodes`,
    })
  }
  const initial = initialConfig(service, name, config)
  mustFit(service, textSize(name, differences(initial, shelf.defaults)))
  return store.create(shelf, name, initial, creator.bare, service.engine.now(), owner === undefined)
}

/** The nodes of an account are all in memory while it is: names and configurations have so many characters. */
function mustFit({ engine: { store }, shelf }: Service, growth: number): void {
  if (growth <= 0 || store.textOf(shelf) + growth <= MAX_TEXT) return
  throw new StanzaError('resource-constraint', 'the names and configurations of your nodes are too long', {
    type: 'wait',
  })
}

/** Throws `forbidden` where this entity may not make nodes. */
export function mayMake(service: Service, creator: Jid): void {
  if (!service.mayCreate(creator)) throw new StanzaError('forbidden', 'you may not make nodes here')
}

/** Not those that one owns: others may give theirs to anybody. */
async function made({ engine: { store }, shelf }: Service, creator: Jid): Promise<number> {
  if (shelf.personal) {
    await store.load(shelf)
    return shelf.nodes.size
  }
  return (await store.nodesOf(creator.bare.toString(), shelf.key)).filter(node => node.made === true).length
}

/** XEP-0060 8.1. Without a name it gets one (an instant node). */
export async function create(
  service: Service,
  name: string | undefined,
  config: Partial<NodeConfig>,
  creator: Jid,
): Promise<Node> {
  mayMake(service, creator)
  const wanted = name === undefined || name === '' ? service.engine.ids.random() : name
  const { node, saved } = await service.engine.store.write(service.shelf, async () => {
    if ((await findNode(service, wanted)) !== undefined) throw new StanzaError('conflict', 'it is there already')
    return createNode(service, wanted, config, creator)
  })
  await saved
  return node
}

/** XEP-0060 8.2.4. Items that are more than it keeps now, go. */
export async function configure(service: Service, name: string, wanted: Partial<NodeConfig>, by: Jid): Promise<void> {
  const { store, access, events, limits } = service.engine
  const done = await change(service, name, async node => {
    access.mustOwn(service, node, by)
    const before = new Set((await events.recipients(service, node)).map(String))
    const config = { ...node.config, ...wanted }
    const size = (now: NodeConfig) => textSize(node.name, differences(now, service.shelf.defaults))
    mustFit(service, size(config) - size(node.config))
    const saved = store.configure(service.shelf, node, config)
    saved.catch(() => {}) // whoever waits for it below is told
    const cut = config.persist_items
      ? await store.items.trim(service.shelf, node, itemsKept(config, limits))
      : await store.items.purge(service.shelf, node)
    return { node, before, cut, saved: Promise.all([saved, cut.saved]) }
  })
  const { node, before } = done
  await service.owner?.retracted(name, done.cut.gone, true)
  if (node.config.notify_config) {
    await events.configured(service, node, node.config.deliver_payloads ? configForm('result', node.config) : undefined)
  }
  // XEP-0060 12.2: who has come to see it by this hears of what is there.
  if (wanted.access_model !== undefined || wanted.roster_groups_allowed !== undefined) {
    const fresh = (await events.recipients(service, node)).filter(jid => !before.has(jid.toString()))
    if (node.config.send_last_published_item !== 'on_sub_and_presence' || fresh.length === 0) return
    if (service.engine.openings.allow(by.local)) await events.last(service, node, fresh)
  }
}

/** XEP-0060 8.4; `uri` says where there is another in its place. */
export async function remove(service: Service, name: string, by: Jid | undefined, uri?: string): Promise<void> {
  const done = await change(service, name, async node => {
    if (by !== undefined) service.engine.access.mustOwn(service, node, by)
    const recipients = await service.engine.events.recipients(service, node)
    const gone = service.owner === undefined ? [] : await service.engine.store.items.ids(service.shelf, node)
    return { node, recipients, gone, saved: service.engine.store.delete(service.shelf, node) }
  })
  await service.owner?.retracted(name, done.gone, by !== undefined)
  if (done.node.config.notify_delete) await service.engine.events.deleted(service, done.node, done.recipients, uri)
}
