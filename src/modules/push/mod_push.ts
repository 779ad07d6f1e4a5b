import { OBSERVE, STOP } from '../../core/hooks.ts'
import { defineModule } from '../../core/module.ts'
import type { Session } from '../../core/session.ts'
import { findChild, findChildren, NS } from '../../xml/index.ts'
import { pushCommands } from './commands.ts'
import { queuedNotice } from './notice.ts'
import { options } from './options.ts'
import { readWish } from './registration.ts'
import { Registrations, WATCH } from './registrations.ts'
import { hearRequests } from './requests.ts'
import { hearRooms } from './rooms.ts'

export const mod_push = defineModule({
  name: 'mod_push',
  xep: {
    number: 357,
    version: '0.4.1',
    name: 'Push Notifications',
    partial: 'The operator, not each user, decides what notifications tell.',
  },
  summary: 'Has phones woken, through the push service of their app, for messages that no client has acknowledged.',
  options,
  async start(ctx) {
    const registrations = new Registrations(ctx)
    ctx.feature(NS.PUSH, 'account')
    ctx.feature(NS.PUSH_PRIORITY, 'account')
    await ctx.perAccount(WATCH, account => registrations.load(account))
    ctx.hook('account_unload', ({ account }) => registrations.unload(account))
    ctx.hook('device_revoked', ({ user, id }) => registrations.revoked(user, id))
    ctx.onStop(() => {
      for (const account of ctx.host.accounts.values()) registrations.unload(account)
    })
    for (const command of pushCommands(registrations, ctx.now)) ctx.command(command)

    ctx.iq('own', 'set', NS.PUSH, 'enable', async ({ account, session, payload }) => {
      await registrations.enable(account, session, readWish(payload))
    })
    ctx.iq('own', 'set', NS.PUSH, 'disable', async ({ account, payload }) => {
      const { jid, node } = readWish(payload)
      await registrations.disable(account, jid, node)
    })
    // XEP-0357 8: the service no longer lets us publish.
    ctx.hook('deliver_message', ({ account, stanza }) => {
      if (registrations.watch(account) === undefined) return
      const pubsub = findChild(stanza.el, 'pubsub', NS.PUBSUB)
      const node = pubsub?.attrs['node']
      if (pubsub === undefined || node === undefined) return
      const ours = (to: string | undefined) => to === account.jid.toString() || to === ctx.host.name
      const ended = findChildren(pubsub, 'affiliation', NS.PUBSUB).some(
        ({ attrs }) => attrs['affiliation'] === 'none' && ours(attrs['jid']),
      )
      if (ended && registrations.has(account, stanza.from, node)) {
        registrations.disable(account, stanza.from, node).catch((error: unknown) => {
          ctx.log.warn({ err: error, user: account.user }, 'a device could not be forgotten')
        })
        return STOP
      }
    })

    ctx.hook('message_delivered', { order: OBSERVE }, ({ account, stanza, sessions }) => {
      const watch = registrations.watch(account)
      const notice = watch && queuedNotice(stanza, account.jid.toString())
      if (notice?.id !== undefined) watch!.delivered(notice.id, notice, sessions)
    })
    ctx.hook('message_acknowledged', ({ account, entry }) => registrations.watch(account)?.acknowledged(entry.id))

    hearRequests(ctx, registrations)
    hearRooms(ctx, registrations)
    const keep = (session: Session): void => {
      if (ctx.options.resume_timeout > 0 && registrations.uses(session)) session.keepFor(ctx.options.resume_timeout)
    }
    for (const session of ctx.host.sessions()) if (!session.connected) keep(session)
    ctx.hook('session_restored', ({ session }) => keep(session))
    ctx.hook('session_detached', ({ session }) => {
      keep(session)
      registrations.watch(session.account)?.lost()
    })
    ctx.hook('session_closed', ({ session, reason }) => {
      // The clients of a server that stops come back by themselves; what they do not take is told after the start.
      if (reason !== 'system-shutdown') registrations.watch(session.account)?.lost()
    })

    if (!ctx.options.wake_on_start) return
    // Clients that have waited for the start come first.
    const wake = setTimeout(() => {
      void ctx.aside(registrations.wakeAll(), 'not all devices could be woken')
    }, ctx.options.ack_timeout)
    wake.unref()
    ctx.onStop(() => clearTimeout(wake))
  },
})
