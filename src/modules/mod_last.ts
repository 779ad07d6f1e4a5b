import { opt } from '../config/schema.ts'
import type { Account } from '../core/account.ts'
import { answerOf, badPayload, formStage } from '../core/adhoc.ts'
import { arg } from '../core/commands/command.ts'
import { FILTER, OBSERVE } from '../core/hooks.ts'
import { defineModule } from '../core/module.ts'
import { type Session, Slot } from '../core/session.ts'
import { partitionsOf } from '../storage/store.ts'
import { cut } from '../util/text.ts'
import { type Element, elementNs, NS, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { Stanza } from '../xmpp/stanza.ts'

/** Who is told, from the most to the fewest. */
const PRIVACY = ['everyone', 'contacts', 'nobody'] as const
type Privacy = (typeof PRIVACY)[number]

/** When users were last online, for other modules. */
export interface LastService {
  /** When a user was last online, and what it said when it left; undefined where `asker` may not know, or nobody does. */
  seen(account: Account, asker: Jid): Promise<Last | undefined>
  /** What may be chosen. */
  readonly choices: readonly string[]
  /** What the user has chosen; undefined where the host's rule alone counts. */
  privacy(account: Account): string | undefined
  /**
   * Undefined: as the host has it. A user can be stricter than the host, not laxer. Resolves when it is durable; rejects with
   * StanzaError `not-acceptable` for what is no choice.
   */
  setPrivacy(account: Account, privacy: string | undefined): Promise<void>
}

declare module '../core/services.ts' {
  interface ServiceMap {
    last: LastService
  }
}

/** What the user of an account has chosen. */
const CHOSEN = new Slot<Privacy>('last-seen privacy')

/** When an account was last online (ms since 1970), and what it said when it left. One row `[user]`. */
interface Last {
  readonly at: number
  readonly status: string
}

/** Characters kept of a farewell; strangers do not write it, but it is kept for long. */
const MAX_STATUS = 1024
/** On a session that told everybody that it leaves: its end is no news. */
const LEFT = new Slot<true>('mod_last')

export const mod_last = defineModule({
  name: 'mod_last',
  xep: { number: 12, version: '2.0', name: 'Last Activity' },
  summary: 'Tells who may know it when a user was last online, and anyone how long the server has been up.',
  options: {
    privacy: opt.oneOf(
      PRIVACY,
      'contacts',
      'Who is told when a user was last online: `contacts` are those who may see the user’s presence; with `nobody` it is not kept at all, and what was kept is deleted. Users may be stricter, each for themselves: ad-hoc command `last-seen`, `last_seen` of the profile.',
    ),
  },
  async start(ctx) {
    const { privacy } = ctx.options
    const table = ctx.userTable<Last>({ name: 'last', version: 1 })
    ctx.feature(NS.LAST)
    ctx.iq('server', 'get', NS.LAST, 'query', () => answer(ctx.uptime()))

    const choices = ctx.userTable<Privacy>({ name: 'last_privacy', version: 1 })
    await ctx.perAccount(CHOSEN, ({ user }) => choices.get([user], []))

    /** The stricter of the host's rule and the user's. */
    const privacyOf = (account: Account): Privacy => {
      const chosen = account.slots.get(CHOSEN) ?? privacy
      return PRIVACY[Math.max(PRIVACY.indexOf(chosen), PRIVACY.indexOf(privacy))]!
    }
    const mayKnow = (account: Account | undefined, asking: Jid): account is Account => {
      if (account === undefined) return false
      const rule = privacyOf(account)
      if (asking.bare.equals(account.jid) || rule === 'everyone') return true
      return rule === 'contacts' && ctx.use('roster')?.isSubscribedFrom(account, asking.bare) === true
    }

    ctx.iq('account', 'get', NS.LAST, 'query', async ({ account, from }) => {
      // XEP-0012 3; an account that does not exist is none that may be seen.
      if (!mayKnow(account, from)) throw new StanzaError('forbidden')
      if (account.available().length > 0 || (account.jid.equals(from.bare) && account.sessions.size > 0))
        return answer(0)
      const last = await table.get([account.user], [])
      if (last === undefined) throw new StanzaError('item-not-found')
      return answer(ctx.now() - last.at, last.status)
    })

    // XEP-0012 4: what is asked of a client is its own to answer, but only to those who may know that it is there.
    ctx.hook('filter_packet', { order: FILTER, failClosed: true }, ({ stanza, hidden }) => {
      if (stanza.kind !== 'iq' || stanza.to!.domain !== ctx.host.name || !isQueryOfClient(stanza)) return
      const account = ctx.account(stanza.to!.local)
      const check = (found: Account | undefined): void => {
        if (hidden || !mayKnow(found, stanza.from)) throw new StanzaError('forbidden')
      }
      return account instanceof Promise ? account.then(check) : check(account)
    })

    const setPrivacy = async (account: Account, wanted: string | undefined): Promise<void> => {
      const { user, slots } = account
      const chosen = PRIVACY.find(value => value === wanted)
      if (wanted !== undefined && chosen === undefined) {
        throw new StanzaError('not-acceptable', `last_seen is one of ${PRIVACY.join(', ')}`)
      }
      await (chosen === undefined ? choices.del([user], []) : choices.put([user], [], chosen))
      if (chosen === undefined) slots.delete(CHOSEN)
      else slots.set(CHOSEN, chosen)
      if (privacyOf(account) === 'nobody') await table.del([user], [])
    }
    ctx.provide('last', {
      seen: async (account, asker) => (mayKnow(account, asker) ? table.get([account.user], []) : undefined),
      choices: PRIVACY,
      privacy: account => account.slots.get(CHOSEN),
      setPrivacy,
    })
    ctx.adhoc({
      node: 'last-seen',
      name: 'Who is told when I was last online',
      allowed: from => from.domain === ctx.host.name && from.local !== '',
      async execute({ local }) {
        const account = await ctx.account(local)
        if (account === undefined) throw new StanzaError('item-not-found')
        const options = PRIVACY.slice(PRIVACY.indexOf(privacy)).map(value => ({ value, label: LABELS[value] }))
        const values = [privacyOf(account)]
        const field = { var: 'last_seen', type: 'list-single', label: 'Who is told', options, values }
        const head = { title: 'Last seen', instructions: 'Who is told when you were last online?' }
        return formStage('urn:hermod:last', head, [field], async answers => {
          const chosen = PRIVACY.find(value => value === answerOf(answers, 'last_seen'))
          if (chosen === undefined) throw badPayload(`last_seen is one of ${PRIVACY.join(', ')}`)
          await setPrivacy(account, chosen)
          return { notes: [{ type: 'info', text: LABELS[privacyOf(account)] }] }
        })
      },
    })

    ctx.command({
      name: 'get_last',
      summary: 'Tells when an account was last online.',
      args: { account: arg.account('The account') },
      returns: { state: 'text', at: 'time?', status: 'text?' },
      example: 'get_last alice@localhost',
      async run({ account }) {
        if (account.available().length > 0) return [{ state: 'online', at: null, status: null }]
        const last = await table.get([account.user], [])
        return [last === undefined ? { state: 'unknown', at: null, status: null } : { state: 'offline', ...last }]
      },
    })

    if (privacy === 'nobody') {
      // What was kept before the operator chose that nothing is.
      for await (const key of partitionsOf(table)) await table.del(key)
      return
    }

    const left = (session: Session, status: string): void => {
      if (privacyOf(session.account) === 'nobody') return
      const last = { at: ctx.now(), status: cut(status, MAX_STATUS) }
      table.put([session.account.user], [], last).catch((error: unknown) => {
        ctx.log.warn({ err: error, user: session.account.user }, 'could not note when a user was last online')
      })
    }
    ctx.hook('unset_presence', ({ session, status }) => {
      session.slots.set(LEFT, true)
      left(session, status ?? '')
    })
    ctx.hook('set_presence', ({ session }) => session.slots.delete(LEFT))
    // After those that turn the end of a session into unset_presence.
    ctx.hook('session_closed', { order: OBSERVE }, ({ session }) => {
      if (session.slots.get(LEFT) === undefined) left(session, '')
    })
  },
})

const LABELS: Readonly<Record<Privacy, string>> = {
  everyone: 'Everybody is told.',
  contacts: 'Those who may see your presence are told.',
  nobody: 'Nobody is told, and it is not kept.',
}

function answer(ms: number, status?: string): Element {
  return xml('query', { xmlns: NS.LAST, seconds: String(Math.max(0, Math.floor(ms / 1000))) }, status)
}

function isQueryOfClient(stanza: Stanza): boolean {
  const { to, type, payload } = stanza
  if (type !== 'get' || to!.resource === '' || to!.local === '') return false
  return payload!.name === 'query' && elementNs(payload!) === NS.LAST
}
