import type { Account } from '../../core/account.ts'
import type { Host } from '../../core/host.ts'
import type { OwnRequest } from '../../core/iq.ts'
import type { Session } from '../../core/session.ts'
import { clone, type Element, findChildren, NS, textOf, xml } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { Jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { attribute, inbound, isSubscriptionType, NONE, outbound, type Subscription } from '../../xmpp/subscription.ts'
import { isEmpty, itemElement, ROSTER, Roster, type RosterItem, type RosterTables, shown, sizeOf } from './roster.ts'

const MAX_NAME = 1023
const MAX_GROUPS = 50
/** Longest subscription request that is kept whole (characters). */
const MAX_REQUEST = 4096
/** Characters of all such requests of one account; of further ones, that they were sent. */
const MAX_REQUESTS = 256 * 1024
/** Changes that are told one by one to a client that has missed them; with more, the roster comes whole. */
const MAX_MISSED = 50
/** Items that an entity may change at a time in the name of an account. */
const MAX_MANAGED = 100

interface RosterBounds {
  /** Contacts. */
  readonly items: number
  /** Of their addresses, names and groups. */
  readonly bytes: number
  /** Requests that wait for an answer. */
  readonly requests: number
}

/** What users and contacts do to the rosters of one host. */
export class Rosters {
  readonly #tables: RosterTables
  readonly #bounds: RosterBounds

  constructor(tables: RosterTables, bounds: RosterBounds) {
    this.#tables = tables
    this.#bounds = bounds
  }

  /** Of an account that is loaded. */
  of(account: Account): Roster {
    const roster = account.slots.get(ROSTER)
    if (roster === undefined)
      throw new StanzaError('internal-server-error', 'the roster is not loaded', { type: 'wait' })
    return roster
  }

  async load(account: Account): Promise<Roster> {
    const there = account.slots.get(ROSTER)
    if (there !== undefined) return there
    const roster = await Roster.load(account, this.#tables)
    account.slots.set(ROSTER, roster)
    return roster
  }

  /** RFC 6121 2.2, and 2.6 with a version. */
  read({ account, session, payload }: OwnRequest): Element | undefined | Promise<Element | undefined> {
    const roster = this.of(account)
    session.interested = true
    const { ver } = payload.attrs
    if (ver === undefined || ver === '') return whole(roster, ver)
    return ver === roster.version ? undefined : this.#missed(roster, ver, session)
  }

  /** RFC 6121 2.6.3: nothing, and then a push for each item that has changed; or the roster. */
  async #missed(roster: Roster, ver: string, session: Session): Promise<Element | undefined> {
    const changes = await roster.since(ver, MAX_MISSED)
    if (changes === undefined) return whole(roster, ver)
    // After the answer to the request.
    setImmediate(() => {
      for (const { jid, item, version } of changes) {
        pushTo(session, item === undefined ? removal(jid) : itemElement(item), version)
      }
    })
    return undefined
  }

  /** As a client gets it that keeps versions. */
  whole(roster: Roster): Element {
    return whole(roster, '')
  }

  /**
   * For an entity that may change the roster in the name of the account (XEP-0356): one item or more, as if a client had; of
   * contacts of `domain`, which are the entity's own, the subscription is what the item says.
   */
  async manage(roster: Roster, query: Element, domain: string): Promise<undefined> {
    const { account } = roster
    const items = findChildren(query, 'item')
    if (items.length === 0 || items.length > MAX_MANAGED) {
      throw new StanzaError('bad-request', `wanted 1 to ${MAX_MANAGED} items`)
    }
    const wanted = items.map(readItem)
    if (wanted.some(({ jid }) => jid.equals(account.jid))) {
      throw new StanzaError('not-allowed', 'nobody is in their own roster')
    }
    for (const { jid, name, groups, remove, subscription } of wanted) {
      const before = roster.subscription(jid)
      if (remove) await this.remove(roster, jid)
      else if (jid.domain !== domain || subscription === undefined) await this.set(roster, jid, name, groups)
      else {
        const { to, from } = subscription
        await this.set(roster, jid, name, groups, { ...NONE, to, from })
        const { hooks } = account.host
        if (from && !before.from) hooks.notify('subscription_granted', { account, contact: jid, again: false })
        if (!from && before.from) hooks.notify('subscription_revoked', { account, contact: jid })
      }
    }
    return undefined
  }

  /** RFC 6121 2.3 to 2.5. */
  async write({ account, payload }: OwnRequest): Promise<undefined> {
    const roster = this.of(account)
    const items = findChildren(payload, 'item')
    if (items.length !== 1) throw new StanzaError('bad-request', 'one item at a time')
    const { jid, name, groups, remove } = readItem(items[0]!)
    if (remove) return this.remove(roster, jid)
    if (jid.equals(account.jid)) throw new StanzaError('not-allowed', 'nobody is in their own roster')
    await this.set(roster, jid, name, groups)
    return undefined
  }

  async set(
    roster: Roster,
    jid: Jid,
    name: string | undefined,
    groups: string[],
    subscription?: Subscription,
  ): Promise<void> {
    const there = roster.get(jid)
    const item: RosterItem = { jid, groups, listed: true, subscription: subscription ?? there?.subscription ?? NONE }
    if (name !== undefined && name !== '') item.name = name
    if (there?.request !== undefined && item.subscription.in) item.request = there.request
    this.#makeRoom(roster, there, item)
    const moved = there !== undefined && JSON.stringify(there.groups) !== JSON.stringify(groups)
    const version = await roster.put(item)
    push(roster, itemElement(item), version)
    const { account } = roster
    if (moved && item.subscription.from) {
      account.host.hooks.notify('contact_moved', { account, contact: jid, before: there.groups })
    }
  }

  /** What grows must find room; what is there may shrink, also where the bounds were higher once. */
  #makeRoom(roster: Roster, there: RosterItem | undefined, item: RosterItem): void {
    const { items, bytes } = this.#bounds
    const before = there !== undefined && shown(there) ? sizeOf(there) : 0
    if (before === 0 && roster.size >= items) {
      throw new StanzaError('not-allowed', `a roster has at most ${items} contacts`)
    }
    const growth = sizeOf(item) - before
    if (growth > 0 && roster.bytes + growth > bytes) {
      throw new StanzaError('not-allowed', `the names and groups of a roster have at most ${bytes} bytes`)
    }
  }

  /** RFC 6121 2.5: the contact learns that both subscriptions are over. */
  async remove(roster: Roster, jid: Jid): Promise<undefined> {
    const item = roster.get(jid)
    if (item === undefined || !shown(item)) throw new StanzaError('item-not-found', 'there is no such contact')
    const { account } = roster
    const version = await roster.remove(jid)
    push(roster, removal(jid), version)
    // RFC 6121 3.2.2: while the contact still takes the user's presence, it learns that there is no more.
    if (item.subscription.from) account.host.hooks.notify('subscription_revoked', { account, contact: jid })
    endSubscriptions(account.host, account.jid, jid, item.subscription)
    return undefined
  }

  /** An account is removed: its contacts need not wait for it. */
  async forget(host: Host, user: Jid): Promise<void> {
    for (const { ck, value } of await this.#tables.items.scan([user.local])) {
      const contact = Jid.parse(String(ck[0]))
      if (contact !== undefined) endSubscriptions(host, user, contact, value.subscription)
    }
  }

  /** The user's side of a subscription (RFC 6121 3, A.2). */
  async outgoing(account: Account, stanza: Stanza): Promise<void> {
    const { type } = stanza
    const contact = stanza.to!.bare
    if (!isSubscriptionType(type) || contact.equals(account.jid)) return // everybody sees themselves anyway
    const roster = this.of(account)
    const before = roster.subscription(contact)
    const { next, pass } = outbound(type, before)
    await this.#change(roster, contact, next, type === 'subscribe' || type === 'subscribed')
    if (!pass) return
    const { hooks } = account.host
    // RFC 6121 3.2.2: before the contact is told.
    if (before.from && !next.from) hooks.notify('subscription_revoked', { account, contact })
    // RFC 6121 3.1.2: stamped with the bare address.
    await account.host.router.route(stanza.readdressed(account.jid, contact))
    if (next.from && !before.from) hooks.notify('subscription_granted', { account, contact, again: false })
  }

  /** The contact's side, as it reaches the user (RFC 6121 3, A.3). */
  async incoming(account: Account, stanza: Stanza): Promise<void> {
    const { type } = stanza
    const contact = stanza.from.bare
    if (!isSubscriptionType(type) || contact.equals(account.jid)) return
    const roster = this.of(account)
    const before = roster.subscription(contact)
    const { next, pass, reply } = inbound(type, before)
    const delivered = stanza.readdressed(contact, account.jid)
    if (next.in && !before.in && roster.pending >= this.#bounds.requests) return
    // RFC 6121 3.1.6: first the stanza, then the push. An answer is also for clients that only have the roster.
    if (pass) {
      for (const session of account.sessions.values()) {
        if (session.presence !== undefined || (type !== 'subscribe' && session.interested)) session.deliver(delivered)
      }
    }
    if (next !== before) {
      await this.#change(
        roster,
        contact,
        next,
        false,
        type === 'subscribe' ? keptRequest(roster, delivered) : undefined,
      )
    }
    const { hooks } = account.host
    if (reply !== undefined) {
      send(account.host, account.jid, contact, reply)
      hooks.notify('subscription_granted', { account, contact, again: before.from })
    }
    if (before.from && !next.from) hooks.notify('subscription_revoked', { account, contact })
  }

  async #change(roster: Roster, jid: Jid, next: Subscription, creates: boolean, request?: string): Promise<void> {
    const there = roster.get(jid)
    const before = there?.subscription ?? NONE
    if (same(before, next)) return
    const wasShown = there !== undefined && shown(there)
    const item: RosterItem = { jid, groups: there?.groups ?? [], listed: there?.listed ?? false, subscription: next }
    if (there?.name !== undefined) item.name = there.name
    const kept = request ?? there?.request
    if (next.in && kept !== undefined) item.request = kept
    // RFC 6121 3.1.2, 3.1.4: asking, or agreeing, makes an item of the user's own.
    if (creates || wasShown) item.listed = true
    if (creates && !wasShown) this.#makeRoom(roster, there, item)
    if (!item.listed && isEmpty(next)) return void (await roster.remove(jid))
    const version = await roster.put(item)
    const visible =
      attribute(before) !== attribute(next) || before.out !== next.out || before.approved !== next.approved
    if (shown(item) && (visible || !wasShown)) push(roster, itemElement(item), version)
  }
}

/** RFC 6121 3.1.3 wants the complete stanza; of one that is too long, or one too many, that it was sent is kept. */
function keptRequest(roster: Roster, stanza: Stanza): string {
  const text = stanza.toString()
  if (text.length <= MAX_REQUEST && roster.pendingBytes + text.length <= MAX_REQUESTS) return text
  return Stanza.make(xml('presence', { type: 'subscribe' }), stanza.from, stanza.to).toString()
}

function endSubscriptions(host: Host, user: Jid, contact: Jid, subscription: Subscription): void {
  if (subscription.to || subscription.out) send(host, user, contact, 'unsubscribe')
  if (subscription.from || subscription.in) send(host, user, contact, 'unsubscribed')
}

function send(host: Host, from: Jid, to: Jid, type: string): void {
  void host.router.route(Stanza.make(xml('presence', { type }), from, to))
}

/** RFC 6121 2.1.6: to every session that asked for the roster, whether available or not. */
function push(roster: Roster, item: Element, version: string): void {
  const { account } = roster
  account.host.hooks.notify('roster_changed', { account, item, version })
  for (const session of roster.account.sessions.values()) {
    if (session.interested) pushTo(session, clone(item), version)
  }
}

function pushTo(session: Session, item: Element, version: string): void {
  const { account } = session
  const query = xml('query', { xmlns: NS.ROSTER, ver: version }, item)
  session.deliver(
    Stanza.make(xml('iq', { type: 'set', id: account.host.ids.random() }, query), account.jid, session.jid),
  )
}

function removal(jid: Jid): Element {
  return xml('item', { jid: jid.toString(), subscription: 'remove' })
}

/** With its version for a client that keeps it. */
function whole(roster: Roster, ver: string | undefined): Element {
  const query = xml('query', { xmlns: NS.ROSTER, ver: ver === undefined ? undefined : roster.version })
  for (const item of roster.listed()) query.append(itemElement(item))
  return query
}

function same(a: Subscription, b: Subscription): boolean {
  return a.to === b.to && a.from === b.from && a.out === b.out && a.in === b.in && a.approved === b.approved
}

interface Wanted {
  jid: Jid
  name: string | undefined
  groups: string[]
  remove: boolean
  /** Where it says one. */
  subscription: { to: boolean; from: boolean } | undefined
}

/** RFC 6121 2.1.5, 2.3.3: of a client, the `subscription` counts only where it is `remove`. */
function readItem(item: Element): Wanted {
  const jid = Jid.parse(item.attrs['jid'] ?? '')
  if (jid === undefined) throw new StanzaError('bad-request', 'an item needs the address of the contact')
  const { name, subscription: said = '' } = item.attrs
  if (name !== undefined && name.length > MAX_NAME) throw new StanzaError('not-acceptable', 'the name is too long')
  const groups = findChildren(item, 'group').map(textOf)
  if (new Set(groups).size < groups.length) throw new StanzaError('bad-request', 'a group is named twice')
  if (groups.some(g => g === '' || g.length > MAX_NAME) || groups.length > MAX_GROUPS) {
    throw new StanzaError('not-acceptable', 'a group has no name, too long a name, or there are too many')
  }
  const both = said === 'both'
  const subscription =
    both || said === 'to' || said === 'from' || said === 'none'
      ? { to: both || said === 'to', from: both || said === 'from' }
      : undefined
  return { jid: jid.bare, name, groups, remove: said === 'remove', subscription }
}
