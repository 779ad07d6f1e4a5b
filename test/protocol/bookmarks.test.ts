import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import {
  event,
  type InterestedClient,
  ITEMS,
  interested,
  itemIds,
  publish,
  publishes,
  pubsub,
  refusal,
  retracts,
} from '../support/publishing.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { nothing, refused, serve } from '../support/talk.ts'

const NODE = 'urn:xmpp:bookmarks:1'
const OLD = 'storage:bookmarks'
const OPTIONS = {
  persist_items: 'true',
  max_items: 'max',
  send_last_published_item: 'never',
  access_model: 'whitelist',
}

const server = await serve({ after })

const conference = (name: string, more = '') =>
  `<conference xmlns='${NODE}' name='${name}' autojoin='true'><nick>JC</nick>${more}</conference>`
const add = (client: RawClient, jid: string, name: string, more = '') =>
  publish(client, NODE, conference(name, more), jid, OPTIONS)
const list = (rooms: string) => `<storage xmlns='${OLD}'>${rooms}</storage>`
const room = (jid: string, name: string, more = '') =>
  `<conference jid='${jid}' name='${name}' autojoin='1'><nick>JC</nick>${more}</conference>`
const store = (client: RawClient, rooms: string) =>
  client.request('set', `<query xmlns='jabber:iq:private'>${list(rooms)}</query>`)

async function stored(client: RawClient): Promise<XmlElement[]> {
  const answer = await client.request('get', `<query xmlns='jabber:iq:private'>${list('')}</query>`)
  return child(answer.children[0], 'storage', OLD)!.children
}

/** Name and address of each room of the list of the old form in a node. */
async function listed(client: RawClient): Promise<string[]> {
  const answer = await client.request('get', ITEMS(OLD))
  const [item] = child(answer.children[0], 'items')!.children
  return named(child(item, 'storage', OLD)!.children)
}
const named = (rooms: XmlElement[]) => rooms.map(r => `${r.attrs['name']} ${r.attrs['jid'] ?? r.attrs['url']}`)

function user(name: string): Promise<InterestedClient> {
  return interested(server, name, [NODE, OLD])
}

test('a bookmark is an item, and other clients of the user hear of it', async () => {
  const alice = await user('alice')
  const phone = await interested(server, 'alice', [NODE], { resource: 'phone' })
  await add(alice, 'play@rooms.example', 'Play')
  await phone.receive(publishes(NODE, 'play@rooms.example'))
  await alice.request('set', pubsub(`<retract node='${NODE}' notify='true'><item id='play@rooms.example'/></retract>`))
  await phone.receive(retracts(NODE, 'play@rooms.example'))
  assert.deepEqual(await itemIds(alice, NODE), [])
})

test('the account says that all forms are one', async () => {
  const alice = await user('alice')
  const info = await alice.request('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>")
  const features = info.children[0]!.children.map(el => el.attrs['var'])
  for (const one of [`${NODE}#compat`, `${NODE}#compat-pep`, 'urn:xmpp:bookmarks-conversion:0']) {
    assert.ok(features.includes(one), one)
  }
})

test('what is stored in the newest form is read in private storage', async () => {
  const alice = await user('anna')
  await add(alice, 'play@rooms.example', 'Play &amp; more', '<password>x</password>')
  await add(alice, 'orchard@rooms.example', 'Orchard')
  const rooms = await stored(alice)
  assert.deepEqual(named(rooms), ['Play & more play@rooms.example', 'Orchard orchard@rooms.example'])
  assert.equal(child(rooms[0], 'nick', OLD)!.text, 'JC')
  assert.equal(child(rooms[0], 'password', OLD)!.text, 'x')
  assert.equal(rooms[0]!.attrs['autojoin'], 'true')
})

test('what is stored in private storage are items, and only what has changed is told', async () => {
  const alice = await user('berta')
  await add(alice, 'a@rooms.example', 'A', "<extensions><state xmlns='urn:state' minimized='true'/></extensions>")
  await add(alice, 'b@rooms.example', 'B')
  await add(alice, 'c@rooms.example', 'C')
  for (const jid of ['a', 'b', 'c']) await alice.receive(publishes(NODE, `${jid}@rooms.example`))
  const url = "<url name='Complete works' url='http://shakespeare.example/'/>"
  await store(
    alice,
    `${room('a@rooms.example', 'A2')}${room('b@rooms.example', 'B')}${room('d@rooms.example', 'D')}${url}`,
  )
  const changed = await alice.receive(publishes(NODE, 'a@rooms.example'))
  const el = child(event(changed)!.children[0], 'conference', NODE)!
  assert.equal(el.attrs['name'], 'A2')
  assert.equal(el.attrs['jid'], undefined)
  assert.ok(child(child(el, 'extensions', NODE), 'state', 'urn:state'), 'what the old form does not know is kept')
  await alice.receive(publishes(NODE, 'd@rooms.example'))
  await alice.receive(retracts(NODE, 'c@rooms.example'))
  await nothing(alice, publishes(NODE, 'b@rooms.example'))
  const names = named(await stored(alice))
  assert.deepEqual(names.sort(), [
    'A2 a@rooms.example',
    'B b@rooms.example',
    'Complete works http://shakespeare.example/',
    'D d@rooms.example',
  ])
})

test('the list in a node is the same', async () => {
  const alice = await user('carla')
  await publish(alice, OLD, list(room('a@rooms.example', 'A')), 'current', { access_model: 'whitelist' })
  await alice.receive(publishes(NODE, 'a@rooms.example'))
  assert.deepEqual(await itemIds(alice, NODE), ['a@rooms.example'])
  await add(alice, 'b@rooms.example', 'B')
  const told = (name: string) => (el: XmlElement) => publishes(OLD)(el) && JSON.stringify(el).includes(`"${name}"`)
  await alice.receive(told('B'))
  assert.deepEqual(await listed(alice), ['A a@rooms.example', 'B b@rooms.example'])
  await store(alice, room('c@rooms.example', 'C'))
  await alice.receive(told('C'))
  assert.deepEqual(await listed(alice), ['C c@rooms.example'])
})

test('bookmarks are private, also where a client forgets to say so', async () => {
  const alice = await user('dana')
  for (const jid of ['a@rooms.example', 'b@rooms.example']) await publish(alice, NODE, conference('x'), jid)
  assert.equal((await itemIds(alice, NODE)).length, 2)
  await add(alice, 'c@rooms.example', 'C') // whose options it meets
  const late = await interested(server, 'dana', [NODE], { resource: 'late' })
  await nothing(late, publishes(NODE))
})

test('a list that cannot be changes nothing; a bookmark has its bound', async () => {
  const alice = await user('edda')
  await store(alice, room('a@rooms.example', 'A'))
  const wrong = `<query xmlns='jabber:iq:private'>${list(`${room('b@rooms.example', 'B')}<conference name='nowhere'/>`)}</query>`
  await refusal('bad-request', alice, 'set', wrong)
  assert.deepEqual(await itemIds(alice, NODE), ['a@rooms.example'])
  const item = (size: number) =>
    pubsub(
      `<publish node='${NODE}'><item id='a@rooms.example'><conference xmlns='${NODE}'>${'x'.repeat(size)}</conference></item></publish>`,
    )
  const empty = `<conference xmlns='${NODE}'></conference>`.length
  await alice.request('set', item(8192 - empty))
  await refusal('policy-violation', alice, 'set', item(8193 - empty))
})

test('a list of the old form has so many rooms', async () => {
  const alice = await server.client('gerda')
  const rooms = (count: number) => Array.from({ length: count }, (_, i) => `<conference jid='r${i}@x'/>`).join('')
  await refusal('policy-violation', alice, 'set', `<query xmlns='jabber:iq:private'>${list(rooms(1001))}</query>`)
  await store(alice, rooms(1000))
  assert.equal((await stored(alice)).length, 1000)
})

test('other private data is as it was', async () => {
  const alice = await user('frida')
  const prefs = "<prefs xmlns='urn:prefs'><conference jid='x@y'/></prefs>"
  await alice.request('set', `<query xmlns='jabber:iq:private'>${prefs}</query>`)
  const answer = await alice.request('get', "<query xmlns='jabber:iq:private'><prefs xmlns='urn:prefs'/></query>")
  assert.equal(answer.children[0]!.children[0]!.children.length, 1)
})

test('all bookmarks of a user have so many bytes, however they are written', async () => {
  const lou = await server.client('lou')
  const long = (i: number, size = 7000) => add(lou, `r${i}@rooms`, 'x'.repeat(size))
  for (let i = 0; i < 27; i++) await long(i)
  await refused('resource-constraint', long(27))
  await long(3, 6000) // one that is there may change
  const rooms = (count: number) =>
    Array.from({ length: count }, (_, i) => room(`r${i}@rooms`, 'x'.repeat(7000))).join('')
  await refused('resource-constraint', publish(lou, OLD, list(rooms(28)), 'current'))
  await publish(lou, OLD, list(rooms(27)), 'current')
  assert.equal((await stored(lou)).length, 27)
})
