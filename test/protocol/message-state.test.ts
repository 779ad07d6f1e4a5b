import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Chunks } from '../../src/core/chunks.ts'
import { openMemoryStore } from '../../src/storage/memory.ts'
import { firstIdAt } from '../../src/util/ids.ts'
import { faultyStore } from '../support/faultystore.ts'
import { pluck } from '../support/pluck.ts'
import { RawClient } from '../support/rawclient.ts'
import { child } from '../support/rawxml.ts'
import { managed } from '../support/resuming.ts'
import { available, befriend, online, refused, says, serve } from '../support/talk.ts'
import type { TestOptions, TestServer } from '../support/testserver.ts'

const NS = 'urn:hermod:message-states:0'

const run = (server: TestServer, name: string, args: Record<string, unknown>) =>
  server.command<Record<string, unknown>[]>(name, args)

async function ask(client: RawClient, peer: string, ...ids: string[]): Promise<Record<string, string | undefined>> {
  const list = ids.map(id => `<message id='${id}'/>`).join('')
  const iq = await client.request('get', `<states xmlns='${NS}' with='${peer}'>${list}</states>`)
  return Object.fromEntries(child(iq, 'states', NS)!.children.map(el => [el.attrs['id']!, el.attrs['state']]))
}

function say(client: RawClient, to: string, id: string, content = `<body>${id}</body>`): void {
  client.send(`<message to='${to}' type='chat' id='${id}'>${content}</message>`)
}

async function friends(t: TestContext, options: TestOptions = {}) {
  const server = await serve(t, options)
  const romeo = await server.client('romeo', { resource: 'orchard' })
  const juliet = await server.client('juliet', { resource: 'balcony' })
  await juliet.enable()
  await available(romeo)
  await available(juliet)
  await befriend(romeo, juliet)
  return { server, romeo, juliet }
}

for (const archive of [true, false]) {
  test(`queued, delivered to which client, read: ${archive ? 'with an archive' : 'until delivered'}`, async t => {
    const { server, romeo, juliet } = await friends(t, { modules: { mod_mam: { archive } } })
    await juliet.close()
    say(romeo, 'juliet@localhost', 'a')
    await romeo.ping()
    assert.deepEqual(await ask(romeo, 'juliet@localhost', 'a', 'never'), { a: 'queued', never: 'unknown' })

    const phone = await managed(server, 'juliet', 'phone')
    await phone.receive(says('a'))
    phone.ack()
    await phone.ping()
    assert.deepEqual(await ask(romeo, 'juliet@localhost', 'a'), { a: 'delivered' })
    const [row] = await run(server, 'message_status', {
      account: 'juliet@localhost',
      from: 'romeo@localhost',
      id: 'a',
    })
    assert.equal(row!['resource'], 'phone')
    assert.ok(Date.parse(String(row!['delivered_at'])) >= Date.parse(String(row!['at'])))

    say(romeo, 'juliet@localhost', 'b')
    await phone.receive(says('b'))
    say(phone, 'romeo@localhost', 'm', "<displayed xmlns='urn:xmpp:chat-markers:0' id='b'/>")
    await romeo.receive(el => child(el, 'displayed') !== undefined)
    say(romeo, 'juliet@localhost', 'c')
    await phone.receive(says('c'))
    phone.ack()
    await phone.ping()
    assert.deepEqual(await ask(romeo, 'juliet@localhost', 'a', 'b', 'c'), { a: 'read', b: 'read', c: 'delivered' })
    const rows = await run(server, 'list_messages', { account: 'juliet@localhost' })
    assert.deepEqual(
      rows.map(r => [r['message_id'], r['state']]),
      [
        ['c', 'delivered'],
        ['b', 'read'],
        ['a', 'read'],
      ],
    )
    const queued = await run(server, 'list_messages', { account: 'juliet@localhost', state: 'queued' })
    assert.deepEqual(queued, [])
  })
}

test('who may not see somebody’s presence does not learn whether a message reached them', async t => {
  const server = await serve(t)
  const [stranger, juliet] = await server.clients('stranger', 'juliet')
  await available(juliet)
  say(stranger, 'juliet@localhost', 'a')
  await juliet.receive(says('a'))
  await juliet.ping()
  assert.deepEqual(await ask(stranger, 'juliet@localhost', 'a'), { a: 'accepted' })
  say(juliet, 'stranger@localhost', 'm', "<displayed xmlns='urn:xmpp:chat-markers:0' id='a'/>")
  await juliet.ping()
  assert.deepEqual(await ask(stranger, 'juliet@localhost', 'a'), { a: 'read' }, 'but for what she tells him')
})

test('nobody learns of what others wrote, or asks about too much', async t => {
  const { romeo, juliet } = await friends(t)
  const nurse = romeo
  say(juliet, 'romeo@localhost', 'secret')
  await romeo.receive(says('secret'))
  assert.deepEqual(await ask(nurse, 'juliet@localhost', 'secret'), { secret: 'unknown' })
  const payload = `<states xmlns='${NS}' with='romeo@localhost'><message id='secret'/></states>`
  await refused('forbidden', romeo.request('get', payload, 'juliet@localhost'))
  await refused('jid-malformed', romeo.request('get', `<states xmlns='${NS}'><message id='a'/></states>`))
  await refused('bad-request', ask(romeo, 'juliet@localhost', ...Array.from({ length: 101 }, (_, i) => `m${i}`)))
})

test('a message with an id that is too long to remember has no state', async t => {
  const { romeo, juliet } = await friends(t)
  const [long, longer] = ['x'.repeat(256), 'x'.repeat(257)]
  say(romeo, 'juliet@localhost', long)
  say(romeo, 'juliet@localhost', longer)
  await juliet.receive(says(longer))
  juliet.ack()
  await juliet.ping()
  assert.deepEqual(await ask(romeo, 'juliet@localhost', long, longer), { [long]: 'delivered', [longer]: 'unknown' })
})

test('a marker for somebody else’s message, or none at all, changes nothing', async t => {
  const { romeo, juliet } = await friends(t)
  say(romeo, 'juliet@localhost', 'a')
  await juliet.receive(says('a'))
  say(romeo, 'juliet@localhost', 'm1', "<displayed xmlns='urn:xmpp:chat-markers:0' id='a'/>")
  say(juliet, 'romeo@localhost', 'm2', "<displayed xmlns='urn:xmpp:chat-markers:0' id='unheard of'/>")
  juliet.ack()
  await juliet.ping()
  await romeo.ping()
  assert.deepEqual(await ask(romeo, 'juliet@localhost', 'a'), { a: 'delivered' })
})

test('what is displayed before the stream says that it came is read', async t => {
  const { romeo, juliet } = await friends(t)
  say(romeo, 'juliet@localhost', 'a')
  await juliet.receive(says('a'))
  say(juliet, 'romeo@localhost', 'm', "<displayed xmlns='urn:xmpp:chat-markers:0' id='a'/>")
  await romeo.receive(el => child(el, 'displayed') !== undefined)
  assert.deepEqual(await ask(romeo, 'juliet@localhost', 'a'), { a: 'read' })
})

for (const archive of [true, false]) {
  test(`a long backlog is listed newest first: ${archive ? 'with an archive' : 'until delivered'}`, async t => {
    const { server, romeo, juliet } = await friends(t, { modules: { mod_mam: { archive } } })
    const nurse = await server.client('nurse')
    say(romeo, 'juliet@localhost', 'early')
    await juliet.receive(says('early'))
    juliet.ack()
    await juliet.close()
    const ids = Array.from({ length: 150 }, (_, i) => `m${i}`)
    for (const id of ids) say(romeo, 'juliet@localhost', id)
    await romeo.ping()
    say(nurse, 'juliet@localhost', 'late')
    await nurse.ping()
    const listed = async (args: object) =>
      (await run(server, 'list_messages', { account: 'juliet@localhost', ...args })).map(row => row['message_id'])
    assert.deepEqual(await listed({}), ['late', ...ids.toReversed()].slice(0, 100))
    assert.deepEqual(await listed({ limit: 1000 }), ['late', ...ids.toReversed(), 'early'])
    assert.deepEqual(await listed({ limit: 1000, state: 'delivered' }), ['early'])
    assert.deepEqual(await ask(romeo, 'juliet@localhost', 'm0', 'm149', 'early'), {
      m0: 'queued',
      m149: 'queued',
      early: 'delivered',
    })
    const phone = await managed(server, 'juliet', 'phone')
    await phone.receive(says('late'))
    phone.ack()
    await phone.ping()
    assert.deepEqual(await listed({ state: 'queued' }), [])
    assert.deepEqual(await listed({ limit: 1000 }), ['late', ...ids.toReversed(), 'early'])
  })
}

test('states go with the account, and with time', async t => {
  const { server, romeo, juliet } = await friends(t)
  say(romeo, 'juliet@localhost', 'a')
  await juliet.receive(says('a'))
  juliet.ack()
  await juliet.ping()
  const { States } = await import('../../src/modules/states/states.ts')
  const host = server.server.host('localhost')!
  await ask(romeo, 'juliet@localhost', 'a')
  const states = new States(
    new Chunks(host.store, host.store.table('localhost', { name: 'message_delivered' })),
    host.store.table('localhost', { name: 'message_read' }),
    async () => undefined,
    Date.now,
  )
  assert.equal(await states.purge(firstIdAt(Date.now() - 60_000)), 0)
  assert.equal(await states.purge(firstIdAt(Date.now() + 1)), 1)
  assert.deepEqual(await ask(romeo, 'juliet@localhost', 'a'), { a: 'unknown' })
  say(romeo, 'juliet@localhost', 'b')
  await juliet.receive(says('b'))
  await juliet.ping()
  await run(server, 'unregister', { account: 'juliet@localhost' })
  await assert.rejects(run(server, 'message_status', { account: 'juliet@localhost', from: 'romeo@localhost', id: 'b' }))
})

test('users of two hosts of one server: what became of a message is known on the side of its reader', async t => {
  const server = await serve(t, { hosts: ['localhost', 'verona.example'] })
  const romeo = await server.client('romeo', { resource: 'orchard', host: 'verona.example' })
  const juliet = await server.client('juliet', { resource: 'balcony' })
  await juliet.enable()
  await available(romeo)
  await available(juliet)
  await befriend(romeo, juliet)
  say(romeo, 'juliet@localhost', 'a')
  await juliet.receive(says('a'))
  assert.deepEqual(await ask(romeo, 'juliet@localhost', 'a'), { a: 'queued' })
  juliet.ack()
  await juliet.ping()
  assert.deepEqual(await ask(romeo, 'juliet@localhost', 'a'), { a: 'delivered' })
  say(juliet, 'romeo@verona.example', 'm', "<displayed xmlns='urn:xmpp:chat-markers:0' id='a'/>")
  await romeo.receive(el => child(el, 'displayed') !== undefined)
  assert.deepEqual(await ask(romeo, 'juliet@localhost', 'a'), { a: 'read' })
  assert.deepEqual(await ask(romeo, 'juliet@elsewhere.example', 'a'), { a: 'unknown' })
})

test('of several messages with one id the newest is told', async t => {
  const { romeo, juliet } = await friends(t)
  say(romeo, 'juliet@localhost', 'a')
  await juliet.receive(says('a'))
  juliet.ack()
  await juliet.ping()
  say(romeo, 'juliet@localhost', 'a')
  await juliet.receive(says('a'))
  assert.deepEqual(await ask(romeo, 'juliet@localhost', 'a', 'b'), { a: 'queued', b: 'unknown' })
})

test('a server that is killed right after a delivery knows of it when it is back', async t => {
  const store = openMemoryStore()
  const { server, romeo, juliet } = await friends(t, { store: faultyStore({ inner: store }).store })
  for (const id of ['a', 'b', 'c']) say(romeo, 'juliet@localhost', id)
  await juliet.receive(says('c'))
  juliet.ack()
  await juliet.ping()
  assert.equal(server.server.host('localhost')!.accounts.get('juliet')!.queue.size, 0)
  // Nothing of the first server reaches the second but what is in the store.
  const second = await serve(t, { store })
  const again = await second.client('romeo')
  assert.deepEqual(await ask(again, 'juliet@localhost', 'a', 'b', 'c'), {
    a: 'delivered',
    b: 'delivered',
    c: 'delivered',
  })
})

test('who is blocked learns no more of its messages than it knew, nor that the other one is back', async t => {
  for (const archive of [true, false]) {
    const { server, romeo, juliet } = await friends(t, { modules: { mod_mam: { archive } } })
    const all = ['read', 'delivered', 'waiting']
    const before = { read: 'read', delivered: 'delivered', waiting: 'queued' }
    for (const id of all.slice(0, 2)) {
      say(romeo, 'juliet@localhost', id)
      await juliet.receive(says(id))
    }
    say(juliet, 'romeo@localhost', 'm', "<displayed xmlns='urn:xmpp:chat-markers:0' id='read'/>")
    await romeo.receive(el => child(el, 'displayed') !== undefined)
    await juliet.close()
    say(romeo, 'juliet@localhost', 'waiting')
    await romeo.ping()
    assert.deepEqual(await ask(romeo, 'juliet@localhost', ...all), before)

    const block = (what: string, jid: string) => `<${what} xmlns='urn:xmpp:blocking'><item jid='${jid}'/></${what}>`
    const quiet = await server.client('juliet', { resource: 'quiet' }) // no presence: it takes no messages
    await quiet.request('set', block('block', 'romeo@localhost'))
    const phone = await managed(server, 'juliet', 'phone')
    await phone.receive(says('waiting'))
    phone.ack()
    await phone.ping()
    const [row] = await run(server, 'message_status', {
      account: 'juliet@localhost',
      from: 'romeo@localhost',
      id: 'waiting',
    })
    assert.equal(row!['state'], 'delivered', 'the operator knows')
    assert.deepEqual(await ask(romeo, 'juliet@localhost', ...all), before)
    say(romeo, 'juliet@localhost', 'later')
    await romeo.receive(el => el.attrs['type'] === 'error' && el.attrs['id'] === 'later')
    assert.deepEqual(await ask(romeo, 'juliet@localhost', 'later'), { later: 'unknown' })

    await phone.request('set', block('unblock', 'romeo@localhost'))
    assert.deepEqual(await ask(romeo, 'juliet@localhost', ...all), { ...before, waiting: 'delivered' })
  }
})

for (const archive of [true, false]) {
  test(`a receipt says that a message was delivered, before it is acknowledged: ${archive ? 'with an archive' : 'without'}`, async t => {
    const { server, romeo, juliet } = await friends(t, { modules: { mod_mam: { archive } } })
    const silent = await RawClient.session({
      port: server.port,
      domain: 'localhost',
      user: 'juliet',
      password: 'secret',
      resource: 'silent',
      autoAck: false,
    })
    t.after(() => silent.cut())
    await juliet.close()
    for (const id of ['a', 'b', 'c', 'd']) say(romeo, 'juliet@localhost', id)
    await silent.receive(says('d'))
    const answers = {
      a: "<received xmlns='urn:xmpp:receipts' id='a'/>",
      b: "<received xmlns='urn:xmpp:chat-markers:0' id='b'/>",
      c: "<received xmlns='urn:xmpp:receipts' id='c'/><no-store xmlns='urn:xmpp:hints'/>",
    }
    for (const [id, content] of Object.entries(answers)) {
      say(silent, 'romeo@localhost', `r${id}`, content)
      await romeo.receive(el => el.attrs['id'] === `r${id}`)
    }
    await silent.ping()
    const known = { a: 'delivered', b: 'delivered', c: 'delivered', d: 'queued' }
    assert.deepEqual(await ask(romeo, 'juliet@localhost', 'a', 'b', 'c', 'd'), known)
    const list = async () => {
      const rows = await run(server, 'list_messages', { account: 'juliet@localhost' })
      return rows.map(r => [r['message_id'], r['state'], r['resource']].join(' '))
    }
    assert.deepEqual(await list(), ['d queued ', 'c delivered silent', 'b delivered silent', 'a delivered silent'])
    silent.ack()
    await silent.ping()
    assert.deepEqual((await list())[0], 'd delivered silent')
    assert.equal((await list()).length, 4, 'each once')
    // A receipt for what is somebody else's, or was never sent, changes nothing.
    say(romeo, 'juliet@localhost', 'e')
    await silent.receive(says('e'))
    const nurse = await server.client('nurse')
    say(nurse, 'romeo@localhost', 'x', "<received xmlns='urn:xmpp:receipts' id='e'/>")
    await romeo.receive(el => el.attrs['id'] === 'x')
    assert.deepEqual(await ask(romeo, 'juliet@localhost', 'e'), { e: 'queued' })
  })
}

test('states are asked for by time, of what one wrote and of what one got', async t => {
  let now = Date.parse('2026-03-01T10:00:00Z')
  const { server, romeo, juliet } = await friends(t, { now: () => now })
  const [nurse] = await online(server, 'nurse')
  for (const [client, id] of [
    [romeo, 'a'],
    [romeo, 'b'],
    [nurse, 'n'],
    [romeo, 'c'],
  ] as const) {
    now += 3_600_000
    say(client, 'juliet@localhost', id)
    await juliet.receive(says(id))
  }
  juliet.ack()
  await juliet.ping()
  const list = async (client: RawClient, attrs: string) => {
    const iq = await client.request('get', `<states xmlns='${NS}' ${attrs}/>`)
    return child(iq, 'states', NS)!.children.map(el => `${el.attrs['id']} ${el.attrs['state']} ${el.attrs['stamp']}`)
  }
  const [a, b, c] = ['a', 'b', 'c'].map(id => `${id} delivered 2026-03-01T14:00:00.000Z`)
  assert.deepEqual(await list(romeo, "with='juliet@localhost'"), [c, b, a])
  assert.deepEqual(await list(romeo, "with='juliet@localhost' since='2026-03-01T12:00:00Z'"), [c, b])
  assert.deepEqual(await list(romeo, "with='juliet@localhost' until='2026-03-01T12:00:00Z'"), [b, a])
  assert.deepEqual(
    await list(romeo, "with='juliet@localhost' since='2026-03-01T11:30:00Z' until='2026-03-01T13:00:00Z' max='1'"),
    [b],
  )
  assert.deepEqual(await list(juliet, "from='nurse@localhost'"), [b!.replace('b', 'n')])
  assert.deepEqual(await list(juliet, "from='romeo@localhost' until='2026-03-01T12:00:00Z'"), [b, a])
  await refused('bad-request', list(juliet, "from='romeo@localhost' since='yesterday'"))
  await refused('bad-request', list(juliet, "from='romeo@localhost' with='nurse@localhost'"))
  await refused('bad-request', list(juliet, "from='romeo@localhost' max='101'"))
  const rows = await run(server, 'list_messages', {
    account: 'juliet@localhost',
    from: 'romeo@localhost',
    since: '2026-03-01T11:30:00Z',
    until: '2026-03-01T13:30:00Z',
  })
  assert.deepEqual(pluck(rows, 'message_id'), ['b'])
  const wrong = run(server, 'list_messages', { account: 'juliet@localhost', since: 'yesterday' })
  await assert.rejects(wrong, /XEP-0082/)
})
