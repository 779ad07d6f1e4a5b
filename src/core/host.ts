import type { Store, Table } from '../storage/store.ts'
import type { IdGenerator } from '../util/ids.ts'
import { checkName } from '../util/text.ts'
import { Jid } from '../xmpp/jid.ts'
import { Account } from './account.ts'
import { AdHocCommands } from './adhoc.ts'
import { DiscoRegistry } from './disco.ts'
import { Fanout } from './fanout.ts'
import { type HookEvent, Hooks, STOP } from './hooks.ts'
import { IqTable } from './iq.ts'
import { IqRequests } from './iqrequests.ts'
import { LocalDelivery } from './localdelivery.ts'
import type { Logger } from './log.ts'
import { Nonzas } from './nonzas.ts'
import { Queues } from './queue/queues.ts'
import { Removals } from './removals.ts'
import { Residents } from './residents.ts'
import type { Destination, Router } from './router.ts'
import { Services } from './services.ts'
import { type Session, SurvivingSlots } from './session.ts'
import type { Users } from './users.ts'

declare module './hooks.ts' {
  interface HookMap {
    /** An account comes into memory: modules load what they need at hand for it. */
    account_load: Async<{ account: Account }>
    /** An account leaves memory. */
    account_unload: Told<{ account: Account }>
    /**
     * Somebody wants an account of a name that nobody has now. A handler that keeps it from them says why in `kept`;
     * `invitation` is the token of the invitation that they came with.
     */
    name_wanted: Async<{ user: string; invitation: string | undefined; kept: string | undefined }>
    /** An account was made. */
    register_user: Async<{ user: Jid }>
    /** An account is being removed: modules delete what they keep of it. */
    remove_user: Async<{ user: Jid }>
  }
}

export interface HostOptions {
  name: string
  store: Store
  users: Users
  router: Router
  ids: IdGenerator
  log: Logger
  /** Accounts kept in memory though nobody uses them now, and bytes of what modules keep with them. */
  idleAccounts?: number
  idleBytes?: number
  /** Ms until a message is written again whose write failed while it was in flight. */
  retryWrites?: number
  now?: () => number
}

/** Bytes that modules keep with accounts that nobody uses now. */
const MAX_IDLE_BYTES = 128 * 1024 * 1024

/** Of the server itself. */
const OWN_TABLES = [
  'archive',
  'device',
  'login_networks',
  'passwd',
  'password_shapes',
  'queue',
  'removals_begun',
  'secret',
  'sent_window',
  'suspended_session',
]

/** A virtual host: its accounts, and what modules have added to it. */
export class Host {
  readonly name: string
  readonly jid: Jid
  readonly hooks: Hooks
  readonly iq = new IqTable()
  readonly requests: IqRequests
  /** Where stanzas for it and its accounts go. */
  readonly destination: Destination
  readonly services = new Services()
  readonly nonzas = new Nonzas()
  readonly disco = new DiscoRegistry()
  readonly adhoc = new AdHocCommands()
  readonly surviving = new SurvivingSlots()
  readonly fanout: Fanout
  /** The accounts in memory. */
  readonly accounts: Residents<string, Account>
  readonly users: Users
  readonly store: Store
  readonly router: Router
  readonly ids: IdGenerator
  readonly log: Logger
  readonly now: () => number
  /**
   * Messages by user and id, as they were delivered, where a module keeps an archive. A queued message that is in it is
   * stored only here, so nothing may be removed that the user's queue still holds.
   */
  readonly archive: Table<Buffer>
  readonly queues: Queues
  readonly #removals: Removals
  readonly #tables = new Map(OWN_TABLES.map(name => [name, 'the server']))

  constructor(options: HostOptions) {
    this.name = options.name
    this.jid = Jid.of('', options.name)
    this.users = options.users
    this.store = options.store
    this.router = options.router
    this.fanout = new Fanout(options.router)
    this.requests = new IqRequests(options.router, options.ids)
    this.ids = options.ids
    this.log = options.log
    this.now = options.now ?? Date.now
    this.accounts = new Residents({
      load: user => this.#load(user),
      idle: account => account.idle,
      weight: account => account.weight,
      left: account => this.hooks.notify('account_unload', { account }),
      max: options.idleAccounts ?? 20_000,
      maxBytes: options.idleBytes ?? MAX_IDLE_BYTES,
    })
    this.hooks = new Hooks(options.log)
    this.destination = new LocalDelivery(this)
    this.archive = options.store.table(options.name, { name: 'archive', codec: 'bytes' })
    this.queues = new Queues(this, options.retryWrites)
    this.#removals = new Removals(
      options.store.table(options.name, { name: 'removals_begun' }),
      options.log.child({ host: options.name }),
      user => this.#end(user),
      user => this.#forget(user),
    )
  }

  /** A table of this host is this module's until the function that comes back is called. Throws where it is somebody's. */
  claim(table: string, owner: string): () => void {
    checkName('table', table)
    const there = this.#tables.get(table)
    if (there !== undefined) throw new Error(`${owner}: the table ${table} is there already, of ${there}`)
    this.#tables.set(table, owner)
    return () => this.#tables.delete(table)
  }

  /** All sessions of this host. */
  *sessions(): Generator<Session> {
    for (const account of this.accounts.values()) yield* account.sessions.values()
  }

  /** The account of a localpart, loaded; undefined if there is none. At once if it is in memory. */
  account(user: string): Account | undefined | Promise<Account | undefined> {
    return this.accounts.need(user)
  }

  async #load(user: string): Promise<Account | undefined> {
    if (!(await this.users.exists(user))) return undefined
    const account = new Account(this, Jid.of(user, this.name), await this.queues.open(user))
    await this.hooks.run('account_load', { account })
    return account
  }

  /** Why nobody can take the name now though it is free; undefined if they can. */
  async nameKept(user: string, invitation?: string): Promise<string | undefined> {
    if (this.#removals.has(user)) return 'the account that had that name is being removed'
    const event: HookEvent<'name_wanted'> = { user, invitation, kept: undefined }
    const verdict = await this.hooks.run('name_wanted', event)
    return verdict === STOP ? (event.kept ?? 'that name cannot be looked at now; try again later') : event.kept
  }

  /** This goes on for an account and may write what is kept of it: a removal waits for it. Gives it back. */
  during<T>(user: string, work: Promise<T>): Promise<T> {
    return this.#removals.during(user, work)
  }

  /** Removes an account with everything that is kept of it. Its sessions end. Rejects as {@link Removals.run} does. */
  removeAccount(user: string): Promise<boolean> {
    return this.#removals.run(user)
  }

  /** Before anybody may log in or register: accounts of which only a part was removed when the server ended. */
  finishRemovals(): Promise<void> {
    return this.#removals.finish()
  }

  async #end(user: string): Promise<boolean> {
    const there = await this.users.remove(user)
    // What comes from now on is for nobody, and not for whoever takes the name next.
    this.queues.end(this.accounts.get(user))
    this.accounts.end(user)
    return there
  }

  async #forget(user: string): Promise<void> {
    await this.hooks.run('remove_user', { user: Jid.of(user, this.name) })
    await this.queues.clear(user)
  }
}
