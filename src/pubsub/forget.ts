import type { Jid } from '../xmpp/jid.ts'
import { remove } from './nodes.ts'
import { change, type Engine, findNode, type Service } from './service.ts'

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
    if (service === undefined || (await findNode(engine, service, name)) === undefined) continue
    const orphan = await change(engine, service, name, async node => {
      const mine = [...node.subscriptions.values()].filter(({ jid }) => jid.bare.equals(user))
      const saved = mine.map(({ jid }) => engine.store.subscribe(service.shelf, node, jid, undefined))
      saved.push(engine.store.affiliate(service.shelf, node, user, 'none'))
      await Promise.all(saved)
      return engine.access.owners(service, node).length === 0
    })
    if (orphan) await remove(engine, service, name, undefined)
  }
}
