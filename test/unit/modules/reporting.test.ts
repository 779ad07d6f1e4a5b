import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Report, Reports } from '../../../src/modules/mod_reporting.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import type { Table } from '../../../src/storage/store.ts'

const KEY = ['reports']
const report = (reporter: string): Report => ({
  at: 0,
  reporter,
  jid: 'spammer@bad.example',
  reason: 'spam',
  text: '',
  messages: [],
  share: [],
})

/** A table that counts the rows that are read of it, in all and at once. */
function counting(table: Table<Report>): { table: Table<Report>; read: { all: number; most: number } } {
  const read = { all: 0, most: 0 }
  const scan: Table<Report>['scan'] = async (pk, range) => {
    const rows = await table.scan(pk, range)
    read.all += rows.length
    read.most = Math.max(read.most, rows.length)
    return rows
  }
  return { table: { ...methodsOf(table), scan }, read }
}

function methodsOf(table: Table<Report>): Table<Report> {
  return {
    get: (pk, ck) => table.get(pk, ck),
    put: (pk, ck, value) => table.put(pk, ck, value),
    putIfAbsent: (pk, ck, value) => table.putIfAbsent(pk, ck, value),
    del: (pk, ck) => table.del(pk, ck),
    scan: (pk, range) => table.scan(pk, range),
    keys: (pk, range) => table.keys(pk, range),
    putOp: (pk, ck, value) => table.putOp(pk, ck, value),
    delOp: (pk, ck) => table.delOp(pk, ck),
    clear: (pk, range) => table.clear(pk, range),
    partitions: (after, limit) => table.partitions(after, limit),
  }
}

const id = (n: number) => `id${1000 + n}`

test('a report beyond the bound takes the place of the oldest, and the others are not read for it', async () => {
  const { table, read } = counting(openMemoryStore().table<Report>('localhost', { name: 'reports', version: 1 }))
  for (let n = 0; n < 200; n++) await table.put(KEY, [id(n)], report('alice'))
  const reports = new Reports(table, 120)
  await reports.add(id(200), report('alice'))
  assert.equal((await reports.list()).length, 120)
  read.all = 0
  for (let n = 201; n < 211; n++) await reports.add(id(n), report('alice'))
  assert.equal(read.all, 10)
  const ids = (await reports.list()).map(({ ck }) => ck[0])
  assert.deepEqual([ids.length, ids[0], ids.at(-1)], [120, id(210), id(91)])
})

test('reports are read a few at a time, and the number of them stays right', async () => {
  const { table, read } = counting(openMemoryStore().table<Report>('localhost', { name: 'reports', version: 1 }))
  for (let n = 0; n < 160; n++) await table.put(KEY, [id(n)], report(n % 2 === 0 ? 'alice' : 'bob'))
  const reports = new Reports(table, 160)
  await reports.forget('alice')
  assert.equal(read.most, 50)
  assert.equal(await reports.delete(id(1)), true)
  assert.equal(await reports.delete(id(1)), false)
  // 79 are left: 81 more find room, the next does not; all come at once.
  await Promise.all(Array.from({ length: 81 }, (_, n) => reports.add(id(300 + n), report('bob'))))
  assert.equal((await reports.list()).at(-1)!.ck[0], id(3))
  await reports.add(id(400), report('bob'))
  const rows = await reports.list()
  assert.deepEqual([rows.length, rows.at(-1)!.ck[0]], [160, id(5)])
})
