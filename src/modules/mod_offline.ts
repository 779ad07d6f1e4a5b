import { opt } from '../config/schema.ts'
import type { Account } from '../core/account.ts'
import { defineModule } from '../core/module.ts'
import { Slot, takesMessages } from '../core/session.ts'
import { NS } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'

/** What waits for an account that takes nothing now; undefined while it is counted. */
interface Count {
  waiting: { messages: number; bytes: number } | undefined
  /** When it was begun (ms since 1970). */
  readonly at: number
}

const COUNT = new Slot<Count>('mod_offline')
/** The part of what may wait that is for contacts alone: no stranger keeps their messages out. */
const RESERVED = 1 / 4
/** How long (ms) a count is good for while a session takes messages away. */
const FRESH = 10_000

const options = {
  max_user_messages: opt.int(
    10_000,
    'Messages that may wait for one user; the last quarter is for those of contacts.',
    { min: 1, infinity: true },
  ),
  max_user_bytes: opt.size(
    '100 MiB',
    'Bytes of messages that may wait for one user; the last quarter is for those of contacts.',
    { min: 10_000, infinity: true },
  ),
}

export const mod_offline = defineModule({
  name: 'mod_offline',
  xep: { number: 160, version: '1.0.1', name: 'Best Practices for Handling Offline Messages' },
  summary: 'Limits how many messages wait for a user who is away, or takes none; beyond that, senders get an error.',
  options,
  start(ctx) {
    const most = { messages: ctx.options.max_user_messages, bytes: ctx.options.max_user_bytes }
    ctx.feature(NS.MSGOFFLINE)
    if (!Number.isFinite(most.messages) && !Number.isFinite(most.bytes)) return

    const begin = (account: Account): Count => {
      const count: Count = { waiting: undefined, at: ctx.now() }
      account.slots.set(COUNT, count)
      // In a moment, when the message that waits first is among them.
      const counted = Promise.resolve().then(() => ctx.host.queues.waiting(account.user, most))
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

    const isStranger = (account: Account, from: Jid): boolean => {
      const roster = ctx.use('roster')
      if (roster === undefined || from.bare.equals(ctx.host.jid)) return false
      return !roster.isSubscribedFrom(account, from) && !roster.isSubscribedTo(account, from)
    }
    const forStrangers = { messages: withoutReserve(most.messages), bytes: withoutReserve(most.bytes) }

    ctx.hook('offline_message', ({ account, stanza }) => {
      const count = account.slots.get(COUNT) ?? begin(account)
      // What comes while they are being counted is kept: a look at the store is all that takes.
      if (count.waiting === undefined) return
      const { messages, bytes } = count.waiting
      const isFull = messages >= forStrangers.messages || bytes >= forStrangers.bytes
      if (!isFull) return
      if (messages < most.messages && bytes < most.bytes && !isStranger(account, stanza.from)) return
      // Whoever is there takes them away meanwhile.
      if (account.queue.behind && ctx.now() - count.at > FRESH) {
        begin(account)
        return
      }
      throw new StanzaError('service-unavailable', 'too many messages wait for this user')
    })
    // A session takes messages away: counted again when the next one has to wait.
    const forget = ({ session }: { session: { account: Account } }): void => session.account.slots.delete(COUNT)
    ctx.hook('session_opened', forget)
    ctx.hook('session_closed', forget)
    ctx.hook('message_delivered', ({ account, stanza, sessions }) => {
      if (sessions.length > 0 && !account.queue.behind) {
        // What went to a client that takes nothing for the account took nothing away.
        if (sessions.some(takesMessages)) account.slots.delete(COUNT)
        return
      }
      const waiting = account.slots.get(COUNT)?.waiting
      if (waiting === undefined) return
      waiting.messages++
      waiting.bytes += stanza.toString().length
    })
  },
})

function withoutReserve(most: number): number {
  return Number.isFinite(most) ? most - Math.floor(most * RESERVED) : most
}
