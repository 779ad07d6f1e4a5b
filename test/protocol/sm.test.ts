import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { C2SSession } from '../../src/c2s/session.ts'
import type { C2SStream } from '../../src/c2s/stream.ts'
import { faultyStore } from '../support/faultystore.ts'
import { RawClient } from '../support/rawclient.ts'
import { errorCondition } from '../support/rawxml.ts'
import { authenticated, isSm, NS } from '../support/resuming.ts'
import { available, closed, nothing, says, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const message = (to: string, id: string) => `<message to='${to}' type='chat' id='${id}'><body>${id}</body></message>`

/** The server's end of a client's session. */
function sessionOf(server: TestServer, client: RawClient): C2SSession {
  for (const session of server.server.host('localhost')!.sessions()) {
    if (session.jid.toString() === client.jid) return session as C2SSession
  }
  throw new Error(`no session ${client.jid}`)
}

async function managed(server: TestServer, user: string, resume = true): Promise<RawClient> {
  const client = await server.client(user)
  await client.enable(resume)
  return client
}

async function acked(client: RawClient): Promise<number> {
  client.askAck()
  return Number((await client.receive(isSm('a'))).attrs['h'])
}

/** Two users and a server whose disk obeys. */
async function withDisk(t: TestContext, only = 'queue') {
  const { store, troubles } = faultyStore({ only })
  // Before the server stops, which waits for the disk.
  t.after(() => {
    troubles.writes.open()
    troubles.reads.open()
  })
  const server = await serve(t, { store })
  await server.register('juliet')
  return { server, troubles }
}

test('stream management is enabled with an id to resume by, where that is wanted and allowed', async t => {
  const server = await serve(t)
  const romeo = await server.client('romeo')
  romeo.write(`<enable xmlns='${NS}' resume='1'/>`)
  const enabled = await romeo.receive(isSm('enabled'))
  assert.match(enabled.attrs['id']!, /^[0-9a-f]{32}$/)
  assert.equal(enabled.attrs['resume'], 'true')
  assert.equal(enabled.attrs['max'], '300')
  assert.equal((await managed(server, 'juliet', false)).sm!.resumable, false)
  const strict = await serve(t, { config: { resume_timeout: 0 } })
  assert.equal((await managed(strict, 'romeo')).sm!.resumable, false)
})

test('before the login there is nothing to manage, and the stream goes on', async t => {
  for (const required of [false, true]) {
    const server = await serve(t, { listen: { starttls_required: required } })
    await server.register('juliet')
    const client = await RawClient.connect({
      port: server.port,
      domain: 'localhost',
      tls: required ? 'starttls' : 'none',
    })
    t.after(() => client.cut())
    for (const asked of [
      '<enable xmlns="urn:xmpp:sm:3" resume="true"/>',
      '<resume xmlns="urn:xmpp:sm:3" h="0" previd="x"/>',
    ]) {
      client.write(asked)
      const failed = await client.receive(isSm('failed'))
      assert.deepEqual(
        failed.children.map(c => [c.name, c.ns]),
        [['unexpected-request', 'urn:ietf:params:xml:ns:xmpp-stanzas']],
      )
    }
    await client.login({ user: 'juliet', password: 'secret' })
    await client.bind()
    await client.enable()
    await client.ping()
  }
})

test('it is enabled once, after bind; what comes at the wrong time fails and does no harm', async t => {
  const server = await serve(t)
  await server.register('romeo')
  const client = await authenticated(server, 'romeo')
  await assert.rejects(client.enable(), /unexpected-request/)
  await client.bind()
  const { id } = await client.enable()
  for (const again of [`<enable xmlns='${NS}'/>`, `<resume xmlns='${NS}' h='0' previd='${id}'/>`]) {
    client.write(again)
    const failed = await client.receive(isSm('failed'))
    assert.equal(failed.children[0]!.name, 'unexpected-request')
  }
  client.send("<presence id='1'/>")
  assert.equal(await acked(client), 1)
})

test('stanzas are counted from enable on, all kinds, good and bad; what is no stanza is not', async t => {
  const server = await serve(t)
  const romeo = await server.client('romeo')
  await romeo.ping()
  await romeo.enable()
  assert.equal(await acked(romeo), 0)
  romeo.send("<presence id='p'/>")
  romeo.send(message('nobody@localhost', 'lost'))
  romeo.send("<iq type='get' id='q' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
  romeo.send("<iq type='oops'/>")
  romeo.send("<message to='@'/>")
  romeo.write(' ')
  romeo.write("<active xmlns='urn:xmpp:csi:0'/>")
  romeo.ack()
  assert.equal(await acked(romeo), 5)
  assert.equal(romeo.sm!.unacked.length, 0)
})

test('the server asks, and knows from the answer what arrived', async t => {
  const server = await serve(t)
  const romeo = await managed(server, 'romeo')
  const juliet = await managed(server, 'juliet')
  juliet.options.autoAck = false
  await available(juliet)
  for (let i = 0; i < 25; i++) romeo.send(message(juliet.jid, `m${i}`))
  await juliet.receive(says('m24'))
  await juliet.receive(isSm('r'))
  const session = sessionOf(server, juliet)
  assert.equal(session.outbox.size, juliet.sm!.handled)
  juliet.write(`<a xmlns='${NS}' h='10'/>`)
  await juliet.ping()
  assert.equal(session.outbox.acked, 10)
  juliet.ack()
  await juliet.ping()
  await eventually(() => session.outbox.size <= 1, 'that all is acknowledged')
  assert.equal(session.account.queue.size, 0)
})

test('more acknowledged than was sent is an error with the counts; what is no count is one too', async t => {
  const server = await serve(t)
  const romeo = await managed(server, 'romeo')
  await available(romeo)
  const gone = closed(romeo)
  romeo.write(`<a xmlns='${NS}' h='17'/>`)
  const error = await romeo.receive(el => el.name === 'error')
  const [condition, , application] = error.children
  assert.equal(condition!.name, 'undefined-condition')
  assert.equal(application!.name, 'handled-count-too-high')
  assert.deepEqual([application!.attrs['h'], application!.attrs['send-count']], ['17', '1'])
  await gone
  for (const h of ['-1', 'x', '', '4294967296', '1e1', '99999999999']) {
    const client = await managed(server, 'romeo')
    const end = closed(client)
    client.write(`<a xmlns='${NS}' h='${h}'/>`)
    assert.match(await end, /policy-violation/, h)
  }
})

test('a message is acknowledged when it is on the disk, not before', async t => {
  const { server, troubles } = await withDisk(t)
  const romeo = await managed(server, 'romeo')
  troubles.writes.close()
  romeo.send("<presence id='p'/>")
  romeo.send(message('juliet@localhost', 'one'))
  romeo.send(message('juliet@localhost', 'two'))
  romeo.askAck()
  await nothing(romeo, isSm('a'))
  assert.equal(romeo.sm!.acked, 0)
  troubles.writes.open()
  assert.equal((await romeo.receive(isSm('a'))).attrs['h'], '4', 'the ping of the question above counts')
})

test('... or when its recipient has it, whatever the disk does', async t => {
  const { server, troubles } = await withDisk(t)
  const romeo = await managed(server, 'romeo')
  const juliet = await managed(server, 'juliet')
  await available(juliet)
  troubles.writes.close()
  romeo.send(message('juliet@localhost', 'one'))
  romeo.askAck()
  await juliet.receive(says('one'))
  await nothing(romeo, isSm('a'))
  juliet.ack()
  assert.equal((await romeo.receive(isSm('a'))).attrs['h'], '2', 'the ping of the question above counts')
  assert.equal(await server.server.host('localhost')!.queues.count('juliet'), 0)
})

test('a message that cannot be stored is an error, which is an answer; sent again it is a new attempt', async t => {
  const { server, troubles } = await withDisk(t)
  const romeo = await managed(server, 'romeo')
  troubles.failWrites = true
  romeo.send(message('juliet@localhost', 'one'))
  const error = await romeo.receive(el => el.attrs['type'] === 'error')
  assert.deepEqual([errorCondition(error), error.attrs['id']], ['resource-constraint', 'one'])
  assert.equal(await acked(romeo), 1)
  troubles.failWrites = false
  romeo.send(message('juliet@localhost', 'one'))
  assert.equal(await acked(romeo), 2)
  assert.equal(await server.server.host('localhost')!.queues.count('juliet'), 1, 'it was not taken for a copy')
})

test('the same message twice on one stream: both are answered', async t => {
  const { server, troubles } = await withDisk(t)
  const romeo = await managed(server, 'romeo')
  troubles.writes.close()
  for (let i = 0; i < 3; i++) romeo.send(message('juliet@localhost', 'same'))
  romeo.send(message('juliet@localhost', 'other'))
  romeo.askAck()
  await nothing(romeo, isSm('a'))
  troubles.writes.open()
  assert.equal((await romeo.receive(isSm('a'))).attrs['h'], '5')
})

test('the same message on two streams at a time, and twice on one: each is a message, and answered', async t => {
  const { server, troubles } = await withDisk(t)
  const one = await managed(server, 'romeo')
  const other = await managed(server, 'romeo')
  troubles.writes.close()
  for (const client of [one, other, one]) {
    client.send(message('juliet@localhost', 'same'))
    await client.ping()
  }
  one.askAck()
  other.askAck()
  troubles.writes.open()
  assert.equal((await one.receive(isSm('a'))).attrs['h'], '4')
  assert.equal((await other.receive(isSm('a'))).attrs['h'], '2')
  assert.equal(await server.server.host('localhost')!.queues.count('juliet'), 3)
})

test('a client that sends much without asking is told now and then', async t => {
  const server = await serve(t)
  const romeo = await managed(server, 'romeo')
  await server.register('juliet')
  for (let i = 0; i < 100; i++) romeo.send(message('juliet@localhost', `m${i}`))
  assert.equal((await romeo.receive(isSm('a'))).attrs['h'], '100')
})

test('what was sent before stream management is asked for, covered by the first acknowledgement, and not counted', async t => {
  const server = await serve(t)
  const [romeo, juliet] = await server.clients('romeo', 'juliet')
  await available(juliet)
  romeo.send(message('juliet@localhost', 'early'))
  await juliet.receive(says('early'))
  await juliet.enable()
  assert.equal(
    await server.server
      .host('localhost')!
      .queues.count('juliet')
      .then(n => n > 0 || sessionOf(server, juliet).account.queue.size > 0),
    true,
  )
  await juliet.receive(isSm('r'))
  juliet.ack()
  await juliet.ping()
  assert.equal(sessionOf(server, juliet).account.queue.size, 0)
})

test('both sides count alike though messages come in while stream management is being enabled', async t => {
  const { store, troubles } = faultyStore()
  t.after(() => troubles.reads.open())
  const server = await serve(t, { store })
  const romeo = await server.client('romeo')
  for (let round = 0; round < 4; round++) {
    const juliet = await server.client(`juliet${round}`)
    for (let i = 0; i <= round; i++) romeo.send(message(`juliet${round}@localhost`, `m${i}`))
    await romeo.ping()
    troubles.reads.close()
    const enabled = juliet.enable()
    if (round % 2 === 0) juliet.write('<presence/>')
    await romeo.ping()
    romeo.send(message(juliet.jid, 'direct'))
    await romeo.ping()
    troubles.reads.open()
    await enabled
    if (round % 2 === 1) juliet.write('<presence/>')
    await juliet.receive(says('direct'))
    juliet.ack()
    await juliet.ping()
    const session = sessionOf(server, juliet)
    juliet.ack()
    await juliet.ping()
    await eventually(() => session.outbox.size <= 1, `that both count alike (round ${round})`)
  }
})

test('a client that is gone before stream management is on leaves nothing behind', async t => {
  const { store, troubles } = faultyStore({ only: 'sent_window' })
  const server = await serve(t, { store })
  const romeo = await server.client('romeo')
  const { sessions } = (server.server.streams()[0] as C2SStream).server
  troubles.reads.close()
  romeo.write(`<enable xmlns='${NS}' resume='true'/>`)
  await eventually(() => troubles.reads.calls > 0)
  romeo.cut()
  await eventually(() => server.server.streams().length === 0)
  troubles.reads.open()
  const other = await managed(server, 'romeo')
  assert.equal(sessions.size, 1)
  await other.close()
  assert.equal(sessions.size, 0)
  assert.equal(server.server.sessionCount, 0)
})

test('a client that closes its stream in order is told how far the server is', async t => {
  const server = await serve(t)
  const romeo = await managed(server, 'romeo')
  await server.register('juliet')
  romeo.send(message('juliet@localhost', 'one'))
  assert.equal(await romeo.close(), true)
  assert.equal(romeo.sm!.unacked.length, 0)
})
