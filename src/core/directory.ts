import type { Jid } from '../xmpp/jid.ts'
import type { Account } from './account.ts'
import type { Host } from './host.ts'
import type { Router } from './router.ts'
import type { Session } from './session.ts'

/*
 * What is asked of an account by others than itself: its contacts, administrators, whoever writes to it. Nobody else looks
 * into the memory of somebody else's account; where an account lives on another node, these are the questions to that node.
 * What is a value or a promise is awaited already; what comes at once does so for the order of stanzas.
 */

/** The sessions of an account of this server; none where nobody is there. */
export function sessionsOf(router: Router, jid: Jid): Iterable<Session> {
  return router.hosts.get(jid.domain)?.accounts.get(jid.local)?.sessions.values() ?? []
}

/** The session with this full address. */
export function sessionOf(router: Router, jid: Jid): Session | undefined {
  return router.hosts.get(jid.domain)?.accounts.get(jid.local)?.sessions.get(jid.resource)
}

/** Whether one of its clients is available. */
export function isAvailable(router: Router, jid: Jid): boolean {
  for (const session of sessionsOf(router, jid)) if (session.presence !== undefined) return true
  return false
}

/** An account of this server, loaded; undefined if there is none. */
export function accountOf(router: Router, jid: Jid): Account | undefined | Promise<Account | undefined> {
  return router.hosts.get(jid.domain)?.account(jid.local)
}

/** Who writes to an account of the same host; undefined where that is nobody, or somebody who has left meanwhile. */
export function senderOf(host: Host, from: Jid): Account | undefined {
  return from.domain === host.name ? host.accounts.get(from.local) : undefined
}
