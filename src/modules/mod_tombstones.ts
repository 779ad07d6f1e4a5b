import { opt } from '../config/schema.ts'
import { arg, CommandError } from '../core/commands/command.ts'
import { defineModule } from '../core/module.ts'
import { partitionsOf, type TableSpec } from '../storage/store.ts'

/** `[user]`: when the account was removed, ms since 1970. */
const TABLE: TableSpec<number> = { name: 'tombstones', version: 1 }
const SWEEP = 3_600_000

/** Contacts, rooms and services elsewhere go on trusting an address long after its owner has left it. */
export const mod_tombstones = defineModule({
  name: 'mod_tombstones',
  summary: 'Keeps the names of removed accounts from being taken by somebody else.',
  options: {
    tombstone_expiry: opt.duration('60d', 'How long a name is kept.', { min: 1000, infinity: true }),
  },
  start(ctx) {
    const { tombstone_expiry: expiry } = ctx.options
    const table = ctx.table(TABLE)
    ctx.hook('remove_user', ({ user }) => table.put([user.local], [], ctx.now()))
    ctx.hook('name_wanted', { failClosed: true }, async event => {
      const at = await table.get([event.user], [])
      if (at === undefined || at + expiry <= ctx.now()) return
      event.kept ??= 'that name belonged to somebody else not long ago'
    })
    ctx.every(SWEEP, async () => {
      if (expiry === Number.POSITIVE_INFINITY) return
      for await (const key of partitionsOf(table)) {
        const at = await table.get(key, [])
        if (at !== undefined && at + expiry <= ctx.now()) await table.del(key, [])
      }
    })
    ctx.command({
      name: 'delete_tombstone',
      summary: 'Frees the name of an account that was removed.',
      args: { account: arg.account('The address of the account', { exists: false }) },
      async run({ account: { user, jid } }) {
        if ((await table.get([user], [])) === undefined) throw new CommandError('not_found', `${jid} is not kept`)
        await table.del([user], [])
        return `${jid} can be taken now`
      },
    })
    ctx.command({
      name: 'list_tombstones',
      summary: 'Lists the names of removed accounts that are kept from being taken.',
      args: { host: arg.host('The host') },
      returns: { account: 'jid', removed: 'time' },
      async *run() {
        for await (const key of partitionsOf(table)) {
          const removed = await table.get(key, [])
          if (removed !== undefined) yield { account: `${key[0]}@${ctx.host.name}`, removed }
        }
      },
    })
  },
})
