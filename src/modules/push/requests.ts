import type { Account } from '../../core/account.ts'
import { FIRST, OBSERVE } from '../../core/hooks.ts'
import type { ModuleContext } from '../../core/module.ts'
import type { Stanza } from '../../xmpp/stanza.ts'
import type { PushOptions } from './options.ts'
import type { Registrations } from './registrations.ts'

/** Somebody asks to be a contact (RFC 6121 3.1): the devices of who is away are told, once for each that waits. */
export function hearRequests(ctx: ModuleContext<PushOptions>, registrations: Registrations): void {
  const fresh = new WeakSet<Stanza>()
  const waits = (account: Account, { from }: Stanza): boolean => {
    for (const request of ctx.use('roster')?.requests(account) ?? [])
      if (request.from.bare.equals(from.bare)) return true
    return false
  }
  ctx.hook('presence_in', { order: FIRST }, ({ account, stanza }) => {
    if (stanza.type !== 'subscribe' || registrations.watch(account) === undefined) return
    if (!waits(account, stanza)) fresh.add(stanza)
  })
  // The roster has had its turn: it may have answered by itself, or taken no more.
  ctx.hook('presence_in', { order: OBSERVE }, ({ account, stanza }) => {
    if (fresh.has(stanza) && waits(account, stanza)) registrations.watch(account)?.requested(stanza.from.toString())
  })
}
