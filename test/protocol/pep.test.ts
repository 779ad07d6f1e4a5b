import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { attrs, pluck } from '../support/pluck.ts'
import {
  event,
  form,
  friends,
  ITEMS,
  interested,
  itemIds,
  owner,
  PUBSUB,
  publish,
  publishes,
  pubsub,
  refusal,
  retracts,
  tells,
} from '../support/publishing.ts'
import { child } from '../support/rawxml.ts'
import { available, bare, befriend, nothing, refused, serve } from '../support/talk.ts'

const server = await serve({ after })

const TUNE = 'http://jabber.org/protocol/tune'
const tune = (title: string) => `<tune xmlns='${TUNE}'><title>${title}</title></tune>`

test('what a user publishes, her own clients and her contacts hear, and nobody else', async () => {
  const [alice, bob] = await friends(server, ['alice', [TUNE]], ['bob', [TUNE]])
  const eve = await interested(server, 'eve', [TUNE])
  const deaf = await server.client('bob', { resource: 'deaf' })
  await available(deaf)
  await publish(alice, TUNE, tune('Introduction'), 'current')
  for (const client of [alice, bob]) {
    const message = await client.receive(publishes(TUNE, 'current'))
    assert.equal(message.attrs['from'], 'alice@localhost')
    assert.equal(message.attrs['to'], client.jid)
    assert.equal(message.attrs['type'], 'headline')
    assert.equal(child(message, 'delay'), undefined)
    const [item] = event(message)!.children
    assert.equal(item!.attrs['publisher'], undefined)
    assert.equal(child(child(item, 'tune', TUNE), 'title')!.text, 'Introduction')
  }
  for (const other of [eve, deaf]) await nothing(other, publishes(TUNE), alice)
})

test('who comes online hears what there is, with the time of it, once', async () => {
  const [alice, bob] = await friends(server, ['alina', []], ['bert', []])
  await publish(alice, TUNE, tune('Old'), 'x')
  for (const user of ['alina', 'bert']) {
    const late = await interested(server, user, [TUNE])
    const message = await late.receive(publishes(TUNE, 'x'))
    assert.equal(message.attrs['from'], 'alina@localhost')
    assert.match(child(message, 'delay', 'urn:xmpp:delay')!.attrs['stamp']!, /^20\d\d-.*Z$/)
    await available(late, late.lastPresence)
    await nothing(late, publishes(TUNE))
  }
  await bob.close()
})
test('an owner who is offline is heard of too', async () => {
  const [alice, bob] = await friends(server, ['ada', []], ['ben', []])
  await publish(alice, TUNE, tune('Gone'), 'x')
  await alice.close()
  await bob.close()
  const late = await interested(server, 'ben', [TUNE])
  await late.receive(publishes(TUNE, 'x'))
})

test('a client that learns something new hears what there is of it', async () => {
  const alice = await interested(server, 'amy', [])
  await publish(alice, TUNE, tune('New'), 'x')
  await alice.announce([TUNE])
  await alice.receive(publishes(TUNE, 'x'))
  await alice.announce([])
  await publish(alice, TUNE, tune('Newer'), 'y')
  await nothing(alice, publishes(TUNE))
})

test('who may see an account from now on hears what there is', async () => {
  const alice = await interested(server, 'ann', [])
  await publish(alice, TUNE, tune('For friends'), 'x')
  const bob = await interested(server, 'bill', [TUNE])
  await nothing(bob, publishes(TUNE), alice)
  await befriend(bob, alice)
  await bob.receive(publishes(TUNE, 'x'))
})

test('whoever was told by its contacts is told no more when blocked', async () => {
  const [alice, bob] = await friends(server, ['abe', []], ['bea', [TUNE]])
  await alice.request('set', "<block xmlns='urn:xmpp:blocking'><item jid='bea@localhost'/></block>")
  await publish(alice, TUNE, tune('Not for bea'), 'x')
  await nothing(bob, publishes(TUNE), alice)
  const again = await interested(server, 'bea', [TUNE])
  await nothing(again, publishes(TUNE), alice)
})

test('a lie about capabilities counts for the liar alone', async () => {
  const liar = await interested(server, 'mallory', [TUNE], { claim: ['urn:other'] })
  await publish(liar, TUNE, tune('x'), 'x')
  await liar.receive(publishes(TUNE, 'x'))
  const honest = await interested(server, 'mallory', ['urn:other'], { resource: 'honest' })
  await publish(honest, 'urn:other', "<o xmlns='urn:other'/>", 'y')
  await honest.receive(publishes('urn:other', 'y'))
  await nothing(honest, publishes(TUNE))
})

test('a node keeps the last item, and one that changes says so', async () => {
  const alice = await interested(server, 'alma', [TUNE])
  await publish(alice, TUNE, tune('1'), 'a')
  await publish(alice, TUNE, tune('2'), 'b')
  assert.deepEqual(await itemIds(alice, TUNE), ['b'])
  await alice.receive(publishes(TUNE, 'b'))
  await publish(alice, TUNE, tune('3'), 'b')
  await alice.receive(publishes(TUNE, 'b'))
  const answer = await alice.request('get', ITEMS(TUNE))
  assert.match(JSON.stringify(answer), /"3"/)
  await nothing(alice, retracts(TUNE))
})

test('an item without id gets one that nobody guesses', async () => {
  const alice = await server.client('alf')
  const answer = await publish(alice, TUNE, tune('1'))
  const id = child(child(answer.children[0], 'publish'), 'item')!.attrs['id']!
  assert.match(id, /^[0-9a-f]{32}$/)
  assert.deepEqual(await itemIds(alice, TUNE), [id])
})

test('an item that is taken back is gone, and who is to know is told', async () => {
  const [alice, bob] = await friends(server, ['arno', [TUNE]], ['bodo', [TUNE]])
  await publish(alice, TUNE, tune('1'), 'a')
  await alice.request('set', pubsub(`<retract node='${TUNE}' notify='true'><item id='a'/></retract>`))
  for (const client of [alice, bob]) await client.receive(retracts(TUNE, 'a'))
  assert.deepEqual(await itemIds(alice, TUNE), [])
  await refused('item-not-found', alice.request('set', pubsub(`<retract node='${TUNE}'><item id='a'/></retract>`)))
  await refusal('bad-request item-required', alice, 'set', pubsub(`<retract node='${TUNE}'/>`))
  await refusal('bad-request nodeid-required', alice, 'set', pubsub("<retract><item id='a'/></retract>"))
})

test('strangers get one answer, whatever there is', async () => {
  const [alice, eve] = await server.clients('agnes', 'evelyn')
  await publish(alice, TUNE, tune('1'), 'a')
  await publish(alice, 'urn:secret', "<s xmlns='urn:secret'/>", 'a', { access_model: 'whitelist' })
  await server.register('nora')
  for (const jid of ['agnes@localhost', 'nora@localhost', 'nobody@localhost']) {
    for (const node of [TUNE, 'urn:secret', 'urn:none']) {
      await refusal('not-authorized presence-subscription-required', eve, 'get', ITEMS(node), jid)
      const subscribe = pubsub(`<subscribe node='${node}' jid='evelyn@localhost'/>`)
      await refusal('not-authorized presence-subscription-required', eve, 'set', subscribe, jid)
    }
    for (const payload of ['<subscriptions/>', '<affiliations/>', '<default/>', '<nonsense/>']) {
      await refusal('not-authorized presence-subscription-required', eve, 'get', pubsub(payload), jid)
    }
    const forged = pubsub(`<publish node='${TUNE}'><item>${tune('forged')}</item></publish>`)
    await refusal('not-authorized presence-subscription-required', eve, 'set', forged, jid)
  }
})

test('contacts are told why they may not', async () => {
  const [alice, bob] = await friends(server, ['anke', []], ['bela', []])
  await publish(alice, 'urn:secret', "<s xmlns='urn:secret'/>", 'a', { access_model: 'whitelist' })
  await publish(alice, 'urn:group', "<s xmlns='urn:group'/>", 'a', {
    access_model: 'roster',
    roster_groups_allowed: 'Friends',
  })
  await refusal('not-allowed closed-node', bob, 'get', ITEMS('urn:secret'), 'anke@localhost')
  await refusal('not-authorized not-in-roster-group', bob, 'get', ITEMS('urn:group'), 'anke@localhost')
  await refused('item-not-found', bob.request('get', ITEMS('urn:none'), 'anke@localhost'))
  await alice.request(
    'set',
    "<query xmlns='jabber:iq:roster'><item jid='bela@localhost'><group>Friends</group></item></query>",
  )
  assert.deepEqual(await itemIds(bob, 'urn:group', 'anke@localhost'), ['a'])
  await refused(
    'forbidden',
    bob.request('set', pubsub(`<publish node='${TUNE}'><item>${tune('no')}</item></publish>`), 'anke@localhost'),
  )
})

test('publish-options make the node, and must be met where it is', async () => {
  const alice = await server.client('andy')
  const secret = { access_model: 'whitelist', persist_items: 'true', max_items: 'max' }
  for (const id of ['a', 'b', 'c']) await publish(alice, 'urn:p', "<p xmlns='urn:p'/>", id, secret)
  assert.deepEqual(await itemIds(alice, 'urn:p'), ['c', 'b', 'a'])
  const item = (options: string) =>
    pubsub(
      `<publish node='urn:p'><item><p xmlns='urn:p'/></item></publish><publish-options>${options}</publish-options>`,
    )
  const others: Record<string, string>[] = [{ access_model: 'open' }, { max_items: '1' }, { persist_items: '0' }]
  for (const options of others) {
    await refusal('conflict precondition-not-met', alice, 'set', item(form('publish-options', options)))
  }
  // As good as max, which is what it means here.
  await alice.request('set', item(form('publish-options', { max_items: '1000' })))
  await refusal('conflict precondition-not-met', alice, 'set', item(form('publish-options', { colour: 'blue' })))
  await refusal('bad-request', alice, 'set', item(form('node_config', secret)))
  await refusal('bad-request', alice, 'set', item(''))
  assert.equal((await itemIds(alice, 'urn:p')).length, 4)
})

test('what cannot be is no node', async () => {
  const alice = await server.client('anton')
  const item = (fields: Record<string, string>) =>
    pubsub(
      `<publish node='urn:p'><item><p xmlns='urn:p'/></item></publish><publish-options>${form('publish-options', fields)}</publish-options>`,
    )
  await refusal('conflict precondition-not-met', alice, 'set', item({ max_items: '1001' }))
  await refusal('conflict precondition-not-met', alice, 'set', item({ access_model: 'mine' }))
  await refused('item-not-found', alice.request('get', ITEMS('urn:p')))
})

test('a stranger fetches an open device list and its bundle, as for OMEMO', async () => {
  const [alice, eve] = await server.clients('alia', 'eva')
  const open = { access_model: 'open' }
  const devices = "<devices xmlns='urn:xmpp:omemo:2'><device id='31415'/></devices>"
  await publish(alice, 'urn:xmpp:omemo:2:devices', devices, 'current', open)
  const bundle = "<bundle xmlns='urn:xmpp:omemo:2'><ik>aWs=</ik></bundle>"
  await publish(alice, 'urn:xmpp:omemo:2:bundles', bundle, '31415', { ...open, max_items: 'max' })
  await publish(alice, 'urn:xmpp:omemo:2:bundles', bundle, '27182', { ...open, max_items: 'max' })
  const list = await eve.request('get', ITEMS('urn:xmpp:omemo:2:devices'), 'alia@localhost')
  assert.equal(list.attrs['from'], 'alia@localhost')
  assert.match(JSON.stringify(list), /31415/)
  const one = await eve.request('get', ITEMS('urn:xmpp:omemo:2:bundles', "<item id='31415'/>"), 'alia@localhost')
  const items = child(one.children[0], 'items')!.children
  assert.deepEqual(attrs(items, 'id'), ['31415'])
  await refusal('not-authorized presence-subscription-required', eve, 'get', ITEMS(TUNE), 'alia@localhost')
})

test('a private node is for one’s own clients', async () => {
  const [alice, bob] = await friends(server, ['arne', ['urn:note']], ['birk', ['urn:note']])
  const phone = await interested(server, 'arne', ['urn:note'], { resource: 'phone' })
  await publish(alice, 'urn:note', "<n xmlns='urn:note'/>", 'x', { access_model: 'whitelist', persist_items: '1' })
  for (const client of [alice, phone]) await client.receive(publishes('urn:note', 'x'))
  await nothing(bob, publishes('urn:note'), alice)
  const late = await interested(server, 'arne', ['urn:note'], { resource: 'tablet' })
  await late.receive(publishes('urn:note', 'x'))
  // Opened for contacts, they hear what is there.
  await alice.request(
    'set',
    owner(`<configure node='urn:note'>${form('node_config', { access_model: 'presence' })}</configure>`),
  )
  await bob.receive(publishes('urn:note', 'x'))
})

test('what is private by its specification is so though its client does not say it: bookmarks, contacts’ cards', async () => {
  const nodes = ['urn:xmpp:bookmarks:1', 'storage:bookmarks', 'urn:xmpp:mds:displayed:0', 'urn:xmpp:contacts']
  const [alice, bob] = await friends(server, ['alba', []], ['bert', nodes])
  for (const node of nodes) {
    await publish(alice, node, "<p xmlns='urn:private'/>", 'bert@localhost')
    await refusal('not-allowed closed-node', bob, 'get', ITEMS(node), bare(alice))
  }
  await nothing(bob, el => event(el) !== undefined, alice)
  // XEP-0292 5: one item for each contact.
  await publish(alice, 'urn:xmpp:contacts', "<p xmlns='urn:private'/>", 'carl@localhost')
  assert.deepEqual((await itemIds(alice, 'urn:xmpp:contacts')).sort(), ['bert@localhost', 'carl@localhost'])
})

test('a user changes what a node is, and what it keeps follows', async () => {
  const alice = await interested(server, 'aron', ['urn:many'])
  for (const id of ['1', '2', '3']) await publish(alice, 'urn:many', "<m xmlns='urn:many'/>", id, { max_items: '5' })
  const current = await alice.request('get', owner("<configure node='urn:many'/>"))
  const fields = child(child(current.children[0], 'configure'), 'x')!.children
  const value = (name: string) =>
    child(
      fields.find(f => f.attrs['var'] === `pubsub#${name}`),
      'value',
    )?.text
  assert.deepEqual([value('max_items'), value('access_model'), value('persist_items')], ['5', 'presence', '1'])
  const configure = (fields: Record<string, string>) =>
    owner(`<configure node='urn:many'>${form('node_config', fields)}</configure>`)
  await alice.request('set', configure({ max_items: '2', notify_config: '1' }))
  await alice.receive(tells('configuration', 'urn:many'))
  assert.deepEqual(await itemIds(alice, 'urn:many'), ['3', '2'])
  await refusal('not-acceptable', alice, 'set', configure({ max_items: '1001' }))
  await refusal('not-acceptable', alice, 'set', configure({ unheard_of: '1' }))
  await refusal('not-acceptable unsupported-access-model', alice, 'set', configure({ access_model: 'none' }))
  await publish(alice, 'urn:many', "<m xmlns='urn:many'/>", '4')
  await alice.receive(retracts('urn:many', '2'))
  assert.deepEqual(await itemIds(alice, 'urn:many'), ['4', '3'])
  await alice.request('set', owner("<purge node='urn:many'/>"))
  await alice.receive(tells('purge', 'urn:many'))
  assert.deepEqual(await itemIds(alice, 'urn:many'), [])
  await alice.request('set', owner("<delete node='urn:many'><redirect uri='xmpp:aron@localhost?;node=new'/></delete>"))
  const gone = await alice.receive(tells('delete', 'urn:many'))
  assert.equal(child(event(gone), 'redirect')!.attrs['uri'], 'xmpp:aron@localhost?;node=new')
  await refused('item-not-found', alice.request('get', ITEMS('urn:many')))
})

test('what goes with one’s presence, goes', async () => {
  const alice = await interested(server, 'alois', [])
  const bob = await interested(server, 'alois', ['urn:now'], { resource: 'other' })
  await publish(alice, 'urn:now', "<n xmlns='urn:now'/>", 'x', { purge_offline: '1' })
  await bob.receive(publishes('urn:now'))
  alice.send("<presence type='unavailable'/>")
  await alice.ping()
  assert.deepEqual(await itemIds(alice, 'urn:now'), ['x'])
  bob.send("<presence type='unavailable'/>")
  await bob.ping()
  assert.deepEqual(await itemIds(alice, 'urn:now'), [])
})

test('the access models are announced by the account, and by the host, where some clients look (XEP-0373 5.1)', async () => {
  const alice = await interested(server, 'abigail', [])
  for (const to of ['abigail@localhost', 'localhost', 'pubsub.localhost']) {
    const info = await alice.request('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>", to)
    const said = info.children[0]!.children.map(el => el.attrs['var'])
    for (const model of ['authorize', 'open', 'presence', 'roster', 'whitelist']) {
      assert.equal(said.filter(name => name === `${PUBSUB}#access-${model}`).length, 1, `${to}: ${model}`)
    }
    assert.ok(said.includes(PUBSUB), to)
    assert.equal(said.includes(`${PUBSUB}#auto-subscribe`), to !== 'pubsub.localhost')
  }
  const info = await alice.request('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>", 'localhost')
  const kinds = info.children[0]!.children.filter(el => el.name === 'identity').map(el => el.attrs['category'])
  assert.deepEqual(kinds, ['server']) // the host is no service of nodes
})

test('the configuration says that a node is a leaf, and takes nothing else (XEP-0060 4.5)', async () => {
  const alice = await interested(server, 'agatha', [])
  await publish(alice, 'urn:leaf', "<l xmlns='urn:leaf'/>", '1')
  const current = await alice.request('get', owner("<configure node='urn:leaf'/>"))
  const fields = child(child(current.children[0], 'configure'), 'x')!.children
  const type = fields.find(field => field.attrs['var'] === 'pubsub#node_type')!
  assert.equal(type.attrs['type'], 'list-single')
  assert.deepEqual(
    type.children.map(el => [el.name, child(el, 'value')?.text ?? el.text]),
    [
      ['option', 'leaf'],
      ['value', 'leaf'],
    ],
  )
  const configure = (type: string) =>
    owner(`<configure node='urn:leaf'>${form('node_config', { node_type: type })}</configure>`)
  await alice.request('set', configure('leaf'))
  await refusal('feature-not-implemented unsupported', alice, 'set', configure('collection'))
  await refusal('not-acceptable', alice, 'set', configure('branch'))
  await publish(alice, 'urn:leaf', "<l xmlns='urn:leaf'/>", '2', { node_type: 'leaf' })
})

test('service discovery shows the nodes to those who may see them', async () => {
  const [alice, bob] = await friends(server, ['abel', []], ['bart', []])
  await publish(alice, TUNE, tune('1'), 'a')
  await publish(alice, 'urn:secret', "<s xmlns='urn:secret'/>", 'a', { access_model: 'whitelist' })
  const info = await bob.request('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>", 'abel@localhost')
  const said = info.children[0]!.children.map(el => el.attrs['var'] ?? `${el.attrs['category']}/${el.attrs['type']}`)
  for (const one of ['pubsub/pep', `${PUBSUB}#publish-options`, `${PUBSUB}#config-node-max`, `${PUBSUB}#multi-items`]) {
    assert.ok(said.includes(one), one)
  }
  const list = async (who: typeof bob) => {
    const answer = await who.request('get', "<query xmlns='http://jabber.org/protocol/disco#items'/>", 'abel@localhost')
    return answer.children[0]!.children.map(el => el.attrs['node']).filter(Boolean)
  }
  assert.deepEqual(await list(bob), [TUNE])
  assert.deepEqual(await list(alice), [TUNE, 'urn:secret'])
  const ask = (what: string, node: string) => `<query xmlns='http://jabber.org/protocol/disco#${what}' node='${node}'/>`
  const node = await bob.request('get', ask('info', TUNE), 'abel@localhost')
  assert.deepEqual(pluck(node.children[0]!.children, 'name'), ['identity', 'feature', 'x'])
  const items = await bob.request('get', ask('items', TUNE), 'abel@localhost')
  assert.deepEqual(pluck(items.children[0]!.children, 'attrs'), [{ jid: 'abel@localhost', name: 'a' }])
  await refused('item-not-found', bob.request('get', ask('info', 'urn:secret'), 'abel@localhost'))
})
