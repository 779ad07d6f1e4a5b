import { arg, type Command, CommandError, defineCommand } from '../../core/commands/command.ts'
import type { Registrations } from './registrations.ts'

export function pushCommands(registrations: Registrations, now: () => number): Command[] {
  return [
    defineCommand({
      name: 'get_push_sessions',
      summary: 'Lists the devices of an account that are notified through push services.',
      args: { account: arg.account('The account') },
      returns: { service: 'jid', node: 'text', resource: 'text', enabled: 'time' },
      example: 'get_push_sessions alice@localhost',
      async run({ account }) {
        const rows = await registrations.table.scan([account.user])
        return rows.map(({ ck: [service, node], value: { resource, at } }) => ({
          service: String(service),
          node: String(node),
          resource,
          enabled: at,
        }))
      },
    }),
    defineCommand({
      name: 'delete_old_push_sessions',
      summary:
        'Forgets devices that have not enabled push notifications for so many days, and says how many those were.',
      args: { days: arg.int('Days'), host: arg.host('Only of this host', { optional: true }) },
      returns: 'int',
      example: 'delete_old_push_sessions 365',
      run({ days }) {
        if (days < 1) throw new CommandError('usage', 'at least 1 day')
        return registrations.deleteOld(now() - days * 86_400_000)
      },
    }),
  ]
}
