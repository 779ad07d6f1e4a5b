import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { defineModule } from '../../src/core/module.ts'
import { Slot } from '../../src/core/session.ts'
import { parseElement } from '../../src/xml/index.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { faultyStore } from '../support/faultystore.ts'
import type { StreamManagement } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { authenticated, bodies, bodyOf, couple, failed, JULIET, managed, say } from '../support/resuming.ts'
import { available, closed, says, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

/** Stops a server and starts another on the same store, as after an update. */
async function restarted(
  t: TestContext,
  server: TestServer,
  options: Parameters<typeof serve>[1],
): Promise<TestServer> {
  await server.server.stop()
  return serve(t, options)
}

test('a restart is not an event: the client resumes and gets exactly what it has not seen', async t => {
  const { store } = faultyStore()
  const { server, romeo, juliet } = await couple(t, { store })
  await available(juliet, '<presence><priority>3</priority></presence>')
  juliet.ack()
  say(romeo, '1', '2')
  await bodies(juliet, '2')
  const sm: StreamManagement = { ...juliet.sm!, handled: juliet.sm!.handled - 1 }
  const [bye, byeRomeo] = [closed(juliet), closed(romeo)]
  const next = await restarted(t, server, { store })
  assert.match(await bye, /system-shutdown/)
  await byeRomeo
  assert.equal(romeo.sm!.unacked.length, 0, 'whoever waited for an acknowledgement has it')
  const other = await managed(next, 'romeo', 'window')
  say(other, '3')
  await other.ping()
  const again = await authenticated(next)
  assert.equal(await again.resume(sm), true)
  say(other, '4')
  assert.deepEqual(await bodies(again, '4'), ['2', '3', '4'])
  again.ack()
  await again.ping()
  const session = [...next.server.host('localhost')!.sessions()].find(s => s.jid.toString() === JULIET)!
  assert.deepEqual([session.priority, session.presence?.type], [3, 'available'])
  assert.equal(await next.server.host('localhost')!.queues.count('juliet'), 0)
})

test('what comes from elsewhere as a session is written down is given once', async t => {
  const { store } = faultyStore()
  const { server, romeo, juliet } = await couple(t, { store })
  await available(juliet)
  say(romeo, '1')
  await bodies(juliet, '1')
  juliet.ack()
  const host = server.server.host('localhost')!
  const elsewhere = 'benvolio@elsewhere.example'
  host.hooks.add('test', 'session_suspend', ({ session }) => {
    if (session.jid.toString() !== JULIET) return
    const message = `<message from='${elsewhere}' to='${JULIET}' type='chat' id='2'><body>2</body></message>`
    void server.server.router.route(Stanza.of(parseElement(message)), { origin: { accepted() {}, safe() {} } })
  })
  const heard = bodies(juliet, '2')
  const next = await restarted(t, server, { store })
  assert.deepEqual(await heard, ['2'])
  const again = await authenticated(next)
  assert.equal(await again.resume(juliet.sm!), true)
  say(await managed(next, 'romeo', 'window'), '3')
  assert.deepEqual(await bodies(again, '3'), ['3'])
  again.ack()
  await again.ping()
  assert.equal(await next.server.host('localhost')!.queues.count('juliet'), 0)
})

test('what came before stream management was enabled is not given again after a restart', async t => {
  const { store } = faultyStore()
  const server = await serve(t, { store })
  const romeo = await managed(server, 'romeo')
  const juliet = await server.client('juliet', { resource: 'balcony' })
  await available(juliet)
  say(romeo, '1', '2')
  await bodies(juliet, '2')
  juliet.options.autoAck = false
  const sm = await juliet.enable()
  const next = await restarted(t, server, { store })
  const again = await authenticated(next)
  assert.equal(await again.resume(sm), true)
  say(await managed(next, 'romeo'), '3')
  assert.deepEqual(await bodies(again, '3'), ['3'])
  again.ack()
  await again.ping()
  assert.equal(await next.server.host('localhost')!.queues.count('juliet'), 0)
})

test('messages that had waited before are not given twice after a restart', async t => {
  const { store } = faultyStore()
  const server = await serve(t, { store })
  const romeo = await managed(server, 'romeo')
  await server.register('juliet')
  say(romeo, '1', '2')
  await romeo.ping()
  const juliet = await server.client('juliet', { resource: 'balcony' })
  await juliet.enable()
  juliet.options.autoAck = false
  juliet.send('<presence/>')
  const ids = new Map<string, string>()
  for (const body of ['1', '2']) {
    const el = await juliet.receive(says(body))
    assert.ok(child(el, 'delay'), 'they come with a stamp, that is, not as they are stored')
    ids.set(body, child(el, 'stanza-id')!.attrs['id']!)
  }
  const next = await restarted(t, server, { store })
  const again = await authenticated(next)
  const got: XmlElement[] = []
  again.on('stanza', el => got.push(el))
  assert.equal(await again.resume({ ...juliet.sm!, handled: juliet.sm!.handled - 1 }), true)
  await again.receive(says('2'))
  await again.ping()
  const messages = got.filter(el => el.name === 'message')
  assert.deepEqual(messages.map(bodyOf), ['2'])
  assert.equal(child(messages[0], 'stanza-id')!.attrs['id'], ids.get('2'))
  again.ack()
  await again.ping()
  assert.equal(await next.server.host('localhost')!.queues.count('juliet'), 0)
})

test('what is delivered while the server writes its sessions down does not spoil the count', async t => {
  const { store, troubles } = faultyStore({ only: 'suspended_session' })
  const { server, juliet } = await couple(t, { store })
  const session = [...server.server.host('localhost')!.sessions()].find(s => s.jid.toString() === JULIET)!
  troubles.writes.close()
  const stopped = server.server.stop()
  await eventually(() => troubles.writes.calls > 0)
  session.deliver(session.presence!.readdressed(session.jid, session.jid))
  troubles.writes.open()
  await stopped
  const next = await serve(t, { store })
  assert.equal(await (await authenticated(next)).resume(juliet.sm!), true)
})

test('a session that cannot be read back costs its client the resumption, and nobody the start', async t => {
  const { store } = faultyStore()
  const { server, romeo, juliet } = await couple(t, { store })
  await server.server.stop()
  const table = store.table<object>('localhost', { name: 'suspended_session' })
  await table.put([juliet.sm!.id], [], { user: 'juliet', resource: 'balcony', nonsense: true })
  const next = await serve(t, { store })
  assert.equal((await failed(await authenticated(next), juliet.sm!.id)).children[0]!.name, 'item-not-found')
  assert.equal(await (await authenticated(next, 'romeo')).resume(romeo.sm!), true)
  assert.deepEqual(await table.partitions(), [])
})

test('what a module keeps in a slot that survives is there again, and what it keeps in others is not', async t => {
  const { store } = faultyStore()
  const plain = new Slot<{ n: number }>('plain')
  const map = new Slot<ReadonlyMap<string, number>>('map', {
    write: value => [...value],
    read: (kept: [string, number][]) => new Map(kept),
  })
  const passing = new Slot<true>('passing')
  const mod_slots = defineModule({
    name: 'mod_slots',
    summary: 'Keeps something with sessions.',
    options: {},
    start(ctx) {
      ctx.survives(plain)
      ctx.survives(map)
    },
  })
  const options = { store, extra: [mod_slots] }
  const { server, juliet } = await couple(t, options)
  await available(juliet)
  const slotsOf = (there: TestServer) =>
    [...there.server.host('localhost')!.sessions()].find(s => s.jid.toString() === JULIET)!.slots
  const before = slotsOf(server)
  before.set(plain, { n: 1 })
  before.set(map, new Map([['a', 2]]))
  before.set(passing, true)
  const next = await restarted(t, server, options)
  const slots = slotsOf(next)
  assert.deepEqual(slots.get(plain), { n: 1 })
  assert.deepEqual(slots.get(map), new Map([['a', 2]]))
  assert.equal(slots.get(passing), undefined)
})
