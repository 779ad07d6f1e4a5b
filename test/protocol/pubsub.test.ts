import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { pluck } from '../support/pluck.ts'
import {
  event,
  form,
  ITEMS,
  itemIds,
  OWNER,
  owner,
  PUBSUB,
  publish,
  publishes,
  pubsub,
  refusal,
  retracts,
  tells,
} from '../support/publishing.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, errorCondition, type XmlElement } from '../support/rawxml.ts'
import { available, befriend, nothing, refused, serve } from '../support/talk.ts'

const SERVICE = 'pubsub.localhost'
const ENTRY = "<entry xmlns='http://www.w3.org/2005/Atom'><title>x</title></entry>"
const AUTHORIZE = `${PUBSUB}#subscribe_authorization`

const server = await serve({ after })

async function user(name: string): Promise<RawClient> {
  const client = await server.client(name)
  await available(client)
  return client
}

const create = (client: RawClient, node: string, fields?: Record<string, string>) =>
  client.request(
    'set',
    pubsub(
      `<create node='${node}'/>${fields === undefined ? '' : `<configure>${form('node_config', fields)}</configure>`}`,
    ),
    SERVICE,
  )
const subscribe = (client: RawClient, node: string) =>
  client.request('set', pubsub(`<subscribe node='${node}' jid='${client.jid.split('/')[0]}'/>`), SERVICE)
const ask = (what: string, node = '') =>
  `<query xmlns='http://jabber.org/protocol/disco#${what}'${node === '' ? '' : ` node='${node}'`}/>`
const subscriptionOf = (answer: XmlElement) => child(answer.children[0], 'subscription')!.attrs['subscription']

test('the service is listed by the host and says what it can do', async () => {
  const alice = await user('alice')
  const list = await alice.request('get', ask('items'), 'localhost')
  assert.ok(list.children[0]!.children.some(item => item.attrs['jid'] === SERVICE))
  const info = await alice.request('get', ask('info'), SERVICE)
  assert.equal(info.attrs['from'], SERVICE)
  const said = info.children[0]!.children.map(el => el.attrs['var'] ?? `${el.attrs['category']}/${el.attrs['type']}`)
  for (const one of ['pubsub/service', PUBSUB, `${PUBSUB}#create-nodes`, `${PUBSUB}#config-node-max`]) {
    assert.ok(said.includes(one), one)
  }
})

test('what is not for it is refused, as everywhere', async () => {
  const alice = await user('alice')
  await refused('service-unavailable', alice.request('get', "<query xmlns='jabber:iq:version'/>", SERVICE))
  await refused('service-unavailable', alice.request('get', ask('items'), `somebody@${SERVICE}/x`))
  await refused('item-not-found', alice.request('get', ask('info'), `somebody@${SERVICE}`))
  await refused('item-not-found', alice.request('get', ask('info', 'none'), SERVICE))
  await refused('bad-request', alice.request('set', pubsub('<dance/>'), SERVICE))
  alice.send(`<message to='${SERVICE}' id='hi' type='chat'><body>Hi</body></message>`)
  const bounce = await alice.receive(el => el.name === 'message' && el.attrs['id'] === 'hi')
  assert.equal(child(child(bounce, 'error'), 'service-unavailable')?.name, 'service-unavailable')
  alice.send(`<presence to='${SERVICE}'/>`)
  await nothing(alice, el => el.name === 'presence' && el.attrs['from'] === SERVICE)
})

test('one makes a node, others subscribe and hear of its items', async () => {
  const [alice, bob, carol] = [await user('alice'), await user('bob'), await user('carol')]
  await create(alice, 'news', { title: 'News' })
  await refused('conflict', create(bob, 'news'))
  assert.equal(subscriptionOf(await subscribe(bob, 'news')), 'subscribed')
  await publish(alice, 'news', ENTRY, 'one', undefined, SERVICE)
  const message = await bob.receive(publishes('news', 'one'))
  assert.equal(message.attrs['from'], SERVICE)
  assert.equal(event(message)!.children[0]!.attrs['publisher'], 'alice@localhost')
  await nothing(carol, publishes('news'), alice)
  await refused('forbidden', publish(bob, 'news', ENTRY, 'two', undefined, SERVICE))
  assert.deepEqual(await itemIds(carol, 'news', SERVICE), ['one'])
  // Who comes later gets the last item, with its time.
  await subscribe(carol, 'news')
  assert.ok(child(await carol.receive(publishes('news', 'one')), 'delay', 'urn:xmpp:delay'))
  const listed = await carol.request('get', ask('items'), SERVICE)
  assert.ok(listed.children[0]!.children.some(i => i.attrs['node'] === 'news' && i.attrs['name'] === 'News'))
  const items = await carol.request('get', ask('items', 'news'), SERVICE)
  assert.deepEqual(pluck(items.children[0]!.children, 'attrs'), [{ jid: SERVICE, name: 'one' }])
  const unsubscribe = pubsub("<unsubscribe node='news' jid='bob@localhost'/>")
  await bob.request('set', unsubscribe, SERVICE)
  await publish(alice, 'news', ENTRY, 'two', undefined, SERVICE)
  await carol.receive(publishes('news', 'two'))
  await nothing(bob, publishes('news', 'two'), alice)
  await refusal('unexpected-request not-subscribed', bob, 'set', unsubscribe, SERVICE)
})

test('a node without a name gets one', async () => {
  const alice = await user('alice')
  const answer = await alice.request('set', pubsub('<create/>'), SERVICE)
  const name = child(answer.children[0], 'create')!.attrs['node']!
  assert.match(name, /^[0-9a-f]{32}$/)
  await alice.request('get', owner(`<configure node='${name}'/>`), SERVICE)
  await refusal('bad-request nodeid-required', alice, 'get', owner('<configure/>'), SERVICE)
  await refusal('bad-request nodeid-required', alice, 'get', pubsub('<items/>'), SERVICE)
})

test('only owners configure, purge and delete', async () => {
  const [alice, bob] = [await user('alice'), await user('bob')]
  await create(alice, 'mine')
  for (const payload of ["<configure node='mine'/>", "<subscriptions node='mine'/>", "<affiliations node='mine'/>"]) {
    await refused('forbidden', bob.request('get', owner(payload), SERVICE))
  }
  for (const payload of ["<delete node='mine'/>", "<purge node='mine'/>", "<affiliations node='mine'/>"]) {
    await refused('forbidden', bob.request('set', owner(payload), SERVICE))
    await refused('item-not-found', alice.request('set', owner(payload.replace('mine', 'none')), SERVICE))
  }
  const submit = owner(`<configure node='mine'>${form('node_config', { title: 'x' })}</configure>`)
  await refused('forbidden', bob.request('set', submit, SERVICE))
  const cancel = owner("<configure node='mine'><x xmlns='jabber:x:data' type='cancel'/></configure>")
  await alice.request('set', cancel, SERVICE)
  await refused('bad-request', alice.request('set', submit.replace('node_config', 'other'), SERVICE))
  const defaults = await alice.request('get', owner('<default/>'), SERVICE)
  const fields = child(child(defaults.children[0], 'default'), 'x')!.children
  const access = fields.find(f => f.attrs['var'] === 'pubsub#access_model')!
  assert.deepEqual([child(access, 'value')!.text, access.attrs['type']], ['open', 'list-single'])
  await refusal('feature-not-implemented unsupported', alice, 'get', owner("<default type='collection'/>"), SERVICE)
})

test('owners say who may publish and who is kept out', async () => {
  const [alice, bob, carol] = [await user('alice'), await user('bob'), await user('carol')]
  await create(alice, 'club')
  await subscribe(bob, 'club')
  const set = (jid: string, affiliation: string) =>
    owner(`<affiliations node='club'><affiliation jid='${jid}@localhost' affiliation='${affiliation}'/></affiliations>`)
  await alice.request('set', set('carol', 'publisher'), SERVICE)
  await publish(carol, 'club', ENTRY, 'c1', undefined, SERVICE)
  await bob.receive(publishes('club', 'c1'))
  const own = await carol.request('get', pubsub('<affiliations/>'), SERVICE)
  assert.deepEqual(pluck(own.children[0]!.children[0]!.children, 'attrs'), [{ node: 'club', affiliation: 'publisher' }])
  // A publisher takes back what is its own, nothing else.
  await publish(alice, 'club', ENTRY, 'a1', undefined, SERVICE)
  const retract = (id: string) => pubsub(`<retract node='club' notify='1'><item id='${id}'/></retract>`)
  await refused('forbidden', carol.request('set', retract('a1'), SERVICE))
  await carol.request('set', retract('c1'), SERVICE)
  await bob.receive(retracts('club', 'c1'))
  await alice.request('set', set('bob', 'outcast'), SERVICE)
  const told = await bob.receive(tells('subscription', 'club'))
  assert.equal(event(told)!.attrs['subscription'], 'none')
  await refused('forbidden', bob.request('get', ITEMS('club'), SERVICE))
  await refused('forbidden', subscribe(bob, 'club'))
  await publish(alice, 'club', ENTRY, 'a2', undefined, SERVICE)
  await nothing(bob, publishes('club', 'a2'), alice)
  await refused('not-acceptable', alice.request('set', set('alice', 'none'), SERVICE))
  await refused('not-acceptable', alice.request('set', set('bob', 'king'), SERVICE))
  const all = await alice.request('get', owner("<affiliations node='club'/>"), SERVICE)
  const list = all.children[0]!.children[0]!.children.map(a => `${a.attrs['jid']} ${a.attrs['affiliation']}`)
  assert.deepEqual(list.sort(), ['alice@localhost owner', 'bob@localhost outcast', 'carol@localhost publisher'])
  await alice.request('set', set('carol', 'publish-only'), SERVICE)
  await publish(carol, 'club', ENTRY, 'c2', undefined, SERVICE)
  await refused('forbidden', carol.request('get', ITEMS('club'), SERVICE))
})

test('a change of affiliations that fails tells how all of them are (XEP-0060 8.9.2); nobody is named twice', async () => {
  const [alice, bob] = [await user('alice'), await user('bob')]
  await create(alice, 'guild')
  const set = (...entries: [jid: string, affiliation: string][]) => {
    const list = entries.map(([jid, affiliation]) => `<affiliation jid='${jid}' affiliation='${affiliation}'/>`)
    return owner(`<affiliations node='guild'>${list.join('')}</affiliations>`)
  }
  const answer = async (payload: string): Promise<XmlElement> => {
    alice.send(`<iq type='set' id='affiliate' to='${SERVICE}'>${payload}</iq>`)
    return alice.receive(el => el.attrs['id'] === 'affiliate')
  }
  for (const [jid, affiliation] of [
    ['alice@localhost', 'none'],
    ['carol@localhost', 'king'],
  ] as const) {
    const failed = await answer(set(['bob@localhost', 'publisher'], [jid, affiliation]))
    assert.equal(errorCondition(failed), 'not-acceptable')
    const list = child(child(failed, 'pubsub', OWNER), 'affiliations')!
    assert.equal(list.attrs['node'], 'guild')
    assert.deepEqual(
      list.children.map(({ attrs }) => [attrs['jid'], attrs['affiliation']]),
      [
        ['bob@localhost', 'none'],
        [jid, jid === 'alice@localhost' ? 'owner' : 'none'],
      ],
    )
  }
  await refused(
    'bad-request',
    alice.request('set', set(['bob@localhost', 'publisher'], ['bob@localhost/x', 'outcast']), SERVICE),
  )
  // The same of subscriptions, which have no ids that would tell them apart (8.8.2).
  await subscribe(bob, 'guild')
  const entry = (state: string) => `<subscription jid='bob@localhost' subscription='${state}'/>`
  const twice = owner(`<subscriptions node='guild'>${entry('none')}${entry('subscribed')}</subscriptions>`)
  await refused('bad-request', alice.request('set', twice, SERVICE))
  await publish(alice, 'guild', ENTRY, 'x', undefined, SERVICE)
  await bob.receive(publishes('guild', 'x'))
})

test('on a whitelist, members alone', async () => {
  const [alice, bob] = [await user('alice'), await user('bob')]
  await create(alice, 'closed', { access_model: 'whitelist' })
  const subscription = pubsub("<subscribe node='closed' jid='bob@localhost'/>")
  await refusal('not-allowed closed-node', bob, 'set', subscription, SERVICE)
  await refusal('not-allowed closed-node', bob, 'get', ITEMS('closed'), SERVICE)
  const member = "<affiliations node='closed'><affiliation jid='bob@localhost' affiliation='member'/></affiliations>"
  await alice.request('set', owner(member), SERVICE)
  await subscribe(bob, 'closed')
  await publish(alice, 'closed', ENTRY, 'x', undefined, SERVICE)
  await bob.receive(publishes('closed', 'x'))
})

test('presence of the owner opens a node for contacts', async () => {
  const [alice, eve] = [await user('alice'), await user('eve')]
  await create(alice, 'near', { access_model: 'presence' })
  const subscription = pubsub("<subscribe node='near' jid='eve@localhost'/>")
  await refusal('not-authorized presence-subscription-required', eve, 'set', subscription, SERVICE)
})

test('who is no contact of the owner any more is not subscribed any more, and is told', async () => {
  const [alice, bob, carol] = [await user('anna'), await user('boris'), await user('clara')]
  await befriend(alice, bob)
  await befriend(alice, carol)
  await create(alice, 'contacts', { access_model: 'presence' })
  await create(alice, 'everybody')
  for (const client of [bob, carol]) {
    await subscribe(client, 'contacts')
    await subscribe(client, 'everybody')
  }
  await publish(alice, 'contacts', ENTRY, 'x', undefined, SERVICE)
  await bob.receive(publishes('contacts', 'x'))
  alice.send("<presence to='boris@localhost' type='unsubscribed'/>")
  assert.equal(event(await bob.receive(tells('subscription', 'contacts')))!.attrs['subscription'], 'none')
  await publish(alice, 'contacts', ENTRY, 'y', undefined, SERVICE)
  await carol.receive(publishes('contacts', 'y'))
  await nothing(bob, publishes('contacts', 'y'), alice)
  // The contact may leave, too.
  carol.send("<presence to='anna@localhost' type='unsubscribe'/>")
  await carol.receive(tells('subscription', 'contacts'))
  const left = await alice.request('get', owner("<subscriptions node='contacts'/>"), SERVICE)
  assert.deepEqual(left.children[0]!.children[0]!.children, [])
  // What is open to everybody stays.
  await publish(alice, 'everybody', ENTRY, 'z', undefined, SERVICE)
  for (const client of [bob, carol]) await client.receive(publishes('everybody', 'z'))
})

test('who was moved out of the groups that a node is for gets nothing of it', async () => {
  const [alice, bob] = [await user('anne'), await user('ben')]
  await befriend(alice, bob)
  const group = (name: string) =>
    alice.request(
      'set',
      `<query xmlns='jabber:iq:roster'><item jid='ben@localhost'><group>${name}</group></item></query>`,
    )
  await group('Friends')
  await create(alice, 'group', { access_model: 'roster', roster_groups_allowed: 'Friends' })
  await subscribe(bob, 'group')
  await publish(alice, 'group', ENTRY, 'x', undefined, SERVICE)
  await bob.receive(publishes('group', 'x'))
  await group('Others')
  // XEP-0163 6.1: access that is lost ends the subscription, also when it comes back.
  assert.equal(event(await bob.receive(tells('subscription', 'group')))!.attrs['subscription'], 'none')
  const left = await alice.request('get', owner("<subscriptions node='group'/>"), SERVICE)
  assert.deepEqual(left.children[0]!.children[0]!.children, [])
  await group('Friends')
  await publish(alice, 'group', ENTRY, 'y', undefined, SERVICE)
  await nothing(bob, publishes('group', 'y'), alice)
  await alice.request('set', pubsub("<retract node='group' notify='true'><item id='x'/></retract>"), SERVICE)
  await nothing(bob, el => event(el) !== undefined, alice)
})

test('an owner is asked, and answers', async () => {
  const [alice, bob, carol] = [await user('alice'), await user('bob'), await user('carol')]
  await create(alice, 'asked', { access_model: 'authorize' })
  await publish(alice, 'asked', ENTRY, 'x', undefined, SERVICE)
  const question = (el: XmlElement) =>
    el.name === 'message' && JSON.stringify(el).includes(AUTHORIZE) && el.attrs['from'] === SERVICE
  const answer = (id: string, jid: string, allow: string) => {
    const fields = { node: 'asked', subscriber_jid: jid, allow }
    return `<message to='${SERVICE}' id='${id}'>${form('subscribe_authorization', fields)}</message>`
  }
  assert.equal(subscriptionOf(await subscribe(bob, 'asked')), 'pending')
  const subscription = pubsub("<subscribe node='asked' jid='bob@localhost'/>")
  await refusal('not-authorized pending-subscription', bob, 'set', subscription, SERVICE)
  await refusal('not-authorized not-subscribed', bob, 'get', ITEMS('asked'), SERVICE)
  const asked = await alice.receive(question)
  const values = Object.fromEntries(
    child(asked, 'x', 'jabber:x:data')!.children.map(f => [f.attrs['var'], child(f, 'value')?.text]),
  )
  assert.equal(values['pubsub#node'], 'asked')
  assert.equal(values['pubsub#subscriber_jid'], 'bob@localhost')
  // Nobody but an owner answers.
  carol.send(answer('no', 'bob@localhost', 'true'))
  const bounce = await carol.receive(el => el.attrs['id'] === 'no')
  assert.ok(child(child(bounce, 'error'), 'forbidden'))
  alice.send(answer(asked.attrs['id']!, 'bob@localhost', 'true'))
  assert.equal(event(await bob.receive(tells('subscription', 'asked')))!.attrs['subscription'], 'subscribed')
  await bob.receive(publishes('asked', 'x'))
  assert.deepEqual(await itemIds(bob, 'asked', SERVICE), ['x'])
  await subscribe(carol, 'asked')
  alice.send(answer((await alice.receive(question)).attrs['id']!, 'carol@localhost', '0'))
  assert.equal(event(await carol.receive(tells('subscription', 'asked')))!.attrs['subscription'], 'none')
  const left = await alice.request('get', owner("<subscriptions node='asked'/>"), SERVICE)
  assert.deepEqual(
    left.children[0]!.children[0]!.children.map(s => s.attrs),
    [{ jid: 'bob@localhost', subscription: 'subscribed' }],
  )
})

test('owners end subscriptions and grant those that were asked for; only the subscriber begins one', async () => {
  const [alice, bob] = [await user('alice'), await user('bob')]
  await create(alice, 'managed', { access_model: 'authorize' })
  const set = (state: string, ...jids: string[]) => {
    const list = jids.map(jid => `<subscription jid='${jid}' subscription='${state}'/>`)
    return owner(`<subscriptions node='managed'>${list.join('')}</subscriptions>`)
  }
  const listed = async () => {
    const answer = await alice.request('get', owner("<subscriptions node='managed'/>"), SERVICE)
    return answer.children[0]!.children[0]!.children.map(s => s.attrs['jid'])
  }
  // Nobody is made to listen: not by one address, not by hundreds.
  await refused('not-acceptable', alice.request('set', set('subscribed', 'bob@localhost'), SERVICE))
  const flood = Array.from({ length: 500 }, (_, i) => `bob@localhost/r${i}`)
  await refused('not-acceptable', alice.request('set', set('subscribed', ...flood), SERVICE))
  await refused('not-acceptable', alice.request('set', set('subscribed', 'carol@localhost', 'x@far.example'), SERVICE))
  assert.deepEqual(await listed(), [])
  assert.equal(subscriptionOf(await subscribe(bob, 'managed')), 'pending')
  await alice.request('set', set('subscribed', 'bob@localhost'), SERVICE)
  assert.equal(event(await bob.receive(tells('subscription', 'managed')))!.attrs['subscription'], 'subscribed')
  assert.deepEqual(await listed(), ['bob@localhost'])
  await refused('not-acceptable', alice.request('set', set('maybe', 'bob@localhost'), SERVICE))
  // None of several is done where one cannot be, and all are told as they are (8.8.2.4).
  alice.send(
    `<iq type='set' id='several' to='${SERVICE}'>${owner(`<subscriptions node='managed'>
      <subscription jid='bob@localhost' subscription='none'/>
      <subscription jid='carol@localhost' subscription='subscribed'/></subscriptions>`)}</iq>`,
  )
  const error = await alice.receive(el => el.attrs['id'] === 'several')
  assert.deepEqual(
    error.children[0]!.children[0]!.children.map(el => el.attrs),
    [
      { jid: 'bob@localhost', subscription: 'subscribed' },
      { jid: 'carol@localhost', subscription: 'none' },
    ],
  )
  await alice.request('set', set('none', 'bob@localhost'), SERVICE)
  assert.equal(event(await bob.receive(tells('subscription', 'managed')))!.attrs['subscription'], 'none')
  await publish(alice, 'managed', ENTRY, 'x', undefined, SERVICE)
  await nothing(bob, publishes('managed'), alice)
})

test('a node has few owners: each is asked about who wants to subscribe', async () => {
  const alice = await user('alice')
  await create(alice, 'owned')
  const owners = (from: number, count: number) => {
    const list = Array.from(
      { length: count },
      (_, i) => `<affiliation jid='o${from + i}@localhost' affiliation='owner'/>`,
    )
    return owner(`<affiliations node='owned'>${list.join('')}</affiliations>`)
  }
  await refused('policy-violation', alice.request('set', owners(0, 20), SERVICE))
  await alice.request('set', owners(0, 19), SERVICE)
  await refused('policy-violation', alice.request('set', owners(19, 1), SERVICE))
})

test('one subscribes for oneself, and says how', async () => {
  const [alice, bob] = [await user('alice'), await user('bob')]
  await create(alice, 'quiet')
  const foreign = pubsub("<subscribe node='quiet' jid='alice@localhost'/>")
  await refusal('bad-request invalid-jid', bob, 'set', foreign, SERVICE)
  const options = (deliver: string) =>
    `<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>${PUBSUB}#subscribe_options</value></field><field var='pubsub#deliver'><value>${deliver}</value></field></x>`
  const silent = pubsub(`<subscribe node='quiet' jid='bob@localhost'/><options>${options('0')}</options>`)
  assert.ok(child((await bob.request('set', silent, SERVICE)).children[0], 'options'))
  await publish(alice, 'quiet', ENTRY, 'x', undefined, SERVICE)
  await nothing(bob, publishes('quiet'), alice)
  const now = await bob.request('get', pubsub("<options node='quiet' jid='bob@localhost'/>"), SERVICE)
  assert.match(JSON.stringify(now), /pubsub#deliver.*"text":"0"/)
  const change = pubsub(`<options node='quiet' jid='bob@localhost'>${options('1')}</options>`)
  await bob.request('set', change, SERVICE)
  await publish(alice, 'quiet', ENTRY, 'y', undefined, SERVICE)
  await bob.receive(publishes('quiet', 'y'))
  const invalid = pubsub(`<options node='quiet' jid='bob@localhost'>${options('perhaps')}</options>`)
  await refusal('bad-request invalid-options', bob, 'set', invalid, SERVICE)
  await refusal('bad-request jid-required', bob, 'get', pubsub("<options node='quiet'/>"), SERVICE)
})

test('an item must be of the kind that the node is for', async () => {
  const alice = await user('alice')
  await create(alice, 'typed', { type: 'urn:typed', max_payload_size: '60' })
  const item = (node: string, content: string) => pubsub(`<publish node='${node}'>${content}</publish>`)
  await refusal('bad-request invalid-payload', alice, 'set', item('typed', "<item><a xmlns='urn:x'/></item>"), SERVICE)
  const two = item('typed', "<item><a xmlns='urn:typed'/><b xmlns='urn:typed'/></item>")
  await refusal('bad-request invalid-payload', alice, 'set', two, SERVICE)
  await refusal('bad-request payload-required', alice, 'set', item('typed', '<item/>'), SERVICE)
  await refusal('bad-request item-required', alice, 'set', item('typed', ''), SERVICE)
  const big = `<item><a xmlns='urn:typed'>${'x'.repeat(61)}</a></item>`
  await refusal('not-acceptable payload-too-big', alice, 'set', item('typed', big), SERVICE)
  await alice.request('set', item('typed', "<item><a xmlns='urn:typed'/></item>"), SERVICE)
  // Notifications without payload: nothing is kept, or nothing is shown.
  await create(alice, 'bell', { persist_items: '0', deliver_payloads: '0' })
  await subscribe(alice, 'bell')
  await refusal('bad-request item-forbidden', alice, 'set', item('bell', `<item>${ENTRY}</item>`), SERVICE)
  await alice.request('set', item('bell', ''), SERVICE)
  assert.deepEqual(event(await alice.receive(tells('items', 'bell')))!.children, [])
  await refusal('feature-not-implemented unsupported', alice, 'get', ITEMS('bell'), SERVICE)
  await create(alice, 'hint', { deliver_payloads: '0' })
  await subscribe(alice, 'hint')
  await publish(alice, 'hint', ENTRY, 'x', undefined, SERVICE)
  assert.deepEqual(event(await alice.receive(publishes('hint', 'x')))!.children[0]!.children, [])
  const items = child((await alice.request('get', ITEMS('hint'), SERVICE)).children[0], 'items')!
  assert.equal(items.children[0]!.children.length, 1)
})

test('a long list comes in pages, newest first', async () => {
  const alice = await user('alice')
  await create(alice, 'long')
  for (const id of ['1', '2', '3', '4', '5']) await publish(alice, 'long', ENTRY, id, undefined, SERVICE)
  const read = async (attrs: string, set = '') => {
    const rsm = set === '' ? '' : `<set xmlns='http://jabber.org/protocol/rsm'>${set}</set>`
    const answer = await alice.request('get', pubsub(`<items node='long' ${attrs}/>${rsm}`), SERVICE)
    const page = child(answer.children[0], 'set')
    return {
      ids: child(answer.children[0], 'items')!.children.map(i => i.attrs['id']),
      count: page && child(page, 'count')?.text,
      last: page && child(page, 'last')?.text,
    }
  }
  assert.deepEqual(await read("max_items='2'"), { ids: ['5', '4'], count: undefined, last: undefined })
  assert.deepEqual(await read('', '<max>2</max>'), { ids: ['5', '4'], count: '5', last: '4' })
  assert.deepEqual(await read('', '<max>2</max><after>4</after>'), { ids: ['3', '2'], count: '5', last: '2' })
  assert.deepEqual(await read('', '<max>2</max><after>2</after>'), { ids: ['1'], count: '5', last: '1' })
  assert.deepEqual(await read('', '<max>2</max><before>2</before>'), { ids: ['4', '3'], count: '5', last: '3' })
  assert.deepEqual(await read('', '<max>2</max><before/>'), { ids: ['2', '1'], count: '5', last: '1' })
  assert.deepEqual(await read('', '<max>0</max>'), { ids: [], count: '5', last: undefined })
  await refused('item-not-found', read('', '<max>2</max><after>9</after>'))
})

test('who has left the server is nobody to its nodes', async () => {
  const [alice, dora] = [await user('alice'), await user('dora')]
  await create(dora, 'doras')
  await publish(dora, 'doras', ENTRY, 'x', undefined, SERVICE)
  await create(alice, 'shared')
  await subscribe(dora, 'shared')
  await publish(dora, 'urn:own', ENTRY, 'x')
  await dora.close()
  await server.server.host('localhost')!.removeAccount('dora')
  await refused('item-not-found', alice.request('get', ITEMS('doras'), SERVICE))
  const left = await alice.request('get', owner("<subscriptions node='shared'/>"), SERVICE)
  assert.deepEqual(left.children[0]!.children[0]!.children, [])
  for (const name of ['pubsub_node', 'pubsub_entity', 'pubsub_item', 'pubsub_by_entity']) {
    const keys = await server.server.store.table('localhost', { name }).partitions()
    assert.deepEqual(
      keys.filter(key => key.some(part => String(part).includes('dora'))),
      [],
      name,
    )
  }
  assert.deepEqual(
    await itemIds(await server.client('dora'), 'urn:own').catch(String),
    'Error: iq error: item-not-found',
  )
})

test('a node says that it is a leaf, wherever its configuration is told, and takes no other word for it', async () => {
  const alice = await user('alice')
  await create(alice, 'leaf', { node_type: 'leaf' })
  const forms = [owner("<configure node='leaf'/>"), owner('<default/>')]
  for (const ask of forms) {
    const answer = (await alice.request('get', ask, SERVICE)).children[0]!.children[0]!
    const field = child(answer, 'x', 'jabber:x:data')!.children.find(f => f.attrs['var'] === 'pubsub#node_type')!
    assert.equal(field.attrs['type'], 'list-single')
    assert.deepEqual(
      field.children.map(el => [el.name, el.name === 'option' ? child(el, 'value')!.text : el.text]),
      [
        ['option', 'leaf'],
        ['value', 'leaf'],
      ],
    )
  }
  const configure = (type: string) =>
    owner(`<configure node='leaf'>${form('node_config', { node_type: type })}</configure>`)
  await alice.request('set', configure('leaf'), SERVICE)
  await refusal('feature-not-implemented unsupported', alice, 'set', configure('collection'), SERVICE)
  await refusal('not-acceptable', alice, 'set', configure('branch'), SERVICE)
  await publish(alice, 'leaf', ENTRY, 'x', { node_type: 'leaf' }, SERVICE)
})

test('who may read is announced by the service, and of accounts by themselves and their host', async () => {
  const alice = await user('alice')
  for (const to of [SERVICE, 'localhost', 'alice@localhost']) {
    const info = (await alice.request('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>", to)).children[0]!
    const features = info.children.map(el => el.attrs['var'])
    for (const model of ['authorize', 'open', 'presence', 'roster', 'whitelist']) {
      assert.ok(features.includes(`${PUBSUB}#access-${model}`), `${to}: ${model}`)
    }
  }
})
