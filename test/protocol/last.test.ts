import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openMemoryStore } from '../../src/storage/memory.ts'
import { run } from '../support/commands.ts'
import { faultyStore } from '../support/faultystore.ts'
import type { RawClient } from '../support/rawclient.ts'
import { available, befriend, online, presenceFrom, refused, serve } from '../support/talk.ts'

const LAST = "<query xmlns='jabber:iq:last'/>"

async function ask(client: RawClient, to?: string): Promise<{ seconds: number; status: string }> {
  const query = (await client.request('get', LAST, to)).children[0]!
  return { seconds: Number(query.attrs['seconds']), status: query.text }
}

/** A client ends its session and the server knows. */
async function leave(client: RawClient, farewell = ''): Promise<void> {
  if (farewell !== '') client.send(`<presence type='unavailable'><status>${farewell}</status></presence>`)
  await client.close()
}

test('the server says how long it has been up', async t => {
  const server = await serve(t)
  const alice = await server.client('alice')
  const { seconds, status } = await ask(alice, 'localhost')
  assert.ok(seconds >= 0 && seconds < 60)
  assert.equal(status, '')
})

test('a contact learns when and with which words somebody left', async t => {
  let now = Date.UTC(2026, 0, 1)
  const server = await serve(t, { now: () => now })
  const [alice, bob] = await online(server, 'alice', 'bob')
  await befriend(alice, bob)
  assert.deepEqual(await ask(alice, 'bob@localhost'), { seconds: 0, status: '' })
  await leave(bob, 'Heading home')
  await alice.receive(presenceFrom(bob.jid, 'unavailable'))
  now += 903_000
  assert.deepEqual(await ask(alice, 'bob@localhost'), { seconds: 903, status: 'Heading home' })
  const last = (account: string) => server.command('get_last', { account })
  assert.deepEqual(await last('bob@localhost'), [
    { state: 'offline', at: '2026-01-01T00:00:00.000Z', status: 'Heading home' },
  ])
  assert.deepEqual(await last('alice@localhost'), [{ state: 'online', at: null, status: null }])
})

test('a connection that breaks is an end too', async t => {
  let now = Date.UTC(2026, 0, 1)
  const server = await serve(t, { now: () => now })
  const [alice, bob] = await online(server, 'alice', 'bob')
  await befriend(alice, bob)
  bob.cut()
  await alice.receive(presenceFrom(bob.jid, 'unavailable'))
  now += 60_000
  assert.deepEqual(await ask(alice, 'bob@localhost'), { seconds: 60, status: '' })
})

test('a stranger learns nothing: neither of an account, nor of none, nor from the client', async t => {
  const server = await serve(t)
  const [alice, bob] = await server.clients('alice', 'bob')
  await available(bob)
  for (const jid of ['bob@localhost', 'nobody@localhost', bob.jid, 'bob@localhost/gone', 'nobody@localhost/x']) {
    await refused('forbidden', alice.request('get', LAST, jid))
  }
})

test('a contact may ask the client itself', async t => {
  const server = await serve(t)
  const [alice, bob] = await online(server, 'alice', 'bob')
  await befriend(alice, bob)
  const answer = ask(alice, bob.jid)
  const request = await bob.receive(el => el.name === 'iq' && el.attrs['type'] === 'get')
  bob.send(
    `<iq type='result' id='${request.attrs['id']}' to='${alice.jid}'><query xmlns='jabber:iq:last' seconds='7'/></iq>`,
  )
  assert.deepEqual(await answer, { seconds: 7, status: '' })
})

test('oneself is always told; an account that was never used has nothing to tell', async t => {
  const server = await serve(t, { modules: { mod_last: { privacy: 'everyone' } } })
  await server.register('carol')
  const alice = await server.client('alice')
  assert.deepEqual(await ask(alice), { seconds: 0, status: '' })
  await refused('item-not-found', alice.request('get', LAST, 'carol@localhost'))
  await refused('forbidden', alice.request('get', LAST, 'nobody@localhost'))
})

test('a farewell is kept up to a bound', async t => {
  const server = await serve(t, { modules: { mod_last: { privacy: 'everyone' } } })
  const [alice, bob] = await server.clients('alice', 'bob')
  await available(bob)
  await leave(bob, 'x'.repeat(5000))
  assert.equal((await ask(alice, 'bob@localhost')).status.length, 1024)
})

test('with nobody it is not kept, and what was kept is deleted', async t => {
  const store = openMemoryStore()
  const rows = () => store.table('localhost', { name: 'last' }).partitions()
  const close = store.close.bind(store)
  store.close = async () => {} // shared by two servers
  const first = await serve(t, { store })
  await leave(await first.client('bob'))
  await first.stop()
  assert.equal((await rows()).length, 1)

  const second = await serve(t, { store, modules: { mod_last: { privacy: 'nobody' } } })
  assert.equal((await rows()).length, 0)
  await leave(await second.client('bob'))
  await second.stop()
  assert.equal((await rows()).length, 0)
  await close()
})

test('an account that is removed leaves nothing behind', async t => {
  const server = await serve(t)
  await leave(await server.client('bob'))
  const table = server.server.store.table('localhost', { name: 'last' })
  assert.equal((await table.partitions()).length, 1)
  await server.server.host('localhost')!.removeAccount('bob')
  assert.equal((await table.partitions()).length, 0)
})

test('a user says who is told, for themselves, and stricter than the host', async t => {
  let now = Date.UTC(2026, 0, 1)
  const { store } = faultyStore()
  const server = await serve(t, { now: () => now, store, modules: { mod_last: { privacy: 'everyone' } } })
  const [alice, bob, eve] = await server.clients('alice', 'bob', 'eve')
  await available(alice)
  await available(bob)
  await befriend(alice, bob)
  assert.deepEqual((await run(bob, 'last-seen')).values['last_seen'], ['everyone'])
  assert.equal((await ask(eve, 'bob@localhost')).seconds, 0)
  await run(bob, 'last-seen', { last_seen: 'contacts' })
  await refused('forbidden', ask(eve, 'bob@localhost'))
  await refused('forbidden', ask(eve, bob.jid))
  assert.equal((await ask(alice, 'bob@localhost')).seconds, 0)
  await refused('bad-request', run(bob, 'last-seen', { last_seen: 'friends' }))
  // By the profile, as an administrator writes it.
  const host = server.server.host('localhost')!
  const profiles = host.services.use('profile')!
  const account = (await host.account('bob'))!
  await assert.rejects(profiles.update(account, { last_seen: 'friends', name: 'Bob' }), /last_seen is one of/)
  await profiles.update(account, { last_seen: 'nobody' })
  assert.deepEqual(await profiles.get(account), { last_seen: 'nobody' })
  await profiles.set(account, { name: 'Bob' }) // what is left out of a profile does not open it
  await refused('forbidden', ask(alice, 'bob@localhost'))
  await leave(bob, 'Bye')
  await alice.receive(presenceFrom(bob.jid, 'unavailable'))
  assert.deepEqual(await store.table('localhost', { name: 'last' }).scan(['bob']), [])
  await server.stop()
  // Over a restart; and a host that tells fewer tells those.
  const again = await serve(t, { now: () => now, store, modules: { mod_last: { privacy: 'contacts' } } })
  const [bobAgain, eveAgain] = await again.clients('bob', 'eve')
  assert.deepEqual((await run(bobAgain, 'last-seen')).values['last_seen'], ['nobody'])
  await refused('bad-request', run(bobAgain, 'last-seen', { last_seen: 'everyone' })) // that is not on offer
  const there = again.server.host('localhost')!
  await there.services.use('profile')!.update((await there.account('bob'))!, { last_seen: 'everyone' })
  await refused('forbidden', ask(eveAgain, 'bob@localhost'))
  now += 1000
  await leave(bobAgain)
  const aliceAgain = await again.client('alice')
  assert.ok((await ask(aliceAgain, 'bob@localhost')).seconds >= 0)
})
