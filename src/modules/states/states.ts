import type { Table } from '../../storage/store.ts'
import { orderedTime } from '../../util/ids.ts'

export type State = 'queued' | 'delivered' | 'read'

/** What became of one message. Times are ms since 1970. */
export interface MessageState {
  /** The id that the server gave it (XEP-0359). */
  readonly id: string
  /** Bare addresses. */
  readonly from: string
  readonly to: string
  /** The id that its sender gave it. */
  readonly messageId: string
  readonly state: State
  readonly at: number
  readonly delivered: { readonly at: number; readonly resource: string } | undefined
  readonly read: number | undefined
}

/** As stored: the sender's id; when and to which resource it was delivered. */
export type StateRow = readonly [messageId: string, deliveredAt?: number, resource?: string]
/** Up to which message somebody has read a conversation. */
export interface Mark {
  readonly id: string
  readonly at: number
}

export interface Wanted {
  /** The recipient, bare. */
  readonly to: string
  readonly from?: string | undefined
  readonly messageId?: string | undefined
  readonly state?: State | undefined
  /** Ms since 1970. */
  readonly since?: number | undefined
  readonly until?: number | undefined
  /** Newest first, at most so many. */
  readonly limit: number
  /** Only what the reader has told the sender (XEP-0333), not what it told its own clients (XEP-0490). */
  readonly toldOnly?: boolean
}

/** Rows in memory at which they are written before their time. */
const MAX_PENDING = 10_000
/** Messages whose server id is remembered by the sender's. */
const MAX_RECENT = 20_000
/** How far back a message is looked for by the id that its sender gave it. */
const MAX_LOOKED_AT = 2000
const PAGE = 250
const DAY = 86_400_000

/**
 * The states of the messages that came to the users of one host. Rows are written in the background, some at a time: after a
 * crash a message may count as queued that was delivered in the last second.
 */
export class States {
  readonly #rows: Table<StateRow>
  readonly #marks: Table<Mark>
  readonly #now: () => number
  readonly #pending = new Map<string, { to: string; from: string; id: string; row: StateRow }>()
  readonly #recent = new Map<string, string>()

  /** `rows` by recipient, then sender and id; `marks` by reader, then sender and kind. */
  constructor(rows: Table<StateRow>, marks: Table<Mark>, now: () => number) {
    this.#rows = rows
    this.#marks = marks
    this.#now = now
  }

  queued(to: string, from: string, id: string, messageId: string): void {
    this.#set(to, from, id, [messageId])
    const key = `${to} ${from} ${messageId}`
    this.#recent.delete(key)
    this.#recent.set(key, id)
    if (this.#recent.size > MAX_RECENT) this.#recent.delete(this.#recent.keys().next().value!)
  }

  /** `about` is asked for sender and sender's id where they are not known any more; undefined: it was no message to note. */
  delivered(
    to: string,
    id: string,
    resource: string,
    about: () => { from: string; messageId: string } | undefined,
  ): void {
    const known = this.#pending.get(id)
    const from = known?.from
    const there = from === undefined ? about() : { from, messageId: known!.row[0] }
    // The first to have it counts: later ones are copies for other clients.
    if (there !== undefined) this.#set(to, there.from, id, [there.messageId, this.#now(), resource])
  }

  /** `reader` has read what `from` wrote, up to the message of this id; `told`: and let `from` know. */
  async read(reader: string, from: string, id: string, told: boolean): Promise<void> {
    if ((orderedTime(id) ?? Number.POSITIVE_INFINITY) > this.#now() + DAY) return // no message has this id
    const key = [from, told ? 'told' : 'own']
    const before = await this.#marks.get([reader], key)
    if (before === undefined || before.id < id) await this.#marks.put([reader], key, { id, at: this.#now() })
  }

  async readUpTo(reader: string, from: string): Promise<string> {
    const marks = await Promise.all([
      this.#marks.get([reader], [from, 'told']),
      this.#marks.get([reader], [from, 'own']),
    ])
    return marks.reduce((last, mark) => (mark !== undefined && mark.id > last ? mark.id : last), '')
  }

  /** The server's id of a message, by its sender's. */
  async find(to: string, from: string, messageId: string): Promise<string | undefined> {
    const recent = this.#recent.get(`${to} ${from} ${messageId}`)
    if (recent !== undefined) return recent
    await this.flush()
    let before: string | undefined
    for (let looked = 0; looked < MAX_LOOKED_AT; looked += PAGE) {
      const rows = await this.#conversation(to, from, before)
      const found = rows.find(({ row }) => row[0] === messageId)
      if (found !== undefined) return found.id
      if (rows.length < PAGE) return undefined
      before = rows.at(-1)!.id
    }
    return undefined
  }

  async list(wanted: Wanted): Promise<MessageState[]> {
    await this.flush()
    const found: MessageState[] = []
    const senders = wanted.from === undefined ? await this.#senders(wanted.to) : [wanted.from]
    for (const from of senders) found.push(...(await this.#listOf(wanted, from)))
    return found.sort((a, b) => (a.id < b.id ? 1 : -1)).slice(0, wanted.limit)
  }

  /** Writes what waits. Never rejects: rows that cannot be written wait for the next time. */
  async flush(): Promise<void> {
    const rows = [...this.#pending]
    this.#pending.clear()
    await Promise.all(
      rows.map(([id, one]) =>
        this.#rows.put([one.to], [one.from, one.id], one.row).catch(() => {
          if (this.#pending.size < MAX_PENDING && !this.#pending.has(id)) this.#pending.set(id, one)
        }),
      ),
    )
  }

  /** Forgets what is older than `id`; resolves with how many messages that were. */
  async purge(id: string): Promise<number> {
    let count = 0
    let after: string | undefined
    for (;;) {
      const keys = await this.#rows.partitions(after === undefined ? undefined : [after], 100)
      for (const key of keys) {
        const to = String(key[0])
        for (const from of await this.#senders(to)) count += await this.#purgeOf(to, from, id)
      }
      if (keys.length < 100) return count
      after = String(keys.at(-1)![0])
    }
  }

  async forget(to: string): Promise<void> {
    await this.flush()
    await this.#rows.clear([to])
    await this.#marks.clear([to])
  }

  #set(to: string, from: string, id: string, row: StateRow): void {
    this.#pending.set(id, { to, from, id, row })
    if (this.#pending.size >= MAX_PENDING) void this.flush()
  }

  async #conversation(to: string, from: string, before?: string) {
    const rows = await this.#rows.scan([to], {
      ...(before === undefined ? { lte: [from] } : { lt: [from, before] }),
      gte: [from],
      reverse: true,
      limit: PAGE,
    })
    return rows.map(({ ck, value }) => ({ id: String(ck[1]), row: value }))
  }

  /** Everybody who has written to somebody: one look at the store for each. */
  async #senders(to: string): Promise<string[]> {
    const senders: string[] = []
    for (;;) {
      const last = senders.at(-1)
      const [row] = await this.#rows.scan([to], { limit: 1, ...(last === undefined ? {} : { gt: [last] }) })
      if (row === undefined) return senders
      senders.push(String(row.ck[0]))
    }
  }

  async #listOf(wanted: Wanted, from: string): Promise<MessageState[]> {
    const { to } = wanted
    const [told, own] = await Promise.all([
      this.#marks.get([to], [from, 'told']),
      wanted.toldOnly === true ? undefined : this.#marks.get([to], [from, 'own']),
    ])
    const found: MessageState[] = []
    let before: string | undefined
    for (;;) {
      const rows = await this.#conversation(to, from, before)
      for (const { id, row } of rows) {
        const at = orderedTime(id) ?? 0
        if (wanted.since !== undefined && at < wanted.since) return found
        const state = stateOf(id, at, row, [told, own], { from, to })
        if (matches(state, wanted)) found.push(state)
        if (found.length >= wanted.limit) return found
      }
      if (rows.length < PAGE) return found
      before = rows.at(-1)!.id
    }
  }

  async #purgeOf(to: string, from: string, id: string): Promise<number> {
    let count = 0
    for (;;) {
      const rows = await this.#rows.scan([to], { gte: [from], lt: [from, id], limit: PAGE })
      if (rows.length === 0) return count
      await this.#rows.batch(
        [to],
        rows.map(({ ck }) => ({ type: 'del', ck })),
      )
      count += rows.length
      if (rows.length < PAGE) return count
    }
  }
}

function stateOf(
  id: string,
  at: number,
  [messageId, deliveredAt, resource]: StateRow,
  marks: readonly (Mark | undefined)[],
  { from, to }: { from: string; to: string },
): MessageState {
  const times = marks.flatMap(mark => (mark !== undefined && mark.id >= id ? [mark.at] : []))
  const read = times.length === 0 ? undefined : Math.min(...times)
  const delivered = deliveredAt === undefined ? undefined : { at: deliveredAt, resource: resource ?? '' }
  const state = read !== undefined ? 'read' : delivered !== undefined ? 'delivered' : 'queued'
  return { id, from, to, messageId, state, at, delivered, read }
}

function matches(state: MessageState, { messageId, state: wanted, until }: Wanted): boolean {
  if (messageId !== undefined && state.messageId !== messageId) return false
  if (wanted !== undefined && state.state !== wanted) return false
  return until === undefined || state.at <= until
}
