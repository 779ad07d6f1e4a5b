import type { Op, Table } from '../../storage/store.ts'

/** A message that waits or was delivered. Times are ms since 1970. */
export interface StateRow {
  /** The id that the server gave it (XEP-0359). */
  readonly id: string
  /** The id that its sender gave it. */
  readonly messageId: string
  readonly deliveredAt: number | undefined
  readonly resource: string | undefined
}

/** As stored: messages of one conversation that were delivered within about a second, by id. */
export type Chunk = readonly (readonly [id: string, messageId: string, deliveredAt?: number, resource?: string])[]

/** Messages of a chunk at most. */
const SIZE = 100
/** Chunks and partitions that are read at a time. */
const PAGE = 25

/**
 * What was delivered, by recipient, sender and the least id of each chunk. A chunk and not a message has a row in the store,
 * for a busy conversation is written once a second and not with each message. Chunks may overlap where several clients of the
 * recipient acknowledge at different times.
 */
export class Chunks {
  readonly #table: Table<Chunk>

  constructor(table: Table<Chunk>) {
    this.#table = table
  }

  /** All or nothing. */
  async put(to: string, from: string, rows: readonly StateRow[]): Promise<void> {
    const sorted = [...rows].sort((a, b) => (a.id < b.id ? -1 : 1))
    const ops: Op<Chunk>[] = []
    for (let at = 0; at < sorted.length; at += SIZE) {
      const value = sorted.slice(at, at + SIZE).map(encode)
      ops.push({ type: 'put', ck: [from, value[0]![0]], value })
    }
    await this.#table.batch([to], ops)
  }

  /** Newest first, as far as chunks do not overlap, in pages. */
  async *backwards(to: string, from: string): AsyncGenerator<StateRow[]> {
    let before: string | undefined
    for (;;) {
      const chunks = await this.#table.scan([to], {
        ...(before === undefined ? { lte: [from] } : { lt: [from, before] }),
        gte: [from],
        reverse: true,
        limit: PAGE,
      })
      yield chunks.flatMap(({ value }) => decode(value).reverse())
      if (chunks.length < PAGE) return
      before = String(chunks.at(-1)!.ck[1])
    }
  }

  /** Everybody who has written to somebody: one look at the store for each. */
  async senders(to: string): Promise<string[]> {
    const senders: string[] = []
    for (;;) {
      const last = senders.at(-1)
      const [row] = await this.#table.scan([to], { limit: 1, ...(last === undefined ? {} : { gt: [last] }) })
      if (row === undefined) return senders
      senders.push(String(row.ck[0]))
    }
  }

  async recipients(after: string | undefined): Promise<string[]> {
    const keys = await this.#table.partitions(after === undefined ? undefined : [after], PAGE)
    return keys.map(key => String(key[0]))
  }

  /** Removes what is older than `id`; resolves with how many messages that were. */
  async purge(to: string, from: string, id: string): Promise<number> {
    let count = 0
    for (;;) {
      const chunks = await this.#table.scan([to], { gte: [from], lt: [from, id], limit: PAGE })
      const ops: Op<Chunk>[] = []
      for (const { ck, value } of chunks) {
        const rest = value.filter(([one]) => one >= id)
        count += value.length - rest.length
        ops.push({ type: 'del', ck })
        if (rest.length > 0) ops.push({ type: 'put', ck: [from, rest[0]![0]], value: rest })
      }
      if (ops.length > 0) await this.#table.batch([to], ops)
      if (chunks.length < PAGE) return count
    }
  }

  async clear(to: string): Promise<void> {
    await this.#table.clear([to])
  }
}

function encode({ id, messageId, deliveredAt, resource }: StateRow): Chunk[number] {
  return deliveredAt === undefined ? [id, messageId] : [id, messageId, deliveredAt, resource]
}

function decode(chunk: Chunk): StateRow[] {
  return chunk.map(([id, messageId, deliveredAt, resource]) => ({ id, messageId, deliveredAt, resource }))
}
