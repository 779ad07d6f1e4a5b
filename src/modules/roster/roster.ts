import type { Account } from '../../core/account.ts'
import { Slot } from '../../core/session.ts'
import type { Op, Table } from '../../storage/store.ts'
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

/** One change of a roster: whose item it was, and the version that the roster had before it. */
export interface StoredChange {
  jid: string
  after: string
}

export interface RosterTables {
  items: Table<StoredItem>
  versions: Table<string>
  /** `[user]` x `[version]`: the last changes. */
  changes: Table<StoredChange>
}

/** Changes that are remembered of a roster. */
const MAX_CHANGES = 100

export const ROSTER = new Slot<Roster>('roster')

/** The contacts of one account, in memory while the account is (RFC 6121 2). */
export class Roster {
  readonly account: Account
  readonly #tables: RosterTables
  readonly #items = new Map<string, RosterItem>()
  #version: string
  #shown = 0
  #bytes = 0
  #pending = 0
  #pendingBytes = 0
  /** Versions of the remembered changes; undefined until the first change. */
  #log: Promise<string[]> | undefined
  #subscribers: readonly Jid[] | undefined
  #subscriptions: readonly Jid[] | undefined
  #asked: readonly Jid[] | undefined

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
    // A version is greater than all before it, also where the clock has stepped back.
    account.host.ids.after(version ?? '')
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

  /** Of those items. */
  get bytes(): number {
    return this.#bytes
  }

  /** Contacts whose request waits for an answer. */
  get pending(): number {
    return this.#pending
  }

  /** Of those requests. */
  get pendingBytes(): number {
    return this.#pendingBytes
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

  /** Whose answer this user waits for. */
  get asked(): readonly Jid[] {
    this.#asked ??= [...this.#items.values()].filter(i => i.subscription.out).map(i => i.jid)
    return this.#asked
  }

  /**
   * The items that have changed since the roster had this version, in the order of their last changes, each with the version
   * that the change made; those that are gone are undefined. Undefined where that is not remembered, or is more than `most`.
   */
  async since(version: string, most: number): Promise<Change[] | undefined> {
    const rows = await this.#tables.changes.scan([this.account.user])
    const first = rows.findIndex(({ value }) => value.after === version)
    if (first < 0) return undefined
    const last = new Map<string, string>()
    for (const { ck, value } of rows.slice(first)) {
      last.delete(value.jid)
      last.set(value.jid, String(ck[0]))
    }
    if (last.size > most) return undefined
    return [...last].map(([text, version]) => {
      const jid = Jid.from(text)
      const item = this.get(jid)
      return { jid, item: item !== undefined && shown(item) ? item : undefined, version }
    })
  }

  /** Resolves with its version when it is durable. What others see of the roster changes at once (order of stanzas). */
  put(item: RosterItem): Promise<string> {
    const { jid, ...stored } = item
    const before = this.get(jid)
    this.#keep(jid, item)
    return this.#save(jid, before, item, this.#tables.items.putOp([this.account.user], [jid.toString()], stored))
  }

  remove(jid: Jid): Promise<string> {
    const before = this.get(jid)
    this.#keep(jid, undefined)
    return this.#save(jid, before, undefined, this.#tables.items.delOp([this.account.user], [jid.toString()]))
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
    this.#subscribers = undefined
    this.#subscriptions = undefined
    this.#asked = undefined
  }

  #count(item: RosterItem, by: 1 | -1): void {
    const size = sizeOf(item)
    const request = item.request?.length ?? 0
    this.account.grew(by * (size + request))
    if (shown(item)) {
      this.#shown += by
      this.#bytes += by * size
    }
    if (item.subscription.in) {
      this.#pending += by
      this.#pendingBytes += by * request
    }
  }

  /**
   * With the version and the change, where clients see the item: of a contact that only asked, their version stays what it
   * is. What could not be stored is undone, unless it has changed again.
   */
  async #save(jid: Jid, before: RosterItem | undefined, after: RosterItem | undefined, op: Op): Promise<string> {
    const { user, host } = this.account
    const { versions, changes } = this.#tables
    const ops = [op]
    const seen = [before, after].some(item => item !== undefined && shown(item))
    if (seen) {
      const change = { jid: jid.toString(), after: this.#version }
      this.#version = host.ids.ordered()
      ops.push(versions.putOp([user], [], this.#version), changes.putOp([user], [this.#version], change))
    }
    const version = this.#version
    try {
      await host.store.commit(ops)
    } catch (error) {
      if (this.get(jid) === after) this.#keep(jid, before)
      if (seen) this.#version = host.ids.ordered()
      throw error
    }
    if (seen) {
      this.#forgetOld(version).catch(() => {
        this.#log = undefined // to be read again
      })
    }
    return version
  }

  /** Keeps the log of changes short. */
  async #forgetOld(version: string): Promise<void> {
    const { user } = this.account
    this.#log ??= this.#tables.changes.scan([user]).then(rows => rows.map(({ ck }) => String(ck[0])))
    const log = await this.#log
    if (!log.includes(version)) log.push(version)
    const old = log.splice(0, log.length - MAX_CHANGES)
    await Promise.all(old.map(each => this.#tables.changes.del([user], [each])))
  }
}

/** One item of {@link Roster.since}. */
export interface Change {
  readonly jid: Jid
  readonly item: RosterItem | undefined
  readonly version: string
}

/** Bytes that an item has, about, wherever it is: in memory, in the store, on the way to a client. */
export function sizeOf({ jid, name = '', groups }: Pick<RosterItem, 'jid' | 'name' | 'groups'>): number {
  let size = 64 + Buffer.byteLength(jid.toString()) + Buffer.byteLength(name)
  for (const group of groups) size += 16 + Buffer.byteLength(group)
  return size
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
