import { accountOf } from '../../core/directory.ts'
import type { ModuleContext } from '../../core/module.ts'
import type { Jid } from '../../xmpp/jid.ts'

/** Two accounts of this host see each other's presence from now on; their clients get the pushes (XEP-0401 5.4). */
export async function befriend(ctx: ModuleContext, one: Jid, other: Jid): Promise<void> {
  const roster = ctx.use('roster')
  const [first, second] = [await accountOf(ctx.host.router, one), await accountOf(ctx.host.router, other)]
  if (roster === undefined || first === undefined || second === undefined) return
  // Each says yes before it is asked (RFC 6121 3.4), then each asks.
  await roster.send(first, 'subscribed', other)
  await roster.send(second, 'subscribed', one)
  await roster.send(second, 'subscribe', one)
  await roster.send(first, 'subscribe', other)
}
