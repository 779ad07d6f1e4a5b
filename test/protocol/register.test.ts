import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { pluck } from '../support/pluck.ts'
import { RawClient, type RawClientOptions } from '../support/rawclient.ts'
import { child, errorCondition, type XmlElement } from '../support/rawxml.ts'
import { available, closed, presenceFrom, refused, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'

const NS = 'jabber:iq:register'
const query = (content = '') => `<query xmlns='${NS}'>${content}</query>`
const account = (name: string, password = 'correct horse') =>
  query(`<username>${name}</username><password>${password}</password>`)

async function open(t: TestContext, options: Record<string, unknown> = {}, now?: () => number): Promise<TestServer> {
  const mod_register = { registration: 'open', require_tls: false, max_per_ip: 'infinity', ...options }
  return serve(t, { modules: { mod_register, mod_invites: false }, ...(now && { now }) })
}

/** A connection that is not logged in. */
async function stranger(t: TestContext, server: TestServer, more: Partial<RawClientOptions> = {}): Promise<RawClient> {
  const client = await RawClient.connect({ host: '127.0.0.1', port: server.port, domain: 'localhost', ...more })
  t.after(() => client.cut())
  return client
}

const offered = (client: RawClient) =>
  child(client.features, 'register', 'http://jabber.org/features/iq-register') !== undefined
const text = (answer: XmlElement) => child(child(answer, 'error'), 'text')?.text

test('a stranger asks what is needed, makes an account and logs in to it on the same stream', async t => {
  const server = await open(t)
  const registered: string[] = []
  const host = server.server.host('localhost')!
  host.hooks.add('test', 'register_user', ({ user }) => void registered.push(user.toString()))
  const client = await stranger(t, server)
  assert.ok(offered(client))
  const form = (await client.request('get', query(), 'localhost')).children[0]!
  assert.deepEqual(pluck(form.children, 'name'), ['instructions', 'username', 'password'])
  const answer = await client.request('set', account('Alice'))
  assert.equal(answer.attrs['to'], undefined)
  assert.deepEqual(registered, ['alice@localhost'])
  await client.login({ user: 'alice', password: 'correct horse' })
  assert.match(await client.bind(), /^alice@localhost\//)
})

test('names and passwords that cannot be are refused, with the reason', async t => {
  const server = await open(t, { reserved: ['Boss'], min_username_length: 3, max_username_length: 8 })
  await server.register('taken')
  const client = await stranger(t, server)
  const cases: [condition: string, payload: string][] = [
    ['not-acceptable', query()],
    ['not-acceptable', query('<username>alice</username>')],
    ['not-acceptable', account('alice', '')],
    ['not-acceptable', account('alice', 'short')],
    ['not-acceptable', account('alice', 'x'.repeat(2000))],
    ['not-acceptable', account('al')],
    ['not-acceptable', account('a'.repeat(9))],
    ['not-acceptable', account('a b')],
    ['not-acceptable', account('alice@localhost')],
    ['conflict', account('taken')],
    ['conflict', account('TAKEN')],
    ['conflict', account('boss')],
  ]
  for (const [condition, payload] of cases) {
    client.send(`<iq type='set' id='r'>${payload}</iq>`)
    const answer = await client.receive(el => el.attrs['id'] === 'r')
    assert.equal(errorCondition(answer), condition, payload)
    assert.ok(text(answer), payload)
  }
  assert.deepEqual(await server.server.host('localhost')!.users.list(), ['taken'])
})

test('a reserved name is taken however it is written', async t => {
  const server = await open(t)
  const client = await stranger(t, server)
  for (const name of ['admin', 'ADMIN', '\uff41dmin', 'a\u00addmin', 'adm\u200din', ' admin', 'admin ']) {
    await assert.rejects(client.request('set', account(name)), /conflict|not-acceptable/, JSON.stringify(name))
  }
  assert.deepEqual(await server.server.host('localhost')!.users.list(), [])
})

test('one address makes only so many accounts in a time', async t => {
  let now = Date.UTC(2026, 0, 1)
  const server = await open(t, { max_per_ip: 2, window: '1h' }, () => now)
  const client = await stranger(t, server)
  await client.request('set', account('user1'))
  await refused('conflict', client.request('set', account('user1'))) // trying counts
  const other = await stranger(t, server)
  await refused('resource-constraint', other.request('set', account('user2')))
  now += 3_600_000
  await other.request('set', account('user2'))
})

test('where registration is closed it is not offered and does not exist', async t => {
  const server = await open(t, { registration: 'closed' })
  const client = await stranger(t, server)
  assert.ok(!offered(client))
  await refused('service-unavailable', client.request('get', query()))
  await refused('service-unavailable', client.request('set', account('alice')))
})

test('where the module does not run, asking ends the stream', async t => {
  const server = await serve(t)
  const client = await stranger(t, server)
  assert.ok(!offered(client))
  await assert.rejects(client.request('get', query()), /not-authorized/)
})

test('only over TLS, and only from where it is allowed', async t => {
  const secure = await open(t, { require_tls: true })
  const plain = await stranger(t, secure)
  assert.ok(!offered(plain))
  await refused('not-allowed', plain.request('set', account('alice')))
  const tls = await stranger(t, secure, { tls: 'starttls' })
  assert.ok(offered(tls))
  await tls.request('set', account('alice'))

  const elsewhere = await open(t, { allow_from: ['10.0.0.0/8', '2001:db8::/32'] })
  const client = await stranger(t, elsewhere)
  assert.ok(!offered(client))
  await refused('not-allowed', client.request('set', account('alice')))
  const here = await open(t, { allow_from: ['127.0.0.0/8'] })
  await (await stranger(t, here)).request('set', account('alice'))
})

test('a user changes the password; sessions elsewhere end', async t => {
  const server = await open(t)
  const [one, other] = await server.clients('alice', 'alice')
  const gone = closed(other)
  const about = (await one.request('get', query())).children[0]!
  assert.ok(child(about, 'registered'))
  assert.equal(child(about, 'username')?.text, 'alice')
  await one.request('set', account('alice', 'battery staple'), 'localhost')
  assert.match(await gone, /not-authorized/)
  await one.ping()
  const { users } = server.server.host('localhost')!
  assert.equal(await users.verify('alice', 'battery staple'), true)
  assert.equal(await users.verify('alice', 'secret'), false)
})

test('a user changes nobody else’s password, and not too often', async t => {
  const server = await open(t, { max_changes: 2 })
  await server.register('bob')
  const alice = await server.client('alice')
  await refused('bad-request', alice.request('set', account('bob', 'battery staple')))
  await refused('forbidden', alice.request('set', account('bob', 'battery staple'), 'bob@localhost'))
  await refused('forbidden', alice.request('set', account('bob', 'battery staple'), 'nobody@localhost'))
  await refused('not-acceptable', alice.request('set', account('alice', 'short')))
  await alice.request('set', account('alice', 'battery staple'))
  await alice.request('set', account('alice', 'battery stapler'))
  await refused('resource-constraint', alice.request('set', account('alice', 'battery staplest')))
  assert.equal(await server.server.host('localhost')!.users.verify('bob', 'secret'), true)
})

test('passwords are not changed without TLS where it is required', async t => {
  const server = await open(t, { require_tls: true })
  const alice = await server.client('alice')
  await refused('not-allowed', alice.request('set', account('alice', 'battery staple')))
  await refused('not-allowed', alice.request('set', query('<remove/>')))
})

test('nor by a session that began over TLS and goes on without it; and over TLS again it may', async t => {
  const server = await open(t, { require_tls: true })
  await server.register('alice')
  const over = async (tls: 'none' | 'starttls') => {
    const client = await stranger(t, server, { tls })
    await client.login({ user: 'alice', password: 'secret' })
    return client
  }
  const first = await over('starttls')
  await first.bind()
  const sm = await first.enable()
  first.cut()
  const plain = await over('none')
  assert.equal(await plain.resume(sm), true)
  await refused('not-allowed', plain.request('set', account('alice', 'battery staple')))
  plain.cut()
  const secured = await over('starttls')
  assert.equal(await secured.resume(sm), true)
  await secured.request('set', account('alice', 'battery staple'))
})

test('a user removes the account: the answer, then the end of all its sessions, and nothing is left', async t => {
  const server = await open(t)
  const [one, other, bob] = await server.clients('alice', 'alice', 'bob')
  await available(other)
  await available(bob)
  bob.send(`<presence to='${other.jid}'/>`)
  other.send(`<presence to='${bob.jid}'/>`)
  await bob.receive(presenceFrom(other.jid))
  await one.request('set', "<vCard xmlns='vcard-temp'><FN>Alice</FN></vCard>")
  await refused('bad-request', one.request('set', query('<remove/><username>alice</username>')))
  const host = server.server.host('localhost')!
  const removed = new Promise<void>(resolve => {
    host.hooks.add('test', 'remove_user', () => resolve(), { order: 1000 }) // after all others
  })
  const ends = Promise.all([one, other].map(client => closed(client)))
  await one.request('set', query('<remove/>'))
  for (const end of await ends) assert.match(end, /not-authorized/)
  await bob.receive(presenceFrom(other.jid, 'unavailable'))
  await removed
  assert.equal(await host.users.exists('alice'), false)
  await refused('service-unavailable', bob.request('get', "<vCard xmlns='vcard-temp'/>", 'alice@localhost'))
  for (const name of ['vcard', 'last', 'roster', 'private', 'queue']) {
    assert.deepEqual(await host.store.table('localhost', { name }).scan(['alice']), [], name)
  }
})

test('an administrator whose account is not made yet is not whoever comes first', async t => {
  const server = await serve(t, {
    config: { acl: { admin: { user: ['Chief@localhost', 'boss@elsewhere.example'] } } },
    modules: { mod_register: { registration: 'open', require_tls: false } },
  })
  const client = await stranger(t, server)
  await refused('conflict', client.request('set', account('chief')))
  await client.request('set', account('boss')) // the other one is elsewhere
})

test('when it cannot be told whether a name is kept for somebody, it is not given away', async t => {
  const server = await open(t)
  const host = server.server.host('localhost')!
  const fails = () => {
    throw new Error('the store is in trouble')
  }
  const undo = host.hooks.add('test', 'name_wanted', fails, { failClosed: true })
  const client = await stranger(t, server)
  await refused('internal-server-error', client.request('set', account('alice')))
  undo()
  await client.request('set', account('alice'))
})

test('a user of another host of this server changes nothing of who has the same name here', async t => {
  const server = await serve(t, {
    hosts: ['localhost', 'other.test'],
    modules: { mod_register: { require_tls: false }, mod_invites: false },
  })
  const alice = await server.client('alice')
  const namesake = await server.client('alice', { host: 'other.test' })
  for (const to of ['localhost', 'alice@localhost']) {
    await refused('forbidden', namesake.request('get', query(), to))
    await refused('forbidden', namesake.request('set', account('alice'), to))
    await refused('forbidden', namesake.request('set', query('<remove/>'), to))
  }
  await alice.ping()
  assert.equal(await server.server.host('localhost')!.users.verify('alice', 'secret'), true)
  await namesake.request('set', account('alice'), 'other.test')
  assert.equal(await server.server.host('other.test')!.users.verify('alice', 'correct horse'), true)
})
