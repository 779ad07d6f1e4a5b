import { opt } from '../config/schema.ts'
import { defineModule } from '../core/module.ts'
import { type Session, Slot } from '../core/session.ts'
import { NS, xml } from '../xml/index.ts'
import { StanzaError, StreamError } from '../xmpp/errors.ts'

/** What is known of a client's silence. */
interface Activity {
  /** When it last sent something, ms since 1970. */
  heard: number
  /** A ping is on its way. */
  asked: boolean
}

const ACTIVITY = new Slot<Activity>('mod_ping')

export const mod_ping = defineModule({
  name: 'mod_ping',
  xep: { number: 199, version: '2.0.1', name: 'XMPP Ping' },
  summary: 'Answers pings, and where configured pings clients that are silent.',
  options: {
    send_pings: opt.bool(false, 'Ping clients that send nothing for `ping_interval`; announced by XEP-0478.'),
    ping_interval: opt.duration('4m', 'Silence after which a client is pinged.', { min: 1000 }),
    timeout: opt.duration('32s', 'How long a client has to answer.', { min: 1000 }),
    timeout_action: opt.oneOf(
      ['none', 'kill'],
      'none',
      'What happens to a client that does not answer: `kill` ends its session, unless it may still be resumed (stream management notices by itself that nobody is there).',
    ),
  },
  start(ctx) {
    ctx.feature(NS.PING, 'server', 'account')
    ctx.iq('server', 'get', NS.PING, 'ping', () => {})
    ctx.iq('account', 'get', NS.PING, 'ping', ({ own, account, from }) => {
      if (own || (account !== undefined && ctx.use('roster')?.isSubscribedFrom(account, from.bare) === true)) return
      throw new StanzaError('service-unavailable') // as of no account: RFC 6121 8.5.1
    })
    if (!ctx.options.send_pings) return

    const { ping_interval: interval, timeout, timeout_action: action } = ctx.options

    // XEP-0478: clients can keep from being asked. Nothing else ends a connection because its client is silent.
    ctx.hook('stream_features', event => {
      if (event.authenticated) event.idle = Math.floor(interval / 1000)
    })

    const fresh = (): Activity => ({ heard: ctx.now(), asked: false })
    const activity = ({ slots }: Session): Activity => slots.ensure(ACTIVITY, fresh)

    ctx.hook('user_send_packet', ({ session }) => {
      activity(session).heard = ctx.now()
    })
    ctx.hook('session_resumed', ({ session }) => {
      activity(session).heard = ctx.now()
    })

    const ping = async (session: Session, state: Activity): Promise<void> => {
      const sent = ctx.now()
      state.asked = true
      const answer = await ctx.request(session.jid, 'get', xml('ping', { xmlns: NS.PING }), timeout)
      state.asked = false
      if (answer !== undefined || state.heard > sent) return
      // No answer long before its time is no silence: the question gave way to newer ones.
      if (ctx.now() - sent < timeout / 2) return
      ctx.log.info({ jid: session.jid.toString() }, 'a client does not answer pings')
      if (action === 'kill' && !session.resumable) session.end(new StreamError('connection-timeout'))
    }

    ctx.every(Math.max(Math.min(interval / 4, 30_000), 250), () => {
      const before = ctx.now() - interval
      for (const session of ctx.host.sessions()) {
        const state = activity(session)
        if (session.connected && !state.asked && state.heard <= before) void ping(session, state)
      }
    })
  },
})
