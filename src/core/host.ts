import { type Op, pages, type Store, type Table } from '../storage/store.ts'
import type { IdGenerator } from '../util/ids.ts'
import { Jid } from '../xmpp/jid.ts'
import { Account } from './account.ts'
import { AdHocCommands } from './adhoc.ts'
import { asSent, notStored } from './delivery.ts'
import { DiscoRegistry } from './disco.ts'
import { Fanout } from './fanout.ts'
import { type HookEvent, Hooks, STOP } from './hooks.ts'
import { IqTable } from './iq.ts'
import { IqRequests } from './iqrequests.ts'
import { LocalDelivery } from './localdelivery.ts'
import type { Logger } from './log.ts'
import { Nonzas } from './nonzas.ts'
import { type Entry, NO_ROWS } from './queue/entry.ts'
import { MessageQueue } from './queue/queue.ts'
import { QueueStore, sizeOfRow } from './queue/store.ts'
import { SENT_WINDOW, SenderWindow } from './queue/window.ts'
import { Removals } from './removals.ts'
import { Residents } from './residents.ts'
import type { Destination, Router } from './router.ts'
import { Services } from './services.ts'
import type { Session } from './session.ts'
import type { Users } from './users.ts'

declare module './hooks.ts' {
  interface HookMap {
    /** An account comes into memory: modules load what they need at hand for it. */
    account_load: Async<{ account: Account }>
    /** An account leaves memory. */
    account_unload: Told<{ account: Account }>
    /**
     * A session has acknowledged a message of its account: it is delivered. What a handler adds to `rows` is written as it
     * leaves the queue, or not at all.
     */
    message_acknowledged: Sync<{ account: Account; entry: Entry; session: Session; readonly rows: Op[] }>
    /** A further session has acknowledged a message that was delivered already. */
    message_acknowledged_again: Told<{ entry: Entry; session: Session }>
    /**
     * Somebody wants an account of a name that nobody has now. A handler that keeps it from them says why in `kept`;
     * `invitation` is the token of the invitation that they came with.
     */
    name_wanted: Async<{ user: string; invitation: string | undefined; kept: string | undefined }>
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

/** Messages that wait for a failing store while clients may have them, and bytes of them. */
const MAX_REWRITES = 10_000
const MAX_REWRITE_BYTES = 64 * 1024 * 1024

/** Bytes that modules keep with accounts that nobody uses now. */
const MAX_IDLE_BYTES = 128 * 1024 * 1024

const EVERYTHING = { messages: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY }

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
  readonly #queues: QueueStore
  readonly #window: SenderWindow
  readonly #removals: Removals
  readonly #retryWrites: number
  readonly #rewrites = new Set<Entry>()
  #rewriteBytes = 0

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
    this.#retryWrites = options.retryWrites ?? 1000
    this.hooks = new Hooks(options.log)
    this.destination = new LocalDelivery(this)
    this.#queues = new QueueStore(options.store, options.name, {
      failed: (queue, entry, error) => this.#writeFailed(queue, entry, error),
      trouble: (what, user, error) => this.log.error({ err: error, user }, what),
      confirmed: (queue, entry, holder) => this.#confirmed(queue, entry, holder as Session),
      confirmedAgain: (_queue, entry, holder) => {
        if (!this.hooks.has('message_acknowledged_again')) return
        this.hooks.notify('message_acknowledged_again', { entry, session: holder as Session })
      },
      archived: async (key, id) => {
        const bytes = await this.archive.get(key, [id])
        if (bytes === undefined) this.log.error({ user: key[0], id }, 'a queued message is missing in the archive')
        return bytes
      },
    })
    this.archive = options.store.table(options.name, { name: 'archive', codec: 'bytes' })
    this.#window = new SenderWindow(options.store.table(options.name, SENT_WINDOW), this.now)
    this.#removals = new Removals(options.store.table(options.name, { name: 'removals' }))
  }

  get window(): SenderWindow {
    return this.#window
  }

  /** Has everything written that is queued; resolves when it is durable. */
  flushQueues(): Promise<void> {
    return this.#queues.flush()
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
    const [last] = await this.#queues.table.keys([user], { reverse: true, limit: 1 })
    const lastId = last === undefined ? '' : String(last[0])
    this.ids.after(lastId)
    const queue = new MessageQueue(this.#queues, user, lastId)
    queue.onBounce = entry => this.#bounce(entry)
    const account = new Account(this, Jid.of(user, this.name), queue)
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

  /** Removes an account with everything that is kept of it. Its sessions end. */
  removeAccount(user: string): Promise<boolean> {
    return this.#removals.run(
      user,
      () => this.users.remove(user),
      () => this.#forget(user),
    )
  }

  /** Before anybody may log in or register: accounts of which only a part was removed when the server ended. */
  async finishRemovals(): Promise<void> {
    for (const user of await this.#removals.unfinished()) {
      this.log.info({ user, host: this.name }, 'finishing the removal of an account')
      await this.#removals.finish(
        user,
        () => this.users.remove(user),
        () => this.#forget(user),
      )
    }
  }

  async #forget(user: string): Promise<void> {
    // First: what comes from now on is for nobody, and not for whoever takes the name next. So too the copy in the archive of
    // its sender, of what waits to be written again.
    for (const entry of this.#rewrites) {
      entry.rows = NO_ROWS
      entry.archived = false
    }
    const account = this.accounts.get(user)
    if (account !== undefined) {
      account.queue.end()
      this.#window.end(account)
    }
    this.accounts.end(user)
    await this.hooks.run('remove_user', { user: Jid.of(user, this.name) })
    await this.#queues.table.clear([user])
    await this.#window.clear(user)
  }

  /** Messages that wait for an account, in flight or in the store. */
  async queued(user: string): Promise<number> {
    return (await this.waiting(user)).messages
  }

  /** As {@link queued}, with their bytes; counted up to `most` only, of either. */
  async waiting(user: string, most = EVERYTHING): Promise<{ messages: number; bytes: number }> {
    let messages = 0
    let bytes = 0
    for await (const rows of pages(this.#queues.table, [user])) {
      messages += rows.length
      for (const { value } of rows) bytes += sizeOfRow(value)
      if (messages >= most.messages || bytes >= most.bytes) break
    }
    return { messages, bytes }
  }

  /** The id of the oldest message that waits for an account, in flight or in the store; undefined if none does. */
  async oldestQueued(user: string): Promise<string | undefined> {
    const stored = this.#queues.table.keys([user], { limit: 1 })
    // In the same turn: what is written afterwards is still here now.
    const inFlight = this.accounts.get(user)?.queue.oldest
    const [key] = await stored
    const waiting = key && String(key[0])
    return waiting === undefined || (inFlight !== undefined && inFlight < waiting) ? inFlight : waiting
  }

  #confirmed(queue: MessageQueue, entry: Entry, session: Session): readonly Op[] {
    const account = this.accounts.get(queue.key[0])
    if (account === undefined || !this.hooks.has('message_acknowledged')) return NO_ROWS
    const event: HookEvent<'message_acknowledged'> = { account, entry, session, rows: [] }
    this.hooks.notify('message_acknowledged', event)
    return event.rows
  }

  #writeFailed(queue: MessageQueue, entry: Entry, error: unknown): void {
    if (entry.done) return
    this.log.error({ err: error, user: queue.key[0], message: entry.id }, 'a message could not be stored')
    // A client that was given it may have it, though it did not say so: then it is not bounced but kept and written again,
    // and its sender waits. At the bound of memory it is bounced after all.
    const tooMuch = this.#rewrites.size >= MAX_REWRITES || this.#rewriteBytes >= MAX_REWRITE_BYTES
    if (!entry.sent || tooMuch) return queue.bounce(entry)
    entry.failed = true
    this.#rewrites.add(entry)
    const size = entry.rows.reduce((sum, op) => sum + op.size, entry.bytes.length)
    this.#rewriteBytes += size
    setTimeout(() => {
      this.#rewrites.delete(entry)
      this.#rewriteBytes -= size
      queue.rewrite(entry)
    }, this.#retryWrites).unref()
  }

  #bounce(entry: Entry): void {
    void this.router.bounce(asSent(entry), notStored())
  }
}
