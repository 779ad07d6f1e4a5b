import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { pluck } from '../support/pluck.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { authenticated } from '../support/resuming.ts'
import { available, befriend, nothing, presenceFrom, says, serve } from '../support/talk.ts'
import { builtins } from '../support/testserver.ts'

const CSI = 'urn:xmpp:csi:0'
const inactive = (client: RawClient) => client.write(`<inactive xmlns='${CSI}'/>`)
const active = (client: RawClient) => client.write(`<active xmlns='${CSI}'/>`)
const isPresence = (el: XmlElement) => el.name === 'presence'
const isState = (el: XmlElement) => el.children.some(c => c.ns === 'http://jabber.org/protocol/chatstates')
const state = (to: string, name: string) =>
  `<message to='${to}' type='chat'><${name} xmlns='http://jabber.org/protocol/chatstates'/></message>`
const status = (el: XmlElement) => child(el, 'status')?.text

async function people(t: TestContext, options: Record<string, unknown> = {}) {
  const server = await serve(t, { modules: { mod_csi: options, mod_presence: { max_size: '200 KiB' } } })
  const phone = await server.client('alice', { resource: 'phone' })
  const bob = await server.client('bob', { resource: 'b' })
  await available(phone)
  await available(bob)
  await befriend(phone, bob)
  await nothing(phone, el => el.name === 'nothing', bob)
  while (await phone.receive(el => el.name === 'presence', 1).catch(() => undefined)) {} // those of the introduction
  /** Everything that comes from now on. */
  const seen: XmlElement[] = []
  phone.on('stanza', el => seen.push(el))
  return { server, phone, bob, seen }
}

const shows = (n: number | string) => `<presence><status>${n}</status></presence>`

/**
 * What bob sent is with the server, and what that sent on is with the phone, without the phone sending anything: two
 * answers of the server later than what it wrote to the phone.
 */
async function settled(bob: RawClient): Promise<void> {
  await bob.ping()
  await bob.ping()
}

test('it is offered', async t => {
  const { phone } = await people(t)
  assert.ok(child(phone.features, 'csi', CSI))
})

test('presence and typing wait while nobody looks; the newest of each comes then', async t => {
  const { phone, bob, seen } = await people(t)
  inactive(phone)
  await phone.ping()
  seen.length = 0
  for (let n = 1; n <= 5; n++) bob.send(shows(n))
  bob.send(state('alice@localhost', 'composing'))
  bob.send(state('alice@localhost', 'paused'))
  await settled(bob)
  assert.equal(seen.length, 0)
  active(phone)
  await phone.ping()
  assert.deepEqual(
    seen.map(el => el.name),
    ['presence', 'message', 'iq'],
  ) // before the answer to the ping: XEP-0352 5.1
  assert.equal(status(seen[0]!), '5')
  assert.equal(seen[1]!.children[0]!.name, 'paused')
})

test('a message brings along, before it, what waited', async t => {
  const { phone, bob, seen } = await people(t)
  inactive(phone)
  await phone.ping()
  seen.length = 0
  bob.send(shows('first'))
  bob.send("<message to='alice@localhost' type='chat'><body>second</body></message>")
  bob.send(shows('third'))
  await phone.receive(says('second'))
  assert.deepEqual(pluck(seen, 'name'), ['presence', 'message'])
  assert.equal(status(seen[0]!), 'first')
  await bob.ping()
  await phone.ping() // an answer is worth waking for too
  assert.deepEqual(pluck(seen, 'name'), ['presence', 'message', 'presence', 'iq'])
  // And it is inactive still.
  bob.send(shows('fourth'))
  await bob.ping()
  active(phone)
  await phone.receive(el => status(el) === 'fourth')
})

test('messages of any kind, subscriptions and being put out of a room do not wait', async t => {
  const { server, phone, bob } = await people(t)
  const carol = await server.client('carol')
  inactive(phone)
  await phone.ping()
  bob.send(`<message to='${phone.jid}' type='headline'><body>news</body></message>`)
  await phone.receive(says('news'))
  bob.send(
    "<message to='alice@localhost' type='chat'><body>transient</body><no-store xmlns='urn:xmpp:hints'/></message>",
  )
  await phone.receive(says('transient'))
  carol.send("<presence to='alice@localhost' type='subscribe'/>")
  await phone.receive(presenceFrom('carol@localhost', 'subscribe'))
  const room = (code: string) => `<x xmlns='http://jabber.org/protocol/muc#user'><status code='${code}'/></x>`
  carol.send(`<presence to='${phone.jid}'>${room('100')}</presence>`)
  await carol.ping()
  carol.send(`<presence to='${phone.jid}' type='unavailable'>${room('110')}</presence>`)
  await phone.receive(presenceFrom(carol.jid)) // what waited comes first
  await phone.receive(presenceFrom(carol.jid, 'unavailable'))
})

const EVENT = 'http://jabber.org/protocol/pubsub#event'
/** What a node of bob tells alice's phone. */
const event = (phone: RawClient, node: string, content: string) =>
  `<message to='${phone.jid}' type='headline'><event xmlns='${EVENT}'><items node='${node}'>${content}</items></event></message>`
const itemOf = (el: XmlElement) => child(child(child(el, 'event'), 'items'), 'item')

test('news of nodes wait, the newest of each item; what was read elsewhere does not', async t => {
  const { phone, bob, seen } = await people(t)
  inactive(phone)
  await phone.ping()
  seen.length = 0
  for (const n of [1, 2]) bob.send(event(phone, 'mood', `<item id='current'><mood n='${n}' xmlns='x'/></item>`))
  bob.send(event(phone, 'bookmarks', "<item id='room1'/>"))
  bob.send(event(phone, 'bookmarks', "<item id='room2'/>"))
  bob.send(event(phone, 'bookmarks', "<retract id='room3'/>"))
  await settled(bob)
  assert.equal(seen.length, 0)
  bob.send(event(phone, 'urn:xmpp:mds:displayed:0', "<item id='carol@localhost'/>"))
  await phone.receive(el => itemOf(el)?.attrs['id'] === 'carol@localhost')
  assert.deepEqual(
    seen.map(el => itemOf(el)?.attrs['id']),
    ['current', 'room1', 'room2', undefined, 'carol@localhost'],
  )
  assert.equal(itemOf(seen[0]!)!.children[0]!.attrs['n'], '2')
})

test('calls do not wait: neither their proposal nor their negotiation', async t => {
  const { phone, bob, seen } = await people(t)
  inactive(phone)
  await phone.ping()
  seen.length = 0
  bob.send(shows('calling'))
  bob.send(
    "<message to='alice@localhost' type='chat'><propose xmlns='urn:xmpp:jingle-message:0' id='c'/><store xmlns='urn:xmpp:hints'/></message>",
  )
  await phone.receive(el => child(el, 'propose') !== undefined)
  bob.send(shows('in a call'))
  bob.send(
    `<iq type='set' id='j' to='${phone.jid}'><jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='c'/></iq>`,
  )
  await phone.receive(el => child(el, 'jingle') !== undefined)
  assert.deepEqual(pluck(seen, 'name'), ['presence', 'message', 'presence', 'iq'])
})

test('who comes and goes in a room waits, the newest of each occupant, and comes before what is said there', async t => {
  const { server, phone, bob, seen } = await people(t)
  const occupants = []
  for (const nick of ['x', 'y']) occupants.push(await server.client('room', { resource: nick }))
  const [x, y] = occupants as [RawClient, RawClient]
  inactive(phone)
  await phone.ping()
  seen.length = 0
  const muc = "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='participant'/></x>"
  for (const client of [x, y]) client.send(`<presence to='${phone.jid}'>${muc}</presence>`)
  x.send(`<presence to='${phone.jid}' type='unavailable'>${muc}</presence>`)
  await x.ping()
  await y.ping()
  await settled(bob)
  assert.equal(seen.length, 0)
  x.send(`<message to='${phone.jid}' type='groupchat'><body>bye</body></message>`)
  await phone.receive(says('bye'))
  assert.equal(seen.length, 3)
  const last = new Map(seen.slice(0, 2).map(el => [el.attrs['from'], el.attrs['type']]))
  assert.deepEqual([last.get(x.jid), last.get(y.jid)], ['unavailable', undefined])
})

test('at the bound all that waits comes', async t => {
  const { server, phone, bob } = await people(t, { queue_size: 3 })
  inactive(phone)
  await phone.ping()
  const clients = []
  for (let n = 0; n < 4; n++) clients.push(await server.client('carol', { resource: String(n) }))
  for (const client of clients.slice(0, 3)) {
    client.send(`<presence to='${phone.jid}'/>`)
    await client.ping()
  }
  let came = 0
  phone.on('stanza', el => {
    if (isPresence(el)) came++
  })
  await settled(bob)
  assert.equal(came, 0)
  clients[3]!.send(`<presence to='${phone.jid}'/>`)
  for (const client of clients) await phone.receive(presenceFrom(client.jid))
  assert.equal(came, 4)
})

test('large presence does not pile up', async t => {
  const { server, phone } = await people(t)
  inactive(phone)
  await phone.ping()
  const clients = []
  for (let n = 0; n < 2; n++) clients.push(await server.client('carol', { resource: String(n) }))
  for (const client of clients) {
    client.send(`<presence to='${phone.jid}'><status>${'x'.repeat(140_000)}</status></presence>`)
    await client.ping()
  }
  for (const client of clients) await phone.receive(presenceFrom(client.jid))
})

test('a resumed client is active, and gets what waited', async t => {
  const { server, bob } = await people(t)
  const tablet = await server.client('alice', { resource: 'tablet' })
  const sm = await tablet.enable()
  await available(tablet)
  inactive(tablet)
  await tablet.ping()
  bob.send(shows('while away'))
  await bob.ping()
  tablet.cut()
  const again = await authenticated(server, 'alice')
  assert.ok(await again.resume(sm))
  await again.receive(el => status(el) === 'while away')
  bob.send(shows('at once'))
  await again.receive(el => status(el) === 'at once')
})

test('the server’s way is as short as ever while nobody is inactive', async t => {
  const { server, phone, bob } = await people(t)
  const { hooks } = server.server.host('localhost')!
  const handlers = () =>
    hooks.list().filter(({ hook, owner }) => hook === 'user_receive_packet' && owner === 'mod_csi').length
  assert.equal(handlers(), 0)
  for (const client of [phone, bob, phone]) inactive(client)
  await phone.ping()
  await bob.ping()
  assert.equal(handlers(), 1)
  active(phone)
  await phone.ping()
  assert.equal(handlers(), 1)
  await bob.close()
  assert.equal(handlers(), 0)
  active(phone) // once more is no error
  await phone.ping()
})

test('a copy of a typing notification waits too', async t => {
  const { server, phone, bob, seen } = await people(t)
  const desk = await server.client('alice', { resource: 'desk' })
  await available(desk)
  await phone.request('set', "<enable xmlns='urn:xmpp:carbons:2'/>")
  inactive(phone)
  await phone.ping()
  seen.length = 0
  desk.send(state('bob@localhost', 'composing'))
  await bob.receive(isState)
  await settled(bob)
  assert.equal(seen.length, 0)
  active(phone)
  await phone.ping()
  assert.equal(seen[0]!.children[0]!.name, 'sent')
})

test('a reload of the module gives what waited, and it can be asked to wait again', async t => {
  const { server, phone, bob } = await people(t)
  inactive(phone)
  await phone.ping()
  bob.send(shows('before'))
  await bob.ping()
  const { config } = server.server
  const local = config.perHost.get('localhost')!
  const modules = { ...local.modules, mod_csi: { queue_size: 7 } }
  const changed = { ...config, perHost: new Map([['localhost', { ...local, modules }]]) }
  await server.server.reload(changed, await builtins())
  await phone.receive(el => status(el) === 'before')
  inactive(phone)
  await phone.ping()
  bob.send(shows('after'))
  await bob.ping()
  active(phone)
  await phone.receive(el => status(el) === 'after')
})
