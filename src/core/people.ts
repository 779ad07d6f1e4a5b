import { childText } from '../xml/index.ts'
import type { Account } from './account.ts'
import type { Host } from './host.ts'

const PAGE = 1000
const AWAY: readonly unknown[] = ['away', 'xa']

/** The accounts of a host. */
export async function* users(host: Host): AsyncGenerator<string> {
  let after: string | undefined
  for (;;) {
    const page = await host.users.list(after, PAGE)
    yield* page
    if (page.length < PAGE) return
    after = page.at(-1)
  }
}

export async function* disabledUsers(host: Host): AsyncGenerator<string> {
  for await (const user of users(host)) if (await host.users.isDisabled(user)) yield user
}

/** With at least one session, also one that waits for its client to come back. */
export function onlineAccounts(host: Host): Account[] {
  return [...host.accounts.values()].filter(account => account.sessions.size > 0)
}

/** Somebody is at one of the clients, as far as their presence says (RFC 6121 4.7.2.1). */
function isActive(account: Account): boolean {
  return account.available().some(({ presence }) => !AWAY.includes(childText(presence!.el, 'show')))
}

/** Available, and nobody is at any of the clients. */
function isIdle(account: Account): boolean {
  return account.available().length > 0 && !isActive(account)
}

async function* onlineUsers(host: Host, which: (account: Account) => boolean): AsyncGenerator<string> {
  for (const account of onlineAccounts(host)) if (which(account)) yield account.user
}

/** Users of a host, by the words of XEP-0133 4.13 to 4.22. */
export const PEOPLE = {
  registered: users,
  disabled: disabledUsers,
  online: (host: Host) => onlineUsers(host, () => true),
  active: (host: Host) => onlineUsers(host, isActive),
  idle: (host: Host) => onlineUsers(host, isIdle),
} as const

export async function count(list: AsyncIterable<unknown>): Promise<number> {
  let number = 0
  for await (const _ of list) number++
  return number
}
