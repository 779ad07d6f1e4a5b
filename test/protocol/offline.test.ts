import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RawClient } from '../support/rawclient.ts'
import { child, errorCondition } from '../support/rawxml.ts'
import { available, befriend, nothing, online, says, serve } from '../support/talk.ts'
import { eventually } from '../support/waiting.ts'

const send = (client: RawClient, body: string, to = 'bob@localhost') =>
  client.send(`<message to='${to}' type='chat' id='${body}'><body>${body}</body></message>`)
const isError = (el: { name: string; attrs: Record<string, string> }) =>
  el.name === 'message' && el.attrs['type'] === 'error'

test('messages wait, and say since when', async t => {
  const server = await serve(t)
  const alice = await server.client('alice')
  await server.register('bob')
  send(alice, 'one')
  send(alice, 'two')
  await alice.ping()
  const bob = await server.client('bob')
  bob.send('<presence/>')
  for (const body of ['one', 'two']) {
    const delay = child(await bob.receive(says(body)), 'delay', 'urn:xmpp:delay')
    assert.equal(delay?.attrs['from'], 'localhost')
    assert.ok(Math.abs(Date.parse(delay!.attrs['stamp']!) - Date.now()) < 60_000)
  }
  const info = await alice.request('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>", 'localhost')
  assert.ok(info.children[0]!.children.some(c => c.attrs['var'] === 'msgoffline'))
})

test('beyond the bound the sender gets an error, and what waits is untouched', async t => {
  const server = await serve(t, { modules: { mod_offline: { max_user_messages: 3 } } })
  const alice = await server.client('alice')
  await server.register('bob')
  for (const body of ['1', '2', '3']) {
    send(alice, body)
    await alice.ping() // the first has them counted, which takes a look at the store
  }
  await nothing(alice, isError)
  send(alice, '4')
  const answer = await alice.receive(isError)
  assert.equal(answer.attrs['id'], '4')
  assert.equal(answer.attrs['from'], 'bob@localhost')
  assert.equal(errorCondition(answer), 'service-unavailable')
  assert.equal(await server.server.host('localhost')!.queues.count('bob'), 3)

  const [bob] = await online(server, 'bob')
  for (const body of ['1', '2', '3']) await bob.receive(says(body))
  await bob.close()
  send(alice, 'room again')
  await nothing(alice, isError, alice)
})

test('strangers leave room for contacts, in messages and in bytes', async t => {
  for (const bound of [{ max_user_messages: 8 }, { max_user_bytes: 10_000 }]) {
    const server = await serve(t, { modules: { mod_offline: bound } })
    const [mallory, alice, bob] = await Promise.all(['mallory', 'alice', 'bob'].map(user => server.client(user)))
    await Promise.all([alice!, bob!].map(client => available(client)))
    await befriend(alice!, bob!)
    await bob!.close()
    await alice!.ping()
    const long = 'x'.repeat(1000)
    for (let n = 0; n < 20; n++) {
      send(mallory!, `${n} ${long}`)
      await mallory!.ping()
    }
    await mallory!.receive(isError)
    send(alice!, 'are you there?')
    await nothing(alice!, isError, alice!)
    const [back] = await online(server, 'bob')
    await back.receive(says('are you there?'))
  }
})

test('a session that comes and takes them has them counted anew', async t => {
  const server = await serve(t, { modules: { mod_offline: { max_user_messages: 2 } } })
  const alice = await server.client('alice')
  await server.register('bob')
  for (let round = 0; round < 5; round++) {
    send(alice, `${round}a`)
    await alice.ping()
    send(alice, `${round}b`)
    await nothing(alice, isError, alice)
    const [bob] = await online(server, 'bob')
    await bob.receive(says(`${round}b`))
    await bob.close()
    await eventually(() => server.server.host('localhost')!.accounts.get('bob')!.queue.size === 0, 'he has them')
  }
})

test('whoever is online has no bound of this kind', async t => {
  const server = await serve(t, { modules: { mod_offline: { max_user_messages: 1 } } })
  const [alice, bob] = await server.clients('alice', 'bob')
  await available(bob)
  for (let n = 0; n < 10; n++) send(alice, String(n))
  for (let n = 0; n < 10; n++) await bob.receive(says(String(n)))
  await nothing(alice, isError, alice)
})

test('what waits has so many bytes, in the archive or in the queue', async t => {
  for (const archive of [true, false]) {
    const server = await serve(t, { modules: { mod_offline: { max_user_bytes: 330_000 }, mod_mam: { archive } } })
    const alice = await server.client('alice')
    await server.register('bob')
    const large = (id: string) =>
      alice.send(`<message to='bob@localhost' type='chat' id='${id}'><body>${'x'.repeat(100_000)}</body></message>`)
    for (const id of ['1', '2', '3']) {
      large(id)
      await alice.ping()
    }
    await nothing(alice, isError)
    send(alice, '4')
    assert.equal((await alice.receive(isError)).attrs['id'], '4')
    const { messages, bytes } = await server.server.host('localhost')!.queues.waiting('bob')
    assert.equal(messages, 3)
    assert.ok(bytes > 300_000 && bytes < 302_000)
    // Counted anew from what is stored: the same.
    const bob = await server.client('bob')
    await bob.close()
    send(alice, '5')
    await alice.ping()
    send(alice, '6')
    assert.equal((await alice.receive(isError)).attrs['id'], '6')
  }
})

test('for a client that is there and takes nothing as many wait as for one that is away', async t => {
  const server = await serve(t, {
    config: { max_ack_queue: 10 },
    modules: { mod_offline: { max_user_messages: 5 } },
  })
  await server.register('bob')
  const bob = await RawClient.session({
    port: server.port,
    domain: 'localhost',
    user: 'bob',
    password: 'secret',
    autoAck: false,
  })
  t.after(() => bob.cut())
  await bob.ping()
  const alice = await server.client('alice')
  const errors: string[] = []
  alice.on('stanza', el => {
    if (isError(el)) errors.push(el.attrs['id']!)
  })
  for (let n = 0; n < 30; n++) {
    send(alice, String(n))
    await alice.ping()
  }
  assert.ok(errors.length > 0)
  const kept = 30 - errors.length
  assert.ok(kept >= 10 && kept <= 17, `${kept} are kept`)
  const got: string[] = []
  bob.on('stanza', el => {
    if (el.name === 'message') got.push(el.attrs['id']!)
  })
  bob.on('asked', () => bob.ack())
  bob.ack()
  const last = String(29 - errors.length)
  if (!got.includes(last)) await bob.receive(says(last))
  assert.equal(errors.includes(last), false)
})

test('what goes to a client that takes nothing for the account has nothing counted anew', async t => {
  const server = await serve(t, { modules: { mod_offline: { max_user_messages: 5 } } })
  const bob = await server.client('bob')
  await available(bob, '<presence><priority>-1</priority></presence>')
  const alice = await server.client('alice')
  const past = `<message to='${bob.jid}' type='headline'><body>past</body></message>`
  for (let n = 0; n < 20; n++) {
    const waits = (id: string) => `<message to='bob@localhost' type='chat' id='${n}${id}'><body>x</body></message>`
    alice.write(past + waits('a') + waits('b') + waits('c'))
    await alice.ping()
  }
  const waiting = await server.server.host('localhost')!.queues.count('bob')
  assert.ok(waiting >= 4 && waiting <= 8, `${waiting} wait`)
})
