import { opt } from '../../config/schema.ts'
import type { Account } from '../../core/account.ts'
import { STOP } from '../../core/hooks.ts'
import { defineModule } from '../../core/module.ts'
import { type Element, NS, parseElement, xml } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import type { Jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { isSubscriptionType, type SubscriptionType } from '../../xmpp/subscription.ts'
import { rosterCommands } from './commands.ts'
import { itemElement, ROSTER, type StoredChange, type StoredItem } from './roster.ts'
import { Rosters } from './rosters.ts'

/** Other modules' view of rosters; of accounts that are loaded. */
export interface RosterService {
  /** `jid` may see this account's presence: it is subscribed, or it is the account itself. */
  isSubscribedFrom(account: Account, jid: Jid): boolean
  /** This account sees the presence of `jid`. */
  isSubscribedTo(account: Account, jid: Jid): boolean
  /** Bare addresses of who sees this account's presence. */
  subscribers(account: Account): readonly Jid[]
  /** Bare addresses of those whose presence this account sees. */
  subscriptions(account: Account): readonly Jid[]
  /** Bare addresses of those whom this account has asked to see, and that have not answered. */
  asked(account: Account): readonly Jid[]
  /** The groups in which the account has put this contact. */
  groups(account: Account, jid: Jid): readonly string[]
  /** Subscription requests that wait for an answer (RFC 6121 3.1.3). */
  requests(account: Account): Iterable<Stanza>
  /** The `<item/>`s that the account's clients see. */
  items(account: Account): Iterable<Element>
  /** Asks, agrees or ends something in the name of the account, as if a client of it had sent this presence (RFC 6121 3). */
  send(account: Account, type: SubscriptionType, contact: Jid): Promise<void>
}

declare module '../../core/services.ts' {
  interface ServiceMap {
    roster: RosterService
  }
}

declare module '../../core/hooks.ts' {
  interface HookMap {
    /**
     * A contact may see an account's presence from now on: it gets what there is (RFC 6121 3.1.5). `again`: it could already,
     * and its server did not know.
     */
    subscription_granted: Told<{ account: Account; contact: Jid; again: boolean }>
    /** A contact may no longer see it (RFC 6121 3.2.1, 3.3.3). */
    subscription_revoked: Told<{ account: Account; contact: Jid }>
    /** The item of a contact has changed as clients see it, or is gone (`subscription='remove'`). */
    roster_changed: Told<{ account: Account; item: Element; version: string }>
    /** An account has put a contact, who may see its presence, into other groups than those `before`. */
    contact_moved: Told<{ account: Account; contact: Jid; before: readonly string[] }>
  }
}

export const mod_roster = defineModule({
  name: 'mod_roster',
  summary: 'Keeps contact lists and who may see whose presence (RFC 6121 sections 2 and 3).',
  xep: { number: 237, version: '1.3', name: 'Roster Versioning' },
  options: {
    max_items: opt.int(5000, 'Contacts that one account may have.', { min: 10, infinity: true }),
    max_bytes: opt.size(
      '1 MiB',
      'Bytes that the contacts of one account may have, with their names and groups: all of it comes to clients at once.',
      { min: 10_240 },
    ),
    max_requests: opt.int(200, 'Subscription requests that may wait for one account’s answer; more are ignored.', {
      min: 10,
      max: 10_000,
    }),
  },
  async start(ctx) {
    const tables = {
      items: ctx.userTable<StoredItem>({ name: 'roster' }),
      versions: ctx.userTable<string>({ name: 'roster_version' }),
      changes: ctx.userTable<StoredChange>({ name: 'roster_change' }),
    }
    const { max_items: items, max_bytes: bytes, max_requests: requests } = ctx.options
    const rosters = new Rosters(tables, { items, bytes, requests })
    await ctx.perAccount(ROSTER, account => rosters.load(account))
    ctx.streamFeature(() => xml('ver', { xmlns: NS.ROSTERVER }))
    ctx.streamFeature(() => xml('sub', { xmlns: NS.PRE_APPROVAL }))
    ctx.feature(NS.ROSTER)
    for (const type of ['get', 'set'] as const) {
      ctx.iq('account', type, NS.ROSTER, 'query', request => {
        const { account, session, own, from, stanza, payload } = request
        if (own) {
          const mine = { stanza, from, payload, account: account!, session: session! }
          return type === 'get' ? rosters.read(mine) : rosters.write(mine)
        }
        if (account === undefined || ctx.use('privileges')?.roster(from, type) !== true) {
          throw new StanzaError('forbidden', 'only of one’s own account')
        }
        return type === 'get'
          ? rosters.whole(rosters.of(account))
          : rosters.manage(rosters.of(account), payload, from.domain)
      })
    }
    ctx.hook('presence_out', ({ session, stanza }) => {
      if (!isSubscriptionType(stanza.type)) return
      return rosters.outgoing(session.account, stanza).then(() => STOP)
    })
    ctx.hook('presence_in', ({ account, stanza }) => {
      if (isSubscriptionType(stanza.type)) return rosters.incoming(account, stanza)
    })
    ctx.hook('remove_user', ({ user }) => rosters.forget(ctx.host, user))
    ctx.provide('roster', {
      isSubscribedFrom: (account, jid) => account.jid.equals(jid.bare) || rosters.of(account).subscription(jid).from,
      isSubscribedTo: (account, jid) => account.jid.equals(jid.bare) || rosters.of(account).subscription(jid).to,
      subscribers: account => rosters.of(account).subscribers,
      subscriptions: account => rosters.of(account).subscriptions,
      asked: account => rosters.of(account).asked,
      groups: (account, jid) => rosters.of(account).get(jid)?.groups ?? [],
      *requests(account) {
        for (const text of rosters.of(account).requests()) yield Stanza.of(parseElement(text))
      },
      *items(account) {
        for (const item of rosters.of(account).listed()) yield itemElement(item)
      },
      send: (account, type, contact) =>
        rosters.outgoing(account, Stanza.make(xml('presence', { type }), account.jid, contact.bare)),
    })
    for (const command of rosterCommands(rosters)) ctx.command(command)
  },
})
