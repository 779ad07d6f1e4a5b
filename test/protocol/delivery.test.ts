import assert from 'node:assert/strict'
import { test } from 'node:test'
import { faultyStore } from '../support/faultystore.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, errorCondition, type XmlElement } from '../support/rawxml.ts'
import { bodyOf } from '../support/resuming.ts'
import { available, nothing, says, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const stanzaId = (el: XmlElement) => child(el, 'stanza-id', 'urn:xmpp:sid:0')?.attrs['id']
const isError = (el: XmlElement) => el.name === 'message' && el.attrs['type'] === 'error'

function say(client: RawClient, to: string, ...bodies: string[]): void {
  for (const body of bodies) client.send(`<message to='${to}' type='chat' id='${body}'><body>${body}</body></message>`)
}

async function messages(client: RawClient, count: number): Promise<XmlElement[]> {
  const got: XmlElement[] = []
  while (got.length < count) got.push(await client.receive(e => e.name === 'message' && bodyOf(e) !== undefined))
  return got
}

async function come(server: TestServer, user: string, resource?: string, sm = false): Promise<RawClient> {
  const client = await server.client(user, { resource })
  client.options.autoAck = false
  client.options.autoPong = false
  if (sm) await client.enable()
  client.send('<presence/>')
  return client
}

const queued = (server: TestServer, user = 'juliet') => server.server.host('localhost')!.queues.count(user)
/** Whether anything of juliet's is still on its way. */
const open = (server: TestServer) => server.server.host('localhost')!.accounts.get('juliet')!.queue.size
const isPing = (el: XmlElement) => child(el, 'ping', 'urn:xmpp:ping') !== undefined

test('messages to the account go to all that take them, not to those that do not', async t => {
  const server = await serve(t)
  const romeo = await server.client('romeo')
  const phone = await server.client('juliet', { resource: 'phone' })
  const desk = await server.client('juliet', { resource: 'desk' })
  const robot = await server.client('juliet', { resource: 'robot' })
  const shy = await server.client('juliet', { resource: 'shy' })
  await available(phone)
  await available(desk, '<presence><show>dnd</show><priority>-0</priority></presence>')
  await available(robot, '<presence><priority>-1</priority></presence>')
  for (const type of ['chat', 'normal', 'headline']) {
    romeo.send(`<message to='juliet@localhost' type='${type}' id='1'><body>${type}</body></message>`)
    await phone.receive(says(type))
    await desk.receive(says(type))
  }
  romeo.send("<message to='juliet@localhost' type='groupchat' id='g'><body>group</body></message>")
  assert.equal(errorCondition(await romeo.receive(isError)), 'service-unavailable')
  for (const client of [robot, shy]) await nothing(client, el => el.name === 'message', romeo)
  say(romeo, 'juliet@localhost/robot', 'to the robot')
  await robot.receive(says('to the robot'))
  await nothing(phone, says('to the robot'))
})

test('a session that has become unavailable, or negative, gets no more; when it is there again, what it missed', async t => {
  const server = await serve(t)
  const [romeo, juliet] = await server.clients('romeo', 'juliet')
  await available(juliet)
  for (const [gone, n] of [
    ["<presence type='unavailable'/>", 1],
    ['<presence><priority>-5</priority></presence>', 2],
  ] as const) {
    juliet.send(gone)
    await juliet.ping()
    say(romeo, 'juliet@localhost', `${n}a`, `${n}b`)
    await nothing(juliet, el => bodyOf(el) !== undefined, romeo)
    juliet.send('<presence/>')
    assert.deepEqual((await messages(juliet, 2)).map(bodyOf), [`${n}a`, `${n}b`])
  }
})

test('a full address that is not there: chat goes to who is, normal comes back', async t => {
  const server = await serve(t)
  const romeo = await server.client('romeo')
  const juliet = await server.client('juliet', { resource: 'here' })
  await available(juliet)
  say(romeo, 'juliet@localhost/gone', 'hi')
  await juliet.receive(says('hi'))
  romeo.send("<message to='juliet@localhost/gone' id='n'><body>normal</body></message>")
  assert.equal(errorCondition(await romeo.receive(isError)), 'service-unavailable')
  await nothing(juliet, says('normal'))
})

for (const resource of ['phone', 'other']) {
  test(`a client cut off comes back as ${resource}, without resuming: what it had not acknowledged, before what is new`, async t => {
    const server = await serve(t)
    const romeo = await server.client('romeo')
    const phone = await come(server, 'juliet', 'phone', true)
    say(romeo, 'juliet@localhost', '1', '2', '3')
    const before = await messages(phone, 3)
    phone.write("<a xmlns='urn:xmpp:sm:3' h='2'/>") // its own presence, and 1
    await phone.ping()
    phone.cut()
    say(romeo, 'juliet@localhost', '4')
    await romeo.ping()
    const next = await come(server, 'juliet', resource)
    say(romeo, 'juliet@localhost', '5')
    const after = await messages(next, 4)
    assert.deepEqual(after.map(bodyOf), ['2', '3', '4', '5'])
    assert.deepEqual(after.slice(0, 2).map(stanzaId), before.slice(1).map(stanzaId), 'the same ids')
    for (const el of after.slice(0, 3)) {
      const delay = child(el, 'delay', 'urn:xmpp:delay')
      assert.equal(delay?.attrs['from'], 'localhost')
      assert.ok(Math.abs(Date.parse(delay!.attrs['stamp']!) - Date.now()) < 60_000)
    }
    assert.equal(new Set(after.map(stanzaId)).size, 4)
  })
}

test('a client on a dead connection that comes back elsewhere need not wait for that to be noticed', async t => {
  const server = await serve(t)
  const romeo = await server.client('romeo')
  const phone = await come(server, 'juliet', 'phone', true)
  phone.fallSilent()
  say(romeo, 'juliet@localhost', '1', '2')
  await romeo.ping()
  const desk = await come(server, 'juliet', 'desk')
  say(romeo, 'juliet@localhost', '3')
  assert.deepEqual((await messages(desk, 3)).map(bodyOf), ['1', '2', '3'])
  await nothing(romeo, isError)
})

test('without stream management: a message is done with when the client has answered a later ping', async t => {
  const server = await serve(t)
  const romeo = await server.client('romeo')
  const juliet = await come(server, 'juliet')
  await juliet.receive(el => el.name === 'presence')
  for (let i = 1; i <= 50; i++) say(romeo, 'juliet@localhost', `${i}`) // as many as make it ask at once
  await messages(juliet, 50)
  const ping = await juliet.receive(isPing)
  assert.deepEqual([ping.attrs['from'], ping.attrs['to']], ['localhost', juliet.jid])
  say(romeo, 'juliet@localhost', 'after')
  await juliet.receive(says('after'))
  assert.equal(open(server), 51)
  for (const id of ['hermod-ack-999', 'x']) juliet.write(`<iq type='result' id='${id}' to='localhost'/>`)
  await juliet.ping()
  assert.equal(open(server), 51, 'another answer is none')
  // A client that does not know pings has read it all the same.
  juliet.write(
    `<iq type='error' id='${ping.attrs['id']}' to='localhost'><error type='cancel'><feature-not-implemented xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`,
  )
  await juliet.ping()
  assert.equal(open(server), 1, 'what was sent after the ping is not covered')
})

test('... or when it has closed its stream in order', async t => {
  const server = await serve(t)
  const romeo = await server.client('romeo')
  const juliet = await come(server, 'juliet')
  say(romeo, 'juliet@localhost', '1', '2')
  await messages(juliet, 2)
  await juliet.close()
  await eventually(() => open(server) === 0)
  assert.equal(await queued(server), 0)
})

test('... and not when it was cut off', async t => {
  const server = await serve(t)
  const romeo = await server.client('romeo')
  const juliet = await come(server, 'juliet')
  say(romeo, 'juliet@localhost', '1', '2')
  await messages(juliet, 2)
  juliet.cut()
  await eventually(() => server.server.sessionCount === 1)
  const next = await come(server, 'juliet')
  assert.deepEqual((await messages(next, 2)).map(bodyOf), ['1', '2'])
})

test('what one of several clients has acknowledged is delivered: one that comes later does not get it', async t => {
  const server = await serve(t)
  const romeo = await server.client('romeo')
  const phone = await come(server, 'juliet', 'phone', true)
  const desk = await come(server, 'juliet', 'desk', true)
  await desk.receive(el => el.name === 'presence' && el.attrs['from'] === desk.jid)
  say(romeo, 'juliet@localhost', '1')
  await messages(phone, 1)
  await messages(desk, 1)
  desk.ack()
  await desk.ping()
  phone.cut()
  const next = await come(server, 'juliet', 'third')
  await next.ping()
  await nothing(next, says('1'))
  assert.equal(await queued(server), 0)
})

test('a sender that comes back without resuming and sends again: nobody gets it twice', async t => {
  const server = await serve(t)
  await server.register('juliet')
  const romeo = await server.client('romeo', { resource: 'orchard' })
  await romeo.enable()
  say(romeo, 'juliet@localhost', '1', '2', '3')
  await romeo.ping()
  const again = romeo.sm!.unacked.filter(o => o.xml.startsWith('<message'))
  assert.equal(again.length, 3, 'it does not know that they arrived')
  romeo.cut()
  const next = await server.client('romeo', { resource: 'orchard' })
  await next.enable()
  for (const { xml } of again) next.send(xml)
  next.send("<message to='juliet@localhost' type='chat' id='3'><body>another under the same id</body></message>")
  say(next, 'juliet@localhost', '4')
  await next.ping()
  assert.equal(await queued(server), 5)
  const juliet = await come(server, 'juliet')
  assert.deepEqual((await messages(juliet, 5)).map(bodyOf), ['1', '2', '3', 'another under the same id', '4'])
})

test('messages of many senders to many recipients come in the order in which each was sent', async t => {
  const server = await serve(t)
  const senders = await Promise.all(['a', 'b', 'c'].map(name => server.client(name)))
  const takers = await Promise.all(['x', 'y'].map(name => server.client(name)))
  for (const taker of takers) await available(taker)
  for (let i = 0; i < 50; i++) {
    for (const sender of senders) for (const taker of takers) say(sender, taker.jid.split('/')[0]!, `${i}`)
  }
  for (const taker of takers) {
    const got = await messages(taker, 150)
    for (const sender of senders) {
      const mine = got.filter(el => el.attrs['from'] === sender.jid).map(bodyOf)
      assert.deepEqual(
        mine,
        Array.from({ length: 50 }, (_, i) => `${i}`),
      )
    }
  }
})

test('an account that cannot be read: its sender gets an error that passes, and no message vanishes', async t => {
  const { store, troubles } = faultyStore({ only: 'queue' })
  const server = await serve(t, { store })
  await server.register('juliet')
  const romeo = await server.client('romeo')
  await romeo.enable()
  troubles.failReads = true
  romeo.send("<message to='juliet@localhost' type='chat' id='a'><body>a</body></message>")
  const error = await romeo.receive(el => el.name === 'message' && el.attrs['type'] === 'error')
  assert.equal(errorCondition(error), 'internal-server-error')
  assert.equal(child(error, 'error')!.attrs['type'], 'wait')
  troubles.failReads = false
  romeo.send("<message to='juliet@localhost' type='chat' id='b'><body>b</body></message>")
  await romeo.ping()
  assert.equal(await server.server.host('localhost')!.queues.count('juliet'), 1)
})
