import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { C2SSession } from '../../src/c2s/session.ts'
import { faultyStore } from '../support/faultystore.ts'
import { errorCondition } from '../support/rawxml.ts'
import { authenticated, bodies, couple, detached, failed, isSm, JULIET, managed, NS, say } from '../support/resuming.ts'
import { closed, nothing, presenceFrom, says } from '../support/talk.ts'
import { eventually } from '../support/waiting.ts'

test('a client whose connection was cut gets what it has not seen, in order, then what came meanwhile', async t => {
  const { server, romeo, juliet } = await couple(t)
  say(romeo, '1', '2')
  await bodies(juliet, '2')
  juliet.ack()
  say(romeo, '3', '4')
  await bodies(juliet, '4')
  const sm = juliet.sm!
  const sawFirstOf34 = { ...sm, handled: sm.handled - 1 }
  juliet.cut()
  await detached(server)
  say(romeo, '5', '6')
  await romeo.ping()
  const again = await authenticated(server)
  assert.equal(await again.resume(sawFirstOf34), true)
  say(romeo, '7')
  assert.deepEqual(await bodies(again, '7'), ['4', '5', '6', '7'])
  again.ack()
  await again.ping()
  assert.equal(await server.server.host('localhost')!.queues.count('juliet'), 0)
})

test('resumed says how many stanzas came from the client, and the count goes on', async t => {
  const { server, romeo, juliet } = await couple(t)
  juliet.send("<message to='romeo@localhost' id='a' type='chat'><body>a</body></message>")
  await romeo.receive(says('a'))
  const sm = juliet.sm!
  juliet.cut()
  await detached(server)
  const again = await authenticated(server)
  again.write(`<resume xmlns='${NS}' previd='${sm.id}' h='${sm.handled}'/>`)
  const resumed = await again.receive(isSm('resumed'))
  assert.deepEqual(resumed.attrs, { xmlns: NS, previd: sm.id, h: '2' })
  again.write(`<presence id='x'/><r xmlns='${NS}'/>`)
  assert.equal((await again.receive(isSm('a'))).attrs['h'], '3')
})

test('nobody notices: presence, resource and pushes stay', async t => {
  const { server, romeo, juliet } = await couple(t)
  const desk = await managed(server, 'juliet', 'desk')
  await desk.receive(presenceFrom(JULIET))
  const { sm } = juliet
  juliet.cut()
  await detached(server)
  const again = await authenticated(server)
  await again.resume(sm!)
  await nothing(desk, presenceFrom(JULIET, 'unavailable'), romeo)
  say(romeo, 'hi')
  await again.receive(says('hi'))
})

test('an id that nobody has fails, and so does that of somebody else; then a resource can be bound', async t => {
  const { server, romeo, juliet } = await couple(t)
  for (const previd of ['nobody', '', romeo.sm!.id]) {
    const client = await authenticated(server)
    const answer = await failed(client, previd)
    assert.equal(answer.children[0]!.name, 'item-not-found')
    assert.equal(answer.attrs['h'], undefined)
    await client.bind('chamber')
    await client.enable()
    await client.ping()
  }
  await romeo.ping()
  await juliet.ping()
})

test('an h that is no number fails, and the session is still there', async t => {
  const { server, juliet } = await couple(t)
  for (const h of ['', 'x', '-1', '1.5']) {
    const answer = await failed(await authenticated(server), juliet.sm!.id, h)
    assert.equal(answer.children[0]!.name, 'bad-request')
  }
  await juliet.ping()
  juliet.cut()
  assert.equal(await (await authenticated(server)).resume(juliet.sm!), true)
})

test('an h above what was sent ends the stream with the counts; the session can still be resumed', async t => {
  const { server, romeo, juliet } = await couple(t)
  say(romeo, '1')
  await bodies(juliet, '1')
  const sm = juliet.sm!
  juliet.cut()
  await detached(server)
  const liar = await authenticated(server)
  const gone = closed(liar)
  liar.write(`<resume xmlns='${NS}' previd='${sm.id}' h='${sm.handled + 1}'/>`)
  const error = await liar.receive(el => el.name === 'error')
  const application = error.children.find(c => c.name === 'handled-count-too-high')
  assert.deepEqual(
    [application?.attrs['h'], application?.attrs['send-count']],
    [String(sm.handled + 1), String(sm.handled)],
  )
  await gone
  const again = await authenticated(server)
  assert.equal(await again.resume({ ...sm, handled: sm.handled - 1 }), true)
  assert.deepEqual(await bodies(again, '1'), ['1'])
})

test('after the session has ended its client learns how far it had come, and others do not', async t => {
  const { server, romeo, juliet } = await couple(t)
  const { id } = juliet.sm!
  juliet.send("<message to='romeo@localhost' id='a' type='chat'><body>a</body></message>")
  await romeo.receive(says('a'))
  juliet.cut()
  await detached(server)
  await server.client('juliet', { resource: 'balcony' }) // takes its place
  const answer = await failed(await authenticated(server), id)
  assert.deepEqual([answer.children[0]!.name, answer.attrs['h']], ['item-not-found', '2'])
  const stranger = await failed(await authenticated(server, 'romeo'), id)
  assert.equal(stranger.attrs['h'], undefined)
})

test('a client that comes back before its old connection is known to be dead', async t => {
  const { server, romeo, juliet } = await couple(t)
  say(romeo, '1')
  await bodies(juliet, '1')
  juliet.fallSilent()
  say(romeo, '2', '3')
  await romeo.ping()
  const again = await authenticated(server)
  assert.equal(await again.resume(juliet.sm!), true)
  say(romeo, '4')
  assert.deepEqual(await bodies(again, '4'), ['2', '3', '4'])
  await eventually(() => server.server.streams().length === 2 || juliet.closed, 'the old stream gone')
  assert.equal(server.server.sessionCount, 2)
})

test('two streams want the session at once: one has it, the other is closed', async t => {
  const { store, troubles } = faultyStore({ only: 'queue' })
  t.after(() => troubles.writes.open())
  const { server, romeo, juliet } = await couple(t, { store })
  await server.register('nurse')
  troubles.writes.close()
  juliet.send("<message to='nurse@localhost' id='a' type='chat'><body>a</body></message>")
  await juliet.ping()
  const { id, handled } = juliet.sm!
  juliet.cut()
  await detached(server)
  const [one, other] = [await authenticated(server), await authenticated(server)]
  for (const client of [one, other]) client.write(`<resume xmlns='${NS}' previd='${id}' h='${handled}'/>`)
  await romeo.ping()
  await new Promise(setImmediate)
  troubles.writes.open()
  await Promise.all([one, other].map(client => client.receive(isSm('resumed')).catch(() => {})))
  await eventually(() => one.closed !== other.closed, 'that one of them is closed')
  const winner = one.closed ? other : one
  say(romeo, 'hi')
  await winner.receive(says('hi'))
})

test('a session that nobody comes back for ends: messages wait for the next, requests are answered', async t => {
  const { server, romeo, juliet } = await couple(t, { config: { resume_timeout: '1s' } })
  juliet.cut()
  await detached(server)
  say(romeo, '1', '2')
  romeo.send(`<iq type='get' id='q' to='${JULIET}'><query xmlns='jabber:iq:version'/></iq>`)
  const answer = await romeo.receive(el => el.attrs['id'] === 'q')
  assert.equal(errorCondition(answer), 'service-unavailable')
  const next = await managed(server, 'juliet', 'chamber')
  assert.deepEqual(await bodies(next, '2'), ['1', '2'])
  await nothing(romeo, el => el.name === 'message' && el.attrs['type'] === 'error')
})

test('what is kept for a client that is away is bounded, by number and by bytes; the rest waits in the store', async t => {
  const { server, romeo, juliet } = await couple(t, { config: { max_ack_queue: 20 } })
  const session = [...server.server.host('localhost')!.sessions()].find(s => s.jid.toString() === JULIET) as C2SSession
  juliet.cut()
  await detached(server)
  const big = 'x'.repeat(200_000)
  for (let i = 0; i < 60; i++) say(romeo, `${i}`)
  await romeo.ping()
  assert.ok(session.outbox.size <= 20)
  const again = await authenticated(server)
  await again.resume(juliet.sm!)
  assert.deepEqual(
    await bodies(again, '59'),
    Array.from({ length: 60 }, (_, i) => `${i}`),
  )
  again.ack()
  await again.ping()
  again.cut()
  await detached(server)
  for (let i = 0; i < 18; i++)
    romeo.send(`<message to='${JULIET}' type='chat' id='b${i}'><body>${i}${big}</body></message>`)
  await romeo.ping()
  assert.ok(session.outbox.bytes < 3_000_000, `${session.outbox.bytes}`)
  assert.ok(session.account.queue.size < 18)
  const last = await authenticated(server)
  await last.resume(again.sm!)
  for (let i = 0; i < 18; i++) await last.receive(says(`${i}${big}`))
})

test('a session whose client does not acknowledge what cannot wait ends at the bound', async t => {
  const { server, romeo, juliet } = await couple(t, { config: { max_ack_queue: 10 } })
  juliet.cut()
  await detached(server)
  for (let i = 0; i < 25; i++) romeo.send(`<message to='${JULIET}' type='headline'><body>${i}</body></message>`)
  await romeo.ping()
  assert.equal(server.server.sessionCount, 1)
  const answer = await failed(await authenticated(server), juliet.sm!.id)
  assert.equal(answer.children[0]!.name, 'item-not-found')
})
