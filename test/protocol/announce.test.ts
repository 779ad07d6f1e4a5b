import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { offered, reconfigure, run } from '../support/commands.ts'
import { faultyStore } from '../support/faultystore.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, errorCondition } from '../support/rawxml.ts'
import { available, nothing, online, refused, says, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'

const CONFIG = { acl: { admin: { user: ['admin@localhost'] } } }
const ADMIN = 'http://jabber.org/protocol/admin#'

async function start(t: TestContext): Promise<{ server: TestServer; admin: RawClient; alice: RawClient }> {
  const server = await serve(t, { config: CONFIG })
  const [admin, alice] = await server.clients('admin', 'alice')
  await available(alice)
  return { server, admin, alice }
}

const message = (where: string, body: string, subject = '') =>
  `<message to='localhost/announce/${where}' id='m'>${subject}<body>${body}</body></message>`

/** A client of the account acknowledges a message: it will not be given to another. */
function delivered(server: TestServer, user: string): Promise<void> {
  return new Promise(resolve => {
    server.server.host('localhost')!.hooks.add('test', 'message_acknowledged', ({ account }) => {
      if (account.user === user) resolve()
    })
  })
}

test('a message to announce/online reaches who is online, with its subject, and nobody else', async t => {
  const { server, admin, alice } = await start(t)
  await server.register('bob')
  admin.send(message('online', 'Lunch', '<subject>News</subject>'))
  const got = await alice.receive(says('Lunch'))
  assert.equal(got.attrs['from'], 'localhost')
  assert.equal(child(got, 'subject')?.text, 'News')
  const [bob] = await online(server, 'bob')
  await nothing(bob, says('Lunch'), admin)
})

test('a message to announce/all waits for who is offline', async t => {
  const { server, admin, alice } = await start(t)
  await server.register('bob')
  admin.send(message('all', 'For all'))
  await alice.receive(says('For all'))
  const [bob] = await online(server, 'bob')
  await bob.receive(says('For all'))
  await nothing(bob, says('For all'))
})

test('only administrators make announcements, and only of kinds that there are', async t => {
  const { admin, alice } = await start(t)
  for (const kind of ['online', 'all', 'motd', 'motd/update', 'motd/delete', 'all-hosts/online']) {
    alice.send(message(kind, 'Buy this'))
    assert.equal(errorCondition(await alice.receive(el => el.attrs['type'] === 'error')), 'forbidden', kind)
  }
  for (const [where, condition] of [
    ['nobody', 'item-not-found'],
    ['motd/', 'item-not-found'],
  ] as const) {
    admin.send(message(where, 'x'))
    assert.equal(errorCondition(await admin.receive(el => el.attrs['type'] === 'error')), condition)
  }
  admin.send("<message to='localhost/announce/online' id='m'/>")
  assert.equal(errorCondition(await admin.receive(el => el.attrs['type'] === 'error')), 'bad-request')
  // Other messages to the host are answered as ever.
  admin.send("<message to='localhost/else' id='m'><body>x</body></message>")
  assert.equal(errorCondition(await admin.receive(el => el.attrs['type'] === 'error')), 'service-unavailable')
})

test('a message to all hosts needs the right on all of them', async t => {
  const server = await serve(t, { hosts: ['localhost', 'other.example'], config: CONFIG })
  Object.assign(server.server.config.perHost.get('other.example')!, {
    acl: { admin: { user: ['boss@other.example'], server: [], ip: [] } },
  })
  const [admin] = await online(server, 'admin')
  admin.send(message('all-hosts/online', 'x'))
  assert.equal(errorCondition(await admin.receive(el => el.attrs['type'] === 'error')), 'forbidden')
  admin.send(message('online', 'Here'))
  await admin.receive(says('Here'))
})

test('each host says who announces to it: what one allows says nothing of another', async t => {
  const server = await serve(t, { hosts: ['localhost', 'other.example'], config: CONFIG })
  await reconfigure(server, 'localhost', 'mod_announce', { access: 'all' })
  const alice = await server.client('alice')
  const carol = await server.client('carol', { host: 'other.example' })
  await available(alice)
  await available(carol)
  alice.send(message('online', 'Here'))
  await alice.receive(says('Here'))
  alice.send(message('all-hosts/online', 'There'))
  assert.equal(errorCondition(await alice.receive(el => el.attrs['type'] === 'error')), 'forbidden')
  await nothing(carol, says('There'), alice)
  // Where announcements do not run there is nobody to ask, and nobody to tell.
  await reconfigure(server, 'other.example', 'mod_announce', undefined)
  alice.send(message('all-hosts/online', 'Everywhere'))
  await alice.receive(says('Everywhere'))
  await nothing(carol, says('Everywhere'), alice)
})

test('the message of the day: who is online gets it now, others when they come, each account once', async t => {
  const { server, admin, alice } = await start(t)
  await server.register('bob')
  const [alices, bobs] = [delivered(server, 'alice'), delivered(server, 'bob')]
  admin.send(message('motd', 'Day one'))
  await alice.receive(says('Day one'))
  const [bob, other] = await server.clients('bob', 'bob')
  await Promise.all([available(bob), available(other)]) // both at once
  await Promise.race([bob.receive(says('Day one')), other.receive(says('Day one'))])
  await alices
  const [again] = await online(server, 'alice')
  await nothing(again, says('Day one'), bob)
  await bobs
  await bob.close()
  const [later] = await online(server, 'bob')
  await nothing(later, says('Day one'), other)

  // Other words are for those who have not seen it.
  admin.send(message('motd/update', 'Day one, corrected'))
  await admin.ping()
  const [carol] = await online(server, 'carol')
  await carol.receive(says('Day one, corrected'))
  await nothing(alice, says('Day one, corrected'), carol)

  admin.send(message('motd', 'Day two'))
  await alice.receive(says('Day two'))
  admin.send("<message to='localhost/announce/motd/delete'/>")
  await admin.ping()
  const [dave] = await online(server, 'dave')
  await nothing(dave, says('Day two'))
})

test('the message of the day outlives a restart, and so does who has seen it', async t => {
  const { store } = faultyStore()
  const first = await serve(t, { config: CONFIG, store })
  const [alice] = await online(first, 'alice')
  await first.command('announce_motd_set_online', { host: 'localhost', subject: '', body: 'Remember' })
  await alice.receive(says('Remember'))
  await alice.close()
  await first.stop()
  const second = await serve(t, { config: CONFIG, store })
  assert.equal(await second.command('announce_motd_get', { host: 'localhost' }), 'Remember')
  const [again, bob] = await online(second, 'alice', 'bob')
  await bob.receive(says('Remember'))
  await nothing(again, says('Remember'), bob)
})

test('a client that takes no messages is shown nothing yet', async t => {
  const { server, admin } = await start(t)
  admin.send(message('motd', 'Later'))
  await admin.ping()
  const bob = await server.client('bob')
  await available(bob, '<presence><priority>-1</priority></presence>')
  await nothing(bob, says('Later'))
  bob.send('<presence/>')
  await bob.receive(says('Later'))
})

test('a new account finds a welcome waiting', async t => {
  const { server } = await start(t)
  const register = (user: string) =>
    server.command('register', { account: `${user}@localhost`, password: 'correct horse' })
  await server.command('announce_welcome_set', { host: 'localhost', subject: 'Hello', body: 'Make yourself at home' })
  await register('bob')
  const login = async (user: string) => {
    const client = await server.connect()
    await client.login({ user, password: 'correct horse' })
    await client.bind()
    await available(client)
    return client
  }
  const bob = await login('bob')
  assert.equal(child(await bob.receive(says('Make yourself at home')), 'subject')?.text, 'Hello')
  await server.command('announce_welcome_delete', { host: 'localhost' })
  await register('carol')
  await nothing(await login('carol'), says('Make yourself at home'))
})

test('the ad-hoc commands of XEP-0133 do the same', async t => {
  const { admin, alice } = await start(t)
  await run(admin, `${ADMIN}announce`, { announcement: ['One', 'Two'] })
  await alice.receive(says('One\nTwo'))
  await run(admin, `${ADMIN}set-motd`, { motd: 'Today' })
  await alice.receive(says('Today'))
  await run(admin, `${ADMIN}edit-motd`, { motd: ['Today', 'and tomorrow'] })
  assert.deepEqual((await run(admin, `${ADMIN}edit-motd`)).values['motd'], ['Today', 'and tomorrow'])
  assert.equal((await run(admin, `${ADMIN}delete-motd`)).status, 'completed')
  assert.deepEqual((await run(admin, `${ADMIN}edit-motd`)).values['motd'], [])
  await run(admin, `${ADMIN}set-welcome`, { welcome: 'Hi' })
  assert.deepEqual((await run(admin, `${ADMIN}set-welcome`)).values['welcome'], ['Hi'])
  await run(admin, `${ADMIN}delete-welcome`)
  assert.deepEqual((await run(admin, `${ADMIN}set-welcome`)).values['welcome'], [])
  await refused('bad-request', run(admin, `${ADMIN}announce`, { announcement: '' }))
  await refused('forbidden', run(alice, `${ADMIN}announce`))
})

test('as a form of hermodctl’s command an announcement needs no subject', async t => {
  const { admin, alice } = await start(t)
  await run(admin, 'api-commands/announce_send_online', { host: 'localhost', body: 'Plain' })
  assert.equal(child(await alice.receive(says('Plain')), 'subject'), undefined)
})

test('where announcements are off, their commands are not there', async t => {
  const server = await serve(t, { config: CONFIG, modules: { mod_announce: false } })
  const admin = await server.client('admin')
  assert.ok((await offered(admin)).includes(`${ADMIN}add-user`))
  await refused('item-not-found', run(admin, `${ADMIN}announce`))
})
