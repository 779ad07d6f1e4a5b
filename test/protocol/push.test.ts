import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { openMemoryStore } from '../../src/storage/memory.ts'
import type { Stanza } from '../../src/xmpp/stanza.ts'
import { faultyStore } from '../support/faultystore.ts'
import { pluck } from '../support/pluck.ts'
import { PushService } from '../support/pushservice.ts'
import type { RawClient } from '../support/rawclient.ts'
import { authenticated, detached, managed } from '../support/resuming.ts'
import { agent, bind, byPassword, DESK, dial, PHONE } from '../support/sasl2client.ts'
import { available, online, refused, says, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const PUSH = 'urn:xmpp:push:0'
const TO = 'juliet@localhost'
const say = (client: RawClient, body: string, more = '') =>
  client.send(`<message to='${TO}' type='chat' id='${body}'><body>${body}</body>${more}</message>`)
const propose = (to: string) =>
  `<message to='${to}' type='chat'><propose xmlns='urn:xmpp:jingle-message:0' id='call'/><store xmlns='urn:xmpp:hints'/></message>`
const count = (server: TestServer) => server.server.host('localhost')!.queues.count('juliet')

type Options = Record<string, unknown>

/** Romeo writes, juliet has a phone with push, and there is the push service of its app. */
async function people(t: TestContext, options: Options = {}, more: Parameters<typeof serve>[1] = {}) {
  const server = await serve(t, { modules: { mod_push: options }, ...more })
  const service = await PushService.start(server)
  const romeo = await server.client('romeo')
  const phone = await managed(server, 'juliet', 'phone')
  await phone.request('set', service.enable('n1'))
  return { server, service, romeo, phone }
}

/** The phone is gone: it closed its stream. */
async function away(t: TestContext, options: Options = {}, more: Parameters<typeof serve>[1] = {}) {
  const all = await people(t, options, more)
  await all.phone.close()
  return all
}

test('accounts say that they notify', async t => {
  const { phone } = await people(t)
  const info = await phone.request('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>", TO)
  assert.ok(info.children[0]!.children.some(c => c.attrs['var'] === PUSH))
})

test('a message for somebody who is away is told of at once, and once', async t => {
  const { service, romeo, server } = await away(t)
  say(romeo, 'hi')
  const { node, summary, options, from, priority } = await service.next()
  assert.deepEqual(
    { node, options, from, priority, summary },
    {
      node: 'n1',
      options: undefined,
      from: 'localhost',
      priority: 'high',
      summary: { FORM_TYPE: 'urn:xmpp:push:summary', 'message-count': '1' },
    },
  )
  say(romeo, 'are you there?')
  assert.equal((await service.next()).summary['message-count'], '2')
  await service.none(romeo)
  const back = await managed(server, 'juliet', 'phone')
  await back.receive(says('are you there?'))
  back.ack()
  await back.ping()
  await back.close()
  await service.none(romeo)
  say(romeo, 'again')
  assert.equal((await service.next()).summary['message-count'], '1')
})

test('who wrote and what is told only where the operator wants it', async t => {
  const { service, romeo } = await away(t, { include_sender: true, include_body: true })
  say(romeo, 'wherefore')
  const { summary } = await service.next()
  assert.equal(summary['last-message-sender'], romeo.jid)
  assert.equal(summary['last-message-body'], 'wherefore')
  say(romeo, `${'x'.repeat(511)}😀`)
  const long = (await service.next()).summary['last-message-body']!
  assert.equal(long, 'x'.repeat(511))
})

test('the service gets the options that the client named, the newest of them', async t => {
  const { service, romeo, phone } = await people(t)
  await phone.request('set', service.enable('n1', { secret: 'old' }))
  await phone.request('set', service.enable('n1', { secret: 'eruio234' }))
  await phone.close()
  say(romeo, 'hi')
  assert.deepEqual((await service.next()).options, {
    FORM_TYPE: 'http://jabber.org/protocol/pubsub#publish-options',
    secret: 'eruio234',
  })
  await service.none(romeo)
})

test('each device is told; disabling one node leaves the others, disabling the service none', async t => {
  const { server, service, romeo, phone } = await people(t)
  const other = await PushService.start(server, 'pusher2')
  await phone.request('set', service.enable('n2'))
  await phone.request('set', other.enable('n1'))
  await phone.close()
  say(romeo, '1')
  assert.deepEqual(
    [(await service.next()).node, (await service.next()).node, (await other.next()).node],
    ['n1', 'n2', 'n1'],
  )
  const tablet = await server.client('juliet', { resource: 'tablet' })
  await tablet.request('set', service.disable('n1'))
  say(romeo, '2')
  assert.equal((await service.next()).node, 'n2')
  await other.next()
  await tablet.request('set', service.disable())
  say(romeo, '3')
  await other.next()
  await service.none(romeo)
  await tablet.request('set', service.disable())
})

test('what nobody would be woken for is not told', async t => {
  const { service, romeo, server } = await away(t)
  const other = await server.client('juliet', { resource: 'mute' })
  const send = (content: string, type = 'chat') => romeo.send(`<message to='${TO}' type='${type}'>${content}</message>`)
  send("<composing xmlns='http://jabber.org/protocol/chatstates'/>")
  send("<received xmlns='urn:xmpp:receipts' id='1'/>")
  send("<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>")
  send("<body>secret</body><no-store xmlns='urn:xmpp:hints'/>")
  send('<body>news</body>', 'headline')
  send("<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted><store xmlns='urn:xmpp:hints'/>")
  send("<reject xmlns='urn:xmpp:jingle-message:0' id='x'/><store xmlns='urn:xmpp:hints'/>")
  other.send(`<message to='${TO}' type='chat'><body>note to self</body></message>`)
  await service.none(romeo, other)
  send("<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/><payload>x</payload></encrypted>")
  await service.next()
  send("<x xmlns='jabber:x:conference' jid='room@example.org'/>", 'normal')
  await service.next()
})

test('a phone whose connection broke is told at once; what it acknowledged before is not told', async t => {
  const { server, service, romeo, phone } = await people(t)
  say(romeo, 'seen')
  await phone.receive(says('seen'))
  phone.ack()
  await phone.ping()
  await service.none(romeo)
  phone.cut()
  await detached(server, phone.jid)
  say(romeo, 'unseen')
  assert.equal((await service.next()).summary['message-count'], '1')
  const again = await authenticated(server)
  assert.ok(await again.resume(phone.sm!))
  await again.receive(says('unseen'))
  again.ack()
  await again.ping()
  await again.close()
  await service.none(romeo)
})

test('what a phone had and did not acknowledge when its connection broke is told then', async t => {
  const { server, service, romeo, phone } = await people(t)
  phone.options.autoAck = false
  say(romeo, 'lost?')
  await phone.receive(says('lost?'))
  await service.none(romeo)
  phone.cut()
  await detached(server, phone.jid)
  await service.next()
  await service.none(romeo)
})

test('a connection that only looks alive does not keep the phone asleep', async t => {
  const { service, romeo, phone } = await people(t, { ack_timeout: '300ms' })
  phone.options.autoAck = false
  phone.fallSilent()
  const sent = performance.now()
  say(romeo, 'anybody?')
  say(romeo, 'hello?')
  assert.equal((await service.next()).summary['message-count'], '2')
  assert.ok(performance.now() - sent >= 295)
  await service.next()
  phone.cut()
  await service.none(romeo)
})

test('a message that any client acknowledges in time is not told', async t => {
  const { server, service, romeo, phone } = await people(t, { ack_timeout: '1s' })
  const desk = await managed(server, 'juliet', 'desk')
  phone.fallSilent()
  say(romeo, 'hi')
  await desk.receive(says('hi'))
  desk.ack()
  await desk.ping()
  assert.equal(await count(server), 0)
  // Its time would have come with that of the next one.
  desk.options.autoAck = false
  say(romeo, 'and now?')
  assert.equal((await service.next()).summary['message-count'], '1')
  await service.none(romeo)
  phone.cut()
})

test('a device that is away is told though another client takes the message, where the operator wants that', async t => {
  const { server, service, romeo, phone } = await people(t, { notify_absent: true })
  const desk = await managed(server, 'juliet', 'desk')
  say(romeo, 'for both')
  await desk.receive(says('for both'))
  desk.ack()
  await desk.ping()
  await service.none(romeo)
  phone.cut()
  await detached(server, phone.jid)
  say(romeo, 'for the desk')
  await service.next()
  desk.options.autoAck = false
  say(romeo, 'twice?')
  await service.next()
  desk.cut()
  await detached(server, desk.jid)
  await service.none(romeo)
})

test('a call is told at once, whoever is there', async t => {
  const { service, romeo, phone } = await people(t)
  await available(romeo)
  romeo.send(propose(TO))
  const { priority } = await service.next()
  assert.equal(priority, 'high')
  await phone.receive(el => el.children.some(c => c.name === 'propose'))
  await service.none(romeo)
})

test('what is said in a room reaches a phone whose connection broke through its push service', async t => {
  const { server, service, romeo, phone } = await people(t)
  const desk = await server.client('juliet', { resource: 'desk' })
  const room = (to: string, body: string) => `<message to='${to}' type='groupchat'><body>${body}</body></message>`
  romeo.send(room(phone.jid, 'connected'))
  await phone.receive(says('connected'))
  phone.ack()
  await phone.ping()
  romeo.send(room(desk.jid, 'desk'))
  await service.none(romeo)
  phone.cut()
  await detached(server, phone.jid)
  romeo.send(room(phone.jid, 'away'))
  assert.equal((await service.next()).priority, undefined)
  romeo.send(room(desk.jid, 'desk again'))
  romeo.send(`<message to='${phone.jid}' type='groupchat'><subject>quiet</subject></message>`)
  await service.none(romeo)
  const again = await authenticated(server)
  assert.ok(await again.resume(phone.sm!))
  romeo.send(room(phone.jid, 'back'))
  await again.receive(says('back'))
  await service.none(romeo)
  const { hooks } = server.server.host('localhost')!
  assert.ok(!hooks.list().some(({ hook, owner }) => hook === 'user_receive_packet' && owner === 'mod_push'))
})

test('what was said in rooms and not acknowledged when the connection broke is told in one', async t => {
  const { server, service, romeo, phone } = await people(t)
  phone.options.autoAck = false
  for (const body of ['1', '2', '3']) {
    romeo.send(`<message to='${phone.jid}' type='groupchat'><body>${body}</body></message>`)
  }
  await phone.receive(says('3'))
  await service.none(romeo)
  phone.cut()
  await detached(server, phone.jid)
  assert.equal((await service.next()).priority, undefined)
  await service.none(romeo)
})

test('a session that waits gives way before one that is connected', async t => {
  const { server, service, phone } = await people(t, {}, { config: { max_user_sessions: 3 } })
  const [desk, tablet] = [await managed(server, 'juliet', 'desk'), await managed(server, 'juliet', 'tablet')]
  tablet.cut()
  await detached(server, tablet.jid)
  await server.client('juliet', { resource: 'car' })
  await phone.ping()
  await desk.ping()
  assert.ok(!(await (await authenticated(server)).resume(tablet.sm!)))
  await service.none()
})

test('somebody who asks to be a contact is told of once, and counted', async t => {
  const { server, service, romeo, phone } = await people(t, { include_sender: true })
  await available(romeo)
  const [nurse] = await online(server, 'nurse')
  const ask = `<presence to='${TO}' type='subscribe'/>`
  romeo.send(ask)
  await phone.receive(el => el.attrs['type'] === 'subscribe')
  await service.none(romeo)
  await phone.close()
  romeo.send(ask)
  await service.none(romeo)
  nurse.send(ask)
  assert.deepEqual((await service.next()).summary, {
    FORM_TYPE: 'urn:xmpp:push:summary',
    'pending-subscription-count': '2',
    'last-message-sender': 'nurse@localhost',
  })
  nurse.send(ask)
  await service.none(nurse)
  say(romeo, 'hi')
  const { summary } = await service.next()
  assert.deepEqual([summary['message-count'], summary['pending-subscription-count']], ['1', '2'])
})

test('a service that refuses is not asked again', async t => {
  const { server, service, romeo } = await away(t)
  service.answer = { type: 'cancel', condition: 'item-not-found' }
  say(romeo, '1')
  await service.next()
  await service.client.ping()
  service.answer = 'result'
  say(romeo, '2')
  await service.none(romeo)
  const host = server.server.host('localhost')!
  assert.deepEqual(await host.store.table('localhost', { name: 'push' }).scan(['juliet']), [])
})

test('a service in trouble is asked again later, with all that came meanwhile in one', async t => {
  const { service, romeo } = await away(t, { retry_after: '1s' })
  service.answer = { type: 'wait', condition: 'internal-server-error' }
  say(romeo, '1')
  await service.next()
  await service.client.ping()
  service.answer = 'result'
  say(romeo, '2')
  say(romeo, '3')
  await service.none(romeo)
  assert.equal((await service.next()).summary['message-count'], '3')
  await service.client.ping()
  say(romeo, '4')
  assert.equal((await service.next()).summary['message-count'], '4')
  await service.none(romeo)
})

test('what was fetched while the service was in trouble is not told later', async t => {
  const { server, service, romeo } = await away(t, { retry_after: '100ms' })
  service.answer = { type: 'wait', condition: 'resource-constraint' }
  say(romeo, '1')
  await service.next()
  await service.client.ping()
  const back = await managed(server, 'juliet', 'phone')
  await back.receive(says('1'))
  back.ack()
  await back.ping()
  await back.close()
  service.answer = 'result'
  say(romeo, '2')
  assert.equal((await service.next()).summary['message-count'], '1')
  await service.none(romeo)
})

test('a silent service is not flooded, and is given up in the end', async t => {
  const { server, service, romeo } = await away(t, { answer_timeout: '500ms', retry_after: '50ms', max_errors: 3 })
  service.answer = 'silence'
  for (let n = 0; n < 50; n++) say(romeo, String(n))
  await romeo.ping()
  await service.client.ping()
  assert.equal(service.count, 8, 'no more at once')
  const table = server.server.host('localhost')!.store.table('localhost', { name: 'push' })
  await eventually(async () => (await table.scan(['juliet'])).length === 0, 'it is given up')
  assert.equal(service.count, 10, 'two more attempts, one by one')
})

test('the registration enabled longest ago gives way at the bound', async t => {
  let now = Date.now()
  const { service, romeo, phone } = await people(t, { max_registrations: 2 }, { now: () => now })
  now += 10
  await phone.request('set', service.enable('n2'))
  now += 10
  await phone.request('set', service.enable('n1')) // still in use
  now += 10
  await phone.request('set', service.enable('n3'))
  await phone.close()
  say(romeo, 'hi')
  assert.deepEqual([(await service.next()).node, (await service.next()).node].sort(), ['n1', 'n3'])
  await service.none(romeo)
})

test('what cannot be enabled', async t => {
  const { service, romeo, phone } = await people(t)
  const enable = (attrs: string, content = '') =>
    phone.request('set', `<enable xmlns='${PUSH}' ${attrs}>${content}</enable>`)
  await refused('bad-request', enable("node='x'"))
  await refused('jid-malformed', enable("jid='@' node='x'"))
  await refused('not-acceptable', enable(`jid='push.example' node='${'x'.repeat(1024)}'`))
  await refused('bad-request', enable("jid='push.example' node='x'", "<x xmlns='jabber:x:data' type='submit'/>"))
  await refused('not-acceptable', phone.request('set', service.enable('big', { secret: 'x'.repeat(5000) })))
  await refused('bad-request', phone.request('set', `<disable xmlns='${PUSH}'/>`))
  await refused('forbidden', romeo.request('set', service.enable('theirs'), TO))
  await refused('forbidden', romeo.request('set', service.disable(), TO))
  await phone.close()
  say(romeo, 'hi')
  assert.equal((await service.next()).node, 'n1')
  await service.none(romeo)
})

test('the service may end it; nobody else may', async t => {
  const { service, romeo } = await away(t)
  const ended = (node: string) =>
    `<message to='${TO}'><pubsub xmlns='http://jabber.org/protocol/pubsub' node='${node}'><affiliation jid='${TO}' affiliation='none'/></pubsub></message>`
  romeo.send(ended('n1'))
  await romeo.ping()
  service.client.send(ended('other'))
  await service.client.ping()
  say(romeo, 'still on')
  await service.next()
  service.client.send(ended('n1'))
  await service.client.ping()
  say(romeo, 'off')
  await service.none(romeo)
})

test('over a restart devices stay, and what was told is not told again', async t => {
  const { store } = faultyStore()
  const options = { store, modules: { mod_push: { ack_timeout: '100ms' } } }
  const { server, service, romeo, phone } = await people(t, options.modules.mod_push, options)
  await phone.close()
  say(romeo, 'before')
  await service.next()
  await service.client.ping()
  const desk = await server.client('juliet', { resource: 'desk' })
  await desk.request('set', service.enable('n1'))
  // The nurse's phone has a message and did not say so: she is to be told, after juliet had her turn.
  const nurse = await server.client('nurse')
  nurse.options.autoPong = false
  await available(nurse)
  await nurse.request('set', service.enable('nurse'))
  romeo.send("<message to='nurse@localhost' type='chat'><body>in flight</body></message>")
  await nurse.receive(says('in flight'))
  await server.server.stop()

  const next = await serve(t, options)
  const again = await PushService.start(next)
  assert.equal((await again.next()).node, 'nurse')
  const romeo2 = await next.client('romeo')
  say(romeo2, 'after')
  assert.deepEqual(await again.next().then(({ node, summary }) => [node, summary['message-count']]), ['n1', '2'])
  await again.none(romeo2)
})

test('a server that stops tells nobody of what was in flight', async t => {
  const { server, romeo } = await people(t)
  const { router } = server.server
  const asked: string[] = []
  router.fallback = { ...router.fallback, deliver: stanza => void asked.push(String(stanza.to)) }
  const desk = await server.client('nurse')
  desk.options.autoPong = false
  await available(desk)
  await desk.request('set', `<enable xmlns='${PUSH}' jid='push.example.org' node='abc'/>`)
  romeo.send("<message to='nurse@localhost' type='chat'><body>in flight</body></message>")
  await desk.receive(says('in flight'))
  await server.server.stop()
  assert.deepEqual(asked, [])
})

test('a phone without stream management is told when its connection broke', async t => {
  const { server, service, romeo } = await people(t)
  const nurse = await server.client('nurse')
  nurse.options.autoPong = false
  await available(nurse)
  await nurse.request('set', service.enable('nurse'))
  romeo.send("<message to='nurse@localhost' type='chat'><body>lost?</body></message>")
  await nurse.receive(says('lost?'))
  await service.none(romeo)
  nurse.cut()
  assert.equal((await service.next()).node, 'nurse')
  await service.none(romeo)
})

test('what was in flight when the server stopped is told after the start, unless the client was faster', async t => {
  const { store } = faultyStore()
  const options = { store, modules: { mod_push: { ack_timeout: '1s' } } }
  const { server, service, romeo, phone } = await people(t, options.modules.mod_push, options)
  phone.options.autoAck = false
  say(romeo, 'in flight')
  await phone.receive(says('in flight'))
  await romeo.ping()
  await server.server.stop()
  assert.equal(service.count, 0)

  const next = await serve(t, options)
  const again = await PushService.start(next)
  assert.equal((await again.next()).summary['message-count'], '1')
  await again.client.ping()
  await next.server.stop()

  const third = await serve(t, options)
  const once = await PushService.start(third)
  const romeo3 = await third.client('romeo')
  say(romeo3, 'new')
  assert.equal((await once.next()).summary['message-count'], '2')
  await once.none(romeo3)
})

test('after a crash too, without anybody touching the account', async t => {
  const store = openMemoryStore()
  const { service, romeo, phone } = await people(t, { ack_timeout: '10m' }, { store })
  phone.options.autoAck = false
  say(romeo, 'in flight')
  await phone.receive(says('in flight'))
  await phone.ping()
  await service.none(romeo)
  // Another server on the same store: what the first one knew is gone.
  const dump: Uint8Array[] = []
  const waits = async () => (await store.table('localhost', { name: 'queue', codec: 'bytes' }).scan(['juliet'])).length
  await eventually(waits, 'the message is in the store')
  for await (const chunk of store.dump()) dump.push(chunk)
  const copy = openMemoryStore()
  await copy.load(
    (async function* () {
      yield* dump
    })(),
  )
  const next = await serve(t, { store: copy, modules: { mod_push: { ack_timeout: '200ms' } } })
  const again = await PushService.start(next)
  assert.equal((await again.next()).summary['message-count'], '1')
  await again.client.ping()
  await again.none()
})

test('the session of a device may be resumed for longer than others', async t => {
  const { server, phone } = await people(t, {}, { config: { resume_timeout: '100ms' } })
  const desk = await managed(server, 'juliet', 'desk')
  phone.cut()
  desk.cut()
  await eventually(() => server.server.sessionCount <= 3, 'the other session is given up')
  const again = await authenticated(server)
  assert.ok(await again.resume(phone.sm!))
})

test('a device that comes back as another session leaves the old one to the usual time', async t => {
  const { server, service, phone } = await people(t)
  const host = server.server.host('localhost')!
  phone.cut()
  await detached(server, phone.jid)
  const old = [...host.sessions()].find(session => session.jid.resource === 'phone')!
  const kept = t.mock.method(old, 'keepFor')
  const fresh = await managed(server, 'juliet', 'phone2')
  await fresh.request('set', service.enable('n1'))
  assert.deepEqual(pluck(kept.mock.calls, 'arguments'), [[300_000]])
})

test('a push service on another server', async t => {
  const { server, romeo, phone } = await people(t)
  const { router } = server.server
  const asked: string[] = []
  const deliver = (stanza: Stanza): void => {
    asked.push(`${stanza.from} ${stanza.to}`)
    void router.route(stanza.result())
  }
  router.add({ name: 'push.example.org', filter: undefined, deliver })
  await phone.request('set', `<enable xmlns='${PUSH}' jid='push.example.org' node='abc'/>`)
  await phone.close()
  say(romeo, 'hi')
  await romeo.ping()
  assert.deepEqual(asked, ['localhost push.example.org'])
  const table = server.server.host('localhost')!.store.table<{ told: string }>('localhost', { name: 'push' })
  const told = async () => (await table.get(['juliet'], ['push.example.org', 'abc']))!.told
  await eventually(told, 'it is noted that the service was told')
})

test('commands list devices and forget old ones', async t => {
  let now = Date.now()
  const { server, service, romeo, phone } = await people(t, {}, { now: () => now })
  const run = (name: string, args: Record<string, unknown>) => server.command(name, args)
  const at = new Date(now).toISOString()
  now += 40 * 86_400_000
  await phone.request('set', service.enable('n2'))
  assert.deepEqual(await run('get_push_sessions', { account: TO }), [
    { service: service.jid, node: 'n1', resource: 'phone', enabled: at },
    { service: service.jid, node: 'n2', resource: 'phone', enabled: new Date(now).toISOString() },
  ])
  assert.equal(await run('delete_old_push_sessions', { days: 30 }), 1)
  await phone.close()
  say(romeo, 'hi')
  assert.equal((await service.next()).node, 'n2')
  await service.none(romeo)
  await assert.rejects(async () => run('get_push_sessions', { account: 'nobody@localhost' }), /there is no account/)
  await assert.rejects(async () => run('delete_old_push_sessions', { days: 0 }), /at least 1/)
})

test('a device that is logged out is not woken any more', async t => {
  const { server, service, romeo } = await away(t)
  for (const id of [PHONE, DESK]) {
    const client = await dial(t, server, 'juliet')
    await byPassword(client, 'juliet', `${agent(id)}${bind()}`)
    await client.request('set', service.enable(id))
    await client.close()
  }
  const devices = server.server.host('localhost')!.services.use('devices')!
  assert.ok(await devices.revoke('juliet', PHONE))
  say(romeo, 'hi')
  assert.deepEqual([(await service.next()).node, (await service.next()).node].sort(), [DESK, 'n1'].sort())
  await service.none(romeo)
})
