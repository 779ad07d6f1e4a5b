import { opt } from '../config/schema.ts'
import { arg, CommandError } from '../core/commands/command.ts'
import { defineModule } from '../core/module.ts'

/** Removals to come, of one host. */
interface RemovalService {
  /**
   * Locks the account now, ends its sessions, and removes it after `grace` ms. When that will be, ms since 1970.
   * `banned`: it was locked before, for another reason; looked up unless given.
   */
  schedule(user: string, grace: number, banned?: boolean): Promise<number>
}

declare module '../core/services.ts' {
  interface ServiceMap {
    removals: RemovalService
  }
}

interface Removal {
  /** When, ms since 1970. */
  at: number
  /** It was locked before: it stays so if it is had back. */
  banned: boolean
}

const REASON = 'is to be removed'
const KEY = ['due']

export const mod_unregister_later = defineModule({
  name: 'mod_unregister_later',
  summary: 'Removes accounts after a time of grace in which they are locked and can be had back.',
  options: {
    grace: opt.duration('30d', 'How long a locked account can be had back.', { min: 1000 }),
    check_interval: opt.duration('1m', 'How often it is looked for accounts whose time is over.', { min: 10 }),
  },
  start(ctx) {
    const { host, options } = ctx
    /** `['due']` x `[time, user]` */
    const due = ctx.table<true>({ name: 'removals_due' })
    /** `[user]` */
    const removals = ctx.table<Removal>({ name: 'removals' })

    const forget = async (user: string): Promise<Removal | undefined> => {
      const removal = await removals.get([user], [])
      if (removal === undefined) return undefined
      await ctx.commit([removals.delOp([user]), due.delOp(KEY, [removal.at, user])])
      return removal
    }
    const service: RemovalService = {
      async schedule(user, grace, given) {
        const before = await forget(user)
        const banned = before?.banned ?? given ?? (await host.users.isDisabled(user))
        const at = ctx.now() + grace
        // In this order: an account that was not locked after all is not removed either.
        await ctx.commit([removals.putOp([user], [], { at, banned }), due.putOp(KEY, [at, user], true)])
        if (!banned) await host.users.disable(user, REASON)
        return at
      },
    }
    ctx.provide('removals', service)
    ctx.hook('remove_user', async ({ user }) => void (await forget(user.local)))
    ctx.every(options.check_interval, async () => {
      for (const { ck } of await due.scan(KEY, { lte: [ctx.now()], limit: 100 })) {
        const user = String(ck[1])
        // Somebody has let it in again: then it stays.
        if (!(await host.users.isDisabled(user))) await forget(user)
        else if (await host.removeAccount(user)) ctx.log.info({ user }, 'an account was removed as planned')
        else await forget(user)
      }
    })

    ctx.command({
      name: 'unregister_later',
      summary: 'Locks an account now, and removes it with everything in it after a time of grace.',
      args: {
        account: arg.account('The account'),
        grace: arg.duration('How long it can be had back, such as 30d; default as configured', { optional: true }),
      },
      example: 'unregister_later alice@localhost 7d',
      async run({ account: { user, jid }, grace = options.grace }) {
        const at = new Date(await service.schedule(user, grace)).toISOString()
        return `${jid} is locked, and removed at ${at}; to have it back: unregister_cancel ${jid}`
      },
    })
    ctx.command({
      name: 'unregister_cancel',
      summary: 'Has an account back that was to be removed.',
      args: { account: arg.account('The account', { exists: false }) },
      async run({ account: { user, jid } }) {
        const removal = await forget(user)
        if (removal === undefined) throw new CommandError('not_found', `${jid} is not to be removed`)
        // What was banned before stays so.
        if (!removal.banned) await host.users.enable(user)
        return `${jid} stays`
      },
    })
    ctx.command({
      name: 'unregister_pending',
      summary: 'Lists the accounts of a host that are to be removed.',
      args: { host: arg.host('The host') },
      returns: { account: 'jid', due: 'time' },
      run: async () =>
        (await due.scan(KEY)).map(({ ck: [at, user] }) => ({ account: `${user}@${host.name}`, due: Number(at) })),
    })
  },
})
