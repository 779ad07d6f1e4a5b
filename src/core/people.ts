import { childText } from '../xml/index.ts'
import { Jid } from '../xmpp/jid.ts'
import type { Account } from './account.ts'
import { CommandError } from './commands/command.ts'
import { accountOf } from './directory.ts'
import type { Host } from './host.ts'
import type { Router } from './router.ts'

const PAGE = 1000

/** The accounts of a host, in order of their names. */
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

/** The account that an argument of a command names, of whatever host it is; rejects with a CommandError if there is none. */
export async function accountNamed(router: Router, text: string): Promise<Account> {
  const jid = Jid.from(text)
  const account = await accountOf(router, jid)
  if (account === undefined) throw noAccount(jid)
  return account
}

export function noAccount(jid: Jid): CommandError {
  return new CommandError('not_found', `there is no account ${jid}`)
}

/** With at least one session, also one that waits for its client to come back. */
export function onlineAccounts(host: Host): Account[] {
  return [...host.accounts.values()].filter(account => account.sessions.size > 0)
}

/** Somebody is at one of the clients, as far as their presence says (RFC 6121 4.7.2.1). */
export function isActive(account: Account): boolean {
  return account.available().some(({ presence }) => !isAway(childText(presence!.el, 'show')))
}

/** Available, and nobody is at any of the clients. */
export function isIdle(account: Account): boolean {
  return account.available().length > 0 && !isActive(account)
}

function isAway(show: string | undefined): boolean {
  return show === 'away' || show === 'xa'
}

export async function count(list: AsyncIterable<unknown>): Promise<number> {
  let number = 0
  for await (const _ of list) number++
  return number
}
