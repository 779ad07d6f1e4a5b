import type { Host } from '../../host.ts'
import { count, disabledUsers, isActive, isIdle, onlineAccounts, users } from '../../people.ts'
import { arg, type Command, defineCommand } from '../command.ts'

const STATS: Readonly<Record<string, (host: Host) => number | Promise<number>>> = {
  registeredusers: host => count(users(host)),
  disabledusers: host => count(disabledUsers(host)),
  onlineusers: host => onlineAccounts(host).length,
  activeusers: host => onlineAccounts(host).filter(isActive).length,
  idleusers: host => onlineAccounts(host).filter(isIdle).length,
}

export function peopleCommands(): Command[] {
  return [
    defineCommand({
      name: 'stats_host',
      summary: 'Counts the accounts of a host: all, disabled, online, active (not away), idle.',
      args: { name: arg.text('What to count', { values: Object.keys(STATS) }), host: arg.host('The host') },
      returns: 'int',
      example: 'stats_host onlineusers localhost',
      run: ({ name, host }) => STATS[name]!(host),
    }),
    defineCommand({
      name: 'registered_users',
      summary: 'Lists the accounts of a host.',
      args: { host: arg.host('The host') },
      returns: { account: 'jid' },
      run: ({ host }) => listed(host, users(host)),
    }),
    defineCommand({
      name: 'list_banned',
      summary: 'Lists the accounts of a host that cannot log in.',
      args: { host: arg.host('The host') },
      returns: { account: 'jid' },
      run: ({ host }) => listed(host, disabledUsers(host)),
    }),
  ]
}

async function* listed({ name }: Host, users: AsyncIterable<string>): AsyncGenerator<{ account: string }> {
  for await (const user of users) yield { account: `${user}@${name}` }
}
