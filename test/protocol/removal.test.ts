/** Accounts that go: names that are kept (mod_tombstones), and a time of grace (mod_unregister_later). */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { defineModule } from '../../src/core/module.ts'
import { faultyStore } from '../support/faultystore.ts'
import { RawClient } from '../support/rawclient.ts'
import { available, closed, nothing, refused, says, serve } from '../support/talk.ts'
import type { TestOptions, TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const DAY = 86_400_000
const query = (content: string) => `<query xmlns='jabber:iq:register'>${content}</query>`

async function start(t: TestContext, options: TestOptions = {}): Promise<TestServer> {
  const { modules, ...more } = options
  const mod_register = { registration: 'open', require_tls: false, max_per_ip: 'infinity' }
  return serve(t, { ...more, modules: { mod_register, mod_unregister_later: { check_interval: '20ms' }, ...modules } })
}

async function register(t: TestContext, server: TestServer, name: string): Promise<unknown> {
  const client = await RawClient.connect({ host: '127.0.0.1', port: server.port, domain: 'localhost' })
  t.after(() => client.cut())
  return client.request('set', query(`<username>${name}</username><password>correct horse</password>`))
}

const account = (user: string) => ({ account: `${user}@localhost` })
const exists = (server: TestServer, user: string) => server.server.host('localhost')!.users.exists(user)

/** Waits until the account has been removed with everything in it. */
const removed = (server: TestServer) =>
  new Promise<void>(resolve => {
    server.server.host('localhost')!.hooks.add('test', 'remove_user', () => resolve(), { order: 1000 })
  })

test('the name of an account that was removed is nobody’s for a while', async t => {
  let now = Date.UTC(2026, 0, 1)
  const server = await start(t, { now: () => now, modules: { mod_tombstones: { tombstone_expiry: '60d' } } })
  await register(t, server, 'alice')
  await server.command('unregister', account('alice'))
  await refused('conflict', register(t, server, 'alice'))
  await refused('conflict', register(t, server, 'ALICE'))
  await assert.rejects(async () => server.command('register', { ...account('alice'), password: 'x' }), {
    code: 'conflict',
  })
  const kept = await server.command('list_tombstones', { host: 'localhost' })
  assert.deepEqual(kept, [{ account: 'alice@localhost', removed: new Date(now).toISOString() }])
  now += 60 * DAY
  await register(t, server, 'alice')
})

test('an operator may free a name before its time', async t => {
  const server = await start(t)
  await register(t, server, 'alice')
  await server.command('unregister', account('alice'))
  await server.command('delete_tombstone', account('alice'))
  await register(t, server, 'alice')
  await assert.rejects(async () => server.command('delete_tombstone', account('alice')), { code: 'not_found' })
})

test('an account that is to be removed is locked, and can be had back', async t => {
  const now = Date.UTC(2026, 0, 1)
  const server = await start(t, { now: () => now })
  const alice = await server.client('alice')
  const gone = closed(alice)
  await server.command('unregister_later', { ...account('alice'), grace: '7d' })
  assert.match(await gone, /not-authorized/)
  await assert.rejects(server.client('alice'))
  const due = new Date(now + 7 * DAY).toISOString()
  const pending = () => server.command('unregister_pending', { host: 'localhost' })
  assert.deepEqual(await pending(), [{ account: 'alice@localhost', due }])
  await server.command('unregister_cancel', account('alice'))
  assert.deepEqual(await pending(), [])
  await server.client('alice')
  await assert.rejects(async () => server.command('unregister_cancel', account('alice')), { code: 'not_found' })
  await assert.rejects(async () => server.command('unregister_later', account('nobody')), { code: 'not_found' })
  await assert.rejects(async () => server.command('unregister_later', { ...account('alice'), grace: 'soon' }), {
    code: 'usage',
  })
})

test('an account that was banned before stays so when it is had back', async t => {
  const server = await start(t)
  await server.register('alice')
  await server.command('ban_account', account('alice'))
  await server.command('unregister_later', account('alice'))
  await server.command('unregister_later', { ...account('alice'), grace: '90d' })
  await server.command('unregister_cancel', account('alice'))
  await assert.rejects(server.client('alice'))
})

test('when the time of grace is over the account goes with everything in it, also after a restart', async t => {
  let now = Date.UTC(2026, 0, 1)
  const { store } = faultyStore()
  const first = await start(t, { now: () => now, store })
  const alice = await first.client('alice')
  await alice.request('set', "<vCard xmlns='vcard-temp'><FN>Alice</FN></vCard>")
  await first.command('unregister_later', { ...account('alice'), grace: '1d' })
  await first.stop()

  const second = await start(t, { now: () => now, store })
  assert.equal(await exists(second, 'alice'), true)
  const done = removed(second)
  now += DAY
  await done
  assert.equal(await exists(second, 'alice'), false)
  assert.deepEqual(await store.table('localhost', { name: 'vcard' }).partitions(), [])
  assert.deepEqual(await second.command('unregister_pending', { host: 'localhost' }), [])
  await refused('conflict', register(t, second, 'alice'))
})

test('a removal that a stop or a crash cuts short is finished at the next start; nobody has the name meanwhile', async t => {
  const { store } = faultyStore()
  const mod_tombstones = false
  const first = await start(t, { store, modules: { mod_tombstones } })
  const [alice, bob] = await first.clients('alice', 'bob')
  await alice.request('set', "<vCard xmlns='vcard-temp'><FN>Alice</FN></vCard>")
  await alice.request('set', "<query xmlns='jabber:iq:roster'><item jid='secret@friend.example'/></query>")
  await alice.close()
  bob.send("<message to='alice@localhost' type='chat'><body>for the old alice</body></message>")
  await bob.ping()
  // Where the server is killed: the login is gone, and nothing else yet.
  const reached = new Promise<void>(resolve => {
    first.server.host('localhost')!.hooks.add(
      'test',
      'remove_user',
      () => {
        resolve()
        return new Promise<never>(() => {})
      },
      { order: -1000 },
    )
  })
  void first.server.host('localhost')!.removeAccount('alice')
  await reached
  assert.equal(await exists(first, 'alice'), false)
  await refused('conflict', register(t, first, 'alice'))
  await assert.rejects(async () => first.command('register', { ...account('alice'), password: 'x' }), {
    code: 'conflict',
  })
  await first.stop()
  assert.deepEqual(await store.table('localhost', { name: 'vcard' }).partitions(), [['alice']])

  const second = await start(t, { store, modules: { mod_tombstones } })
  assert.deepEqual(await store.table('localhost', { name: 'vcard' }).partitions(), [])
  assert.deepEqual(await store.table('localhost', { name: 'removals_begun' }).partitions(), [])
  await register(t, second, 'alice')
  const other = await RawClient.connect({ host: '127.0.0.1', port: second.port, domain: 'localhost' })
  t.after(() => other.cut())
  await other.login({ user: 'alice', password: 'correct horse' })
  await other.bind()
  const roster = await other.request('get', "<query xmlns='jabber:iq:roster'/>")
  assert.deepEqual(roster.children[0]!.children, [])
  await available(other)
  await nothing(other, says('for the old alice'))
})

test('an account that was let in again meanwhile stays', async t => {
  let now = Date.UTC(2026, 0, 1)
  const server = await start(t, { now: () => now })
  await server.register('alice', 'bob')
  await server.command('unregister_later', { ...account('alice'), grace: '1d' })
  await server.command('unban_account', account('alice'))
  await server.command('unregister_later', { ...account('bob'), grace: '2d' })
  const done = removed(server) // of bob, who is looked at after alice
  now += 2 * DAY
  await done
  assert.equal(await exists(server, 'alice'), true)
  assert.deepEqual(await server.command('unregister_pending', { host: 'localhost' }), [])
})

test('by option an account that its user removes is only locked at first', async t => {
  const mod_register = { require_tls: false, removal_grace: '30d' }
  const server = await start(t, { modules: { mod_register } })
  const alice = await server.client('alice')
  const gone = closed(alice)
  await alice.request('set', query('<remove/>'))
  assert.match(await gone, /not-authorized/)
  const pending = async () => (await server.command('unregister_pending', { host: 'localhost' })) as unknown[]
  await eventually(async () => (await pending()).length > 0, 'the removal is noted')
  assert.equal(await exists(server, 'alice'), true)
  await assert.rejects(server.client('alice'))
  await server.command('unregister_cancel', account('alice'))
  await server.client('alice')
})

test('a table of users loses the rows of who is removed: after handlers have looked, and after a kill', async t => {
  const { store } = faultyStore()
  const notes = store.table<string>('localhost', { name: 'notes' })
  const seen: unknown[] = []
  const killed = Promise.withResolvers<void>()
  const mod_notes = (hang: boolean) =>
    defineModule({
      name: 'mod_notes',
      summary: 'Keeps notes.',
      options: {},
      start(ctx) {
        const table = ctx.userTable<string>({ name: 'notes' })
        ctx.hook('remove_user', { order: 90 }, async ({ user }) => void seen.push(await table.scan([user.local])))
        if (!hang) return
        ctx.hook('remove_user', () => {
          killed.resolve()
          return new Promise<never>(() => {})
        })
      },
    })
  const first = await start(t, { store, extra: [mod_notes(true)] })
  for (const user of ['alice', 'bob']) {
    await first.register(user)
    for (const id of ['1', '2']) await notes.put([user], [id], `of ${user}`)
  }
  void first.server.host('localhost')!.removeAccount('alice')
  await killed.promise
  await first.stop()
  assert.equal((await notes.scan(['alice'])).length, 2)

  const second = await start(t, { store, extra: [mod_notes(false)] })
  assert.deepEqual(seen, [['1', '2'].map(id => ({ ck: [id], value: 'of alice' }))])
  assert.deepEqual(await notes.partitions(), [['bob']])
  await second.command('unregister', account('bob'))
  assert.deepEqual(await notes.partitions(), [])
})

const CHANGES: Record<string, { table: string; change: (server: TestServer, alice: RawClient) => Promise<unknown> }> = {
  'a request': {
    table: 'private',
    change: (_, alice) => alice.request('set', "<query xmlns='jabber:iq:private'><n xmlns='urn:n'>x</n></query>"),
  },
  'a command': {
    table: 'vcard',
    change: server => server.command('set_vcard', { ...account('alice'), name: 'FN', content: 'Alice' }),
  },
}
for (const [what, { table, change }] of Object.entries(CHANGES)) {
  test(`${what} that goes on when its account is removed leaves nothing behind`, async t => {
    const { store, troubles } = faultyStore({ only: table })
    const server = await start(t, { store })
    const [alice, bob] = await server.clients('alice', 'bob')
    const before = troubles.reads.calls
    troubles.reads.close()
    const changing = change(server, alice).catch(() => {}) // its client is gone by then
    await eventually(() => troubles.reads.calls > before, 'the read')
    let forgotten = false
    void removed(server).then(() => {
      forgotten = true
    })
    const removal = server.command('unregister', account('alice'))
    await eventually(async () => !(await exists(server, 'alice')), 'the login is gone')
    await bob.ping()
    assert.equal(forgotten, false)
    await refused('conflict', register(t, server, 'alice'))
    troubles.reads.open()
    await Promise.all([changing, removal])
    assert.deepEqual(await store.table('localhost', { name: table }).partitions(), [])
  })
}
