import { arg, type Command, CommandError, defineCommand } from '../../core/commands/command.ts'
import type { Host } from '../../core/host.ts'
import { accountNamed } from '../../core/people.ts'
import { TABLE } from './registration.ts'

declare module '../../core/services.ts' {
  interface ServiceMap {
    push: PushService
  }
}

export interface PushService {
  /** Forgets devices that were last enabled before this moment (ms since 1970); says how many. */
  deleteOld(before: number): Promise<number>
}

export function pushCommands(host: Host): Command[] {
  return [
    defineCommand({
      name: 'get_push_sessions',
      summary: 'Lists the devices of an account that are notified through push services.',
      args: { account: arg.account('The account') },
      columns: ['service', 'node', 'resource', 'enabled'],
      example: 'get_push_sessions alice@localhost',
      async run({ account }) {
        const { host: at, user } = await accountNamed(host.router, account)
        const rows = await at.store.table(at.name, TABLE).scan([user])
        return rows.map(({ ck, value }) => ({
          service: String(ck[0]),
          node: String(ck[1]),
          resource: value.resource,
          enabled: new Date(value.at).toISOString(),
        }))
      },
    }),
    defineCommand({
      name: 'delete_old_push_sessions',
      summary:
        'Forgets devices that have not enabled push notifications for so many days, and says how many those were.',
      args: { days: arg.int('Days') },
      example: 'delete_old_push_sessions 365',
      async run({ days }) {
        if (days < 1) throw new CommandError('usage', 'at least 1 day')
        let count = 0
        for (const at of host.router.hosts.values()) {
          count += (await at.services.use('push')?.deleteOld(host.now() - days * 86_400_000)) ?? 0
        }
        return count
      },
    }),
  ]
}
