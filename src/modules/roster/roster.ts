import type { Account } from '../../core/account.ts'
import { Slot } from '../../core/session.ts'
import type { Table } from '../../storage/store.ts'
import { type Element, xml } from '../../xml/index.ts'
import { Jid } from '../../xmpp/jid.ts'
import { attribute, isVisible, NONE, type Subscription } from '../../xmpp/subscription.ts'

/** One contact as it lies in the store. */
export interface StoredItem {
  name?: string
  groups: string[]
  subscription: Subscription
  /** The user put it into the roster; a contact that only asked is not in it. */
  listed: boolean
  /** The request that waits for an answer, complete (RFC 6121 3.1.3). */
  request?: string
}

export interface RosterItem extends StoredItem {
  jid: Jid
}

export interface RosterTables {
  items: Table<StoredItem>
  versions: Table<string>
}

export const ROSTER = new Slot<Roster>('roster')

/** The contacts of one account, in memory while the account is (RFC 6121 2). */
export class Roster {
  readonly account: Account
  readonly #tables: RosterTables
  readonly #items = new Map<string, RosterItem>()
  #version: string
  #shown = 0
  #pending = 0
  #subscribers: readonly Jid[] | undefined
  #subscriptions: readonly Jid[] | undefined

  private constructor(account: Account, tables: RosterTables, version: string) {
    this.account = account
    this.#tables = tables
    this.#version = version
  }

  static async load(account: Account, tables: RosterTables): Promise<Roster> {
    const [rows, version] = await Promise.all([
      tables.items.scan([account.user]),
      tables.versions.get([account.user], []),
    ])
    const roster = new Roster(account, tables, version ?? '')
    for (const { ck, value } of rows) {
      const jid = Jid.parse(String(ck[0]))
      if (jid !== undefined) roster.#keep(jid, { ...value, jid })
    }
    return roster
  }

  /** Changes with every change of the roster; empty while there was none (RFC 6121 2.6). */
  get version(): string {
    return this.#version
  }

  /** Items that clients see. */
  get size(): number {
    return this.#shown
  }

  /** Contacts whose request waits for an answer. */
  get pending(): number {
    return this.#pending
  }

  get(jid: Jid): RosterItem | undefined {
    return this.#items.get(jid.bare.toString())
  }

  /** The items that clients see. */
  *listed(): Generator<RosterItem> {
    for (const item of this.#items.values()) if (shown(item)) yield item
  }

  /** The requests that wait for an answer. */
  *requests(): Generator<string> {
    for (const item of this.#items.values()) {
      if (item.subscription.in && item.request !== undefined) yield item.request
    }
  }

  subscription(jid: Jid): Subscription {
    return this.get(jid)?.subscription ?? NONE
  }

  /** Who sees this user's presence. */
  get subscribers(): readonly Jid[] {
    this.#subscribers ??= [...this.#items.values()].filter(i => i.subscription.from).map(i => i.jid)
    return this.#subscribers
  }

  /** Whose presence this user sees. */
  get subscriptions(): readonly Jid[] {
    this.#subscriptions ??= [...this.#items.values()].filter(i => i.subscription.to).map(i => i.jid)
    return this.#subscriptions
  }

  /** Resolves when it is durable. What others see of the roster changes at once, before the answer (order of stanzas). */
  put(item: RosterItem): Promise<void> {
    const { jid, ...stored } = item
    const before = this.get(jid)
    this.#keep(jid, item)
    this.#changed()
    return this.#save(jid, before, item, this.#tables.items.put([this.account.user], [jid.toString()], stored))
  }

  remove(jid: Jid): Promise<void> {
    const before = this.get(jid)
    this.#keep(jid, undefined)
    this.#changed()
    return this.#save(jid, before, undefined, this.#tables.items.del([this.account.user], [jid.toString()]))
  }

  #keep(jid: Jid, item: RosterItem | undefined): void {
    const key = jid.toString()
    const before = this.#items.get(key)
    if (before !== undefined) this.#count(before, -1)
    if (item === undefined) this.#items.delete(key)
    else {
      this.#items.set(key, item)
      this.#count(item, 1)
    }
  }

  #count(item: RosterItem, by: 1 | -1): void {
    if (shown(item)) this.#shown += by
    if (item.subscription.in) this.#pending += by
  }

  #changed(): void {
    this.#version = this.account.host.ids.ordered()
    this.#subscribers = undefined
    this.#subscriptions = undefined
  }

  /** The version joins the batch of the change. What could not be stored is undone, unless it has changed again. */
  async #save(
    jid: Jid,
    before: RosterItem | undefined,
    after: RosterItem | undefined,
    change: Promise<void>,
  ): Promise<void> {
    try {
      await Promise.all([change, this.#tables.versions.put([this.account.user], [], this.#version)])
    } catch (error) {
      if (this.get(jid) === after) this.#keep(jid, before)
      this.#changed()
      throw error
    }
  }
}

/** Whether clients see the item: the user's own, or one that a subscription has made (RFC 6121 A.1). */
export function shown(item: StoredItem): boolean {
  return item.listed || (isVisible(item.subscription) && !isEmpty(item.subscription))
}

/** Nothing is left that is worth a row. */
export function isEmpty(s: Subscription): boolean {
  return !s.to && !s.from && !s.out && !s.in && !s.approved
}

/** `<item/>` (RFC 6121 2.1.2). */
export function itemElement({ jid, name, groups, subscription }: RosterItem): Element {
  return xml(
    'item',
    {
      jid: jid.toString(),
      name,
      subscription: attribute(subscription),
      ask: subscription.out ? 'subscribe' : undefined,
      approved: subscription.approved ? 'true' : undefined,
    },
    ...groups.map(group => xml('group', {}, group)),
  )
}
