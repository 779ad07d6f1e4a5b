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

/** Nobody of this server: presence would reach none of its clients. False where that is not known, as of who is elsewhere. */
export function isAway(router: Router, jid: Jid): boolean {
  const host = router.hosts.get(jid.domain)
  return host !== undefined && host.accounts.get(jid.local)?.isAvailable !== true
}

/** Of no virtual host of this server: of another server, or of a service or a component. What is true of it only they know. */
export function isElsewhere(router: Router, jid: Jid): boolean {
  return !router.hosts.has(jid.domain)
}

/** An account of this server, loaded; undefined if there is none. */
export function accountOf(router: Router, jid: Jid): Account | undefined | Promise<Account | undefined> {
  return router.hosts.get(jid.domain)?.account(jid.local)
}

/** An account of this host, if it is in memory: with clients it is. */
export function inMemory(host: Host, jid: Jid): Account | undefined {
  return jid.domain === host.name ? host.accounts.get(jid.local) : undefined
}
