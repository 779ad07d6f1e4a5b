/** Nobody learns who has an account here: from the keys shown, their rounds, what is offered, or the work that is done. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Credentials } from '../../../src/auth/credentials.ts'
import { createDerive, type Derive, type ScramHash } from '../../../src/auth/derive.ts'
import { PlainExchange } from '../../../src/auth/plain.ts'
import { shapesIn } from '../../../src/auth/record.ts'
import { Shapes } from '../../../src/auth/shapes.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import type { Store } from '../../../src/storage/store.ts'
import { accounts, DOMAIN } from './support.ts'

const SECRET = Buffer.alloc(32, 7)
const HASHES: ScramHash[] = ['SHA-512', 'SHA-256', 'SHA-1']
const NAMES = Array.from({ length: 200 }, (_, n) => `name${n}`)

/** What a host that starts knows; `work` lists what was derived. */
async function start(store: Store, iterations: number, hashes: readonly ScramHash[] = HASHES) {
  const work: string[] = []
  const real = createDerive()
  const derive: Derive = (hash, password, salt, rounds) => {
    work.push(`${hash}:${rounds}`)
    return real(hash, password, salt, rounds)
  }
  const table = store.table<never>(DOMAIN, { name: 'passwd', version: 1 })
  const shapes = new Shapes(SECRET, store.table(DOMAIN, { name: 'shapes' }))
  await shapes.open(limit => shapesIn(table, limit))
  const { credentials } = accounts({ table, secret: SECRET, iterations, hashes, shapes, derive })
  return { credentials, work }
}

async function shown(credentials: Credentials, user: string, hash: ScramHash = 'SHA-256'): Promise<string> {
  const { iterations, salt } = await credentials.scram(user, hash)
  return `${iterations} ${salt.toString('hex')}`
}

async function rounds(credentials: Credentials, names = NAMES): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const name of names) {
    const { iterations } = await credentials.scram(name, 'SHA-256')
    counts[iterations] = (counts[iterations] ?? 0) + 1
  }
  return counts
}

test('after the number of rounds was changed unknown users show what known ones do, before and after a restart', async () => {
  const store = openMemoryStore()
  const before = (await start(store, 5000)).credentials
  await before.create('alice', 'pw')
  const first = await Promise.all(NAMES.map(name => shown(before, name)))
  Object.assign(before, { iterations: 9000, hashes: HASHES })
  assert.deepEqual(await rounds(before), { 5000: 200 }, 'as alice, whose password was set before')
  const after = (await start(store, 9000)).credentials
  assert.deepEqual(await Promise.all(NAMES.map(name => shown(after, name))), first)
  assert.equal((await after.scram('alice', 'SHA-256')).iterations, 5000)
})

test('where accounts differ, unknown users differ in the same measure, each always in its own way', async () => {
  const store = openMemoryStore()
  const old = (await start(store, 5000)).credentials
  for (let n = 0; n < 6; n++) await old.create(`old${n}`, 'pw')
  const now = (await start(store, 9000)).credentials
  for (let n = 0; n < 2; n++) await now.create(`new${n}`, 'pw')
  const counts = await rounds(now)
  assert.ok(counts[9000]! > 25 && counts[9000]! < 75, `a quarter of 200: ${JSON.stringify(counts)}`)
  assert.equal(counts[5000]! + counts[9000]!, 200)
  const first = await Promise.all(NAMES.map(name => shown(now, name)))
  const again = (await start(store, 9000)).credentials
  assert.deepEqual(await Promise.all(NAMES.map(name => shown(again, name))), first)
  // One more account, or a new password: names go from the old to the new, never back.
  await again.setPassword('old0', 'another')
  for (const [n, name] of NAMES.entries()) {
    if (first[n]!.startsWith('9000')) assert.equal(await shown(again, name), first[n])
  }
})

test('a host whose accounts were there before anything was counted counts them when it starts', async () => {
  const store = openMemoryStore()
  const { credentials } = accounts({ table: store.table(DOMAIN, { name: 'passwd', version: 1 }), iterations: 5000 })
  await credentials.create('alice', 'pw')
  assert.deepEqual(await rounds((await start(store, 9000)).credentials), { 5000: 200 })
})

test('a mechanism that came later is not what tells unknown users: nor its keys', async () => {
  const store = openMemoryStore()
  const old = (await start(store, 5000, ['SHA-256', 'SHA-1'])).credentials
  await old.create('alice', 'pw')
  const now = (await start(store, 9000)).credentials
  assert.deepEqual(await now.kept('alice'), ['SHA-256', 'SHA-1'])
  for (const name of NAMES) assert.deepEqual(await now.kept(name), ['SHA-256', 'SHA-1'])
  const [known, unknown] = [await now.scram('alice', 'SHA-512'), await now.scram('nobody', 'SHA-512')]
  assert.equal(known.iterations, unknown.iterations)
  assert.equal(known.salt.length, unknown.salt.length)
  assert.deepEqual((await now.scram('alice', 'SHA-512')).salt, known.salt, 'the same each time')
})

test('a wrong password costs the same work whoever it is for: known, unknown, disabled, kept elsewhere', async () => {
  const store = openMemoryStore()
  const old = (await start(store, 5000)).credentials
  await old.create('alice', 'pw')
  await old.create('banned', 'pw')
  await old.disable('banned')
  await old.adopt('elsewhere', 'http')
  const { credentials, work } = await start(store, 9000)
  const tried: Record<string, string[]> = {}
  for (const user of ['alice', 'nobody', 'banned', 'elsewhere', ...NAMES]) {
    work.length = 0
    const exchange = new PlainExchange(credentials, credentials, DOMAIN)
    const result = await exchange.step(Buffer.from(`\0${user}\0wrong`))
    assert.deepEqual(result, { failure: 'not-authorized', user })
    tried[user] = [...work]
  }
  for (const [user, done] of Object.entries(tried)) assert.deepEqual(done, ['SHA-512:5000'], user)
})

test('states of the configuration that are told apart are bounded', async () => {
  const store = openMemoryStore()
  const shapes = new Shapes(SECRET, store.table(DOMAIN, { name: 'shapes' }))
  await shapes.open(async function* () {})
  for (let n = 0; n < 100; n++) shapes.note({ 'SHA-256': 4096 + n })
  const stored = await store.table<unknown[]>(DOMAIN, { name: 'shapes' }).get(['shapes'], [])
  assert.equal(stored!.length, 64)
})
