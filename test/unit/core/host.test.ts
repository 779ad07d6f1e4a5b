import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Account } from '../../../src/core/account.ts'
import { IdGenerator } from '../../../src/util/ids.ts'
import { faultyStore } from '../../support/faultystore.ts'
import { settled } from '../../support/waiting.ts'
import { everybody, FakeOrigin, FakeSession, host, listening, message } from './support.ts'

async function load(at: ReturnType<typeof host>, user: string): Promise<Account> {
  return (await at.account(user))!
}

test('accounts that nobody uses leave memory, those in use stay', async () => {
  const at = host({ idleAccounts: 10 })
  const unloaded: string[] = []
  at.hooks.add('m', 'account_unload', ({ account }) => void unloaded.push(account.user))
  new FakeSession(await load(at, 'juliet'), 'balcony', 0)
  for (let i = 0; i < 30; i++) {
    await load(at, `user${i}`)
    await settled(1)
  }
  assert.ok(at.accounts.size <= 12, `${at.accounts.size}`)
  assert.ok(at.accounts.get('juliet'))
  assert.equal(unloaded.length, 31 - at.accounts.size)
})

test('accounts that nobody uses have so many bytes together; beyond that those leave that hold much', async () => {
  const at = host({ idleAccounts: 10, idleBytes: 1000 })
  at.hooks.add('m', 'account_load', ({ account }) => account.grew(account.user === 'juliet' ? 0 : 300))
  for (const user of ['juliet', 'nurse', 'tybalt', 'paris']) await load(at, user)
  await settled(1)
  const there = () => [...at.accounts.values()].map(account => account.user)
  assert.deepEqual(there(), ['juliet', 'nurse', 'tybalt', 'paris'])
  at.accounts.get('paris')!.grew(200)
  await settled(1)
  assert.deepEqual(there(), ['juliet', 'tybalt', 'paris'])
})

test('with more accounts in use than are kept idle, who logs in still gets the account that gets the messages', async () => {
  const at = host({ idleAccounts: 3 })
  for (let i = 0; i < 20; i++) {
    const account = await load(at, `user${i}`)
    new FakeSession(account, 'here', 0)
    await settled(1)
  }
  const account = await load(at, 'juliet')
  const session = new FakeSession(account, 'balcony', 0)
  await settled(1)
  await at.destination.deliver(message('juliet@example.org', 'chat'), {})
  assert.equal(session.stanzas.length, 1)
  assert.equal(await load(at, 'juliet'), account)
})

test('a removed account leaves nothing for whoever takes its name, not even what comes while it is removed', async () => {
  const exists = new Set(['juliet'])
  const at = host({
    users: {
      ...everybody,
      exists: user => exists.has(user),
      remove: user => Promise.resolve(exists.delete(user)),
    },
  })
  await at.destination.deliver(message('juliet@example.org', 'chat', 'before'), {})
  await settled()
  at.hooks.add('m', 'remove_user', async () => {
    await assert.rejects(async () => at.destination.deliver(message('juliet@example.org', 'chat', 'meanwhile'), {}), {
      condition: 'service-unavailable',
    })
    await settled(1)
  })
  assert.equal(await at.removeAccount('juliet'), true)
  assert.equal(await at.removeAccount('juliet'), false)
  exists.add('juliet')
  const session = new FakeSession(await load(at, 'juliet'), 'balcony', 0)
  await session.account.queue.attach(session)
  assert.deepEqual(session.stanzas, [])
  assert.equal(await at.queues.count('juliet'), 0)
})

test('nobody has the name of an account of which only a part could be removed, until all of it is', async () => {
  const { store, troubles } = faultyStore()
  const exists = new Set(['juliet'])
  const users = {
    ...everybody,
    exists: (user: string) => exists.has(user),
    remove: (user: string) => Promise.resolve(exists.delete(user)),
  }
  const at = host({ store, users })
  await at.destination.deliver(message('juliet@example.org', 'chat', 'for the old one'), {})
  await settled()
  const undo = at.hooks.add('m', 'remove_user', () => {
    troubles.failDeletes = true
  })
  await assert.rejects(at.removeAccount('juliet'))
  troubles.failDeletes = false
  undo()
  assert.ok((await at.nameKept('juliet')) !== undefined)
  assert.equal(await at.removeAccount('juliet'), false, 'the login was gone')
  assert.equal(await at.nameKept('juliet'), undefined)
  assert.equal(await at.queues.count('juliet'), 0)
})

test('an account that is removed while it is loaded is nobody for who waits for it', async () => {
  const exists = new Set(['juliet'])
  const remove = (user: string) => Promise.resolve(exists.delete(user))
  const at = host({ users: { ...everybody, exists: user => exists.has(user), remove } })
  const gate = Promise.withResolvers<void>()
  at.hooks.add('m', 'account_load', () => gate.promise)
  const waiting = at.account('juliet')
  await at.removeAccount('juliet')
  gate.resolve()
  assert.equal(await waiting, undefined)
  assert.equal(at.accounts.size, 0)
})

test('a message that cannot be stored comes back without the id that was meant for the recipient', async () => {
  const { store, troubles } = faultyStore()
  const at = host({ store })
  const romeo = new FakeSession(await load(at, 'romeo'), 'orchard', 0)
  await load(at, 'juliet')
  troubles.failWrites = true
  const origin = new FakeOrigin()
  await at.router.route(message('juliet@example.org', 'chat', 'lost words'), { origin })
  await settled()
  const error = romeo.stanzas[0]!.toString()
  assert.match(error, /^<message type='error' id='m1' to='romeo@example.org\/orchard' from='juliet@example.org'>/)
  assert.match(error, /<body>lost words<\/body><error type='wait'><resource-constraint /)
  assert.doesNotMatch(error, /stanza-id/)
  assert.equal(origin.safeIds.length, 1)
  assert.equal(await at.queues.count('juliet'), 0)
})

test('a message that a client may have is written again until it is kept', async () => {
  const { store, troubles } = faultyStore()
  const at = host({ store, retryWrites: 5 })
  const romeo = new FakeSession(await load(at, 'romeo'), 'orchard', 0)
  const juliet = new FakeSession(await load(at, 'juliet'), 'balcony', 0)
  await juliet.account.queue.attach(juliet)
  troubles.failWrites = true
  const safe = Promise.withResolvers<void>()
  await at.router.route(message('juliet@example.org', 'chat'), {
    origin: { accepted() {}, safe: () => safe.resolve() },
  })
  juliet.leave(juliet.account.queue)
  await settled()
  troubles.failWrites = false
  await safe.promise
  assert.equal(await at.queues.count('juliet'), 1)
  assert.deepEqual(romeo.stanzas, [])
})

test('that a message was delivered and its copy in an archive was lost, the log tells', async () => {
  const { store, troubles } = faultyStore()
  const { log, lines } = listening()
  const at = host({ store, log })
  const juliet = new FakeSession(await load(at, 'juliet'), 'balcony', 0)
  await juliet.account.queue.attach(juliet)
  at.hooks.add('test', 'archive_message', ({ id, bytes, rows }) => {
    rows.push(at.archive.putOp(['juliet'], [id], bytes))
  })
  troubles.failWrites = true
  void at.router.route(message('juliet@example.org', 'chat'), { origin: new FakeOrigin() })
  juliet.confirm(juliet.account.queue)
  await settled()
  assert.deepEqual(
    lines.map(line => line['msg']),
    ['a message is delivered, its copies in archives could not be stored'],
  )
})

test('what goes with a message that is written again is not written for who was removed meanwhile', async () => {
  const { store, troubles } = faultyStore()
  const at = host({ store, retryWrites: 5 })
  await load(at, 'romeo')
  const juliet = new FakeSession(await load(at, 'juliet'), 'balcony', 0)
  await juliet.account.queue.attach(juliet)
  at.hooks.add('test', 'archive_message', ({ id, bytes, rows }) => {
    rows.push(at.archive.putOp(['romeo'], [id], bytes))
  })
  troubles.failWrites = true
  const safe = Promise.withResolvers<void>()
  void at.router.route(message('juliet@example.org', 'chat'), { origin: { accepted() {}, safe: () => safe.resolve() } })
  void at.router.route(message('juliet@example.org', 'chat'))
  await settled()
  troubles.failWrites = false
  await at.removeAccount('romeo')
  await safe.promise
  await at.queues.flush()
  assert.equal(await at.queues.count('juliet'), 2)
  assert.deepEqual(await at.archive.scan(['romeo']), [])
})

test('so many that a client may have wait for a failing disk, and so many bytes of them; more come back', async () => {
  for (const [count, length, kept] of [
    [10_003, 1, 10_000],
    [70, 1024 * 1024, 64],
  ] as const) {
    const { store, troubles } = faultyStore()
    const at = host({ store, retryWrites: 60_000 })
    const romeo = new FakeSession(await load(at, 'romeo'), 'orchard', 0)
    const juliet = new FakeSession(await load(at, 'juliet'), 'balcony', 0)
    await juliet.account.queue.attach(juliet)
    troubles.failWrites = true
    for (let n = 0; n < count; n++) {
      void at.router.route(message('juliet@example.org', 'chat', 'x'.repeat(length)), {
        origin: { accepted() {}, safe() {} },
      })
    }
    await settled()
    assert.equal(romeo.stanzas.length, count - kept)
    assert.equal(juliet.account.queue.size, kept)
  }
})

test('how many messages wait is counted in pages', async () => {
  const at = host()
  await load(at, 'juliet')
  for (let i = 0; i < 2003; i++) void at.destination.deliver(message('juliet@example.org', 'chat'), {})
  await at.queues.flush()
  assert.equal(await at.queues.count('juliet'), 2003)
  assert.equal(await at.queues.count('romeo'), 0)
})

test('ids go on above what the store holds, though the clock went back', async () => {
  const { store } = faultyStore()

  const late = host({ store, ids: new IdGenerator(() => 2_000_000_000_000) })
  await load(late, 'juliet')
  await late.destination.deliver(message('juliet@example.org', 'chat', 'first'), {})
  await settled()
  const early = host({ store, ids: new IdGenerator(() => 1_000_000_000_000) })
  await early.destination.deliver(message('juliet@example.org', 'chat', 'second'), {})
  await settled()
  const juliet = new FakeSession(await load(early, 'juliet'), 'balcony', 0)
  await juliet.account.queue.attach(juliet)
  assert.deepEqual(
    juliet.stanzas.map(s => /<body>(\w+)</.exec(s.toString())![1]),
    ['first', 'second'],
  )
})
