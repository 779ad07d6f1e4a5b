import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Familiar } from '../../../src/auth/familiar.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import { faultyTable } from '../../support/faultystore.ts'
import { eventually, settled } from '../../support/waiting.ts'

const STAMP = '1000.0'
const DAY = 86_400_000

function make() {
  const store = openMemoryStore()
  const table = store.table<{ at: number }>('example.org', { name: 'networks' })
  let now = 1_000_000
  const again = () => new Familiar({ table, secret: Buffer.alloc(32, 1), now: () => now })
  const rows = async (user: string) => (await table.scan([user])).length
  return { table, again, rows, pass: (ms: number) => (now += ms) }
}

test('from where somebody logged in is known, over a restart, for that account as it was made', async () => {
  const { again, rows, pass } = make()
  const familiar = again()
  familiar.seen('me', STAMP, '192.0.2.1')
  familiar.seen('me', STAMP, '2001:db8::1')
  await eventually(async () => (await rows('me')) === 2)
  for (const one of [familiar, again()]) {
    assert.equal(await one.knows('me', STAMP, '192.0.2.1'), true)
    assert.equal(await one.knows('me', '1000.7', '192.0.2.1'), true, 'with another password too')
    assert.equal(await one.knows('me', STAMP, '2001:db8::2'), true, 'the same /64')
    assert.equal(await one.knows('me', STAMP, '192.0.2.2'), false)
    assert.equal(await one.knows('you', STAMP, '192.0.2.1'), false)
    assert.equal(await one.knows('me', '2000.0', '192.0.2.1'), false, 'who has the name next')
  }
  pass(91 * DAY)
  assert.equal(await familiar.knows('me', STAMP, '192.0.2.1'), false, 'it was too long ago')
})

test('the store does not say from where; and it goes with the account', async () => {
  const { table, again, rows } = make()
  const familiar = again()
  familiar.seen('me', STAMP, '192.0.2.1')
  await eventually(async () => (await rows('me')) === 1)
  assert.ok(!JSON.stringify(await table.scan(['me'])).includes('192'))
  await familiar.forget('me')
  assert.equal(await rows('me'), 0)
})

test('networks of an account are bounded: from where nobody came for longest goes', async () => {
  const { again, rows, pass } = make()
  const familiar = again()
  for (let n = 0; n < 40; n++) {
    pass(1)
    familiar.seen('me', STAMP, `192.0.2.${n}`)
    await eventually(async () => (await rows('me')) === Math.min(n + 1, 16))
  }
  const fresh = again()
  await eventually(async () => fresh.knows('me', STAMP, '192.0.2.39'))
  assert.equal(await fresh.knows('me', STAMP, '192.0.2.0'), false)
  assert.equal(await rows('me'), 16)
})

test('many logins from one place are one write a day; too many at once are let go', async () => {
  const { table } = make()
  const { table: counting, troubles } = faultyTable(table)
  const { writes } = troubles
  const counted = new Familiar({ table: counting, secret: Buffer.alloc(32, 1), now: () => 5 * DAY })
  for (let n = 0; n < 100; n++) counted.seen('me', STAMP, '192.0.2.1')
  await eventually(() => writes.calls > 0)
  assert.equal(writes.calls, 1)
  for (let n = 0; n < 100; n++) counted.seen('me', STAMP, `192.0.2.${n}`)
  await eventually(async () => counted.knows('me', STAMP, '192.0.2.5'))
  await settled(50)
  assert.ok(writes.calls <= 11, `${writes.calls} writes`)
})
