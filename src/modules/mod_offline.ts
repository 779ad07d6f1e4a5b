import { opt } from '../config/schema.ts'
import type { Account } from '../core/account.ts'
import { defineModule } from '../core/module.ts'
import { Slot } from '../core/session.ts'
import { NS } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'

/** Messages that wait for an account nobody is at; undefined while they are being counted. */
interface Count {
  waiting: number | undefined
}

const COUNT = new Slot<Count>('mod_offline')

export const mod_offline = defineModule({
  name: 'mod_offline',
  xep: [
    { number: 160, version: '1.0.1' },
    { number: 203, version: '2.0' },
  ],
  summary: 'Limits how many messages wait for a user who is away; beyond that, senders get an error.',
  options: {
    max_user_messages: opt.int(10_000, 'Messages that may wait for one user.', { min: 1, infinity: true }),
  },
  start(ctx) {
    const { max_user_messages: max } = ctx.options
    ctx.feature(NS.MSGOFFLINE)
    if (!Number.isFinite(max)) return

    const begin = (account: Account): Count => {
      const count: Count = { waiting: undefined }
      account.slots.set(COUNT, count)
      // In a moment, when the message that waits first is among them.
      const counted = Promise.resolve().then(() => ctx.host.queued(account.user))
      counted.then(
        waiting => {
          count.waiting = waiting
        },
        () => {
          if (account.slots.get(COUNT) === count) account.slots.delete(COUNT)
        },
      )
      return count
    }

    ctx.hook('offline_message', ({ account }) => {
      const count = account.slots.get(COUNT) ?? begin(account)
      // What comes while they are being counted is kept: a look at the store is all that takes.
      if (count.waiting === undefined) return
      if (count.waiting >= max) throw new StanzaError('service-unavailable', 'too many messages wait for this user')
      count.waiting++
    })
    // A session takes messages away: counted again when the next one has to wait.
    const forget = ({ session }: { session: { account: Account } }): void => session.account.slots.delete(COUNT)
    ctx.hook('session_opened', forget)
    ctx.hook('session_closed', forget)
    ctx.hook('message_delivered', ({ account, sessions }) => {
      if (sessions.length > 0) account.slots.delete(COUNT)
    })
  },
})
