import type { Op, Table, TableSpec } from '../../storage/store.ts'
import type { Account } from '../account.ts'
import { Slot } from '../session.ts'
import type { Entry } from './entry.ts'
import { type Fingerprint, fingerprintOf } from './fingerprint.ts'

/** Messages remembered for each sender: more than a client has unacknowledged at any time (see SM_ACK_EVERY in c2s). */
const SIZE = 256
/** How long (ms) after a message a copy of it may come. */
const WITHIN = 10 * 60_000
/** So many ids a device must have used until one of them says which of its messages is meant: a bot may have one, or three. */
const MANY_IDS = 4
/** In place of its number: a message from before the server was started. Most clients that come back then were not told. */
const BEFORE = 0
/** How long (ms) until it is written down what senders know. A crash before that costs a client no more than a doubt. */
const NOTE_AFTER = 1000

/**
 * One session of a sender's device, through its resumptions. Within one, what comes again is meant (RFC 6120 8.1.3 has ids
 * unique within a stream, and people say "ok" twice), unless it is what a resumption asked for.
 */
export class Run {
  /** Names the device within its account. */
  readonly device: string
  /** The stanzas of this run that its client was told we have: all up to this number. */
  told = 0
  /** What its client may send again, by addressee, while it has not gone on to something new. */
  expected: Map<string, Remembered[]> | undefined

  constructor(device: string) {
    this.device = device
  }
}

/** A message of a sender. */
export interface Remembered {
  readonly seq: number
  readonly print: Fingerprint
  readonly device: string
  /** When it came first, ms since 1970. */
  readonly at: number
  /** In which it came last, as which stanza. */
  run: Run
  n: number
  /** While it is not yet safe. */
  entry: Entry | undefined
}

/** `sure`: up to which `seq` the client of this device knew, when the row was written, that we have its messages. */
type Row = [seq: number, print: string, device: string, sure: number, at: number]

export const SENT_WINDOW: TableSpec<Row> = {
  name: 'sent_window',
  version: 2,
  migrate: value => {
    const [seq, print] = value as [number, string]
    return [seq, print, '', seq, 0]
  },
}

const RING = new Slot<Ring | Promise<Ring>>('sender window')

/**
 * Recognises a message that a client sends again because its connection broke before it knew that we have it (promise 5).
 * The last {@link SIZE} accepted messages of each account are remembered, in the store too, written in the same commit as the
 * message itself; so also after a crash. Only for senders that use XEP-0198: others never send again by themselves.
 */
export class SenderWindow {
  readonly #table: Table<Row>
  readonly #now: () => number

  constructor(table: Table<Row>, now: () => number = Date.now) {
    this.#table = table
    this.#now = now
  }

  /** The window of one sender; read from the store the first time. */
  of(account: Account): Ring | Promise<Ring> {
    const there = account.slots.get(RING)
    if (there !== undefined) return there
    const loading = this.#load(account.user).then(ring => {
      account.slots.set(RING, ring)
      return ring
    })
    account.slots.set(RING, loading)
    loading.catch(() => account.slots.delete(RING))
    return loading
  }

  async #load(user: string): Promise<Ring> {
    const rows = await this.#table.scan([user], { limit: SIZE })
    return new Ring(
      this.#table,
      user,
      rows.map(row => row.value).sort((a, b) => a[0] - b[0]),
      this.#now,
    )
  }

  /** The account was removed: what is in memory of its window is written no more. */
  end(account: Account): void {
    const there = account.slots.get(RING)
    if (there instanceof Ring) there.end()
    else there?.then(ring => ring.end()).catch(() => {})
  }

  async clear(user: string): Promise<void> {
    await this.#table.clear([user])
  }
}

/** What is remembered of one device. */
interface Sender {
  /** Up to which `seq` its client knows that we have its messages. */
  sure: number
  /** As the store has it. */
  noted: number
  newest: Remembered
  /** Those beyond `sure`, in order. */
  open: Remembered[]
}

export class Ring {
  readonly #table: Table<Row>
  readonly #key: readonly [string]
  readonly #now: () => number
  readonly #slots: (Remembered | undefined)[] = new Array(SIZE)
  readonly #senders = new Map<string, Sender>()
  #ended = false
  /** Connections that have ended just now, of which it is being found out whether their client had read everything. */
  readonly #leaving = new Map<string, { known: Promise<void>; hurry: () => void }>()
  /** Messages that are not with their accounts yet, by device: whether they will be accepted is not known. */
  readonly #routing = new Set<{ device: string; done: Promise<void> }>()
  #noting: NodeJS.Timeout | undefined
  #next = 0
  /** What was there before the server was started. */
  readonly #restored = new Map<string, Run>()

  constructor(table: Table<Row>, user: string, rows: readonly Row[], now: () => number) {
    this.#table = table
    this.#key = [user]
    this.#now = now
    for (const [seq, text, device, sure, at] of rows) {
      let run = this.#restored.get(device)
      if (run === undefined) this.#restored.set(device, (run = new Run(device)))
      // Whether its client was told of it, nobody knows any more: maybe.
      this.#place({ seq, print: fingerprintOf(text), device, at, run, n: BEFORE, entry: undefined }, sure)
      this.#next = seq + 1
    }
    for (const sender of this.#senders.values()) sender.noted = sender.sure
  }

  /**
   * The message that this one is a copy of, if it is one: a client that came back sends again, to each addressee in order
   * and before anything new, what it sent in an earlier run of this device and does not know that we have. It certainly
   * does not know what it was never told. What it was told on a connection that broke it may know or not: there only an
   * id decides that its client, who has many, has not used for anything else, for better twice than never.
   */
  copy(print: Fingerprint, run: Run, n: number, says: boolean): Remembered | undefined {
    const { expected } = run
    const list = expected?.get(print.to)
    if (expected === undefined || list === undefined) return undefined
    const at = list.findIndex(known => known.print.text === print.text && this.#mayCome(known))
    if (at < 0) {
      if (says) expected.delete(print.to)
      return undefined
    }
    const found = list[at]!
    list.splice(0, at + 1)
    if (list.length === 0) expected.delete(print.to)
    found.run = run
    found.n = n
    return found
  }

  #mayCome({ run, n, print, at, device }: Remembered): boolean {
    if (this.#isOld(at)) return false
    if (n > run.told) return true
    // Counted when it is asked for, which is seldom, and not at each message.
    if (print.id === '' || this.#slots.filter(known => known?.print.id === print.id).length !== 1) return false
    return n === BEFORE || this.#idsOf(device) >= MANY_IDS
  }

  /** How many ids the remembered messages of a device have. */
  #idsOf(device: string): number {
    const ids = new Set<string>()
    for (const known of this.#slots) if (known?.device === device) ids.add(known.print.id)
    return ids.size
  }

  /** Also where the clock has gone back since. */
  #isOld(at: number): boolean {
    return Math.abs(this.#now() - at) > WITHIN
  }

  /** The run of a session that was there before the server was started, and is again. */
  resumed(device: string): Run {
    return this.#restored.get(device) ?? new Run(device)
  }

  /**
   * A run begins, or its session was resumed: what its client may send again is what earlier runs of the device left open,
   * and what of this one it was told that we do not have.
   */
  expect(run: Run): void {
    run.expected = undefined
    const open = this.#senders.get(run.device)?.open ?? []
    for (const known of open) {
      if ((known.run === run && known.n <= run.told) || this.#isOld(known.at)) continue
      run.expected ??= new Map()
      const list = run.expected.get(known.print.to)
      if (list === undefined) run.expected.set(known.print.to, [known])
      else list.push(known)
    }
  }

  /** Remembers an accepted message, in place of the oldest. */
  add(print: Fingerprint, entry: Entry, run: Run, n: number): Remembered {
    const known = { seq: this.#next++, print, device: run.device, at: this.#now(), run, n, entry }
    this.#place(known, -1)
    return known
  }

  /** What is to be written with that message; undefined where it is remembered no more. */
  row(known: Remembered): Op | undefined {
    const slot = known.seq % SIZE
    if (this.#ended || this.#slots[slot] !== known) return undefined
    return this.#table.putOp(this.#key, [slot], this.#stored(this.#senders.get(known.device)!, known))
  }

  #stored(sender: Sender, { seq, print, device, at }: Remembered): Row {
    sender.noted = sender.sure
    return [seq, print.text, device, sender.sure, at]
  }

  #place(known: Remembered, sure: number): void {
    const slot = known.seq % SIZE
    const old = this.#slots[slot]
    if (old !== undefined) this.#drop(old)
    this.#slots[slot] = known
    let sender = this.#senders.get(known.device)
    if (sender === undefined) {
      this.#senders.set(known.device, (sender = { sure: -1, noted: -1, newest: known, open: [] }))
    }
    sender.newest = known
    sender.open.push(known)
    if (sure >= 0) this.#sure(sender, sure)
  }

  #drop(known: Remembered): void {
    this.#slots[known.seq % SIZE] = undefined
    const sender = this.#senders.get(known.device)!
    const { open } = sender
    const at = open.indexOf(known) // the oldest, as a rule
    if (at >= 0) open.splice(at, 1)
    if (sender.newest !== known) return
    let newest: Remembered | undefined
    for (const other of this.#slots) {
      if (other?.device === known.device && other.seq > (newest?.seq ?? -1)) newest = other
    }
    if (newest === undefined) this.#senders.delete(known.device)
    else sender.newest = newest
  }

  /** The message is safe: a copy of it needs no waiting. */
  settle(known: Remembered): void {
    known.entry = undefined
  }

  /** The sender was told that the message failed: sending it again is a new attempt. */
  forget(known: Remembered): void {
    if (this.#slots[known.seq % SIZE] !== known) return
    this.#drop(known)
    const sender = this.#senders.get(known.device)
    if (sender !== undefined) sender.noted = -1 // its row may have been what told it
    if (!this.#ended) this.#table.del(this.#key, [known.seq % SIZE]).catch(() => {})
  }

  /** The client of a run knows that we have its stanzas up to `n`: it will not send them again. */
  knows(run: Run, n: number): void {
    const sender = this.#senders.get(run.device)
    if (sender === undefined) return
    let sure = -1
    for (const known of sender.open) if (known.run === run && known.n <= n) sure = known.seq
    if (sure < 0) return
    this.#sure(sender, sure)
    this.#noting ??= setTimeout(() => void this.note().catch(() => {}), NOTE_AFTER).unref()
  }

  /** Whether the client of a run was told of messages of which we do not know that it knows. */
  inDoubt(run: Run): boolean {
    return this.#senders.get(run.device)?.open.some(known => known.run === run && known.n <= run.told) === true
  }

  #sure(sender: Sender, seq: number): void {
    sender.sure = Math.max(sender.sure, seq)
    const { open } = sender
    let count = 0
    while (count < open.length && open[count]!.seq <= sender.sure) count++
    if (count > 0) open.splice(0, count)
  }

  /**
   * Writes down what clients know; resolves when it is durable. It goes with a message that is safe: a row of one that is not
   * would have a copy of it dropped after a crash, though it may not be there.
   */
  async note(): Promise<void> {
    clearTimeout(this.#noting)
    this.#noting = undefined
    if (this.#ended) return
    const writes: Promise<void>[] = []
    for (const [device, sender] of this.#senders) {
      const safe = sender.sure > sender.noted ? this.#newestSafe(device) : undefined
      if (safe === undefined) continue
      writes.push(this.#table.put(this.#key, [safe.seq % SIZE], this.#stored(sender, safe)))
    }
    await Promise.all(writes)
  }

  #newestSafe(device: string): Remembered | undefined {
    for (let seq = this.#next - 1; seq >= Math.max(0, this.#next - SIZE); seq--) {
      const known = this.#slots[seq % SIZE]
      if (known?.seq === seq && known.device === device && known.entry === undefined) return known
    }
    return undefined
  }

  /** The account was removed: nothing is written any more, for whoever has the name next would get it. */
  end(): void {
    this.#ended = true
    clearTimeout(this.#noting)
  }

  /** A client closed its stream in order: it will send nothing of this run again. Resolves when that is durable. */
  async closed(run: Run): Promise<void> {
    this.knows(run, Number.POSITIVE_INFINITY)
    await this.note()
  }

  /** The connection of a run has ended, and `hasRead` will tell whether its client had read all that it was told. */
  left(run: Run, hasRead: Promise<boolean>, hurry: () => void): void {
    const told = run.told
    const known = hasRead.then(read => {
      if (read) this.knows(run, told)
      if (this.#leaving.get(run.device)?.known === known) this.#leaving.delete(run.device)
    })
    this.#leaving.set(run.device, { known, hurry })
  }

  /** A message of a device is on its way to its account. */
  routing(device: string, done: Promise<void>): void {
    const way = { device, done }
    this.#routing.add(way)
    const arrived = (): void => void this.#routing.delete(way)
    done.then(arrived, arrived)
  }

  /** Resolves when it is known what the last connection of a device had read, and what came by it has arrived. */
  async sinceLeft(device: string): Promise<void> {
    const leaving = this.#leaving.get(device)
    leaving?.hurry()
    const onTheirWay = [...this.#routing].filter(way => way.device === device)
    await Promise.allSettled([leaving?.known, ...onTheirWay.map(way => way.done)])
  }
}
