import { opt } from '../config/schema.ts'
import { arg, CommandError } from '../core/commands/command.ts'
import { defineModule } from '../core/module.ts'
import { parseDuration } from '../util/duration.ts'
import { Jid } from '../xmpp/jid.ts'

/** Removals to come, of one host. */
export interface RemovalService {
  /**
   * Locks the account now, ends its sessions, and removes it after `grace` ms. When that will be, ms since 1970.
   * `banned`: it was locked before, for another reason; looked up unless given.
   */
  schedule(user: string, grace: number, banned?: boolean): Promise<number>
  /** Lets the account in again, unless it was banned before; false if no removal was to come. */
  cancel(user: string): Promise<boolean>
  pending(): Promise<{ user: string; due: number }[]>
  /** As configured, ms. */
  readonly grace: number
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
      await Promise.all([removals.del([user], []), due.del(KEY, [removal.at, user])])
      return removal
    }
    const service: RemovalService = {
      grace: options.grace,
      async schedule(user, grace, given) {
        const before = await forget(user)
        const banned = before?.banned ?? given ?? (await host.users.isDisabled(user))
        const at = ctx.now() + grace
        // In this order: an account that was not locked after all is not removed either.
        await Promise.all([removals.put([user], [], { at, banned }), due.put(KEY, [at, user], true)])
        if (!banned) await host.users.disable(user, REASON)
        return at
      },
      async cancel(user) {
        const removal = await forget(user)
        if (removal?.banned === false) await host.users.enable(user)
        return removal !== undefined
      },
      pending: async () => (await due.scan(KEY)).map(({ ck }) => ({ due: Number(ck[0]), user: String(ck[1]) })),
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

    const of = (account: string): { removals: RemovalService; user: string } => {
      const { local, domain } = Jid.from(account)
      const removals = ctx.host.router.hosts.get(domain)?.services.use('removals')
      if (removals === undefined) throw new CommandError('not_found', `mod_unregister_later does not run on ${domain}`)
      return { removals, user: local }
    }
    ctx.command({
      name: 'unregister_later',
      summary: 'Locks an account now, and removes it with everything in it after a time of grace.',
      args: {
        account: arg.account('The account'),
        grace: arg.text('How long it can be had back, such as 30d; default as configured', { optional: true }),
      },
      example: 'unregister_later alice@localhost 7d',
      async run({ account, grace: text }) {
        const { removals, user } = of(account)
        const grace = text === undefined ? removals.grace : parseDuration(text)
        if (grace === undefined) throw new CommandError('usage', `grace: a duration such as 7d, not "${text}"`)
        const { users } = ctx.host.router.hosts.get(Jid.from(account).domain)!
        if (!(await users.exists(user))) throw new CommandError('not_found', `there is no account ${account}`)
        const at = new Date(await removals.schedule(user, grace)).toISOString()
        return `${account} is locked, and removed at ${at}; to have it back: unregister_cancel ${account}`
      },
    })
    ctx.command({
      name: 'unregister_cancel',
      summary: 'Has an account back that was to be removed.',
      args: { account: arg.account('The account') },
      async run({ account }) {
        const { removals, user } = of(account)
        if (await removals.cancel(user)) return `${account} stays`
        throw new CommandError('not_found', `${account} is not to be removed`)
      },
    })
    ctx.command({
      name: 'unregister_pending',
      summary: 'Lists the accounts of a host that are to be removed.',
      args: { host: arg.host('The host') },
      columns: ['account', 'due'],
      async run({ host: name }) {
        const { removals } = of(`x@${name}`)
        const list = await removals.pending()
        return list.map(({ user, due }) => ({ account: `${user}@${name}`, due: new Date(due).toISOString() }))
      },
    })
  },
})
