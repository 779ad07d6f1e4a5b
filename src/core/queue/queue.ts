import type { Range } from '../../storage/store.ts'
import type { StanzaError } from '../../xmpp/errors.ts'
import { Entry, type Holder, NO_ROWS, notStored, type Origin } from './entry.ts'
import { Reads } from './reads.ts'
import type { QueueStore } from './store.ts'

/** Rows read from the store at a time, and bytes of their messages: what is more waits there. */
const PAGE = 64
const PAGE_BYTES = 256 * 1024

/** A message of a queue. */
export type Waiting = Pick<Entry, 'id' | 'bytes' | 'about'>

/** How long (ms) until a backlog is read again that could not be. */
const READ_AGAIN = 1000

/**
 * The messages of one account, or for one destination, from their acceptance to the acknowledgement of a session (the promise).
 *
 * In memory are the entries that are not yet durable or in flight to a session; all others are in the store, and none of
 * those has an id above {@link #floor}. So a session that has seen everything up to an id >= floor needs only look at
 * memory, and a backlog of any length is read in pages.
 */
export class MessageQueue {
  readonly key: readonly [string]
  readonly #store: QueueStore
  readonly #entries = new Map<string, Entry>()
  /** Sessions that get each new message at once. */
  readonly #live = new Set<Holder>()
  /** Sessions that read their backlog, each with a token of the run that reads it. */
  readonly #catchingUp = new Map<Holder, symbol>()
  readonly #reads = new Reads()
  /** The account was removed: nothing is written any more, for whoever has the name next would get it. */
  ended = false
  #floor: string
  /** The newest id, and the one before it. */
  #newest: string
  #previous: string

  constructor(store: QueueStore, user: string, lastStored: string) {
    this.#store = store
    this.key = [user]
    this.#floor = lastStored
    this.#newest = lastStored
    this.#previous = lastStored
  }

  /** Nothing in memory depends on this queue: the account may be unloaded. */
  get idle(): boolean {
    return this.#entries.size === 0 && this.#live.size === 0 && this.#catchingUp.size === 0
  }

  /** Messages held in memory. */
  get size(): number {
    return this.#entries.size
  }

  /** The greatest id of those that were ever here, as far as that is known. */
  get newest(): string {
    return this.#newest
  }

  /** The least id of those in memory. */
  get oldest(): string | undefined {
    let oldest: string | undefined
    for (const id of this.#entries.keys()) if (oldest === undefined || id < oldest) oldest = id
    return oldest
  }

  /** This one has been given all there is, and gets what comes next at once. */
  isLive(holder: Holder): boolean {
    return this.#live.has(holder)
  }

  /** Sessions are there, and none of them takes what comes now: they are still catching up, or have enough for now. */
  get behind(): boolean {
    return this.#live.size === 0 && this.#catchingUp.size > 0
  }

  /** Accepts a message, which the caller then offers to sessions and {@link keep}s. */
  push(id: string, bytes: Buffer, origin: Origin | undefined): Entry {
    const entry = new Entry(id, bytes, origin)
    this.#entries.set(id, entry)
    this.#previous = this.#newest
    this.#newest = id
    return entry
  }

  /**
   * Has an entry written: from now on it is delivered or its sender gets an error. At once where it is the only copy or
   * somebody waits for it to be safe; else a session has it already, and if that acknowledges soon it never is written. For
   * who is patient it is written with what comes soon after it.
   */
  keep(entry: Entry): void {
    if (entry.holders.length === 0) this.#store.write(this, entry)
    else if (entry.origin === undefined) this.#store.writeLater(this, entry)
    // What is to be in an archive is there at once, for others look for it.
    else if (entry.origin.patient === true && entry.rows.length === 0) this.#store.writeSoon(this, entry)
    else this.#store.write(this, entry)
  }

  /**
   * Notes that the newest entry is for a session, if it is to be sent at once: not to one that is still catching up, nor
   * to one that is full, which gets it in its turn.
   */
  offer(entry: Entry, holder: Holder): boolean {
    if (this.#catchingUp.has(holder)) return false
    if (holder.full) {
      if (this.#live.delete(holder)) void this.#catchUp(holder, this.#previous)
      return false
    }
    this.hold(entry, holder)
    return true
  }

  /** Notes that an entry is in flight to a session. */
  hold(entry: Entry, holder: Holder): void {
    entry.sent = true
    entry.holders.push(holder)
  }

  /**
   * A session takes over an entry of the store: one that it held before a restart, or has got in another way. Undefined if it
   * is done with, or in flight to this session already.
   */
  async adopt(id: string, holder: Holder): Promise<Entry | undefined> {
    let entry = this.#entries.get(id)
    if (entry === undefined) {
      const bytes = await this.#readBytes(id)
      if (bytes === undefined) return undefined
      // Somebody else may have fetched it meanwhile.
      entry = this.#entries.get(id) ?? this.#stored(id, bytes)
    }
    if (entry.holders.includes(holder)) return undefined
    this.hold(entry, holder)
    return entry
  }

  /** Of a row of the store; undefined if there is none, or somebody acknowledged it meanwhile. */
  async #readBytes(id: string): Promise<Buffer | undefined> {
    this.#reads.begin()
    try {
      const value = await this.#store.table.get(this.key, [id])
      const bytes = value && (await this.#store.bytesOf(this.key, id, value))
      return this.#store.isGone(id) || this.#reads.isDone(id) ? undefined : bytes
    } finally {
      this.#reads.end()
    }
  }

  /** Ids from `first` to `last`, both included, of messages that wait or are in flight; at most as many as `limit`. */
  async pending(first: string, last: string, limit: number): Promise<ReadonlySet<string>> {
    const found = new Set<string>()
    for (const id of this.#entries.keys()) if (id >= first && id <= last) found.add(id)
    if (first > this.#floor) return found
    this.#reads.begin()
    try {
      for (const ck of await this.#store.table.keys(this.key, { gte: [first], lte: [last], limit })) {
        const id = String(ck[0])
        if (!this.#store.isGone(id) && !this.#reads.isDone(id)) found.add(id)
      }
    } finally {
      this.#reads.end()
    }
    return found
  }

  /** Messages in memory: in flight, or not in the store yet. */
  inMemory(): Iterable<Entry> {
    return this.#entries.values()
  }

  /** Everything that waits or is in flight, newest first, in pages. */
  async *waiting(): AsyncGenerator<Waiting[]> {
    const inMemory = [...this.#entries.values()]
    this.#reads.begin()
    try {
      let range: Range = { lte: [this.#floor] }
      let rest = inMemory
      for (;;) {
        const rows = await this.#store.table.scan(this.key, { ...range, reverse: true, limit: PAGE, bytes: PAGE_BYTES })
        const page = new Map<string, Waiting>()
        let last = ''
        let size = 0
        for (const { ck, value } of rows) {
          last = String(ck[0])
          const bytes = await this.#store.bytesOf(this.key, last, value)
          if (bytes !== undefined) page.set(last, { id: last, bytes, about: undefined })
          size += bytes?.length ?? 0
          if (size >= PAGE_BYTES) break
        }
        for (const entry of rest) if (entry.id >= last) page.set(entry.id, entry)
        rest = rest.filter(({ id }) => id < last)
        yield [...page.values()]
          .filter(({ id }) => !this.#store.isGone(id) && !this.#reads.isDone(id))
          .sort((a, b) => (a.id < b.id ? 1 : -1))
        if (last === '') return
        range = { lt: [last] }
      }
    } finally {
      this.#reads.end()
    }
  }

  #stored(id: string, bytes: Buffer): Entry {
    const entry = new Entry(id, bytes, undefined)
    entry.committed = true
    this.#entries.set(id, entry)
    return entry
  }

  /** A session has acknowledged an entry: it leaves the queue (promise 2). */
  confirm(entry: Entry, holder: Holder): void {
    drop(entry.holders, holder)
    if (entry.done) {
      if (!entry.bounced) this.#store.handlers.confirmedAgain?.(this, entry, holder)
      return
    }
    this.#finish(entry)
    entry.settle()
    this.#store.erase(this, entry, this.#store.handlers.confirmed?.(this, entry, holder) ?? NO_ROWS)
  }

  /**
   * A session ended, or gives up entries it had not acknowledged: those that no other session holds go to the sessions
   * that are there, or wait in the store.
   */
  release(holder: Holder, entries: readonly Entry[]): Entry[] {
    const orphans: Entry[] = []
    for (const entry of entries) {
      drop(entry.holders, holder)
      if (!entry.done && entry.holders.length === 0) orphans.push(entry)
    }
    for (const entry of orphans) {
      for (const session of this.#live) {
        if (session.full) void this.#fallBehind(session, entry)
        else this.#hand(entry, session, true)
      }
      if (entry.holders.length === 0) this.#park(entry)
    }
    return orphans
  }

  /** A session becomes available: it gets the backlog in order, then everything new. Resolves when it is live. Never rejects. */
  async attach(holder: Holder): Promise<void> {
    if (!this.#live.has(holder) && !this.#catchingUp.has(holder)) await this.#catchUp(holder, '')
  }

  async #catchUp(holder: Holder, cursor: string): Promise<void> {
    const run = Symbol('catching up')
    this.#catchingUp.set(holder, run)
    const current = () => this.#catchingUp.get(holder) === run
    try {
      while (this.#floor > cursor || holder.full || holder.besides?.waits() === true) {
        if (holder.full && !(await holder.room())) return
        if (!current()) return
        cursor = await this.#readPage(cursor, holder, current)
        if (!current()) return
      }
    } finally {
      if (current()) this.#catchingUp.delete(holder)
    }
    // From here to the end nothing awaits: what is in memory is all there is beyond the cursor.
    this.#live.add(holder)
    const waiting = [...this.#entries.values()].filter(e => e.id > cursor)
    for (const entry of waiting.sort((a, b) => (a.id < b.id ? -1 : 1))) {
      if (holder.full) return this.#fallBehind(holder, entry)
      this.#hand(entry, holder, true)
    }
    holder.caughtUp?.()
  }

  /** A session has enough for now: it gets what begins with this entry as it can take it. */
  async #fallBehind(holder: Holder, entry: Entry): Promise<void> {
    // A text that is cut is less than the whole; what else that lets in the session has already, and does not get again.
    if (this.#live.delete(holder)) await this.#catchUp(holder, entry.id.slice(0, -1))
  }

  /** Hands over the next page of a backlog, and what the session gets beside it; resolves with the id that the one after it begins behind. Never rejects. */
  async #readPage(cursor: string, holder: Holder, current: () => boolean): Promise<string> {
    this.#reads.begin()
    const floor = this.#floor // what is stored from here on may not be in what is read
    try {
      const rows = await this.#readRows(cursor)
      const last = [...rows.keys()].at(-1)
      // Before what comes after it; what others take away from here on, while this waits, goes there too.
      while (current() && !holder.full && holder.besides?.waits(last) === true) await holder.besides.give(last)
      if (!current() || holder.full) return cursor
      return this.#handRows(rows, cursor, last ?? floor, holder)
    } catch (error) {
      this.#store.handlers.trouble?.('queued messages could not be read', this.key[0], error)
    } finally {
      this.#reads.end()
    }
    await new Promise<void>(resolve => setTimeout(resolve, READ_AGAIN).unref())
    return cursor
  }

  /** A session is no longer available; what is in flight to it stays until it is confirmed or released. */
  detach(holder: Holder): void {
    this.#live.delete(holder)
    this.#catchingUp.delete(holder)
  }

  /** The sender gets an error, by default that it could not be stored: the message is truly not going to be delivered. */
  bounce(entry: Entry, reason = notStored()): void {
    if (entry.done) return
    entry.bounced = true
    this.#finish(entry)
    this.#store.erase(this, entry, NO_ROWS)
    this.onBounce(entry, reason)
    entry.settle()
  }

  /** Set by whose queue it is: routes the error for a bounced entry. */
  onBounce: (entry: Entry, reason: StanzaError) => void = () => {}

  /**
   * Bounces what waits, and is in flight to nobody, oldest first: what has a lesser id than `before`, or all there is now.
   * Resolves with how many that were.
   */
  async giveUp(before: string | undefined, reason: StanzaError): Promise<number> {
    let count = 0
    const refuse = (entry: Entry): void => {
      if (entry.done || entry.holders.length > 0) return
      count++
      this.bounce(entry, reason)
    }
    const inMemory = [...this.#entries.values()]
    const last = before ?? this.#newest
    this.#reads.begin()
    try {
      for (let cursor = ''; ; ) {
        const range = before === undefined ? { gt: [cursor], lte: [last] } : { gt: [cursor], lt: [last] }
        const rows = await this.#store.table.scan(this.key, { ...range, limit: PAGE, bytes: PAGE_BYTES })
        for (const { ck, value } of rows) {
          cursor = String(ck[0])
          if (this.#store.isGone(cursor) || this.#reads.isDone(cursor)) continue
          const bytes = await this.#store.bytesOf(this.key, cursor, value)
          const entry = this.#entries.get(cursor)
          if (entry !== undefined) refuse(entry)
          else if (bytes !== undefined && !this.#reads.isDone(cursor)) refuse(this.#stored(cursor, bytes))
        }
        if (rows.length === 0) break
      }
    } finally {
      this.#reads.end()
    }
    // What the store has not got yet; what it got meanwhile, and was let go of here, is another entry by now, or done.
    for (const entry of inMemory) {
      const isHere = this.#entries.get(entry.id) === entry
      if (isHere && (before === undefined || entry.id < before)) refuse(entry)
    }
    return count
  }

  /** What waits or is in flight, oldest first, up to so many. */
  async peek(limit: number): Promise<Waiting[]> {
    const found = new Map<string, Waiting>()
    for (const entry of this.#entries.values()) found.set(entry.id, entry)
    this.#reads.begin()
    try {
      for (const { ck, value } of await this.#store.table.scan(this.key, { limit, bytes: PAGE_BYTES })) {
        const id = String(ck[0])
        const bytes = found.has(id) ? undefined : await this.#store.bytesOf(this.key, id, value)
        if (bytes !== undefined) found.set(id, { id, bytes, about: undefined })
      }
      const waiting = [...found.values()].filter(({ id }) => !this.#store.isGone(id) && !this.#reads.isDone(id))
      return waiting.sort((a, b) => (a.id < b.id ? -1 : 1)).slice(0, limit)
    } finally {
      this.#reads.end()
    }
  }

  onCommitted(entry: Entry): void {
    entry.committed = true
    entry.failed = false
    if (entry.done) return
    entry.settle()
    if (entry.holders.length === 0) this.#park(entry)
    else for (const holder of entry.holders) holder.committed(entry)
  }

  /** Writes an entry again whose write failed. */
  rewrite(entry: Entry): void {
    if (this.ended) this.bounce(entry)
    else if (!entry.done && !entry.committed) this.#store.write(this, entry)
  }

  #hand(entry: Entry, holder: Holder, late: boolean): void {
    if (entry.done || entry.holders.includes(holder)) return
    this.hold(entry, holder)
    holder.take(entry, late)
  }

  /** The next rows, by id, with their bytes; a pointer to nothing has none. */
  async #readRows(cursor: string): Promise<Map<string, Buffer | undefined>> {
    const rows = await this.#store.table.scan(this.key, { gt: [cursor], limit: PAGE, bytes: PAGE_BYTES })
    const found = new Map<string, Buffer | undefined>()
    let size = 0
    for (const { ck, value } of rows) {
      const id = String(ck[0])
      const bytes = this.#store.bytesOf(this.key, id, value)
      const there = bytes instanceof Promise ? await bytes : bytes
      found.set(id, there)
      // A pointer to nothing, of which the log has told: there is nothing left to deliver.
      if (there === undefined && !this.#entries.has(id)) this.#store.eraseRow(this.key, id)
      size += there?.length ?? 0
      if (size >= PAGE_BYTES) break
    }
    return found
  }

  /** What there is up to `last`, until the session is full; returns the id up to which it has seen everything. */
  #handRows(found: Map<string, Buffer | undefined>, cursor: string, end: string, holder: Holder): string {
    const last = this.#reads.shownUpTo(found, cursor, end)
    // What was not in the store when that was read comes in its place.
    const count = found.size
    for (const { id, bytes } of this.#entries.values()) if (id > cursor && id <= last) found.set(id, bytes)
    const ids = [...found.keys()]
    if (found.size > count) ids.sort()
    let seen = cursor
    for (const id of ids) {
      if (holder.full || id > last) return seen
      seen = id
      if (this.#store.isGone(id) || this.#reads.isDone(id)) continue
      const bytes = found.get(id)
      const entry = this.#entries.get(id) ?? (bytes === undefined ? undefined : this.#stored(id, bytes))
      if (entry !== undefined) this.#hand(entry, holder, true)
    }
    return last > cursor ? last : cursor
  }

  /** Out of memory, once it is durable: it waits in the store. */
  #park(entry: Entry): void {
    if (entry.lazy && !this.ended) this.#store.write(this, entry)
    if (!entry.committed) return
    this.#entries.delete(entry.id)
    this.#reads.parked(entry.id)
    if (entry.id > this.#floor) this.#floor = entry.id
  }

  #finish(entry: Entry): void {
    entry.done = true
    this.#entries.delete(entry.id)
    this.#reads.done(entry.id)
  }
}

function drop(holders: Holder[], holder: Holder): void {
  const at = holders.indexOf(holder)
  if (at >= 0) holders.splice(at, 1)
}
