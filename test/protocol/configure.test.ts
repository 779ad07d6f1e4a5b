import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { failed, offered, reconfigure, run, step } from '../support/commands.ts'
import { faultyStore } from '../support/faultystore.ts'
import { friends, publish } from '../support/publishing.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, errorCondition } from '../support/rawxml.ts'
import { available, befriend, closed, nothing, online, presenceFrom, refused, says, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const CONFIG = { acl: { admin: { user: ['admin@localhost'] } } }
const node = (name: string) => `http://jabber.org/protocol/admin#${name}`

/** XEP-0133 4, but for the password of a user, which nobody can get. */
const NODES = [
  ...['add-user', 'delete-user', 'disable-user', 'reenable-user', 'end-user-session', 'change-user-password'],
  ...['get-user-roster', 'get-user-lastlogin', 'user-stats', 'edit-blacklist', 'edit-whitelist'],
  ...['registered', 'disabled', 'online', 'active', 'idle'].map(kind => `get-${kind}-users-num`),
  ...['get-registered-users-list', 'get-disabled-users-list', 'get-online-users-list'],
  ...['get-active-users', 'get-idle-users', 'announce', 'set-motd', 'edit-motd', 'delete-motd'],
  ...['set-welcome', 'delete-welcome', 'edit-admin', 'restart', 'shutdown'],
]

async function start(t: TestContext, options = {}): Promise<{ server: TestServer; admin: RawClient }> {
  const server = await serve(t, { config: CONFIG, ...options })
  return { server, admin: await server.client('admin') }
}

async function login(server: TestServer, user: string, password: string): Promise<RawClient> {
  const client = await server.connect()
  await client.login({ user, password })
  await client.bind()
  return client
}

test('all of XEP-0133 is there for administrators, and none of it for others', async t => {
  const { server, admin } = await start(t)
  const alice = await server.client('alice')
  const there = await offered(admin)
  assert.deepEqual(
    NODES.filter(name => !there.includes(node(name))),
    [],
  )
  assert.deepEqual(
    (await offered(alice)).filter(name => name.startsWith('http://jabber.org/protocol/admin#')),
    [],
  )
  for (const name of NODES) await refused('forbidden', step(alice, node(name)))
  await refused('item-not-found', step(admin, node('get-user-password')))
})

test('an account is added, gets another password, and is deleted', async t => {
  const { server, admin } = await start(t)
  const add = (accountjid: string, password = 'correct horse', verify = password) =>
    run(admin, node('add-user'), { accountjid, password, 'password-verify': verify })
  assert.equal(await failed(add('bob@localhost', 'correct horse', 'corect horse')), 'the two passwords differ')
  await failed(add('a b@@localhost'))
  await failed(add(' '))
  await failed(add('localhost'))
  assert.equal(await failed(add('bob@elsewhere.example')), 'elsewhere.example is not this host')
  assert.equal((await add('bob@localhost')).status, 'completed')
  await refused('conflict', add('bob@localhost'))
  const bob = await login(server, 'bob', 'correct horse')

  const gone = closed(bob)
  await run(admin, node('change-user-password'), { accountjid: 'bob@localhost', password: 'battery staple' })
  assert.match(await gone, /not-authorized/)
  await assert.rejects(login(server, 'bob', 'correct horse'))
  const again = await login(server, 'bob', 'battery staple')

  const goneAgain = closed(again)
  await run(admin, node('delete-user'), { accountjids: 'bob@localhost/anything' })
  assert.match(await goneAgain, /not-authorized/)
  await assert.rejects(login(server, 'bob', 'battery staple'))
  await failed(run(admin, node('delete-user'), { accountjids: 'bob@localhost' }))
})

test('what is told of a new user is in the vCard', async t => {
  const { server, admin } = await start(t)
  const password = 'correct horse'
  await run(admin, node('add-user'), {
    accountjid: 'juliet@localhost',
    password,
    'password-verify': password,
    email: 'juliet@mail.example',
    given_name: 'Juliet',
    surname: 'Capulet',
  })
  const juliet = await login(server, 'juliet', password)
  const card = (await juliet.request('get', "<vCard xmlns='vcard-temp'/>")).children[0]!
  assert.equal(child(card, 'FN')?.text, 'Juliet Capulet')
  assert.equal(child(child(card, 'N'), 'FAMILY')?.text, 'Capulet')
  assert.equal(child(child(card, 'EMAIL'), 'USERID')?.text, 'juliet@mail.example')
})

test('of several addresses none is touched if one is wrong', async t => {
  const { server, admin } = await start(t)
  await server.register('bob')
  await failed(run(admin, node('delete-user'), { accountjids: ['bob@localhost', 'no@localhost'] }))
  assert.equal(await server.server.host('localhost')!.users.exists('bob'), true)
})

test('a disabled account is out, keeps its data, and can be let in again', async t => {
  const { server, admin } = await start(t)
  const bob = await server.client('bob')
  const item = "<query xmlns='jabber:iq:roster'><item jid='romeo@example.net' name='Romeo'/></query>"
  await bob.request('set', item)
  const gone = closed(bob)
  await run(admin, node('disable-user'), { accountjids: 'bob@localhost' })
  assert.match(await gone, /not-authorized/)
  await assert.rejects(server.client('bob'))
  const count = (await run(admin, node('get-disabled-users-num'))).values['disabledusersnum']
  assert.deepEqual(count, ['1'])
  const list = await run(admin, node('get-disabled-users-list'), {})
  assert.deepEqual(list.values['disableduserjids'], ['bob@localhost'])

  const { form, values } = await run(admin, node('get-user-roster'), { accountjids: 'bob@localhost' })
  assert.deepEqual(values['accountjids'], ['bob@localhost'])
  const roster = child(form, 'query', 'jabber:iq:roster')!
  assert.deepEqual(
    roster.children.map(el => [el.attrs['jid'], el.attrs['name'], el.attrs['subscription']]),
    [['romeo@example.net', 'Romeo', 'none']],
  )

  await run(admin, node('reenable-user'), { accountjids: 'bob@localhost' })
  await server.client('bob')
  await failed(run(admin, node('reenable-user'), { accountjids: 'nobody@localhost' }))
  await failed(run(admin, node('reenable-user'), { accountjids: 'bob@elsewhere.example' }))
})

test('one session is ended by its full address, all by the bare one', async t => {
  const { server, admin } = await start(t)
  const one = await server.client('bob', { resource: 'one' })
  const two = await server.client('bob', { resource: 'two' })
  const gone = closed(one)
  await run(admin, node('end-user-session'), { accountjids: 'bob@localhost/one' })
  await gone
  await two.ping()
  const ends = Promise.all([closed(two), closed(await server.client('carol'))])
  await run(admin, node('end-user-session'), { accountjids: ['bob@localhost', 'carol@localhost'] })
  await ends
})

test('who was there last, and what the server knows of a user', async t => {
  const { server, admin } = await start(t)
  const bob = await server.client('bob', { resource: 'phone' })
  const alice = await server.client('alice')
  await available(bob)
  await available(alice)
  await befriend(alice, bob)
  const stats = (await run(admin, node('user-stats'), { accountjid: 'bob@localhost' })).values
  assert.deepEqual(stats['onlineresources'], ['phone'])
  assert.deepEqual(stats['rostersize'], ['1'])
  assert.deepEqual(stats['ipaddresses'], ['127.0.0.1'])
  const last = async () => (await run(admin, node('get-user-lastlogin'), { accountjids: 'bob@localhost' })).values
  const age = Date.now() - Date.parse((await last())['lastlogin']![0]!)
  assert.ok(age >= 0 && age < 60_000, String(age))
  await bob.close()
  await alice.receive(presenceFrom(bob.jid, 'unavailable'))
  await admin.ping()
  assert.match((await last())['lastlogin']![0]!, /^\d{4}-\d\d-\d\dT.*Z$/)
})

test('users are counted and listed: registered, online, active, idle', async t => {
  const { server, admin } = await start(t)
  await server.register('offline')
  const [alice, bob] = await server.clients('alice', 'bob')
  await available(admin)
  await available(alice, '<presence><show>chat</show></presence>')
  await available(bob, '<presence><show>xa</show></presence>')
  await server.client('shy') // sends no presence
  const number = async (kind: string) =>
    Number((await run(admin, node(`get-${kind}-users-num`))).values[`${kind}usersnum`]![0])
  const counts = await Promise.all(['registered', 'online', 'active', 'idle', 'disabled'].map(number))
  assert.deepEqual(counts, [5, 4, 2, 1, 0])
  const list = async (name: string, field: string, max?: string) =>
    (await run(admin, node(name), max === undefined ? {} : { max_items: max })).values[field]!.sort()
  assert.deepEqual(await list('get-active-users', 'activeuserjids'), ['admin@localhost', 'alice@localhost'])
  assert.deepEqual(await list('get-idle-users', 'activeuserjids', '25'), ['bob@localhost'])
  assert.equal((await list('get-registered-users-list', 'registereduserjids')).length, 5)
  assert.equal((await list('get-online-users-list', 'onlineuserjids', 'none')).length, 4)
  await refused('bad-request', list('get-online-users-list', 'onlineuserjids', '1000000'))

  for (let i = 0; i < 30; i++) await server.server.host('localhost')!.users.create(`many${i}`, 'secret')
  const some = await run(admin, node('get-registered-users-list'), { max_items: '25' })
  assert.equal(some.values['registereduserjids']!.length, 25)
  assert.deepEqual(some.notes, ['warn: The first 25; there are more'])
})

test('who is in the blacklist is kept out, in both directions; the list is kept', async t => {
  const { store } = faultyStore()
  const { server, admin } = await start(t, { hosts: ['localhost', 'other.example'], store })
  const alice = await server.client('alice')
  const spammer = await server.client('spammer', { host: 'other.example' })
  const good = await server.client('good', { host: 'other.example' })
  await available(alice)
  const edit = (jids: string[]) => run(admin, node('edit-blacklist'), { blacklistjids: jids })
  await failed(edit(['localhost']))
  await failed(edit(['a@b@c']))
  const mallory = await server.client('mallory')
  await edit(['mallory@localhost'])
  mallory.send("<message to='good@other.example' id='m' type='chat'><body>Buy</body></message>")
  assert.equal(errorCondition(await mallory.receive(el => el.attrs['id'] === 'm')), 'service-unavailable')
  // Who is asked of it elsewhere is answered as ever.
  const version = "<query xmlns='jabber:iq:version'/>"
  await refused('service-unavailable', good.request('get', version, 'mallory@localhost'))
  await edit(['Spammer@other.example', 'bad.example'])
  const { values } = await run(admin, node('edit-blacklist'))
  assert.deepEqual(values['blacklistjids'], ['spammer@other.example', 'bad.example'])

  spammer.send("<message to='alice@localhost' id='s' type='chat'><body>Buy</body></message>")
  assert.equal(errorCondition(await spammer.receive(el => el.attrs['id'] === 's')), 'service-unavailable')
  spammer.send("<presence to='alice@localhost' type='subscribe'/>")
  good.send("<message to='alice@localhost' type='chat'><body>Hi</body></message>")
  await alice.receive(says('Hi'))
  await nothing(alice, presenceFrom('spammer@other.example', 'subscribe'), spammer)
  alice.send("<message to='x@bad.example' id='out'><body>x</body></message>")
  assert.equal(errorCondition(await alice.receive(el => el.attrs['id'] === 'out')), 'not-allowed')

  await server.stop()
  const again = await serve(t, { config: CONFIG, hosts: ['localhost', 'other.example'], store })
  const spammerAgain = await again.client('spammer', { host: 'other.example' })
  await refused('service-unavailable', spammerAgain.request('get', "<ping xmlns='urn:xmpp:ping'/>", 'localhost'))
  const adminAgain = await again.client('admin')
  await run(adminAgain, node('edit-blacklist'), { blacklistjids: [] })
  await spammerAgain.request('get', "<ping xmlns='urn:xmpp:ping'/>", 'localhost')
})

test('who is in the blacklist hears nothing of its contacts, nor they of it: not by presence, not by nodes', async t => {
  const { server, admin } = await start(t)
  const [alice, mallory] = await friends(server, ['alice', ['urn:n']], ['mallory', ['urn:n']])
  await run(admin, node('edit-blacklist'), { blacklistjids: 'mallory@localhost' })
  const word = (text: string) => `<presence><status>${text}</status></presence>`
  const heard: string[] = []
  const hears = (client: RawClient, from: string) =>
    client.on('stanza', el => {
      if (el.attrs['from']?.startsWith(from) === true) heard.push(`${el.name} ${el.attrs['type']}`)
    })
  hears(alice, 'mallory@')
  hears(mallory, 'alice@')
  alice.send(word('secret'))
  mallory.send(word('spam'))
  await publish(alice, 'urn:n', "<n xmlns='urn:n'/>", 'x')
  await publish(mallory, 'urn:n', "<n xmlns='urn:n'/>", 'y')
  await alice.close()
  const [back] = await online(server, 'alice')
  hears(back, 'mallory@')
  mallory.send("<presence to='alice@localhost' type='probe'/>")
  // A ping of the server is refused to who is kept out; one's own roster is not.
  await mallory.request('get', "<query xmlns='jabber:iq:roster'/>")
  await back.ping()
  assert.deepEqual(heard, [])
  await run(admin, node('edit-blacklist'), { blacklistjids: [] })
  back.send(word('free'))
  await mallory.receive(el => el.name === 'presence' && child(el, 'status')?.text === 'free')
})

test('where there is a whitelist, strangers who are not in it are kept out, and users of this server never', async t => {
  const { server, admin } = await start(t, { hosts: ['localhost', 'other.example'] })
  const alice = await server.client('alice')
  const other = await server.client('other', { host: 'other.example' })
  await available(alice)
  await run(admin, node('edit-whitelist'), { whitelistjids: 'friends.example' })
  other.send("<message to='alice@localhost' type='chat'><body>Hi</body></message>")
  await alice.receive(says('Hi'))
  const answer = async (to: string) => {
    alice.send(`<message to='${to}' id='${to}'><body>x</body></message>`)
    return errorCondition(await alice.receive(el => el.attrs['id'] === to))
  }
  assert.equal(await answer('x@stranger.example'), 'not-allowed')
  assert.equal(await answer('x@friends.example'), 'remote-server-not-found') // it got past the list
})

test('the lists can be edited by hermodctl too, and have a bound', async t => {
  const { server, admin } = await start(t, { modules: { mod_configure: { max_list_size: 2 } } })
  const command = (name: string, args: Record<string, string>) => server.command(name, args)
  const list = { host: 'localhost', list: 'blacklist' }
  await Promise.all(['a.example', 'b.example'].map(jid => command('service_list_add', { ...list, jid })))
  assert.deepEqual(await command('service_list_get', list), [{ jid: 'a.example' }, { jid: 'b.example' }])
  await command('service_list_remove', { ...list, jid: 'a.example' })
  await assert.rejects(async () => command('service_list_remove', { ...list, jid: 'a.example' }), { code: 'not_found' })
  await assert.rejects(async () => command('service_list_add', { ...list, jid: 'localhost' }), { code: 'usage' })
  const many = { blacklistjids: ['1.example', '2.example', '3.example'] }
  await failed(run(admin, node('edit-blacklist'), many))
  await command('service_list_add', { ...list, jid: 'c.example' })
  await assert.rejects(async () => command('service_list_add', { ...list, jid: 'd.example' }), { code: 'failed' })
  assert.deepEqual(await command('service_list_get', list), [{ jid: 'b.example' }, { jid: 'c.example' }])
})

test('the addresses of a list are bounded in bytes, and one that is there already counts once', async t => {
  const { server } = await start(t)
  const list = { host: 'localhost', list: 'blacklist' }
  const add = (jid: string) => server.command('service_list_add', { ...list, jid })
  const address = (i: number) => `${'a'.repeat(1000)}@${i}.example/${'b'.repeat(1000)}`
  let added = 0
  await assert.rejects(
    async () => {
      for (; added < 1000; added++) await add(address(added))
    },
    { code: 'failed', message: 'the addresses of the blacklist are too long together' },
  )
  assert.equal(added, 260) // of some 2012 bytes: 512 KiB
  await add(address(0))
  await assert.rejects(add(address(added)), { code: 'failed' })
  await add('short.example')
})

test('an administrator makes another one, who is one until the account goes', async t => {
  const { server, admin } = await start(t)
  const bob = await server.client('bob')
  assert.deepEqual((await run(admin, node('edit-admin'))).values['adminjids'], ['admin@localhost'])
  const edit = (jids: string[]) => run(admin, node('edit-admin'), { adminjids: jids })
  await refused('not-allowed', edit(['bob@localhost'])) // admin is one by the configuration
  await failed(edit(['admin@localhost', 'nobody@localhost']))
  await failed(edit(['admin@localhost', 'bob@elsewhere.example']))
  await edit(['admin@localhost', 'bob@localhost'])
  const { values } = await run(bob, node('edit-admin'))
  assert.deepEqual(values['adminjids'], ['admin@localhost', 'bob@localhost'])
  assert.ok((await offered(bob)).includes('api-commands/stats'))
  await edit(['admin@localhost'])
  await refused('forbidden', run(bob, node('edit-admin')))

  await edit(['admin@localhost', 'bob@localhost'])
  await run(admin, node('delete-user'), { accountjids: 'bob@localhost' })
  const other = await server.client('bob') // somebody else, of the same name
  await refused('forbidden', run(other, node('edit-admin')))
})

test('an administrator of one host does not touch accounts of another, nor the server', async t => {
  const server = await serve(t, { hosts: ['localhost', 'other.example'], config: CONFIG })
  Object.assign(server.server.config.perHost.get('other.example')!, {
    acl: { admin: { user: ['boss@other.example'], server: [], ip: [] } },
  })
  await server.register('alice')
  const boss = await server.client('boss', { host: 'other.example' })
  await refused('forbidden', step(boss, node('delete-user'), { to: 'localhost' }))
  const at = { to: 'other.example' }
  const { sessionid } = await step(boss, node('delete-user'), at)
  const answers = { accountjids: 'alice@localhost' }
  await failed(step(boss, node('delete-user'), { ...at, sessionid, answers }))
  for (const name of ['restart', 'shutdown']) await refused('forbidden', step(boss, node(name), at))
})

test('the server is stopped, or started again, after everybody was told', async t => {
  const { server, admin } = await start(t)
  const [alice] = await online(server, 'alice')
  const done: string[] = []
  server.server.leaveSoon = how => void done.push(how)
  const { values } = await run(admin, node('shutdown'))
  assert.deepEqual(Object.keys(values).sort(), ['FORM_TYPE', 'announcement', 'delay'])
  await run(admin, node('shutdown'), { delay: '300', announcement: ['Good night', 'all'] })
  await alice.receive(says('Good night\nall'))
  await run(admin, node('restart'), { delay: '0', announcement: 'Back soon' }) // in place of it
  await alice.receive(says('Back soon'))
  await eventually(() => done.length > 0, 'the restart')
  assert.deepEqual(done, ['restart'])
  await run(admin, node('shutdown'), { delay: '30' })
  assert.equal(await server.command('stop_cancel'), 'called off')
})

test('an administrator of one host does not come to others by an account that administers them', async t => {
  const server = await serve(t, { hosts: ['localhost', 'other.example'], config: CONFIG })
  const password = 'correct horse'
  const bob = await server.client('bob')
  await server.register('alice')
  const admin = await server.client('admin')
  await run(admin, node('edit-admin'), { adminjids: ['admin@localhost', 'bob@localhost'] })
  await refused('forbidden', run(bob, node('change-user-password'), { accountjid: 'admin@localhost', password }))
  for (const name of ['delete-user', 'disable-user', 'end-user-session']) {
    await refused('forbidden', run(bob, node(name), { accountjids: ['alice@localhost', 'admin@localhost'] }))
  }
  await run(bob, node('change-user-password'), { accountjid: 'alice@localhost', password })
  await run(admin, node('delete-user'), { accountjids: 'bob@localhost' })
})

test('each host says who administers it: what one allows says nothing of another', async t => {
  const server = await serve(t, { hosts: ['localhost', 'other.example'], config: CONFIG })
  await reconfigure(server, 'localhost', 'mod_configure', { access: 'local' })
  await server.register('carol')
  const alice = await server.client('alice')
  await run(alice, node('get-user-lastlogin'), { accountjids: 'alice@localhost' })
  await refused('forbidden', step(alice, node('shutdown')))
  // One who administers the other host is out of reach, one who does not is not.
  const password = 'correct horse'
  await server.register('admin')
  await refused('forbidden', run(alice, node('change-user-password'), { accountjid: 'admin@localhost', password }))
  await run(alice, node('change-user-password'), { accountjid: 'carol@localhost', password })
  await reconfigure(server, 'other.example', 'mod_configure', { access: 'local' })
  await step(alice, node('shutdown'))
})
