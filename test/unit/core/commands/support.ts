import type { Account } from '../../../../src/core/account.ts'
import type { Host } from '../../../../src/core/host.ts'

/** Hosts of which no more is known than their names; each has an account `al`. */
export function hostsNamed(...names: string[]): Map<string, Host> {
  const hosts = new Map<string, Host>()
  const account = (user: string) => (user === 'al' ? ({ user } as Account) : undefined)
  for (const name of names) hosts.set(name, { name, account, router: { hosts } } as unknown as Host)
  return hosts
}
