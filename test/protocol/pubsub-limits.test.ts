import assert from 'node:assert/strict'
import { test } from 'node:test'
import { faultyStore } from '../support/faultystore.ts'
import { attrs } from '../support/pluck.ts'
import { form, ITEMS, itemIds, owner, publish, pubsub, refusal } from '../support/publishing.ts'
import { child } from '../support/rawxml.ts'
import { available, online, refused, serve } from '../support/talk.ts'

const SERVICE = 'pubsub.localhost'
const P = "<p xmlns='urn:p'/>"

test('an account has so many nodes, and no more', async t => {
  const server = await serve(t, { modules: { mod_pubsub: { max_user_nodes: 10 } } })
  const alice = await server.client('alice')
  for (let i = 0; i < 10; i++) await publish(alice, `urn:${i}`, P, 'x')
  const item = pubsub(`<publish node='urn:10'><item>${P}</item></publish>`)
  await refusal('policy-violation max-nodes-exceeded', alice, 'set', item)
  await publish(alice, 'urn:9', P, 'y')
  await alice.request('set', owner("<delete node='urn:3'/>"))
  await alice.request('set', item)
  // At the service for everybody, one owns as many, and others as many again.
  for (let i = 0; i < 10; i++) await alice.request('set', pubsub(`<create node='${i}'/>`), SERVICE)
  await refusal('policy-violation max-nodes-exceeded', alice, 'set', pubsub('<create/>'), SERVICE)
  const bob = await server.client('bob')
  await bob.request('set', pubsub('<create/>'), SERVICE)
})

test('a node has so many items, the newest of them', async t => {
  const server = await serve(t, { modules: { mod_pubsub: { max_items_node: 3 } } })
  const alice = await server.client('alice')
  for (const id of ['1', '2', '3', '4']) await publish(alice, 'urn:p', P, id, { max_items: 'max' })
  assert.deepEqual(await itemIds(alice, 'urn:p'), ['4', '3', '2'])
  await publish(alice, 'urn:p', P, '2')
  await publish(alice, 'urn:p', P, '5')
  assert.deepEqual(await itemIds(alice, 'urn:p'), ['5', '2', '4'])
})

test('an item has so many bytes, and names so many characters', async t => {
  const server = await serve(t, { modules: { mod_pubsub: { max_item_size: 1024 } } })
  const alice = await server.client('alice')
  const empty = '<p xmlns="urn:p"></p>'.length
  const big = (size: number) => `<p xmlns='urn:p'>${'x'.repeat(size - empty)}</p>`
  await publish(alice, 'urn:p', big(1024), 'x')
  const item = (payload: string, node = 'urn:p', id = 'x') =>
    pubsub(`<publish node='${node}'><item id='${id}'>${payload}</item></publish>`)
  await refusal('not-acceptable payload-too-big', alice, 'set', item(big(1025)))
  const answer = await alice.request('get', ITEMS('urn:p'))
  assert.equal(child(answer.children[0], 'items')!.children[0]!.children[0]!.text.length, 1024 - empty)
  await alice.request('set', item(P, 'n'.repeat(1023), 'i'.repeat(1023)))
  await refusal('not-acceptable', alice, 'set', item(P, 'n'.repeat(1024)))
  await refusal('not-acceptable', alice, 'set', item(P, 'urn:p', 'i'.repeat(1024)))
  const configure = owner(`<configure node='urn:p'>${form('node_config', { max_payload_size: '1025' })}</configure>`)
  await refusal('not-acceptable', alice, 'set', configure)
})

test('a node has so many subscribers, and each so many addresses', async t => {
  const server = await serve(t, { modules: { mod_pubsub: { max_subscriptions_node: 11 } } })
  const alice = await server.client('alice')
  await alice.request('set', pubsub("<create node='n'/>"), SERVICE)
  const subscribe = (who: string, resource: string) =>
    pubsub(`<subscribe node='n' jid='${who}@localhost/${resource}'/>`)
  for (let i = 0; i < 10; i++) await alice.request('set', subscribe('alice', String(i)), SERVICE)
  await refusal('policy-violation too-many-subscriptions', alice, 'set', subscribe('alice', '10'), SERVICE)
  await alice.request('set', subscribe('alice', '3'), SERVICE) // that is there already
  const bob = await server.client('bob')
  await bob.request('set', subscribe('bob', 'x'), SERVICE)
  await refusal('policy-violation too-many-subscriptions', bob, 'set', subscribe('bob', 'y'), SERVICE)
  const elsewhere =
    "<subscriptions node='n'><subscription jid='victim@far.example' subscription='subscribed'/></subscriptions>"
  await refusal('not-acceptable', alice, 'set', owner(elsewhere), SERVICE)
})

test('a request names so many, and a node keeps so many in mind', async t => {
  const server = await serve(t)
  const alice = await server.client('alice')
  await alice.request('set', pubsub("<create node='n'/>"), SERVICE)
  const members = (from: number, count: number) => {
    const list = Array.from({ length: count }, (_, i) => `<affiliation jid='u${from + i}@x' affiliation='member'/>`)
    return owner(`<affiliations node='n'>${list.join('')}</affiliations>`)
  }
  await refusal('policy-violation', alice, 'set', members(0, 501), SERVICE)
  for (let i = 0; i < 4500; i += 500) await alice.request('set', members(i, 500), SERVICE)
  await alice.request('set', members(4500, 499), SERVICE) // and alice
  await refusal('policy-violation', alice, 'set', members(4999, 1), SERVICE)
  await alice.request('set', members(4998, 1), SERVICE)
  const ids = (count: number) => Array.from({ length: count }, (_, i) => `<item id='${i}'/>`).join('')
  await alice.request('get', ITEMS('n', ids(200)), SERVICE)
  await refusal('policy-violation', alice, 'get', ITEMS('n', ids(201)), SERVICE)
})

test('so many may wait for an owner’s answer', async t => {
  const { store } = faultyStore()
  const first = await serve(t, { store })
  const authorize = form('node_config', { access_model: 'authorize' })
  const create = pubsub(`<create node='n'/><configure>${authorize}</configure>`)
  await (await first.client('alice')).request('set', create, SERVICE)
  await first.server.stop()
  const table = store.table<object>('localhost', { name: 'pubsub_entity', version: 1 })
  const ask = (user: string) => table.put([''], ['n', 's', user], { subscription: 'pending', deliver: true })
  for (let i = 0; i < 99; i++) await ask(`user${i}@localhost`)
  const server = await serve(t, { store })
  const [bob, carol] = await server.clients('bob', 'carol')
  await bob.request('set', pubsub("<subscribe node='n' jid='bob@localhost'/>"), SERVICE)
  const one = pubsub("<subscribe node='n' jid='carol@localhost'/>")
  await refusal('policy-violation too-many-subscriptions', carol, 'set', one, SERVICE)
})

test('an answer that would be too long is cut, and says so', async t => {
  const server = await serve(t)
  const alice = await server.client('alice')
  const big = `<p xmlns='urn:p'>${'x'.repeat(200_000)}</p>`
  for (let i = 0; i < 8; i++) await publish(alice, 'urn:p', big, String(i), { max_items: 'max' })
  const answer = (await alice.request('get', ITEMS('urn:p'))).children[0]!
  const items = child(answer, 'items')!.children
  assert.ok(items.length >= 5 && items.length < 8, `${items.length} items`)
  const set = child(answer, 'set', 'http://jabber.org/protocol/rsm')!
  assert.equal(child(set, 'count')!.text, '8')
  const last = child(set, 'last')!.text
  const rest = pubsub(`<items node='urn:p'/><set xmlns='http://jabber.org/protocol/rsm'><after>${last}</after></set>`)
  const more = child((await alice.request('get', rest)).children[0], 'items')!.children
  assert.deepEqual(attrs([...items, ...more], 'id'), ['7', '6', '5', '4', '3', '2', '1', '0'])
})

test('items are gone when their time is over, and a command deletes them', async t => {
  let now = Date.now()
  const server = await serve(t, { now: () => now, modules: { mod_pubsub: { max_item_expire_node: '1h' } } })
  const alice = await server.client('alice')
  const options = { max_items: 'max', item_expire: '60' }
  await publish(alice, 'urn:p', P, 'old', options)
  await publish(alice, 'urn:q', P, 'old')
  now += 30_000
  await publish(alice, 'urn:p', P, 'new', options)
  assert.deepEqual(await itemIds(alice, 'urn:p'), ['new', 'old'])
  now += 31_000
  assert.equal(await server.command('delete_expired_pubsub_items'), 1)
  assert.deepEqual(await itemIds(alice, 'urn:p'), ['new'])
  now += 60_000
  assert.deepEqual(await itemIds(alice, 'urn:p'), [])
  assert.deepEqual(await itemIds(alice, 'urn:q'), ['old'])
  now += 3_600_000
  assert.deepEqual(await itemIds(alice, 'urn:q'), [])
  assert.equal(await server.command('delete_expired_pubsub_items'), 0, 'reading had deleted them')
})

test('who may make nodes is configured', async t => {
  const server = await serve(t, { modules: { mod_pubsub: { access_createnode: 'none', host: 'news.@HOST@' } } })
  const [alice] = await online(server, 'alice')
  await refused('forbidden', alice.request('set', pubsub('<create/>'), 'news.localhost'))
  await refused('forbidden', publish(alice, 'n', P, 'x', undefined, 'news.localhost'))
  await publish(alice, 'n', P, 'x')
  await refused('remote-server-not-found', alice.request('set', pubsub('<create/>'), SERVICE))
})

test('who gives nodes away has made them all the same, and who is given some may make others', async t => {
  const server = await serve(t, { modules: { mod_pubsub: { max_user_nodes: 10 } } })
  const [alice, bob] = await server.clients('alice', 'bob')
  const give = (node: number) =>
    owner(`<affiliations node='${node}'><affiliation jid='bob@localhost' affiliation='owner'/>
      <affiliation jid='alice@localhost' affiliation='none'/></affiliations>`)
  for (let i = 0; i < 10; i++) {
    await alice.request('set', pubsub(`<create node='${i}'/>`), SERVICE)
    await alice.request('set', give(i), SERVICE)
  }
  await refusal('policy-violation max-nodes-exceeded', alice, 'set', pubsub('<create/>'), SERVICE)
  await bob.request('set', pubsub('<create/>'), SERVICE)
  await bob.request('set', owner("<delete node='3'/>"), SERVICE)
  await alice.request('set', pubsub('<create/>'), SERVICE)
})

test('the roster groups of a configuration have so many characters in all', async t => {
  const server = await serve(t)
  const alice = await server.client('alice')
  await alice.request('set', pubsub("<create node='n'/>"))
  const configure = (size: number) => {
    const value = `<value>${'g'.repeat(size)}</value>`
    const type = "<field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#node_config</value></field>"
    const groups = `<field var='pubsub#roster_groups_allowed'>${value.repeat(8)}</field>`
    return owner(`<configure node='n'><x xmlns='jabber:x:data' type='submit'>${type}${groups}</x></configure>`)
  }
  await alice.request('set', configure(512))
  await refusal('not-acceptable', alice, 'set', configure(513))
})

test('an account stores so many bytes in its nodes, and what it deletes makes room', async t => {
  const { store } = faultyStore()
  const modules = { mod_pubsub: { max_bytes_per_account: 65_536 } }
  const first = await serve(t, { store, modules })
  const alice = await first.client('alice')
  const big = (bytes: number) => `<p xmlns='urn:p'>${'x'.repeat(bytes)}</p>`
  const item = (node: string, id: string, bytes: number) =>
    pubsub(`<publish node='${node}'><item id='${id}'>${big(bytes)}</item></publish>`)
  const full = (node: string, id: string, bytes: number, who = alice, to?: string) =>
    refusal('resource-constraint', who, 'set', item(node, id, bytes), to)
  await publish(alice, 'urn:list', big(20_000), 'a', { max_items: 'max' })
  for (const id of ['b', 'c']) await publish(alice, 'urn:list', big(20_000), id)
  await full('urn:list', 'd', 10_000)
  await full('urn:other', 'd', 10_000)
  await refused('item-not-found', alice.request('get', ITEMS('urn:other'))) // nor was the node made
  // An item that takes the place of another counts for what it is larger.
  await publish(alice, 'urn:list', big(22_000), 'c')
  await full('urn:list', 'c', 30_000)
  for (let i = 0; i < 3; i++) {
    await alice.request('set', pubsub("<retract node='urn:list'><item id='a'/></retract>"))
    await publish(alice, 'urn:other', big(20_000), 'a')
    await full('urn:list', 'x', 10_000)
    await alice.request('set', owner(i === 1 ? "<delete node='urn:other'/>" : "<purge node='urn:other'/>"))
    await publish(alice, 'urn:list', big(20_000), 'a')
    await full('urn:list', 'x', 10_000)
  }
  // At the service for everybody as much again, by who made the node: not by who publishes.
  const create = pubsub(
    `<create node='n'/><configure>${form('node_config', { publish_model: 'open', max_items: '9' })}</configure>`,
  )
  await alice.request('set', create, SERVICE)
  const bob = await first.client('bob')
  for (const id of ['1', '2', '3']) await bob.request('set', item('n', id, 20_000), SERVICE)
  await full('n', '4', 10_000, bob, SERVICE)
  await bob.request('set', item('m', '4', 10_000), SERVICE)
  await first.stop()
  // It is counted again after a restart.
  const second = await serve(t, { store, modules })
  const again = await second.client('alice')
  await full('urn:list', 'x', 10_000, again)
  await full('n', '4', 10_000, again, SERVICE)
  await again.request('set', owner("<delete node='urn:list'/>"))
  await again.request('set', item('urn:list', 'x', 60_000))
})

test('a full node goes on with new items in the place of old ones', async t => {
  const server = await serve(t, { modules: { mod_pubsub: { max_bytes_per_account: 65_536 } } })
  const alice = await server.client('alice')
  const big = `<p xmlns='urn:p'>${'x'.repeat(20_000)}</p>`
  await publish(alice, 'urn:p', big, '0', { max_items: '3' })
  for (let i = 1; i < 10; i++) await publish(alice, 'urn:p', big, String(i))
  assert.deepEqual(await itemIds(alice, 'urn:p'), ['9', '8', '7'])
  const none = await serve(t, { modules: { mod_pubsub: { max_bytes_per_account: 'infinity' } } })
  const bob = await none.client('bob')
  for (let i = 0; i < 5; i++) await publish(bob, `urn:${i}`, big, 'x')
})

test('the addresses of those who are something to a node have so many bytes, however many they are', async t => {
  const server = await serve(t)
  const [alice, bob] = await server.clients('alice', 'bob')
  await alice.request('set', pubsub("<create node='n'/>"), SERVICE)
  const members = (from: number, count: number) => {
    const list = Array.from(
      { length: count },
      (_, i) => `<affiliation jid='${String(from + i).padEnd(1000, 'x')}@x' affiliation='member'/>`,
    )
    return owner(`<affiliations node='n'>${list.join('')}</affiliations>`)
  }
  for (let i = 0; i < 1000; i += 100) await alice.request('set', members(i, 100), SERVICE)
  await refusal('policy-violation', alice, 'set', members(1000, 100), SERVICE)
  const subscribe = (resource: string) => pubsub(`<subscribe node='n' jid='bob@localhost/${resource}'/>`)
  await alice.request('set', members(1000, 14), SERVICE)
  await refusal('policy-violation too-many-subscriptions', bob, 'set', subscribe('r'.repeat(1000)), SERVICE)
  await bob.request('set', subscribe('r'), SERVICE)
  await alice.request('set', members(0, 100), SERVICE) // who is there may become something else
})

test('the names and configurations of an account’s nodes have so many characters', async t => {
  const server = await serve(t)
  const alice = await server.client('alice')
  const title = form('node_config', { title: 't'.repeat(1024), description: 'd'.repeat(1024) })
  const create = (i: number) => pubsub(`<create node='${String(i).padEnd(1000, 'n')}'/><configure>${title}</configure>`)
  let made = 0
  for (; made < 100; made++) {
    if (
      !(await alice.request('set', create(made)).then(
        () => true,
        () => false,
      ))
    )
      break
  }
  assert.ok(made > 70 && made < 100, `${made} nodes`)
  await refusal('resource-constraint', alice, 'set', create(made))
  await publish(alice, 'urn:p', P, 'x')
  const node = String(0).padEnd(1000, 'n')
  const configure = (fields: Record<string, string>) =>
    owner(`<configure node='${node}'>${form('node_config', fields)}</configure>`)
  await refusal('resource-constraint', alice, 'set', owner(`<configure node='urn:p'>${title}</configure>`))
  await alice.request('set', configure({ title: '' }))
})

test('one is subscribed to so many nodes at the service', async t => {
  const { store } = faultyStore()
  const first = await serve(t, { store })
  await (await first.client('alice')).request('set', pubsub("<create node='n'/>"), SERVICE)
  await first.server.stop()
  const table = store.table<object>('localhost', { name: 'pubsub_by_entity', version: 1 })
  for (let i = 0; i < 1000; i++) await table.put(['bob@localhost'], ['', `m${i}`], { owner: false })
  const server = await serve(t, { store })
  const bob = await server.client('bob')
  const subscribe = pubsub("<subscribe node='n' jid='bob@localhost'/>")
  await refusal('policy-violation too-many-subscriptions', bob, 'set', subscribe, SERVICE)
  await table.del(['bob@localhost'], ['', 'm1'])
  await bob.request('set', subscribe, SERVICE)
  await bob.request('set', pubsub("<subscribe node='n' jid='bob@localhost/again'/>"), SERVICE)
})

test('service discovery lists so many nodes, and items of one', async t => {
  const server = await serve(t)
  const alice = await server.client('alice')
  const listed = async (to: string, node = ''): Promise<number> => {
    const query = `<query xmlns='http://jabber.org/protocol/disco#items'${node === '' ? '' : ` node='${node}'`}/>`
    return (await alice.request('get', query, to)).children[0]!.children.length
  }
  for (let i = 0; i < 101; i++) await publish(alice, `urn:${i}`, P, 'x')
  assert.equal(await listed('alice@localhost'), 100)
  const create = pubsub(`<create node='many'/><configure>${form('node_config', { max_items: 'max' })}</configure>`)
  await alice.request('set', create, SERVICE)
  for (let i = 0; i < 101; i++) await publish(alice, 'many', P, String(i), undefined, SERVICE)
  assert.equal(await listed(SERVICE, 'many'), 100)
})

test('those of all nodes that one made, together, too; what ends makes room', async t => {
  const { store } = faultyStore()
  const first = await serve(t, { store })
  const alice = await first.client('alice')
  for (const node of ['n', 'm', 'o']) await alice.request('set', pubsub(`<create node='${node}'/>`), SERVICE)
  await first.server.stop()
  const table = store.table<object>('localhost', { name: 'pubsub_entity', version: 1 })
  const long = (i: number) => `${String(i).padEnd(1000, 'x')}@x`
  for (let i = 0; i < 16_200; i++) await table.put([''], ['m', 'a', long(i)], { affiliation: 'member' })
  const server = await serve(t, { store })
  const [again, bob] = await server.clients('alice', 'bob')
  const members = (node: string, from: number, count: number, affiliation = 'member') => {
    const list = Array.from(
      { length: count },
      (_, i) => `<affiliation jid='${long(from + i)}' affiliation='${affiliation}'/>`,
    )
    return owner(`<affiliations node='${node}'>${list.join('')}</affiliations>`)
  }
  await again.request('set', members('n', 0, 25), SERVICE)
  await refusal('policy-violation', again, 'set', members('o', 0, 24), SERVICE)
  const subscribe = pubsub(`<subscribe node='n' jid='bob@localhost/${'r'.repeat(1000)}'/>`)
  await refusal('policy-violation too-many-subscriptions', bob, 'set', subscribe, SERVICE)
  await again.request('set', members('n', 0, 10, 'none'), SERVICE)
  await bob.request('set', subscribe, SERVICE)
  await again.request('set', owner("<delete node='m'/>"), SERVICE)
  await again.request('set', members('o', 0, 200), SERVICE)
})

test('who asks the owners again and again is heard so often in an hour', async t => {
  let now = Date.now()
  const server = await serve(t, { now: () => now })
  const [alice, bob] = await server.clients('alice', 'bob')
  const authorize = form('node_config', { access_model: 'authorize' })
  await alice.request('set', pubsub(`<create node='n'/><configure>${authorize}</configure>`), SERVICE)
  const ask = (what: string) => pubsub(`<${what} node='n' jid='bob@localhost'/>`)
  for (let i = 0; i < 10; i++) {
    await bob.request('set', ask('subscribe'), SERVICE)
    await bob.request('set', ask('unsubscribe'), SERVICE)
  }
  await refusal('policy-violation too-many-subscriptions', bob, 'set', ask('subscribe'), SERVICE)
  now += 3_600_000
  await bob.request('set', ask('subscribe'), SERVICE)
})

test('who was made an owner without being asked is told so often in an hour', async t => {
  let now = Date.now()
  const server = await serve(t, { now: () => now })
  const [mallory, helper] = await server.clients('mallory', 'helper')
  const [bob] = await online(server, 'bob')
  await available(mallory)
  const told = { bob: 0, mallory: 0 }
  const isNews = (from: string | undefined) => from === SERVICE
  bob.on('stanza', el => void (el.name === 'message' && isNews(el.attrs['from']) && told.bob++))
  mallory.on('stanza', el => void (el.name === 'message' && isNews(el.attrs['from']) && told.mallory++))
  const open = form('node_config', { notify_sub: '1' })
  for (const node of ['n', 'm']) {
    await mallory.request('set', pubsub(`<create node='${node}'/><configure>${open}</configure>`), SERVICE)
    const both = "<affiliation jid='bob@localhost' affiliation='owner'/>"
    await mallory.request('set', owner(`<affiliations node='${node}'>${both}</affiliations>`), SERVICE)
  }
  const comeAndGo = async (times: number) => {
    for (let i = 0; i < times; i++) {
      for (const what of ['subscribe', 'unsubscribe']) {
        await helper.request('set', pubsub(`<${what} node='${i % 2 ? 'n' : 'm'}' jid='helper@localhost'/>`), SERVICE)
      }
    }
    await bob.ping()
    await mallory.ping()
  }
  await comeAndGo(40)
  assert.deepEqual(told, { bob: 60, mallory: 80 })
  now += 3_600_000
  await comeAndGo(1)
  assert.deepEqual(told, { bob: 62, mallory: 82 })
})
