import { arg, Changes, defineModule, type Jid, opt, type Session, Stanza, StanzaError, type Told, xml } from 'hermod'

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

    // What is read and then written is changed by one client after the other; and a removal of the account waits for it.
    const changes = new Changes()
    const greet = async ({ account, jid }: Session): Promise<void> => {
      const { user } = account
      const before = (await table.get([user])) ?? { times: 0, at: 0 }
      if (ctx.now() - before.at < pause) return
      const times = before.times + 1
      await table.put([user], [], { times, at: ctx.now() })
      total.value++
      const message = xml('message', { type: 'headline' }, xml('body', {}, `${greeting}, ${user}!`))
      ctx.route(Stanza.make(message, ctx.host.jid, jid))
      ctx.host.hooks.notify('user_greeted', { user: account.jid, times })
    }
    ctx.hook('set_presence', ({ session, initial }) => {
      const { user } = session.account
      if (initial)
        return ctx.host.during(
          user,
          changes.run(user, () => greet(session)),
        )
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
