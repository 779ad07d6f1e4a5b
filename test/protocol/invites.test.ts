import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Jid } from '../../src/xmpp/jid.ts'
import { failed, offered, run, step } from '../support/commands.ts'
import { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { available, nothing, online, presenceFrom, refused, says, serve } from '../support/talk.ts'
import type { TestOptions, TestServer } from '../support/testserver.ts'

const INVITE = 'urn:xmpp:invite#invite'
const CREATE = 'urn:xmpp:invite#create-account'
const REGISTER = 'jabber:iq:register'
const DAY = 86_400_000

interface Setting extends TestOptions {
  register?: Record<string, unknown> | false
  invites?: Record<string, unknown>
}

/** Registration is closed; alice may invite new users, bob may not. */
async function start(t: TestContext, { register, invites, ...more }: Setting = {}): Promise<TestServer> {
  return serve(t, {
    config: { acl: { admin: { user: ['admin@localhost'] }, hosts: { user: ['alice@localhost'] } }, ...rules },
    ...more,
    modules: {
      mod_register: register === false ? false : { require_tls: false, ...register },
      mod_invites: { access_create_account: 'inviters', ...invites },
    },
  })
}
const rules = { access_rules: { inviters: [{ allow: 'hosts' }, { allow: 'admin' }] } }

async function stranger(t: TestContext, server: TestServer): Promise<RawClient> {
  const client = await RawClient.connect({ host: '127.0.0.1', port: server.port, domain: 'localhost' })
  t.after(() => client.cut())
  return client
}

const preauth = (client: RawClient, token: string) =>
  client.request('set', `<preauth xmlns='urn:xmpp:pars:0' token='${token}'/>`, 'localhost')
const register = (client: RawClient, name: string) =>
  client.request(
    'set',
    `<query xmlns='${REGISTER}'><username>${name}</username><password>correct horse</password></query>`,
    'localhost',
  )
const tokenOf = (uri: string) => /preauth=([0-9a-f]{32})/.exec(uri)![1]!

/** Makes an account with the token, and logs in to it. */
async function join(t: TestContext, server: TestServer, token: string, name: string): Promise<RawClient> {
  const client = await stranger(t, server)
  await preauth(client, token)
  await register(client, name)
  await client.login({ user: name, password: 'correct horse' })
  await client.bind()
  return client
}

const rosterOf = async (client: RawClient) => {
  const { children } = (await client.request('get', "<query xmlns='jabber:iq:roster'/>")).children[0]!
  return children.map(item => [item.attrs['jid'], item.attrs['subscription']])
}

const item = (jid: string, subscription: string) => (el: XmlElement) => {
  const pushed = child(child(el, 'query', 'jabber:iq:roster'), 'item')?.attrs
  return el.attrs['type'] === 'set' && pushed?.['jid'] === jid && pushed['subscription'] === subscription
}

test('a user invites a contact: a link at once, good for a while', async t => {
  const now = Date.UTC(2026, 0, 1)
  const server = await start(t, { now: () => now, invites: { landing_page: 'https://{{ host }}/i/#{{invite.token}}' } })
  const bob = await server.client('bob')
  const { status, values } = await run(bob, INVITE)
  assert.equal(status, 'completed')
  assert.deepEqual(values['FORM_TYPE'], ['urn:xmpp:invite#invitation'])
  const [uri] = values['uri']!
  assert.match(uri!, /^xmpp:bob@localhost\?roster;preauth=[0-9a-f]{32}$/) // bob may not make accounts
  assert.deepEqual(values['landing-url'], [`https://localhost/i/#${tokenOf(uri!)}`])
  assert.deepEqual(values['expire'], [new Date(now + 5 * DAY).toISOString()])
  const alice = await server.client('alice')
  assert.match((await run(alice, INVITE)).values['uri']![0]!, /;ibr=y$/)
})

test('who may invite new users is offered it, others are not', async t => {
  const server = await start(t)
  const [alice, bob] = await server.clients('alice', 'bob')
  const invitations = async (client: RawClient) =>
    (await offered(client)).filter(node => node.startsWith('urn:xmpp:invite'))
  assert.deepEqual(await invitations(alice), [INVITE, CREATE])
  assert.deepEqual(await invitations(bob), [INVITE])
  await refused('forbidden', step(bob, CREATE))

  const closed = await start(t, { register: false })
  const other = await closed.client('alice')
  assert.deepEqual(await invitations(other), [INVITE])
  assert.match((await run(other, INVITE)).values['uri']![0]!, /preauth=[0-9a-f]{32}$/)
})

test('an invited stranger makes an account where registration is closed, and is a contact at once', async t => {
  const server = await start(t)
  const alice = await server.client('alice')
  await rosterOf(alice)
  await available(alice)
  const token = tokenOf((await run(alice, INVITE)).values['uri']![0]!)

  const carol = await stranger(t, server)
  assert.ok(child(carol.features, 'register', 'urn:xmpp:ibr-token:0'))
  assert.ok(child(carol.features, 'register', 'http://jabber.org/features/iq-register'))
  await refused('not-allowed', register(carol, 'carol'))
  await refused('item-not-found', preauth(carol, 'f'.repeat(32)))
  await preauth(carol, token)
  const form = (await carol.request('get', `<query xmlns='${REGISTER}'/>`)).children[0]!
  assert.equal(child(form, 'username')?.text, '')
  await register(carol, 'carol')
  await alice.receive(item('carol@localhost', 'both'))
  await carol.login({ user: 'carol', password: 'correct horse' })
  await carol.bind()
  assert.deepEqual(await rosterOf(carol), [['alice@localhost', 'both']])
  await available(carol)
  await carol.receive(presenceFrom(alice.jid))
  await alice.receive(presenceFrom(carol.jid))

  const dave = await stranger(t, server)
  await refused('item-not-found', preauth(dave, token)) // used up
})

test('a new user is invited with a name, which is kept for them', async t => {
  const server = await start(t, { register: { registration: 'open', max_per_ip: 'infinity' } })
  await server.register('taken')
  const alice = await server.client('alice')
  const { form, sessionid } = await step(alice, CREATE)
  assert.deepEqual(
    form!.children.filter(el => el.name === 'field').map(el => el.attrs['var']),
    ['FORM_TYPE', 'username', 'roster-subscription'],
  )
  const submit = (username: string) => step(alice, CREATE, { sessionid, answers: { username } })
  await refused('conflict', submit('taken'))
  assert.equal(await failed(run(alice, CREATE, { username: 'a b' })), 'that cannot be the name of an account')
  const { values } = await submit('Juliet')
  const [uri] = values['uri']!
  assert.match(uri!, /^xmpp:juliet@localhost\?register;preauth=[0-9a-f]{32}$/)
  await refused('conflict', run(alice, CREATE, { username: 'juliet' }))

  const thief = await stranger(t, server)
  await refused('conflict', register(thief, 'juliet'))
  await assert.rejects(async () => server.command('register', { account: 'juliet@localhost', password: 'x' }), {
    code: 'conflict',
  })
  const other = await stranger(t, server)
  await preauth(other, tokenOf(uri!))
  const asked = (await other.request('get', `<query xmlns='${REGISTER}'/>`)).children[0]!
  assert.equal(child(asked, 'username')?.text, 'juliet')
  await refused('not-acceptable', register(other, 'romeo'))
  await register(other, 'juliet')
  await other.login({ user: 'juliet', password: 'correct horse' })
  await other.bind()
  assert.deepEqual(await rosterOf(other), []) // alice did not ask for it
  await refused('conflict', register(thief, 'juliet'))
})

test('with roster-subscription the new user is a contact', async t => {
  const server = await start(t)
  const alice = await server.client('alice')
  const { values } = await run(alice, CREATE, { username: 'juliet', 'roster-subscription': 'true' })
  const juliet = await join(t, server, tokenOf(values['uri']![0]!), 'juliet')
  assert.deepEqual(await rosterOf(juliet), [['alice@localhost', 'both']])
})

test('an invitation expires; but who has shown it in time may finish', async t => {
  let now = Date.UTC(2026, 0, 1)
  const server = await start(t, { now: () => now, invites: { token_expire: '1h' } })
  const alice = await server.client('alice')
  const token = tokenOf((await run(alice, CREATE, { username: 'juliet' })).values['uri']![0]!)
  const [intime, late] = [await stranger(t, server), await stranger(t, server)]
  await preauth(intime, token)
  now += 3_600_001
  await refused('item-not-found', preauth(late, token))
  await register(intime, 'juliet')
  const other = tokenOf((await run(alice, INVITE)).values['uri']![0]!)
  now += 3 * 3_600_000
  assert.equal(await server.command('cleanup_expired_invite_tokens', {}), 1)
  await refused('item-not-found', preauth(late, other))
})

test('a use that fails does not count, and no use is made twice', async t => {
  const server = await start(t)
  await server.register('taken')
  const alice = await server.client('alice')
  const token = tokenOf((await run(alice, INVITE)).values['uri']![0]!)
  const [one, two] = [await stranger(t, server), await stranger(t, server)]
  await preauth(one, token)
  await preauth(two, token)
  await refused('conflict', register(one, 'taken'))
  await refused('not-acceptable', register(one, 'x'))
  const outcomes = await Promise.allSettled([register(one, 'carol'), register(two, 'dave')])
  assert.deepEqual(outcomes.map(o => o.status).sort(), ['fulfilled', 'rejected'])
  await refused('item-not-found', register(one, 'erin'))
  const accounts = await server.server.host('localhost')!.users.list()
  assert.equal(accounts.length, 3)
})

test('an operator’s invitation may be good for several accounts', async t => {
  const server = await start(t)
  const made = (await server.command('generate_invite', { host: 'localhost', uses: 2, expire: '2d' })) as {
    invite_uri: string
  }[]
  const uri = made[0]!.invite_uri
  assert.match(uri, /^xmpp:localhost\?register;preauth=/)
  await join(t, server, tokenOf(uri), 'one')
  await join(t, server, tokenOf(uri), 'two')
  await refused('item-not-found', preauth(await stranger(t, server), tokenOf(uri)))
  const fails = (args: Record<string, unknown>) =>
    assert.rejects(async () => server.command('generate_invite', { host: 'localhost', ...args }), { code: 'usage' })
  await fails({ uses: 0 })
  await fails({ expire: 'soon' })
})

test('an operator lists invitations and withdraws them', async t => {
  const server = await start(t)
  const alice = await server.client('alice')
  await server.command('generate_invite_with_username', { account: 'admin@localhost' }) // also a reserved name
  await run(alice, INVITE)
  await run(alice, INVITE)
  type Row = Record<string, unknown>
  const list = async () => (await server.command('list_invites', { host: 'localhost' })) as Row[]
  const rows = await list()
  assert.deepEqual(rows.map(row => [row['inviter'], row['username'], row['uses']]).sort(), [
    ['', 'admin', 1],
    ['alice', '', 1],
    ['alice', '', 1],
  ])
  const admin = rows.find(row => row['username'] === 'admin')!
  assert.equal(await server.command('expire_invite_tokens', { account: 'alice@localhost' }), 2)
  assert.deepEqual(await list(), [admin])
  const withdraw = () => server.command('expire_invite', { host: 'localhost', token: admin['token'] })
  await join(t, server, String(admin['token']), 'admin')
  await assert.rejects(async () => withdraw(), { code: 'not_found' })
  await assert.rejects(
    async () => server.command('generate_invite_with_username', { account: 'admin@localhost' }),
    /taken/,
  )
})

test('a user has only so many invitations that wait', async t => {
  const server = await start(t, { invites: { max_invites: 2 } })
  const bob = await server.client('bob')
  await run(bob, INVITE)
  await run(bob, INVITE)
  await failed(run(bob, INVITE))
  await server.command('expire_invite_tokens', { account: 'bob@localhost' })
  await run(bob, INVITE)
})

test('one connection tries only so many tokens', async t => {
  const server = await start(t)
  const alice = await server.client('alice')
  const token = tokenOf((await run(alice, INVITE)).values['uri']![0]!)
  const guesser = await stranger(t, server)
  for (let i = 0; i < 5; i++) await refused('item-not-found', preauth(guesser, `${i}`.repeat(32)))
  await refused('item-not-found', preauth(guesser, token))
  await preauth(await stranger(t, server), token)
})

test('who has an account becomes a contact by the link: both ways, at once, without being asked', async t => {
  const server = await start(t, { hosts: ['localhost', 'other.example'] })
  const bob = await server.client('bob')
  await rosterOf(bob)
  await available(bob)
  const token = tokenOf((await run(bob, INVITE)).values['uri']![0]!)
  const friend = await server.client('friend', { host: 'other.example' })
  await available(friend)
  friend.send("<presence to='bob@localhost' type='subscribed'/>") // XEP-0379 3.4: says yes beforehand
  friend.send(
    `<presence to='bob@localhost' type='subscribe'><preauth xmlns='urn:xmpp:pars:0' token='${token}'/></presence>`,
  )
  await bob.receive(item('friend@other.example', 'both'))
  await friend.receive(presenceFrom(bob.jid))
  await bob.receive(presenceFrom(friend.jid))
  await nothing(bob, presenceFrom('friend@other.example', 'subscribe'), friend)

  // Used up: the next one has to ask.
  const other = await server.client('other', { host: 'other.example' })
  other.send(
    `<presence to='bob@localhost' type='subscribe'><preauth xmlns='urn:xmpp:pars:0' token='${token}'/></presence>`,
  )
  await bob.receive(presenceFrom('other@other.example', 'subscribe'))
})

test('a token is good for its inviter only, and what is no token is a request like any other', async t => {
  const server = await start(t)
  const [alice, bob, carol] = await server.clients('alice', 'bob', 'carol')
  await available(alice)
  const token = tokenOf((await run(bob, INVITE)).values['uri']![0]!)
  const ask = (value: string) =>
    carol.send(
      `<presence to='alice@localhost' type='subscribe'><preauth xmlns='urn:xmpp:pars:0' token='${value}'/></presence>`,
    )
  ask(token)
  await alice.receive(presenceFrom('carol@localhost', 'subscribe'))
  // Nor is a contact's invitation good for an account.
  await refused('item-not-found', preauth(await stranger(t, server), token))
  const erin = await server.client('erin')
  erin.send("<presence to='bob@localhost' type='subscribe'><preauth xmlns='urn:xmpp:pars:0' token='&lt;'/></presence>")
  await available(bob)
  await bob.receive(presenceFrom('erin@localhost', 'subscribe'))
})

test('the invitations of a user go with the account', async t => {
  const server = await start(t)
  const alice = await server.client('alice')
  const token = tokenOf((await run(alice, CREATE, { username: 'juliet' })).values['uri']![0]!)
  await server.command('unregister', { account: 'alice@localhost' })
  await refused('item-not-found', preauth(await stranger(t, server), token))
  assert.deepEqual(await server.command('list_invites', { host: 'localhost' }), [])
  const { store } = server.server
  for (const name of ['invites', 'invites_by', 'invite_names']) {
    assert.deepEqual(await store.table('localhost', { name }).partitions(), [], name)
  }
})

test('whoever watches registrations is told', async t => {
  const server = await start(t, { register: { registration: 'open', registration_watchers: ['admin@localhost'] } })
  const [admin] = await online(server, 'admin')
  const client = await stranger(t, server)
  await register(client, 'newcomer')
  await admin.receive(says('The account newcomer@localhost was made from 127.0.0.1.'))
})

test('where nobody can make an account, an operator’s invitation is not made in vain', async t => {
  const server = await start(t, { register: false })
  await assert.rejects(async () => server.command('generate_invite', { host: 'localhost' }), { code: 'failed' })
  const client = await stranger(t, server)
  await refused('service-unavailable', preauth(client, 'f'.repeat(32)))
})

test('tokens are shown over encrypted connections only, where passwords are', async t => {
  const server = await start(t, { register: { require_tls: true } })
  const alice = await server.client('alice')
  const token = tokenOf((await run(alice, INVITE)).values['uri']![0]!)
  const plain = await stranger(t, server)
  assert.equal(child(plain.features, 'register', 'urn:xmpp:ibr-token:0'), undefined)
  await refused('not-allowed', preauth(plain, token))
  const options = { host: '127.0.0.1', port: server.port, domain: 'localhost', tls: 'starttls' as const }
  const secure = await RawClient.connect(options)
  t.after(() => secure.cut())
  assert.ok(child(secure.features, 'register', 'urn:xmpp:ibr-token:0'))
  await preauth(secure, token)
  await register(secure, 'carol')
})

test('an invitation tells nobody who has an account here: it is tried so often, and no more', async t => {
  const server = await start(t)
  const args = { host: 'localhost', uses: 1 }
  const [{ invite_uri }] = await server.command<[{ invite_uri: string }]>('generate_invite', args)
  await server.register('juliet')
  const romeo = await stranger(t, server)
  await preauth(romeo, tokenOf(invite_uri))
  for (let i = 0; i < 100; i++) await refused('conflict', register(romeo, 'juliet'))
  await refused('resource-constraint', register(romeo, 'juliet'))
})

test('the invitations of who can no longer log in are good for nothing, and again when the account is back', async t => {
  const server = await start(t)
  const alice = await server.client('alice')
  const token = tokenOf((await run(alice, INVITE)).values['uri']![0]!)
  const named = tokenOf((await run(alice, CREATE, { username: 'carol' })).values['uri']![0]!)
  const shown = await stranger(t, server)
  await preauth(shown, token)

  await server.command('ban_account', { account: 'alice@localhost', reason: 'x' })
  await refused('item-not-found', preauth(await stranger(t, server), token))
  await refused('item-not-found', register(shown, 'dave')) // it was shown in time, which does not help
  const bob = await server.client('bob')
  bob.send(
    `<presence to='alice@localhost' type='subscribe'><preauth xmlns='urn:xmpp:pars:0' token='${token}'/></presence>`,
  )
  await nothing(bob, el => el.name === 'presence' && el.attrs['type'] === 'subscribed')

  await server.command('unban_account', { account: 'alice@localhost' })
  await join(t, server, named, 'carol')
})

test('with an account go all its invitations, also one that is being used', async t => {
  const server = await start(t)
  const alice = await server.client('alice')
  const token = tokenOf((await run(alice, INVITE)).values['uri']![0]!)
  const invites = server.server.host('localhost')!.services.use('invites')!
  const making = Promise.withResolvers<Jid>()
  const used = invites.redeem({ token, username: undefined }, () => making.promise)
  await server.command('unregister', { account: 'alice@localhost' })
  await server.register('alice')
  making.reject(new Error('it was not made'))
  await assert.rejects(used, /it was not made/)
  await refused('item-not-found', preauth(await stranger(t, server), token))
})
