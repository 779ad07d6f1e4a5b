import { opt } from '../../config/schema.ts'
import type { Account } from '../../core/account.ts'
import { answerOf, cannotBeDone, formStage } from '../../core/adhoc.ts'
import { Changes } from '../../core/changes.ts'
import { accountOf } from '../../core/directory.ts'
import { FILTER, STORE } from '../../core/hooks.ts'
import { defineModule, type ModuleContext } from '../../core/module.ts'
import { isTrue } from '../../util/text.ts'
import { findChild, NS } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { Jid, prepLocal } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'
import { inviteCommands } from './commands.ts'
import { type Invite, Invites } from './invites.ts'
import { inviteForm, inviteUri, landingPage } from './links.ts'

/** An invitation that a stream has shown before logging in (XEP-0445). */
interface ShownInvitation {
  readonly token: string
  /** The name that the account must have. */
  readonly username: string | undefined
}

/** For who makes accounts. */
interface InvitesService {
  shown(stream: object): ShownInvitation | undefined
  /**
   * Runs `make`, which makes an account, on the strength of an invitation. That is used up only when `make` has succeeded;
   * StanzaError if it was used up meanwhile.
   */
  redeem(invitation: ShownInvitation, make: () => Promise<Jid>): Promise<void>
}

/** What the administration of invitations needs. */
export interface InviteMaker {
  readonly invites: Invites
  /** Accounts can be made with them. */
  makesAccounts(): boolean
  uriOf(token: string, invite: Invite): string
  landingOf(token: string, invite: Invite): string | undefined
  /** Throws StanzaError where a name cannot become an account. */
  checkName(user: string): Promise<void>
}

declare module '../../core/services.ts' {
  interface ServiceMap {
    invites: InvitesService
  }
}

/** Tokens that one stream may try. */
const MAX_TRIES = 5

export const mod_invites = defineModule({
  name: 'mod_invites',
  xep: [
    {
      number: 401,
      version: '0.6.0',
      name: 'Ad-hoc Account Invitation Generation',
      partial: 'The landing page is the operator’s: the server names it, and has none.',
    },
    { number: 445, version: '0.2.0', name: 'Pre-Authenticated In-Band Registration' },
    { number: 379, version: '0.3.3', name: 'Pre-Authenticated Roster Subscription' },
  ],
  summary: 'Lets users invite contacts, and who may, new users, by links.',
  options: {
    access: opt.access('local', 'Who may invite contacts.'),
    access_create_account: opt.access(
      'configure',
      'Whose invitations are good for an account here (needs mod_register).',
    ),
    token_expire: opt.duration('5d', 'How long an invitation is good.', { min: 60_000 }),
    max_invites: opt.int(100, 'Invitations of one user that wait to be used.', { min: 1, infinity: true }),
    landing_page: opt.text(
      undefined,
      'Link to a page for who has no client yet; `{{ host }}`, `{{ invite.token }}` and `{{ invite.uri }}` stand for what they say. Left out, clients use a page of their own.',
      { example: 'https://{{ host }}/invites/{{ invite.token }}' },
    ),
  },
  start(ctx) {
    const { options, host } = ctx
    const invites = new Invites(ctx, options.token_expire)
    const makesAccounts = (): boolean => ctx.use('registration') !== undefined

    const maker: InviteMaker = {
      invites,
      makesAccounts,
      uriOf: (token, invite) => inviteUri(host.name, token, invite, makesAccounts()),
      landingOf: (token, invite) =>
        options.landing_page === undefined
          ? undefined
          : landingPage(options.landing_page, host.name, token, maker.uriOf(token, invite)),
      async checkName(user) {
        if (prepLocal(user) !== user) throw cannotBeDone('that cannot be the name of an account')
        if (await host.users.exists(user)) throw new StanzaError('conflict', 'that name is taken')
        const kept = await host.nameKept(user)
        if (kept !== undefined) throw new StanzaError('conflict', kept)
      },
    }

    // ---- making them (XEP-0401)

    interface Wanted {
      type: Invite['type']
      username?: string | undefined
    }
    /** One after the other of each inviter: they are counted before one more is made. */
    const turns = new Changes()
    const make = (from: Jid, wanted: Wanted) => turns.run(from.bare.toString(), () => makeNext(from, wanted))
    const makeNext = async (from: Jid, wanted: Wanted) => {
      const inviter = from.domain === host.name ? from.local : undefined
      if (inviter !== undefined && (await invites.of(inviter)).length >= options.max_invites) {
        throw new StanzaError('resource-constraint', `no more than ${options.max_invites} invitations may wait`)
      }
      const token = await invites.create({ ...wanted, inviter })
      const invite = (await invites.find(token))!
      return { payload: inviteForm(maker.uriOf(token, invite), maker.landingOf(token, invite), invite.expires) }
    }
    ctx.adhoc({
      node: NS.INVITE,
      name: 'Invite a contact',
      allowed: from => from.domain === host.name && from.local !== '' && ctx.allowed(options.access, from),
      execute: from => {
        const account = makesAccounts() && ctx.allowed(options.access_create_account, from)
        return make(from, { type: account ? 'account_subscription' : 'roster_only' })
      },
    })
    ctx.adhoc({
      node: NS.INVITE_ACCOUNT,
      name: 'Invite a new user',
      allowed: from => makesAccounts() && ctx.allowed(options.access_create_account, from),
      execute: from =>
        formStage(
          NS.INVITE_ACCOUNT,
          { title: 'Invite a new user', instructions: 'Without a name, the new user chooses one.' },
          [
            { var: 'username', type: 'text-single', label: 'Username', values: [] },
            { var: 'roster-subscription', type: 'boolean', label: 'Roster subscription', values: ['0'] },
          ],
          async values => {
            const text = answerOf(values, 'username')
            const username = text === undefined ? undefined : (prepLocal(text) ?? text)
            if (username !== undefined) await maker.checkName(username)
            const subscribe = isTrue(answerOf(values, 'roster-subscription')) && from.domain === host.name
            return make(from, { type: subscribe ? 'account_subscription' : 'account_only', username })
          },
        ),
    })

    // ---- using them for an account (XEP-0445)

    const streams = new WeakMap<object, { tries: number; invitation: ShownInvitation | undefined }>()
    ctx.hook('unauthenticated_iq', { order: FILTER }, async event => {
      const { stanza, stream, secured } = event
      const preauth = stanza.payload
      if (event.answer !== undefined || stanza.type !== 'set' || preauth?.is('preauth', NS.PARS) !== true) return
      const registration = ctx.use('registration')
      if (registration === undefined || (registration.requiresTls && !secured)) {
        event.answer = stanza.error(new StanzaError(registration === undefined ? 'service-unavailable' : 'not-allowed'))
        return
      }
      const state = streams.get(stream) ?? { tries: 0, invitation: undefined }
      streams.set(stream, state)
      const token = preauth.attrs['token'] ?? ''
      const invite = state.tries++ < MAX_TRIES ? await invites.find(token) : undefined
      if (invite === undefined || invite.type === 'roster_only') {
        const error = new StanzaError('item-not-found', 'the invitation is not known, used up or expired')
        event.answer = stanza.error(error)
        return
      }
      state.invitation = { token, username: invite.username }
      event.answer = stanza.result()
    })
    ctx.hook('name_wanted', { failClosed: true }, async event => {
      const token = await invites.keepsName(event.user)
      if (token !== undefined && token !== event.invitation) event.kept ??= 'that name is kept for somebody invited'
    })
    ctx.provide('invites', {
      shown: stream => streams.get(stream)?.invitation,
      async redeem({ token }, make) {
        const invite = await invites.claim(token)
        if (invite === undefined) throw new StanzaError('item-not-found', 'the invitation was used up or withdrawn')
        let user: Jid
        try {
          user = await make()
        } catch (error) {
          invites.release(token)
          throw error
        }
        await ctx.aside(invites.use(token), 'a use of an invitation could not be noted', { user: user.local })
        ctx.log.info({ user: user.local, inviter: invite.inviter }, 'an account was made by invitation')
        if (invite.type !== 'account_subscription' || invite.inviter === undefined) return
        const friends = befriend(ctx, Jid.of(invite.inviter, host.name), user)
        await ctx.aside(friends, 'an invited user was not subscribed to the inviter', { user: user.local })
      },
    })

    // ---- using them to become a contact (XEP-0379)

    const accepted = new WeakSet<Stanza>()
    const accept = async (account: Account, stanza: Stanza, token: string): Promise<void> => {
      const contact = stanza.from.bare
      const roster = ctx.use('roster')
      if (roster === undefined || roster.isSubscribedFrom(account, contact)) return
      try {
        const invite = await invites.find(token)
        if (invite?.inviter !== account.user || invite.type === 'account_only') return
        if ((await invites.claim(token)) === undefined) return
        await invites.use(token)
        await roster.send(account, 'subscribed', contact) // what is asked now is answered with yes
        accepted.add(stanza)
      } catch (error) {
        // XEP-0379 4.1: then it is a request like any other.
        ctx.log.warn({ err: error, user: account.user }, 'an invitation could not be checked')
      }
    }
    ctx.hook('presence_in', { order: FILTER }, ({ account, stanza }) => {
      if (stanza.type !== 'subscribe' || stanza.from.bare.equals(account.jid)) return
      const token = findChild(stanza.el, 'preauth', NS.PARS)?.attrs['token']
      if (token !== undefined) return accept(account, stanza, token)
    })
    ctx.hook('presence_in', { order: STORE }, ({ account, stanza }) => {
      if (accepted.has(stanza)) return ctx.use('roster')?.send(account, 'subscribe', stanza.from.bare)
    })

    ctx.hook('remove_user', ({ user }) => invites.forget(user.local))
    ctx.every(3_600_000, async () => void (await invites.sweep()))
    for (const command of inviteCommands(host.name, maker)) ctx.command(command)
  },
})

/** Two accounts of this host see each other's presence from now on; their clients get the pushes (XEP-0401 5.4). */
async function befriend(ctx: ModuleContext, one: Jid, other: Jid): Promise<void> {
  const roster = ctx.use('roster')
  const [first, second] = [await accountOf(ctx.host.router, one), await accountOf(ctx.host.router, other)]
  if (roster === undefined || first === undefined || second === undefined) return
  // Each says yes before it is asked (RFC 6121 3.4), then each asks.
  await roster.send(first, 'subscribed', other)
  await roster.send(second, 'subscribed', one)
  await roster.send(second, 'subscribe', one)
  await roster.send(first, 'subscribe', other)
}
