import { inNetworks } from '../config/access.ts'
import { opt } from '../config/schema.ts'
import type { OwnRequest } from '../core/iq.ts'
import { defineModule } from '../core/module.ts'
import type { ServiceMap } from '../core/services.ts'
import { networkOf } from '../util/address.ts'
import { Attempts } from '../util/attempts.ts'
import { childElements, childText, type Element, findChild, NS, xml } from '../xml/index.ts'
import { StanzaError, StreamError } from '../xmpp/errors.ts'
import { Jid, prepLocal } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'

/** That a client has shown before it logs in (XEP-0445), if it has. */
type Invitation = ReturnType<ServiceMap['invites']['shown']>

/** Times that one invitation may be tried within `window`: nobody finds out with it who has an account here. */
const MAX_INVITED = 100

const RESERVED = [
  'abuse',
  'admin',
  'administrator',
  'hostmaster',
  'info',
  'moderator',
  'noreply',
  'postmaster',
  'root',
  'security',
  'server',
  'support',
  'system',
  'webmaster',
  'xmpp',
]

/** It runs, and accounts can be made by invitation. */
interface RegistrationService {
  /** Passwords, and tokens, are taken over encrypted connections only. */
  readonly requiresTls: boolean
}

declare module '../core/services.ts' {
  interface ServiceMap {
    registration: RegistrationService
  }
}

export const mod_register = defineModule({
  name: 'mod_register',
  xep: {
    number: 77,
    version: '2.4',
    name: 'In-Band Registration',
    partial: 'A name and a password: no other fields, no data form, no redirection; errors have no old codes.',
  },
  summary:
    'Lets users change their passwords and remove their accounts, and, where it is open, strangers make accounts.',
  optional: true,
  options: {
    registration: opt.oneOf(
      ['open', 'closed'],
      'closed',
      'Whether strangers may make accounts. Open servers are found and misused by spammers.',
    ),
    allow_from: opt.list(
      opt.text(undefined, '', {
        pattern: /^[0-9a-fA-F.:]{2,45}(\/\d{1,3})?$/,
        words: 'an address or network such as 10.0.0.0/8',
      }),
      [],
      'Where strangers must come from to make accounts; none given: from anywhere.',
      { example: ['10.0.0.0/8'] },
    ),
    max_per_ip: opt.int(5, 'Accounts that one address (of IPv6, one /64) may try to make within `window`.', {
      min: 1,
      infinity: true,
    }),
    max_changes: opt.int(10, 'Times that a user may try to change the password within `window`.', { min: 1 }),
    window: opt.duration('1h', 'How long an attempt counts.', { min: 1000 }),
    require_tls: opt.bool(true, 'Take passwords over encrypted connections only.'),
    min_username_length: opt.int(2, 'Shortest name of a new account.', { min: 1, max: 100 }),
    max_username_length: opt.int(64, 'Longest name of a new account.', { min: 1, max: 1023 }),
    min_password_length: opt.int(8, 'Shortest password.', { min: 1, max: 1000 }),
    reserved: opt.list(opt.text(undefined, '', { maxLength: 1023 }), RESERVED, 'Names that nobody can take.'),
    instructions: opt.text(
      'Choose a name and a password for the new account.',
      'What people are told who want an account.',
    ),
    removal_grace: opt.duration(
      '0',
      'How long an account that its user removes is only locked, and the operator can have it back (needs mod_unregister_later).',
    ),
    registration_watchers: opt.list(opt.jid(), [], 'Who gets a message about every account that is made.', {
      example: ['admin@localhost'],
    }),
  },
  start(ctx) {
    const { host, options } = ctx
    const { require_tls: requireTls } = options
    const open = options.registration === 'open'
    const reserved = new Set(options.reserved.map(name => prepLocal(name) ?? name))
    const strangers = new Attempts(options.max_per_ip, options.window, ctx.now)
    const holders = new Attempts(MAX_INVITED, options.window, ctx.now)
    const changes = new Attempts(options.max_changes, options.window, ctx.now)
    ctx.feature(NS.REGISTER)

    // ---- strangers, before they log in

    ctx.provide('registration', { requiresTls: requireTls })
    const secret = (secured: boolean): boolean => secured || !requireTls
    const welcome = (ip: string, secured: boolean): boolean =>
      open && secret(secured) && (options.allow_from.length === 0 || inNetworks(options.allow_from, ip))

    ctx.hook('stream_features', ({ features, authenticated, secured, ip }) => {
      if (authenticated) return
      const invited = ctx.use('invites') !== undefined && secret(secured)
      if (invited) features.push(xml('register', { xmlns: NS.IBR_TOKEN }))
      // Clients look for this one also when they have an invitation (XEP-0445 3).
      if (invited || welcome(ip, secured)) features.push(xml('register', { xmlns: NS.REGISTER_FEATURE }))
    })

    const register = async (query: Element, ip: string, invitation: Invitation): Promise<void> => {
      const name = childText(query, 'username') ?? ''
      const password = childText(query, 'password') ?? ''
      if (name === '' || password === '')
        throw new StanzaError('not-acceptable', 'both a name and a password are needed')
      const may = invitation === undefined ? strangers.allow(networkOf(ip)) : holders.allow(invitation.token)
      if (!may) throw tooMany()
      const user = prepLocal(name)
      if (user === undefined) throw new StanzaError('not-acceptable', 'that cannot be the name of an account')
      checkName(user, invitation)
      checkPassword(password)
      const kept = await host.nameKept(user, invitation?.token)
      if (kept !== undefined) throw new StanzaError('conflict', kept)
      const make = async (): Promise<Jid> => {
        if (!(await tried(() => host.users.create(user, password)))) throw taken()
        const jid = Jid.of(user, host.name)
        ctx.log.info({ user, ip, invited: invitation !== undefined }, 'somebody made an account')
        await host.hooks.run('register_user', { user: jid })
        return jid
      }
      if (invitation === undefined) await make()
      else await ctx.use('invites')!.redeem(invitation, make)
      watched(user, ip)
    }

    const checkName = (user: string, invitation: Invitation): void => {
      if (invitation?.username !== undefined) {
        if (user === invitation.username) return // whoever made the invitation chose it
        throw new StanzaError('not-acceptable', `the invitation is for the name ${invitation.username}`)
      }
      const { min_username_length: min, max_username_length: max } = options
      if (user.length < min || user.length > max) {
        throw new StanzaError('not-acceptable', `a name has ${min} to ${max} characters`)
      }
      // An administrator whose account is not made yet is not whoever comes first.
      const jid = Jid.of(user, host.name)
      const isAdmin = ctx.named('admin').some(text => Jid.parse(text)?.equals(jid) === true)
      if (reserved.has(user) || isAdmin) throw taken()
    }

    const watched = (user: string, ip: string): void => {
      const body = `The account ${user}@${host.name} was made from ${ip}.`
      for (const watcher of options.registration_watchers) {
        const to = Jid.parse(watcher)
        const message = xml('message', { type: 'normal', id: host.ids.random() }, xml('body', {}, body))
        if (to !== undefined) ctx.route(Stanza.make(message, host.jid, to))
      }
    }

    ctx.hook('unauthenticated_iq', async event => {
      const { stanza, ip, secured, stream } = event
      const query = stanza.payload
      if (event.answer !== undefined || query === undefined || !query.is('query', NS.REGISTER)) return
      if (!stanza.isRequest) return
      try {
        const invites = ctx.use('invites')
        const invitation = secret(secured) ? invites?.shown(stream) : undefined
        if (invitation === undefined) {
          if (!open && invites === undefined) throw new StanzaError('service-unavailable')
          if (!open) throw new StanzaError('not-allowed', 'an invitation is needed to make an account here')
          if (!welcome(ip, secured))
            throw new StanzaError('not-allowed', 'accounts cannot be made from here, or not without TLS')
        }
        if (stanza.type === 'set') await register(query, ip, invitation)
        event.answer = stanza.result(
          stanza.type === 'get' ? form(options.instructions, invitation?.username) : undefined,
        )
      } catch (error) {
        if (!(error instanceof StanzaError)) throw error
        event.answer = stanza.error(error)
      }
    })

    // ---- users, about their own accounts

    const checkPassword = (password: string): void => {
      if (password.length < options.min_password_length) {
        throw new StanzaError('not-acceptable', `a password has ${options.min_password_length} characters or more`)
      }
    }

    const changePassword = async ({ account, session, payload: query }: OwnRequest): Promise<void> => {
      const password = childText(query, 'password') ?? ''
      if (prepLocal(childText(query, 'username') ?? '') !== account.user) {
        throw new StanzaError('bad-request', 'that is not your name') // XEP-0077 3.3
      }
      checkPassword(password)
      if (!changes.allow(account.user)) throw tooMany()
      await tried(() => host.users.setPassword(account.user, password, session))
    }

    /** The result goes out before the session ends (XEP-0077 3.2). */
    const removeAccount = async ({ account, session, stanza }: OwnRequest): Promise<void> => {
      // Nobody logs in while it goes; and if the store is in trouble, it is known before the user is told that all went well.
      await host.users.disable(account.user, 'is being removed', session)
      session.deliver(stanza.result())
      session.end(new StreamError('not-authorized', 'the account was removed'))
      const removals = options.removal_grace > 0 ? ctx.use('removals') : undefined
      if (removals === undefined) await host.removeAccount(account.user)
      else await removals.schedule(account.user, options.removal_grace, false)
    }

    const asked = ({ account }: OwnRequest): Element =>
      xml('query', { xmlns: NS.REGISTER }, xml('registered'), xml('username', {}, account.user), xml('password'))

    const told = (request: OwnRequest): Promise<void> => {
      const { session, payload } = request
      if (requireTls && session.info.tls === undefined) throw new StanzaError('not-allowed', 'only over TLS')
      if (findChild(payload, 'remove') === undefined) return changePassword(request)
      if (childElements(payload).length > 1) throw new StanzaError('bad-request')
      return removeAccount(request)
    }

    // XEP-0077 3.2 and 3.3: clients address their server.
    ctx.iq('own', 'get', NS.REGISTER, 'query', asked, { atHost: true })
    ctx.iq('own', 'set', NS.REGISTER, 'query', told, { atHost: true, removes: true })
  },
})

function form(instructions: string, username: string | undefined): Element {
  return xml(
    'query',
    { xmlns: NS.REGISTER },
    xml('instructions', {}, instructions),
    xml('username', {}, username),
    xml('password'),
  )
}

function taken(): StanzaError {
  return new StanzaError('conflict', 'that name is taken')
}

function tooMany(): StanzaError {
  return new StanzaError('resource-constraint', 'too many attempts; try again later')
}

/** What is wrong with a name or password is for whoever sent it; too much work at once is a matter of time. */
async function tried<T>(change: () => Promise<T>): Promise<T> {
  try {
    return await change()
  } catch (error) {
    if (!(error instanceof Error)) throw error
    if (error.name === 'CredentialError') throw new StanzaError('not-acceptable', error.message)
    if (error.name === 'BusyError') throw tooMany()
    throw error
  }
}
