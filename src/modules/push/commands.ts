import { arg, type Command, defineCommand } from '../../core/commands/command.ts'
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
      args: { days: arg.int('Days', { min: 1 }), host: arg.host('Only of this host', { optional: true }) },
      returns: 'int',
      example: 'delete_old_push_sessions 365',
      run: ({ days }) => registrations.deleteOld(now() - days * 86_400_000),
    }),
  ]
}
