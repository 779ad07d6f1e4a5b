/** A second phone gets what the first one got, where the operator wants it and no archive is kept. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { StreamError } from '../../src/xmpp/errors.ts'
import { faultyStore } from '../support/faultystore.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child } from '../support/rawxml.ts'
import { authenticated, bodies, bodyOf } from '../support/resuming.ts'
import { agent, bind, dial, enable, logIn, plain } from '../support/sasl2client.ts'
import { available, nothing, says, serve } from '../support/talk.ts'
import type { TestOptions, TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const NO_ARCHIVE = { mod_mam: { archive: false } }
const tells = (to: string, body: string, pad = 0) =>
  `<message to='${to}' type='chat' id='${body}'><body>${body}</body>${pad === 0 ? '' : `<x xmlns='pad'>${'.'.repeat(pad)}</x>`}</message>`

async function stage(t: TestContext, queue: Record<string, unknown> = {}, options: TestOptions = {}) {
  const server = await serve(t, { ...options, modules: { ...NO_ARCHIVE, mod_device_queue: queue, ...options.modules } })
  const romeo = await server.client('romeo')
  await romeo.enable()
  return { server, romeo }
}

async function phone(server: TestServer, resource: string | undefined, presence = '<presence/>'): Promise<RawClient> {
  const client = await server.client('juliet', { resource })
  await client.enable()
  await available(client, presence)
  return client
}

/** Romeo says these to juliet, and `taker` gets and acknowledges them. */
async function taken(romeo: RawClient, taker: RawClient, ...said: string[]): Promise<void> {
  for (const body of said) romeo.send(tells('juliet@localhost', body))
  await romeo.ping()
  assert.deepEqual(await bodies(taker, said.at(-1)!), said)
  taker.ack()
  await taker.ping()
}

const leave = async (client: RawClient) => assert.ok(await client.close())

test('a phone that was away gets what the other got meanwhile, in order, before what waits for all', async t => {
  const { server, romeo } = await stage(t)
  const first = await phone(server, 'first')
  await leave(await phone(server, 'second'))
  await taken(romeo, first, '1', '2', '3')
  await leave(first)
  romeo.send(tells('juliet@localhost', '4'))
  await romeo.ping()
  const second = await phone(server, 'second')
  const got = []
  for (const body of ['1', '2', '3', '4']) got.push(await second.receive(says(body)))
  assert.deepEqual(got.map(bodyOf), ['1', '2', '3', '4'])
  for (const el of got) assert.ok(child(el, 'delay', 'urn:xmpp:delay'), 'it says when it was sent')
  romeo.send(tells('juliet@localhost', '5'))
  assert.deepEqual(await bodies(second, '5'), ['5'])
  await leave(second)

  const again = await phone(server, 'second')
  await nothing(again, el => bodyOf(el) !== undefined, romeo)
  const firstAgain = await phone(server, 'first')
  assert.deepEqual(await bodies(firstAgain, '5'), ['4', '5'])
})

test('a phone gets what it missed as it can take it', async t => {
  const { server, romeo } = await stage(t, {}, { config: { max_ack_queue: 10 } })
  const first = await phone(server, 'first')
  await leave(await phone(server, 'second'))
  const said = Array.from({ length: 60 }, (_, i) => `${i + 1}`)
  await taken(romeo, first, ...said)
  assert.deepEqual(await bodies(await phone(server, 'second'), '60'), said)
})

test('without the module the first acknowledgement ends a message for all', async t => {
  const server = await serve(t, { modules: NO_ARCHIVE })
  const romeo = await server.client('romeo')
  const first = await phone(server, 'first')
  await leave(await phone(server, 'second'))
  await taken(romeo, first, '1')
  await nothing(await phone(server, 'second'), el => bodyOf(el) !== undefined, romeo)
})

test('what a phone had in flight when it was cut, it gets, though the other has acknowledged it', async t => {
  const { server, romeo } = await stage(t, {}, { config: { resume_timeout: 0 } })
  const first = await phone(server, 'first')
  const second = await phone(server, 'second')
  second.options.autoAck = false
  await taken(romeo, first, '1')
  assert.deepEqual(await bodies(second, '1'), ['1'])
  second.send('<presence><priority>-1</priority></presence>')
  second.send('<presence/>')
  await nothing(second, says('1'))
  second.cut('rst')
  const back = await phone(server, 'second')
  assert.deepEqual(await bodies(back, '1'), ['1'])
})

test('a message for one phone alone is kept for no other', async t => {
  const { server, romeo } = await stage(t)
  const first = await phone(server, 'first')
  await leave(await phone(server, 'second'))
  romeo.send(tells('juliet@localhost/first', 'for you'))
  assert.deepEqual(await bodies(first, 'for you'), ['for you'])
  first.ack()
  await first.ping()
  await nothing(await phone(server, 'second'), el => bodyOf(el) !== undefined, romeo)
})

test('so many messages and so many bytes are kept for a device; the oldest go', async t => {
  const { server, romeo } = await stage(t, { max_messages: 3, max_bytes: 262_144 })
  const first = await phone(server, 'first')
  await leave(await phone(server, 'second'))
  await taken(romeo, first, '1', '2', '3', '4', '5')
  let second = await phone(server, 'second')
  assert.deepEqual(await bodies(second, '5'), ['3', '4', '5'])
  await leave(second)
  for (const body of ['6', '7', '8']) romeo.send(tells('juliet@localhost', body, 120_000))
  await bodies(first, '8')
  first.ack()
  await first.ping()
  second = await phone(server, 'second')
  assert.deepEqual(await bodies(second, '8'), ['7', '8'])
})

test('a phone that is away for too long, or one of too many, is kept nothing', async t => {
  let now = Date.now()
  const { server, romeo } = await stage(t, { max_devices: 2, lifetime: '1d' }, { now: () => now })
  const first = await phone(server, 'first')
  await leave(await phone(server, 'second'))
  await taken(romeo, first, '1')
  now += 2 * 86_400_000
  first.send('<presence/>')
  await taken(romeo, first, '2')
  const second = await phone(server, 'second')
  await nothing(second, el => bodyOf(el) !== undefined, romeo)
  await leave(second)

  now += 7_200_000
  await leave(await phone(server, 'third'))
  await taken(romeo, first, '3')
  await nothing(await phone(server, 'first2'), el => bodyOf(el) !== undefined, romeo)
})

test('a name of the server’s making is no device that comes back', async t => {
  const { server, romeo } = await stage(t, { max_devices: 2 })
  const first = await phone(server, 'first')
  await leave(await phone(server, 'second'))
  for (let i = 0; i < 3; i++) await leave(await phone(server, undefined))
  await taken(romeo, first, '1')
  assert.deepEqual(await bodies(await phone(server, 'second'), '1'), ['1'])
})

test('a device that names itself is known under each resource, and forgotten when it is logged out', async t => {
  const { server, romeo } = await stage(t)
  const named = async (tag: string): Promise<RawClient> => {
    const client = await dial(t, server)
    await logIn(client, 'PLAIN', plain('juliet'), agent() + bind(enable, tag))
    await available(client)
    return client
  }
  const first = await phone(server, 'first')
  await leave(await named('one'))
  await taken(romeo, first, '1')
  const second = await named('two')
  assert.deepEqual(await bodies(second, '1'), ['1'])
  await leave(second)
  await taken(romeo, first, '2')
  const host = server.server.host('localhost')!
  const devices = host.services.use('devices')!
  const [device] = await devices.list('juliet')
  await devices.revoke('juliet', device!.id)
  await nothing(await named('three'), el => bodyOf(el) !== undefined, romeo)
})

test('it is kept over a restart, and goes with the account', async t => {
  const { store } = faultyStore()
  let { server, romeo } = await stage(t, {}, { store })
  const first = await phone(server, 'first')
  const second = await phone(server, 'second')
  second.options.autoAck = false
  await leave(await phone(server, 'third'))
  await taken(romeo, first, '1', '2')
  assert.deepEqual(await bodies(second, '2'), ['1', '2'])
  await server.server.stop()
  ;({ server, romeo } = await stage(t, {}, { store }))
  const third = await phone(server, 'third')
  assert.deepEqual(await bodies(third, '2'), ['1', '2'])
  const back = await authenticated(server, 'juliet')
  assert.ok(await back.resume(second.sm!))
  back.ack()
  await back.ping()
  await leave(back)
  const again = await phone(server, 'second')
  await nothing(again, el => bodyOf(el) !== undefined, romeo)
  await leave(again)
  const host = server.server.host('localhost')!
  await third.close()
  await host.removeAccount('juliet')
  assert.deepEqual(await store.table('localhost', { name: 'device_queue', codec: 'bytes' }).partitions(), [])
  assert.deepEqual(await store.table('localhost', { name: 'queue_device' }).partitions(), [])
})

test('after a restart a phone that had enough for the time being gets the rest, and nothing twice', async t => {
  const { store } = faultyStore()
  const options = { store, config: { max_ack_queue: 10 } }
  let { server, romeo } = await stage(t, {}, options)
  const first = await phone(server, 'first')
  const second = await phone(server, 'second')
  second.options.autoAck = false
  let had = 0
  second.on('stanza', el => (had += bodyOf(el) === undefined ? 0 : 1))
  const said = Array.from({ length: 30 }, (_, i) => `${i + 1}`)
  await taken(romeo, first, ...said)
  await second.receive(says('1'))
  await server.server.stop()
  ;({ server, romeo } = await stage(t, {}, options))
  romeo.send(tells('juliet@localhost', 'new'))
  await romeo.ping()
  const back = await authenticated(server, 'juliet')
  assert.ok(await back.resume(second.sm!))
  assert.deepEqual(await bodies(back, 'new'), [...said.slice(had), 'new'])
})

test('what the first phone acknowledges while the second one is catching up, the second gets too, in order', async t => {
  const { store, troubles } = faultyStore({ only: 'queue' })
  t.after(() => troubles.reads.open())
  const { server, romeo } = await stage(t, {}, { store })
  await leave(await phone(server, 'second'))
  const first = await phone(server, 'first')
  first.options.autoAck = false
  const said = Array.from({ length: 150 }, (_, i) => `${i + 1}`)
  for (const body of said) romeo.send(tells('juliet@localhost', body))
  await romeo.ping()
  assert.deepEqual(await bodies(first, '150'), said)
  const { handled } = first.sm!
  first.cut('rst') // nobody is live, and all of it waits in the store when its session is over
  const host = server.server.host('localhost')!
  for (const session of host.sessions()) if (!session.connected) session.end(new StreamError('conflict'))
  assert.ok(handled >= 150)

  const again = await phone(server, 'first')
  again.options.autoAck = false
  assert.deepEqual(await bodies(again, '150'), said)
  const calls = troubles.reads.calls
  troubles.reads.close()
  const second = await server.client('juliet', { resource: 'second' })
  await second.enable()
  second.send('<presence/>')
  await eventually(() => troubles.reads.calls > calls, 'the second phone is catching up')
  again.ack()
  await again.ping()
  romeo.send(tells('juliet@localhost', 'new'))
  await romeo.ping()
  troubles.reads.open()
  assert.deepEqual(await bodies(second, 'new'), [...said, 'new'])
})

test('a device that is there is not away, however long ago it said so', async t => {
  let now = Date.now()
  const { server, romeo } = await stage(t, { lifetime: '1m' }, { now: () => now })
  const first = await phone(server, 'first')
  const second = await phone(server, 'second')
  second.options.autoAck = false
  now += 120_000
  await taken(romeo, first, '1')
  assert.deepEqual(await bodies(second, '1'), ['1'])
  assert.ok(await first.close())
  second.cut('rst')
  const host = server.server.host('localhost')!
  await eventually(() => [...host.sessions()].some(s => !s.connected))
  for (const session of host.sessions()) if (!session.connected) session.end(new StreamError('conflict'))
  assert.deepEqual(await bodies(await phone(server, 'second'), '1'), ['1'])
})
