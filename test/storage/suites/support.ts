import type { TestContext } from 'node:test'
import type { Row, Store, Table } from '../../../src/storage/store.ts'

/** Opens an empty store; what it needs is taken away again by `t.after`. */
export type Open = (t: TestContext) => Promise<Store>

export const HOST = 'example.org'

/** Names that would run into each other or out of order if keys were put together carelessly. */
export const TRICKY = ['', 'a', 'a/', 'a\0', 'a\0sb', '\0', '\x01', '/', '0', 's', 'n', 'b', '😀', '\ue000', 'é']

export const stores = new WeakMap<Table<string>, Store>()

export async function strings(t: TestContext, open: Open): Promise<Table<string>> {
  const store = await open(t)
  const table = store.table<string>(HOST, { name: 't' })
  stores.set(table, store)
  return table
}

export async function numbers(t: TestContext, open: Open, count: number): Promise<Table<string>> {
  const table = await strings(t, open)
  const ops = shuffled(Array.from({ length: count }, (_, i) => i)).map(i => table.putOp(['p'], [i], String(i)))
  await stores.get(table)!.commit(ops)
  return table
}

export function keysOf(rows: Row<string>[]): number[] {
  return rows.map(row => row.ck[0] as number)
}

/** Always the same, but not in order. */
export function shuffled<T>(list: readonly T[]): T[] {
  return list
    .map((item, i) => ({ item, at: (i * 7919 + 13) % 10_007 }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}

export async function* from(chunks: Iterable<Uint8Array>): AsyncIterable<Uint8Array> {
  yield* chunks
}

export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const list: Uint8Array[] = []
  for await (const chunk of chunks) list.push(chunk)
  return Buffer.concat(list)
}
