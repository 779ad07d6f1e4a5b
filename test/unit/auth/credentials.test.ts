import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CredentialError } from '../../../src/auth/credentials.ts'
import { BusyError, createDerive, type Derive, preparePassword, sameSecret } from '../../../src/auth/derive.ts'
import { StoreError } from '../../../src/storage/store.ts'
import { faultyTable } from '../../support/faultystore.ts'
import { pluck } from '../../support/pluck.ts'
import { eventually } from '../../support/waiting.ts'
import { accounts } from './support.ts'

test('an account from its making to its end', async () => {
  let now = 1000
  const { credentials, table } = accounts({ now: () => now })
  assert.equal(await credentials.exists('me'), false)
  assert.equal(await credentials.create('me', 'one'), true)
  assert.equal(await credentials.create('me', 'two'), false)
  assert.equal(await credentials.exists('me'), true)
  assert.equal(await credentials.verify('me', 'one'), true)
  assert.equal(await credentials.verify('me', 'two'), false)
  now = 2000
  assert.equal(await credentials.setPassword('me', 'two'), true)
  assert.equal(await credentials.verify('me', 'one'), false)
  assert.equal(await credentials.verify('me', 'two'), true)
  assert.equal((await credentials.get('me'))?.createdAt, 1000)
  assert.equal(await credentials.remove('me'), true)
  assert.equal(await credentials.exists('me'), false)
  assert.equal(await credentials.verify('me', 'two'), false)
  assert.equal(await table.get(['me'], []), undefined)
})

test('what does not exist cannot be changed', async () => {
  const { credentials } = accounts()
  assert.equal(await credentials.setPassword('nobody', 'pw'), false)
  assert.equal(await credentials.remove('nobody'), false)
  assert.equal(await credentials.disable('nobody'), false)
  assert.equal(await credentials.enable('nobody'), false)
  assert.equal(await credentials.isDisabled('nobody'), false)
  assert.equal(await credentials.exists('nobody'), false)
})

test('disabling keeps the password and says why', async () => {
  const { credentials } = accounts({ now: () => 5 })
  await credentials.create('me', 'pw')
  assert.equal(await credentials.disable('me', 'spam'), true)
  assert.equal(await credentials.isDisabled('me'), true)
  assert.equal(await credentials.verify('me', 'pw'), false)
  assert.equal(await credentials.check('me', 'pw'), 'disabled')
  assert.equal(await credentials.check('me', 'no'), 'wrong')
  assert.deepEqual((await credentials.get('me'))?.disabled, { at: 5, reason: 'spam' })
  assert.equal(await credentials.setPassword('me', 'new'), true)
  assert.equal(await credentials.check('me', 'new'), 'disabled')
  assert.equal(await credentials.enable('me'), true)
  assert.equal(await credentials.verify('me', 'new'), true)
})

test('of two who take a name at once, one gets it', async () => {
  const { credentials } = accounts()
  const taken = await Promise.all([credentials.create('me', 'one'), credentials.create('me', 'two')])
  assert.deepEqual(taken.toSorted(), [false, true])
  assert.equal(await credentials.verify('me', taken[0] ? 'one' : 'two'), true)
})

test('changes to one account at once are all kept', async () => {
  const { credentials } = accounts()
  await credentials.create('me', 'pw')
  await Promise.all([
    credentials.setPassword('me', 'new'),
    credentials.disable('me'),
    credentials.setPassword('me', 'new'),
  ])
  assert.equal(await credentials.check('me', 'new'), 'disabled')
  const [, removed] = await Promise.all([
    credentials.setPassword('me', 'x'),
    credentials.remove('me'),
    credentials.enable('me'),
  ])
  assert.equal(removed, true)
  assert.equal(await credentials.exists('me'), false)
})

test('so many changes to one account at once and no more, but it is disabled and removed all the same', async () => {
  const { credentials } = accounts()
  await credentials.create('me', 'pw')
  const changes = Array.from({ length: 100 }, () => credentials.enable('me'))
  await assert.rejects(credentials.enable('me'), { name: 'BusyError' })
  assert.deepEqual(await Promise.all([credentials.disable('me'), credentials.remove('me')]), [true, true])
  await Promise.all(changes)
})

test('no plain password and no two salts alike lie in the store', async () => {
  const { credentials, table } = accounts()
  await credentials.create('a', 'samepassword')
  await credentials.create('b', 'samepassword')
  const [a, b] = [await table.get(['a'], []), await table.get(['b'], [])]
  assert.ok(!JSON.stringify([a, b]).includes('samepassword'))
  const salts = [a, b].flatMap(record => Object.values(record!.scram).map(keys => keys.salt))
  assert.equal(salts.length, 6)
  assert.equal(new Set(salts).size, 6)
  assert.ok(salts.every(salt => Buffer.from(salt, 'base64').length === 16))
})

test('a known account is in memory: answers at once, no read', async () => {
  const { credentials, table } = accounts()
  await credentials.create('me', 'pw')
  const { troubles, table: slow } = faultyTable(table)
  const fresh = accounts({ table: slow }).credentials
  assert.ok(fresh.exists('me') instanceof Promise)
  await fresh.exists('me')
  await fresh.exists('nobody')
  assert.equal(troubles.reads.calls, 3)
  assert.equal(fresh.exists('me'), true)
  assert.equal(fresh.exists('nobody'), false)
  assert.equal(fresh.isDisabled('me'), false)
  assert.ok(!(fresh.scram('me', 'SHA-256') instanceof Promise))
  assert.equal(await fresh.verify('me', 'pw'), true)
  assert.equal(troubles.reads.calls, 3)
})

test('a read that a change overtakes is not remembered', async () => {
  const { table } = accounts()
  const { troubles, table: slow } = faultyTable(table)
  const { credentials } = accounts({ table: slow })
  const release = troubles.reads.holdNext()
  const early = credentials.exists('me')
  await credentials.create('me', 'pw')
  release()
  assert.equal(await early, false)
  assert.equal(await credentials.exists('me'), true)
})

test("another node's change is seen after forget", async () => {
  const { credentials, table } = accounts()
  const other = accounts({ table }).credentials
  assert.equal(await credentials.exists('me'), false)
  await other.create('me', 'pw')
  assert.equal(await credentials.exists('me'), false)
  credentials.forget('me')
  assert.equal(await credentials.exists('me'), true)
})

test('a write that fails rejects and leaves everything as it was', async () => {
  const { troubles, table } = faultyTable(accounts().table)
  const { credentials } = accounts({ table })
  await credentials.create('me', 'pw')
  troubles.failWrites = true
  await assert.rejects(credentials.setPassword('me', 'new'), StoreError)
  await assert.rejects(credentials.create('you', 'pw'), StoreError)
  await assert.rejects(credentials.disable('me'), StoreError)
  troubles.failWrites = false
  assert.equal(await credentials.verify('me', 'pw'), true)
  assert.equal(await credentials.exists('you'), false)
  assert.equal(await credentials.setPassword('me', 'new'), true, 'the next change is not held up')
})

test('memory is bounded, also for names that do not exist', async () => {
  const { troubles, table } = faultyTable(accounts().table)
  const { credentials } = accounts({ table, cache: 10 })
  await credentials.create('me', 'pw')
  assert.equal(await credentials.exists('me'), true)
  for (let n = 0; n < 100; n++) await credentials.exists(`nobody${n}`)
  troubles.reads.calls = 0
  assert.equal(credentials.exists('me'), true, 'made-up names do not displace an account')
  await credentials.exists('nobody0')
  assert.equal(troubles.reads.calls, 1, 'a name of long ago is read again')
})

test('names and passwords that cannot be', async () => {
  const { credentials } = accounts()
  for (const user of ['', 'Me', 'a b', 'a@b', 'a'.repeat(1024), 'fu\u00dfball', 'niko\u03c2']) {
    await assert.rejects(
      credentials.create(user, 'pw'),
      (e: unknown) => e instanceof CredentialError && e.field === 'user',
    )
  }
  await credentials.create('me', 'pw')
  for (const password of ['', 'a\u0000b', 'a\u0007', '\u00e9'.repeat(512), 'a'.repeat(1024), '\u200b', '\ud800']) {
    const isPassword = (e: unknown): boolean => e instanceof CredentialError && e.field === 'password'
    await assert.rejects(credentials.create('you', password), isPassword)
    await assert.rejects(credentials.setPassword('me', password), isPassword)
    assert.equal(await credentials.verify('me', password), false)
  }
})

test('passwords are hashed in one form', () => {
  const same = [
    ['p\u00e4ss', 'pa\u0308ss'],
    ['a\u00a0b', 'a b'],
    ['\u2168', 'IX'],
    ['I\u00adX', 'IX'],
    ['\u2764\ufe0f', '\u2764'],
  ]
  for (const [a, b] of same) assert.equal(preparePassword(a!), preparePassword(b!))
  assert.notEqual(preparePassword('Case'), preparePassword('case'))
  assert.equal(preparePassword('\u{1f511} key'), '\u{1f511} key')
  assert.equal(preparePassword('a'.repeat(1023))?.length, 1023)
})

test('an account that does not exist costs as many rounds as one that does', async () => {
  const calls: [string, number][] = []
  const real = createDerive()
  const derive: Derive = (hash, password, salt, iterations) => {
    calls.push([hash, iterations])
    return real(hash, password, salt, iterations)
  }
  const { credentials } = accounts({ derive })
  await credentials.create('me', 'pw')
  calls.length = 0
  await credentials.verify('me', 'no')
  await credentials.verify('nobody', 'no')
  assert.deepEqual(calls, [
    ['SHA-512', 4096],
    ['SHA-512', 4096],
  ])
})

test('keys that fit by chance open no account that does not exist', async () => {
  const decoys = accounts().credentials
  const derive: Derive = async hash => decoys.scram('nobody', hash)
  assert.equal(await accounts({ derive }).credentials.verify('nobody', 'pw'), false)
})

test("an older account without today's hashes can still log in", async () => {
  const { credentials, table } = accounts({ hashes: ['SHA-1'] })
  await credentials.create('me', 'pw')
  const { credentials: today } = accounts({ table, hashes: ['SHA-512'] })
  assert.equal(await today.verify('me', 'pw'), true)
  assert.equal((await today.scram('me', 'SHA-512')).real, false)
})

test('deriving leaves the event loop free, and is bounded', async () => {
  const derive = createDerive({ parallel: 1, waiting: 2 })
  const salt = Buffer.alloc(16)
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  const jobs = [1, 2, 3, 4].map(() => derive('SHA-512', 'pw', salt, 100_000))
  const settled = await Promise.allSettled(jobs)
  clearInterval(timer)
  assert.deepEqual(pluck(settled, 'status'), ['fulfilled', 'fulfilled', 'fulfilled', 'rejected'])
  assert.ok(settled[3]!.status === 'rejected' && settled[3]!.reason instanceof BusyError)
  assert.ok(turns >= 10, `the event loop turned ${turns} times`)
})

test('secrets of different lengths differ, and are not an error', () => {
  assert.equal(sameSecret(Buffer.from('abc'), Buffer.from('abc')), true)
  assert.equal(sameSecret(Buffer.from('abc'), Buffer.from('abd')), false)
  assert.equal(sameSecret(Buffer.from('abc'), Buffer.from('ab')), false)
})

test('lists names in order, in pages', async () => {
  const { credentials } = accounts({ iterations: 1, hashes: ['SHA-1'] })
  for (const name of ['c', 'a', 'b', 'd']) await credentials.create(name, 'pw')
  assert.deepEqual(await credentials.list(), ['a', 'b', 'c', 'd'])
  assert.deepEqual(await credentials.list(undefined, 2), ['a', 'b'])
  assert.deepEqual(await credentials.list('b', 5), ['c', 'd'])
  assert.deepEqual(await credentials.list('d'), [])
})

test('a secret that is too short is refused', () => {
  assert.throws(() => accounts({ secret: Buffer.alloc(15) }), RangeError)
})

test('a stamp changes with the password, when the account is disabled, and with who has the name', async () => {
  let now = 1000
  const { credentials } = accounts({ now: () => now })
  assert.equal(await credentials.stamp('me'), undefined)
  await credentials.create('me', 'one')
  const stamps = [await credentials.stamp('me')]
  const next = async (): Promise<void> => {
    const stamp = await credentials.stamp('me')
    assert.ok(stamp !== undefined && !stamps.includes(stamp), String(stamp))
    stamps.push(stamp)
  }
  await credentials.setPassword('me', 'one')
  await next()
  await credentials.disable('me')
  await next()
  const disabled = await credentials.stamp('me')
  await credentials.enable('me')
  assert.equal(await credentials.stamp('me'), disabled, 'what was void stays so')
  await credentials.remove('me')
  now = 2000
  await credentials.create('me', 'one')
  await next()
})

test('keys that are brought later are taken once, and only for the password that is still the one', async () => {
  const { credentials, table } = accounts({ hashes: ['SHA-1'] })
  await credentials.create('me', 'pw')
  const other = accounts({ table }).credentials
  const stamp = (await other.stamp('me'))!
  const derive = createDerive()
  const { salt, iterations } = other.freshSalt()
  const keys = await derive('SHA-256', 'pw', salt, iterations)
  assert.equal(await other.addKeys('me', 'another', 'SHA-256', keys), false)
  assert.equal(await other.addKeys('nobody', stamp, 'SHA-256', keys), false)
  assert.equal(await other.addKeys('me', stamp, 'SHA-256', keys), true)
  assert.equal(await other.addKeys('me', stamp, 'SHA-256', keys), false)
  assert.equal(await other.stamp('me'), stamp, 'what was issued before stays good')
  assert.equal((await other.scram('me', 'SHA-256')).real, true)
  assert.equal(await other.verify('me', 'pw'), true)
})

test('a password that is changed while it is checked is no longer right', async () => {
  const gate = Promise.withResolvers<void>()
  const arrived = Promise.withResolvers<void>()
  let slow = false
  const real = createDerive()
  const derive: Derive = async (...args) => {
    const keys = await real(...args)
    if (slow && args[1] === 'old') {
      arrived.resolve()
      await gate.promise
    }
    return keys
  }
  const { credentials } = accounts({ derive, hashes: ['SHA-256'] })
  await credentials.create('me', 'old')
  slow = true
  const answer = credentials.check('me', 'old')
  await arrived.promise
  await credentials.setPassword('me', 'new')
  gate.resolve()
  assert.equal(await answer, 'wrong')
  assert.equal(await credentials.check('me', 'new'), 'right')
})

test('how passwords are kept may change while the server runs', async () => {
  const { credentials, table } = accounts({ hashes: ['SHA-1'] })
  Object.assign(credentials, { iterations: 5000, hashes: ['SHA-256'] })
  await credentials.create('me', 'pw')
  const { scram } = (await table.get(['me'], []))!
  assert.deepEqual(Object.keys(scram), ['SHA-256'])
  assert.equal(scram['SHA-256']!.iterations, 5000)
})

test('a right password in the clear brings the keys that are missing; a wrong one none', async () => {
  const { credentials, table } = accounts({ hashes: ['SHA-1'] })
  await credentials.create('me', 'pw')
  const other = accounts({ table }).credentials
  const hashes = async () => Object.keys((await table.get(['me'], []))!.scram).length
  assert.equal(await other.verify('me', 'wrong'), false)
  assert.equal(await hashes(), 1)
  assert.equal(await other.verify('me', 'pw'), true)
  await eventually(async () => (await hashes()) === 3, 'all keys are there')
  assert.equal((await other.scram('me', 'SHA-512')).real, true)
})

test('an account whose password lies elsewhere exists, and no password of ours is right', async () => {
  const { credentials } = accounts()
  assert.equal(await credentials.adopt('me', 'jwt'), true)
  assert.equal(await credentials.adopt('me', 'jwt'), false)
  assert.equal(await credentials.exists('me'), true)
  assert.equal(await credentials.verify('me', ''), false)
  assert.equal(await credentials.verify('me', 'pw'), false)
  assert.equal((await credentials.scram('me', 'SHA-256')).real, false)
  assert.equal(await credentials.create('me', 'pw'), false)
})
