import { opt } from '../config/schema.ts'
import type { Account } from '../core/account.ts'
import { FILTER, STOP } from '../core/hooks.ts'
import { defineModule } from '../core/module.ts'
import { Slot } from '../core/session.ts'
import { Weighed } from '../util/weighed.ts'
import { findChild } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { Stanza } from '../xmpp/stanza.ts'

/** Addresses that the user wrote to, or went to (rooms), lately: they may answer. */
const KNOWN = new Slot<Weighed<string, true>>('addresses written to')
const MAX_KNOWN = 200
/** Characters of them. */
const MAX_TEXT = 16 * 1024

export const mod_block_strangers = defineModule({
  name: 'mod_block_strangers',
  summary: 'Keeps messages from people who are not contacts from users.',
  optional: true,
  options: {
    access: opt.access('none', 'Strangers whose messages get through all the same.'),
    allow_local_users: opt.bool(true, 'Users of this server are no strangers.'),
    allow_transports: opt.bool(true, 'Servers and gateways themselves are no strangers.'),
    drop: opt.bool(
      false,
      'Drop their messages silently. Otherwise strangers get the answer that they would get if there were no such account.',
    ),
    log: opt.bool(false, 'Log what is blocked.'),
  },
  start(ctx) {
    const { options } = ctx
    const blocked = ctx.counter('strangers_blocked_total', 'Messages of strangers that were blocked')

    const isStranger = (account: Account, from: Jid): boolean => {
      const roster = ctx.use('roster')
      if (from.bare.equals(account.jid) || from.bare.equals(ctx.host.jid) || roster === undefined) return false
      if (options.allow_local_users && ctx.host.router.hosts.has(from.domain)) return false
      if (options.allow_transports && from.local === '') return false
      if (roster.isSubscribedTo(account, from) || roster.isSubscribedFrom(account, from)) return false
      if (account.slots.get(KNOWN)?.get(from.bare.toString()) !== undefined) return false
      return !ctx.allowed(options.access, from)
    }

    ctx.hook('user_send_packet', ({ session, stanza }) => {
      const { to } = stanza
      if (to === undefined || !makesKnown(stanza)) return
      const known = session.account.slots.ensure(KNOWN, () => new Weighed<string, true>(MAX_KNOWN, MAX_TEXT))
      const key = to.bare.toString()
      known.set(key, true, key.length)
    })
    ctx.hook('deliver_message', { order: FILTER, failClosed: true }, ({ account, stanza }) => {
      // What has no text annoys nobody; errors and rooms answer to what the user did.
      if (stanza.type === 'error' || stanza.type === 'groupchat' || findChild(stanza.el, 'body') === undefined) return
      if (!isStranger(account, stanza.from)) return
      blocked.value++
      if (options.log) {
        ctx.log.info({ user: account.user, from: stanza.from.toString() }, 'a message of a stranger was blocked')
      }
      if (options.drop || stanza.type === 'headline') return STOP
      throw new StanzaError('service-unavailable')
    })
  },
})

/** The user turns to somebody: a message, a subscription, going into a room. */
function makesKnown({ kind, type }: Stanza): boolean {
  if (kind === 'message') return type !== 'error'
  return kind === 'presence' && (type === 'available' || type === 'subscribe' || type === 'subscribed')
}
