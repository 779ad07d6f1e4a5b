import type { Host } from '../../host.ts'
import { count, disabledUsers, PEOPLE, users } from '../../people.ts'
import { arg, type Command, defineCommand } from '../command.ts'

/** By ejabberd's names. */
const STATS = new Map(Object.entries(PEOPLE).map(([word, people]) => [`${word}users`, people]))

export function peopleCommands(): Command[] {
  return [
    defineCommand({
      name: 'stats_host',
      summary: 'Counts the accounts of a host: all, disabled, online, active (not away), idle.',
      args: { name: arg.text('What to count', { values: [...STATS.keys()] }), host: arg.host('The host') },
      returns: 'int',
      example: 'stats_host onlineusers localhost',
      run: ({ name, host }) => count(STATS.get(name)!(host)),
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
