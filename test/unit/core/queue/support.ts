/** A queue on a store that can be troubled, and what the tests of it look at. */
import { QUEUE } from '../../../../src/core/queue/store.ts'
import type { Table } from '../../../../src/storage/store.ts'
import { faultyStore } from '../../../support/faultystore.ts'
import { FakeHolder, queueOver } from '../support.ts'

export const id = (n: number) => `id${String(n).padStart(6, '0')}`
export const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => id(from + i))

export function setup() {
  const { store, troubles } = faultyStore()
  return { ...queueOver(store), store, table: store.table('example.org', QUEUE), troubles }
}

export async function rows(table: Table<Buffer>): Promise<string[]> {
  return (await table.scan(['juliet'])).map(row => String(row.ck[0]))
}

export async function live(queue: ReturnType<typeof setup>['queue'], name = 'holder'): Promise<FakeHolder> {
  const holder = new FakeHolder(name)
  await queue.attach(holder)
  return holder
}
