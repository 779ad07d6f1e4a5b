import assert from 'node:assert/strict'
import { test } from 'node:test'
import { faultyStore } from '../support/faultystore.ts'
import {
  form,
  friends,
  ITEMS,
  interested,
  itemIds,
  owner,
  publish,
  publishes,
  pubsub,
  refusal,
} from '../support/publishing.ts'
import { child } from '../support/rawxml.ts'
import { authenticated } from '../support/resuming.ts'
import { available, closed, refused, serve } from '../support/talk.ts'
import { builtins } from '../support/testserver.ts'

const SERVICE = 'pubsub.localhost'
const P = "<p xmlns='urn:p'/>"

test('nodes, items, subscriptions and affiliations survive a restart', async t => {
  const { store } = faultyStore()
  const server = await serve(t, { store })
  const [alice, bob] = await friends(server, ['alice', []], ['bob', []])
  for (const id of ['1', '2']) await publish(alice, 'urn:p', P, id, { access_model: 'whitelist', max_items: 'max' })
  await alice.request(
    'set',
    pubsub(`<create node='n'/><configure>${form('node_config', { title: 'T' })}</configure>`),
    SERVICE,
  )
  await bob.request('set', pubsub("<subscribe node='n' jid='bob@localhost'/>"), SERVICE)
  const publisher = "<affiliations node='n'><affiliation jid='bob@localhost' affiliation='publisher'/></affiliations>"
  await alice.request('set', owner(publisher), SERVICE)
  await server.server.stop()

  const next = await serve(t, { store })
  const [again, other] = await next.clients('alice', 'bob')
  await available(other)
  assert.deepEqual(await itemIds(again, 'urn:p'), ['2', '1'])
  await publish(again, 'urn:p', P, '3')
  assert.deepEqual(await itemIds(again, 'urn:p'), ['3', '2', '1'])
  await refusal('not-allowed closed-node', other, 'get', ITEMS('urn:p'), 'alice@localhost')
  await publish(other, 'n', P, 'x', undefined, SERVICE)
  await other.receive(publishes('n', 'x'))
  const node = await again.request('get', owner("<configure node='n'/>"), SERVICE)
  assert.match(JSON.stringify(node), /pubsub#title.*"text":"T"/)
})

test('what a client wants to hear of is known after a restart', async t => {
  const { store } = faultyStore()
  const server = await serve(t, { store })
  const alice = await interested(server, 'alice', ['urn:p'], { resource: 'a' })
  const sm = await alice.enable()
  await publish(alice, 'urn:p', P, '1')
  await alice.receive(publishes('urn:p', '1'))
  alice.ack()
  await alice.ping()
  alice.ack()
  const bye = closed(alice)
  await server.server.stop()
  await bye
  const next = await serve(t, { store })
  const again = await authenticated(next, 'alice')
  assert.equal(await again.resume(sm), true)
  await publish(await next.client('alice'), 'urn:p', P, '2')
  await again.receive(publishes('urn:p', '2'))
})

test('what could not be stored is refused, told to nobody, and can be tried again', async t => {
  const { store, troubles } = faultyStore({ only: 'pubsub_node' })
  const server = await serve(t, { store })
  const alice = await interested(server, 'alice', ['urn:p'])
  troubles.failWrites = true
  const item = pubsub(`<publish node='urn:p'><item id='x'>${P}</item></publish>`)
  await refused('resource-constraint', alice.request('set', item))
  await refused('item-not-found', alice.request('get', ITEMS('urn:p')))
  troubles.failWrites = false
  await alice.request('set', item)
  const answer = await alice.request('get', ITEMS('urn:p'))
  assert.equal(child(answer.children[0], 'items')!.children.length, 1)
  await alice.receive(publishes('urn:p', 'x'))
})

test('a reload moves the service to another name, and what users want to hear of stays', async t => {
  const server = await serve(t)
  const alice = await interested(server, 'alice', ['urn:p'])
  await alice.request('set', pubsub("<create node='n'/>"), SERVICE)
  const { config } = server.server
  const host = config.perHost.get('localhost')!
  const mod_pubsub = { ...(host.modules['mod_pubsub'] as object), host: 'news.@HOST@' }
  const changed = { ...host, modules: { ...host.modules, mod_pubsub } }
  await server.server.reload({ ...config, perHost: new Map([['localhost', changed]]) }, await builtins())
  await refused('remote-server-not-found', alice.request('get', owner("<configure node='n'/>"), SERVICE))
  await alice.request('get', owner("<configure node='n'/>"), 'news.localhost')
  const items = await alice.request('get', "<query xmlns='http://jabber.org/protocol/disco#items'/>", 'localhost')
  const jids = items.children[0]!.children.map(item => item.attrs['jid'])
  assert.ok(jids.includes('news.localhost') && !jids.includes(SERVICE), String(jids))
  await publish(alice, 'urn:p', P, 'x')
  await alice.receive(publishes('urn:p', 'x'))
})
