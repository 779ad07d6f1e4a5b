import { arg, defineModule, type Jid, opt, Stanza, StanzaError, type Told, xml } from 'hermod'

const NS = 'urn:example:hello'

/** How often a user was greeted, and when last (ms since 1970). */
interface Greeted {
  times: number
  at: number
}

declare module 'hermod' {
  interface HookMap {
    /** A user was greeted. */
    user_greeted: Told<{ user: Jid; times: number }>
  }
  interface ServiceMap {
    hello: { greeted(user: string): Promise<number> }
  }
}

/** Greets users when they come online, now and then, and whoever asks `<hello xmlns='urn:example:hello' name='Alice'/>`. */
export const hello = defineModule({
  name: 'mod_hello',
  summary: 'Greets users.',
  options: {
    greeting: opt.text('Hello', 'The word before the name.'),
    pause: opt.duration('1d', 'How long a user who was greeted is not greeted again.'),
  },
  start(ctx) {
    const { greeting, pause } = ctx.options
    const total = ctx.counter('hello_total', 'Greetings given')
    const table = ctx.userTable<Greeted>({ name: 'hello' })

    ctx.feature(NS)
    ctx.iq('server', 'get', NS, 'hello', ({ payload }) => {
      const { name } = payload.attrs
      if (name === undefined) throw new StanzaError('bad-request', 'whom to greet is missing: name')
      total.value++
      return xml('hello', { xmlns: NS }, `${greeting}, ${name}!`)
    })

    ctx.hook('set_presence', async ({ session, initial }) => {
      if (!initial) return
      const { user, jid } = session.account
      const before = (await table.get([user])) ?? { times: 0, at: 0 }
      if (ctx.now() - before.at < pause) return
      const times = before.times + 1
      await table.put([user], [], { times, at: ctx.now() })
      total.value++
      const message = xml('message', { type: 'headline' }, xml('body', {}, `${greeting}, ${user}!`))
      ctx.route(Stanza.make(message, ctx.host.jid, session.jid))
      ctx.host.hooks.notify('user_greeted', { user: jid, times })
    })

    const greeted = async (user: string): Promise<number> => (await table.get([user]))?.times ?? 0
    ctx.provide('hello', { greeted })
    ctx.command({
      name: 'greeted',
      summary: 'Says how often a user was greeted.',
      args: { account: arg.account('The user') },
      returns: 'int',
      run: ({ account }) => greeted(account.user),
    })
  },
})
