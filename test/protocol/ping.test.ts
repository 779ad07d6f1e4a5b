import assert from 'node:assert/strict'
import { test } from 'node:test'
import { child, type XmlElement } from '../support/rawxml.ts'
import { available, befriend, closed, refused, serve } from '../support/talk.ts'

const PING = "<ping xmlns='urn:xmpp:ping'/>"
const isPing = (el: Parameters<typeof child>[0]) => child(el, 'ping', 'urn:xmpp:ping') !== undefined

test('the server and one’s own account answer; others’ accounts only to contacts', async t => {
  const server = await serve(t)
  const [alice, bob] = await server.clients('alice', 'bob')
  assert.equal((await alice.request('get', PING, 'localhost')).attrs['from'], 'localhost')
  await alice.request('get', PING)
  await alice.request('get', PING, 'alice@localhost')
  await refused('service-unavailable', alice.request('get', PING, 'bob@localhost'))
  await refused('service-unavailable', alice.request('get', PING, 'nobody@localhost'))
  await available(alice)
  await available(bob)
  await befriend(alice, bob)
  await alice.request('get', PING, 'bob@localhost')
})

test('a client that is silent is pinged, and killed where it does not answer', async t => {
  const mod_ping = { send_pings: true, ping_interval: '1s', timeout: '1s', timeout_action: 'kill' }
  const server = await serve(t, { modules: { mod_ping } })
  const [alive, dead] = await server.clients('alice', 'bob')
  dead.options.autoPong = false
  const gone = closed(dead)
  const ping = await alive.receive(isPing)
  assert.equal(ping.attrs['from'], 'localhost')
  assert.match(await gone, /connection-timeout/)
  assert.equal(alive.closed, false)
  await alive.ping()
})

test('how long a client may be silent is announced where somebody looks after it, once it is logged in', async t => {
  const idle = (el: XmlElement | undefined) =>
    child(child(el, 'limits', 'urn:xmpp:stream-limits:0'), 'idle-seconds')?.text
  for (const [send_pings, expected] of [
    [true, '90'],
    [false, undefined],
  ] as const) {
    const server = await serve(t, { modules: { mod_ping: { send_pings, ping_interval: '90500ms' } } })
    await server.register('alice')
    const client = await server.connect()
    assert.equal(idle(client.features), undefined, 'before that the time to log in counts')
    await client.login({ user: 'alice', password: 'secret' })
    assert.equal(idle(client.features), expected)
  }
})

test('nobody is pinged unless it is asked for', async t => {
  const server = await serve(t)
  const host = server.server.host('localhost')!
  assert.ok(!host.hooks.list().some(({ owner, hook }) => owner === 'mod_ping' && hook === 'user_send_packet'))
})
