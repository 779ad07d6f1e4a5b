import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { openMemoryStore } from '../../src/storage/memory.ts'
import { faultyStore } from '../support/faultystore.ts'
import type { Outgoing, RawClient } from '../support/rawclient.ts'
import { child, errorCondition, type XmlElement } from '../support/rawxml.ts'
import { authenticated, bodyOf, isSm, NS } from '../support/resuming.ts'
import { closed, nothing, says, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const isError = (el: XmlElement) => el.name === 'message' && el.attrs['type'] === 'error'

function say(client: RawClient, ...bodies: string[]): void {
  for (const body of bodies) {
    client.send(`<message to='juliet@localhost' type='chat' id='${body}'><body>${body}</body></message>`, body)
  }
}

async function managed(server: TestServer, user: string): Promise<RawClient> {
  const client = await server.client(user, { resource: 'orchard' })
  await client.enable()
  return client
}

async function everything(server: TestServer, count: number): Promise<(string | undefined)[]> {
  const juliet = await server.client('juliet')
  juliet.send('<presence/>')
  const got: (string | undefined)[] = []
  while (got.length < count) got.push(bodyOf(await juliet.receive(el => bodyOf(el) !== undefined)))
  await nothing(juliet, el => bodyOf(el) !== undefined)
  return got
}

/** The disk of a machine, and servers on it one after another; `kill` loses what was not durable. */
function machine(t: TestContext) {
  const disk = openMemoryStore()
  let current = faultyStore({ inner: disk })
  t.after(() => {
    current.troubles.writes.open()
    current.troubles.reads.open()
  })
  return {
    get troubles() {
      return current.troubles
    },
    start: (): Promise<TestServer> => serve(t, { store: current.store }),
    /** Of the running server nothing is left but what its writes have made durable. */
    async kill(): Promise<void> {
      const { troubles } = current
      troubles.failWrites = true
      troubles.failDeletes = true
      troubles.writes.open()
      await new Promise(setImmediate)
      current = faultyStore({ inner: disk })
    },
  }
}

/** Romeo on a server of a machine, on which juliet has an account. */
async function opening(t: TestContext) {
  const world = machine(t)
  const server = await world.start()
  await server.register('juliet')
  return { world, server, romeo: await managed(server, 'romeo') }
}

/** Juliet, who gets and does not acknowledge. */
async function holdingBack(server: TestServer): Promise<RawClient> {
  const juliet = await managed(server, 'juliet')
  juliet.options.autoAck = false
  juliet.send('<presence/>')
  return juliet
}

const acked = (client: RawClient): string[] => {
  const list: string[] = []
  client.on('acked', items => list.push(...items.map((o: Outgoing) => o.tag ?? '')))
  return list
}

/** Juliet, without stream management, has read one message of romeo's. */
async function afterOne(t: TestContext) {
  const server = await serve(t)
  const romeo = await managed(server, 'romeo')
  const juliet = await server.client('juliet', { resource: 'balcony' })
  juliet.send('<presence/>')
  say(romeo, 'read')
  await juliet.receive(says('read'))
  return { server, romeo, juliet }
}

test('a client without stream management that closes its stream, and breaks off before it has read everything, gets it again', async t => {
  const { server, romeo, juliet } = await afterOne(t)
  juliet.pause()
  say(romeo, 'unread')
  await romeo.ping()
  juliet.write('</stream:stream>')
  const host = server.server.host('localhost')!
  await eventually(() => [...host.sessions()].length === 1, 'her session has ended')
  juliet.cut('rst')
  assert.deepEqual(await everything(server, 2), ['read', 'unread'])
})

test('and what it read it does not get again', async t => {
  const { server, juliet } = await afterOne(t)
  assert.ok(await juliet.close())
  const host = server.server.host('localhost')!
  await eventually(() => host.accounts.get('juliet')!.queue.size === 0)
  assert.equal(await host.queues.count('juliet'), 0)
  assert.deepEqual(await everything(server, 0), [])
})

test('killed whenever: what was acknowledged is there after the start, in order and once, also when its sender sends again', async t => {
  const world = machine(t)
  let server = await world.start()
  await server.register('juliet')
  let romeo = await managed(server, 'romeo')
  const sent: string[] = []
  for (let round = 0; round < 5; round++) {
    const told = acked(romeo)
    const durable = [`${round}a`, `${round}b`]
    say(romeo, ...durable)
    romeo.askAck()
    await eventually(() => told.includes(durable[1]!), 'the acknowledgement')
    world.troubles.writes.close()
    const lost = [`${round}c`, `${round}d`]
    say(romeo, ...lost)
    romeo.askAck()
    await romeo.ping()
    assert.ok(!told.includes(lost[0]!), 'nothing that can be lost is acknowledged')
    const again = romeo.sm!.unacked.flatMap(o => (o.tag === undefined ? [] : [o.tag]))
    assert.deepEqual(again, lost)
    romeo.cut()
    await world.kill()
    server = await world.start()
    romeo = await managed(server, 'romeo')
    say(romeo, ...durable, ...again) // as one does that does not know what had arrived
    romeo.askAck()
    await romeo.receive(isSm('a'))
    sent.push(...durable, ...lost)
  }
  assert.deepEqual(await everything(server, sent.length), sent)
})

test('killed while messages are in flight: who had not acknowledged gets them again, under the same ids', async t => {
  const { world, server, romeo } = await opening(t)
  const juliet = await holdingBack(server)
  const told = acked(romeo)
  say(romeo, '1', '2', '3')
  const ids: (string | undefined)[] = []
  for (const body of ['1', '2', '3']) ids.push(child(await juliet.receive(says(body)), 'stanza-id')?.attrs['id'])
  juliet.write(`<a xmlns='${NS}' h='2'/>`) // its presence, and 1
  romeo.askAck()
  await eventually(() => told.length === 3)
  await juliet.ping()
  await world.kill()
  const next = await world.start()
  const again = await next.client('juliet')
  again.send('<presence/>')
  for (const [i, body] of ['2', '3'].entries()) {
    const el = await again.receive(el => bodyOf(el) !== undefined)
    assert.deepEqual([bodyOf(el), child(el, 'stanza-id')?.attrs['id']], [body, ids[i + 1]])
  }
})

test('after a crash a resumption is refused, and the client goes on with a new session', async t => {
  const { world, romeo } = await opening(t)
  await world.kill()
  const next = await world.start()
  const client = await authenticated(next, 'romeo')
  assert.equal(await client.resume(romeo.sm!), false)
  await client.bind()
})

test('a full disk: an error of the kind that passes, nothing acknowledged as stored, and no message half kept', async t => {
  const { world, server, romeo } = await opening(t)
  say(romeo, 'before')
  romeo.askAck()
  await romeo.receive(isSm('a'))
  world.troubles.failWrites = true
  say(romeo, '1', '2')
  for (const id of ['1', '2']) {
    const error = await romeo.receive(isError)
    assert.equal(error.attrs['id'], id)
    assert.equal(errorCondition(error), 'resource-constraint')
    assert.equal(child(error, 'error')?.attrs['type'], 'wait')
    assert.equal(bodyOf(error), id)
  }
  world.troubles.failWrites = false
  say(romeo, '2', '3')
  await romeo.ping()
  assert.deepEqual(await everything(server, 3), ['before', '2', '3'])
})

test('a full disk while the recipient is there: it gets the message, its sender no error', async t => {
  const { world, server, romeo } = await opening(t)
  const juliet = await managed(server, 'juliet')
  juliet.send('<presence/>')
  await juliet.ping()
  world.troubles.failWrites = true
  const told = acked(romeo)
  say(romeo, '1')
  await juliet.receive(says('1'))
  juliet.ack()
  romeo.askAck()
  await eventually(() => told.includes('1'), 'its recipient has it, so it is safe')
  await nothing(romeo, isError)
})

for (const acks of [true, false]) {
  test(`a full disk: what the archive could not keep the queue keeps, for a sender that ${acks ? 'waits for it' : 'does not ask'}`, async t => {
    const world = machine(t)
    const server = await world.start()
    const romeo = acks ? await managed(server, 'romeo') : await server.client('romeo')
    const juliet = await holdingBack(server)
    await juliet.ping()
    world.troubles.failWrites = true
    const told = acked(romeo)
    say(romeo, '1')
    await juliet.receive(says('1'))
    await romeo.ping()
    world.troubles.failWrites = false
    if (acks) {
      romeo.askAck()
      await eventually(() => told.includes('1'), 'the disk is well again, so it is safe')
    }
    await server.server.stop()
    const next = await world.start()
    assert.deepEqual(await everything(next, 1), ['1'])
  })
}

test('no false bounce: neither a cut, nor a session that ends, nor a restart tells a sender that a message was lost', async t => {
  const { world, server, romeo } = await opening(t)
  const juliet = await holdingBack(server)
  say(romeo, '1')
  await juliet.receive(says('1'))
  juliet.cut()
  const other = await server.client('juliet', { resource: juliet.jid.split('/')[1]! }) // ends the old session
  say(romeo, '2')
  await romeo.ping()
  other.cut()
  await nothing(romeo, isError)
  const told = acked(romeo)
  const gone = closed(romeo)
  say(romeo, '3')
  await romeo.ping()
  await server.server.stop()
  await gone
  assert.ok(told.includes('3'))
  const next = await world.start()
  assert.deepEqual(await everything(next, 3), ['1', '2', '3'])
})

test('a slow disk: delivery does not wait for it', async t => {
  const { world, server, romeo } = await opening(t)
  const juliet = await managed(server, 'juliet')
  juliet.send('<presence/>')
  await juliet.ping()
  world.troubles.writes.close()
  say(romeo, '1', '2')
  await juliet.receive(says('2'))
})

test('a client that goes on sending while nothing is safe is acknowledged to the stanza, when it is', async t => {
  const { world, server, romeo } = await opening(t)
  const told = acked(romeo)
  world.troubles.writes.close()
  for (let i = 0; i < 250; i++) say(romeo, `${i}`)
  await romeo.ping()
  assert.deepEqual(told, [])
  world.troubles.writes.open()
  romeo.askAck()
  await eventually(() => romeo.sm!.unacked.length === 0)
  assert.equal(told.filter(tag => tag !== '').length, 250)
  assert.equal((await everything(server, 250)).length, 250)
})

test('the same message twice on one unbroken stream arrives twice, each under an acknowledgement of its own', async t => {
  const server = await serve(t)
  const juliet = await server.client('juliet')
  juliet.send('<presence/>')
  const romeo = await managed(server, 'romeo')
  const told = acked(romeo)
  const tick = "<message to='juliet@localhost' type='chat' id='tick'><body>tick</body></message>"
  romeo.send(tick, 'first')
  romeo.send(tick, 'second')
  romeo.askAck()
  await juliet.receive(el => bodyOf(el) === 'tick')
  await juliet.receive(el => bodyOf(el) === 'tick')
  await nothing(juliet, el => bodyOf(el) === 'tick')
  await eventually(() => told.length === 2, 'both acknowledgements')
})
