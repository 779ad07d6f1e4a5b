/** Who hears of an account's nodes besides its contacts here: subscribers, contacts on other servers, modules. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { HookEvent } from '../../src/core/hooks.ts'
import { parseElement, xml } from '../../src/xml/index.ts'
import { verificationString } from '../../src/xmpp/caps.ts'
import { StanzaError } from '../../src/xmpp/errors.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { pluck } from '../support/pluck.ts'
import {
  event,
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
  tells,
} from '../support/publishing.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { available, befriend, nothing, online, refused, serve } from '../support/talk.ts'
import { type TestServer, testModule } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const P = "<p xmlns='urn:p'/>"
const INFO = 'http://jabber.org/protocol/disco#info'

test('a stranger subscribes to an open node, and is told at the address that it gave', async t => {
  const server = await serve(t)
  const alice = await interested(server, 'alice', [])
  const [eve] = await online(server, 'eve')
  await publish(alice, 'urn:p', P, 'x', { access_model: 'open' })
  const subscribe = pubsub("<subscribe node='urn:p' jid='eve@localhost'/>")
  const answer = await eve.request('set', subscribe, 'alice@localhost')
  assert.equal(child(answer.children[0], 'subscription')!.attrs['subscription'], 'subscribed')
  assert.ok(child(await eve.receive(publishes('urn:p', 'x')), 'delay'))
  await publish(alice, 'urn:p', P, 'y')
  const message = await eve.receive(publishes('urn:p', 'y'))
  assert.deepEqual([message.attrs['from'], message.attrs['to']], ['alice@localhost', 'eve@localhost'])
  // Closed, it tells her no more, though nobody has taken her subscription away.
  const close = form('node_config', { access_model: 'presence' })
  await alice.request('set', owner(`<configure node='urn:p'>${close}</configure>`))
  await publish(alice, 'urn:p', P, 'z')
  await nothing(eve, publishes('urn:p', 'z'), alice)
})

test('a contact that has subscribed and whose client wants to hear is told once', async t => {
  const server = await serve(t)
  const [alice, bob] = await friends(server, ['alice', []], ['bob', ['urn:p']])
  await publish(alice, 'urn:p', P, 'x')
  await bob.receive(publishes('urn:p', 'x'))
  await bob.request('set', pubsub("<subscribe node='urn:p' jid='bob@localhost'/>"), 'alice@localhost')
  await bob.receive(publishes('urn:p', 'x'))
  await publish(alice, 'urn:p', P, 'y')
  assert.equal((await bob.receive(publishes('urn:p', 'y'))).attrs['to'], bob.jid)
  await nothing(bob, publishes('urn:p', 'y'), alice)
})

test('a user is asked who may subscribe to a node of hers, and answers herself', async t => {
  const server = await serve(t)
  const alice = await server.client('alice')
  const [eve, mallory] = await server.clients('eve', 'mallory')
  for (const client of [alice, eve]) await available(client)
  await publish(alice, 'urn:p', P, 'x', { access_model: 'authorize' })
  const subscribe = pubsub("<subscribe node='urn:p' jid='eve@localhost'/>")
  await eve.request('set', subscribe, 'alice@localhost')
  await refusal('not-authorized pending-subscription', eve, 'set', subscribe, 'alice@localhost')
  await refusal('not-authorized presence-subscription-required', eve, 'get', ITEMS('urn:p'), 'alice@localhost')
  const asked = await alice.receive(el => child(el, 'x', 'jabber:x:data') !== undefined)
  assert.equal(asked.attrs['from'], 'alice@localhost')
  const answer = form('subscribe_authorization', { node: 'urn:p', subscriber_jid: 'eve@localhost', allow: '1' })
  mallory.send(`<message to='alice@localhost'>${answer}</message>`)
  await nothing(eve, tells('subscription', 'urn:p'), mallory)
  alice.send(`<message to='alice@localhost' id='${asked.attrs['id']}'>${answer}</message>`)
  assert.equal(event(await eve.receive(tells('subscription', 'urn:p')))!.attrs['subscription'], 'subscribed')
  await eve.receive(publishes('urn:p', 'x'))
  assert.deepEqual(await itemIds(eve, 'urn:p', 'alice@localhost'), ['x'])
})

test('with ignore_pep_from_offline, who is offline is not heard of', async t => {
  const server = await serve(t, { modules: { mod_pubsub: { ignore_pep_from_offline: true } } })
  const [alice, bob] = await friends(server, ['alice', []], ['bob', []])
  await publish(alice, 'urn:p', P, 'x')
  const here = await interested(server, 'bob', ['urn:p'], { resource: 'here' })
  await here.receive(publishes('urn:p', 'x'))
  await alice.close()
  await bob.ping()
  const late = await interested(server, 'bob', ['urn:p'], { resource: 'late' })
  await nothing(late, publishes('urn:p'))
})

test('contacts on another host of the server are contacts', async t => {
  const server = await serve(t, { hosts: ['localhost', 'other.example'] })
  const alice = await interested(server, 'alice', [])
  const bob = await server.client('bob', { host: 'other.example' })
  await available(bob)
  await befriend(alice, bob)
  await publish(alice, 'urn:p', P, 'x')
  const info = "<identity category='client' type='pc'/><feature var='urn:p+notify'/>"
  const ver = verificationString(parseElement(`<query xmlns='${INFO}'>${info}</query>`))
  bob.send(`<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='c' ver='${ver}'/></presence>`)
  const asked = await bob.receive(el => child(el, 'query', INFO) !== undefined)
  bob.send(
    `<iq type='result' id='${asked.attrs['id']}' to='${asked.attrs['from']}'><query xmlns='${INFO}'>${info}</query></iq>`,
  )
  await bob.receive(publishes('urn:p', 'x'))
  await publish(alice, 'urn:p', P, 'y')
  await bob.receive(publishes('urn:p', 'y'))
})

/** Everything for far.example comes to `sent`; its users answer what they can do. */
function farServer(server: TestServer, features: string): { sent: Stanza[]; say: (text: string) => void } {
  const sent: Stanza[] = []
  const { router } = server.server
  const say = (text: string): void => void router.route(Stanza.of(parseElement(text)))
  const deliver = (stanza: Stanza): void => {
    sent.push(stanza)
    if (stanza.kind !== 'iq' || stanza.type !== 'get') return
    void router.route(stanza.result(parseElement(`<query xmlns='${INFO}'>${features}</query>`)))
  }
  router.add({ name: 'far.example', filter: undefined, deliver })
  return { sent, say }
}

const about = (stanza: Stanza, id: string) =>
  stanza.kind === 'message' && stanza.toString().includes(`<item id='${id}'`)

test('contacts on another server hear by their presence what they want to hear', async t => {
  const server = await serve(t)
  const alice = await interested(server, 'alice', [])
  const features = "<identity category='client' type='pc'/><feature var='urn:p+notify'/>"
  const ver = verificationString(parseElement(`<query xmlns='${INFO}'>${features}</query>`))
  const { sent, say } = farServer(server, features)
  const caps = `<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='c' ver='${ver}'/>`
  const presence = (who: string, content = '', type = '') =>
    say(`<presence from='${who}' to='alice@localhost' ${type}>${content}</presence>`)
  await publish(alice, 'urn:p', P, '1')
  presence('romeo@far.example', '', "type='subscribe'")
  await alice.receive(el => el.attrs['type'] === 'subscribe')
  alice.send("<presence to='romeo@far.example' type='subscribed'/>")
  await alice.ping()
  presence('romeo@far.example/orchard', caps)
  presence('stranger@far.example/x', caps)
  await eventually(() => sent.some(s => about(s, '1')))
  const [first] = sent.filter(s => about(s, '1'))
  assert.equal(first!.to!.toString(), 'romeo@far.example/orchard')
  presence('romeo@far.example/orchard', caps) // no news
  await publish(alice, 'urn:p', P, '2')
  await publish(alice, 'urn:q', "<q xmlns='urn:q'/>", '3')
  presence('romeo@far.example/orchard', '', "type='unavailable'")
  await publish(alice, 'urn:p', P, '4')
  const told = ['1', '2', '3', '4'].map(id => sent.filter(s => about(s, id)).length)
  assert.deepEqual(told, [1, 1, 0, 0])
  assert.ok(!sent.some(s => s.kind === 'message' && s.to!.local === 'stranger'))
})

test('so many clients on other servers are kept in mind', async t => {
  const server = await serve(t)
  const alice = await interested(server, 'alice', [])
  const features = "<identity category='client' type='pc'/><feature var='urn:p+notify'/>"
  const ver = verificationString(parseElement(`<query xmlns='${INFO}'>${features}</query>`))
  const { sent, say } = farServer(server, features)
  say("<presence from='romeo@far.example' to='alice@localhost' type='subscribe'/>")
  await alice.receive(el => el.attrs['type'] === 'subscribe')
  alice.send("<presence to='romeo@far.example' type='subscribed'/>")
  await alice.ping()
  alice.options.inbox = false
  const caps = `<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='c' ver='${ver}'/>`
  const account = server.server.host('localhost')!.accounts.get('alice')!
  const before = account.weight
  for (let i = 0; i <= 2000; i++) say(`<presence from='romeo@far.example/${i}' to='alice@localhost'>${caps}</presence>`)
  await alice.ping()
  const full = account.weight
  assert.ok(full > before + 2000 * 'romeo@far.example/1'.length)
  say("<presence type='unavailable' from='romeo@far.example/2000' to='alice@localhost'/>")
  await alice.ping()
  assert.ok(account.weight < full)
  say(`<presence from='romeo@far.example/2000' to='alice@localhost'>${caps}</presence>`)
  await alice.ping()
  assert.equal(account.weight, full)
  await publish(alice, 'urn:p', P, '1')
  const told = sent.filter(s => about(s, '1')).map(s => s.to!.resource)
  assert.equal(told.length, 2000)
  assert.deepEqual([told.includes('0'), told.includes('1'), told.includes('2000')], [false, true, true])
})

/** A module that reads, changes and writes what is in nodes. */
async function withModule(
  t: TestContext,
): Promise<{ server: TestServer; log: string[]; pep: NonNullable<ReturnType<typeof pepOf>> }> {
  const log: string[] = []
  const mod_clerk = testModule('mod_clerk', ctx => {
    ctx.hook('pep_publish', async event => {
      log.push(`publish ${event.node} ${event.id} by ${event.session?.jid.resource}`)
      if (event.id === 'bad') throw new StanzaError('not-acceptable')
      if (event.id === 'secret') event.payload = xml('p', { xmlns: 'urn:p', ref: '7' })
    })
    const note = (what: string, { node, id }: { node: string; id: string }) => log.push(`${what} ${node} ${id}`)
    ctx.hook('pep_published', event => void note('published', event))
    ctx.hook('pep_retracted', ({ node, ids }) => void log.push(`gone ${node} ${ids.join(' ')}`))
    ctx.hook('pep_read', async ({ items }: HookEvent<'pep_read'>) => {
      for (const item of items) {
        if (item.payload.attrs['ref'] === '7') item.payload = xml('p', { xmlns: 'urn:p' }, 'seven')
      }
    })
  })
  const server = await serve(t, { extra: [mod_clerk] })
  return { server, log, pep: pepOf(server)! }
}

function pepOf(server: TestServer) {
  return server.server.host('localhost')!.services.use('pep')
}

test('modules see what users publish, change it, and refuse it', async t => {
  const { server, log } = await withModule(t)
  const alice = await interested(server, 'alice', ['urn:p'], { resource: 'a' })
  await publish(alice, 'urn:p', P, '1')
  await publish(alice, 'urn:p', `<p xmlns='urn:p'>${'x'.repeat(100)}</p>`, 'secret')
  await refused('not-acceptable', publish(alice, 'urn:p', P, 'bad'))
  const payload = (el: XmlElement) => event(el)!.children[0]!.children[0]!.text
  await alice.receive(publishes('urn:p', '1'))
  assert.equal(payload(await alice.receive(publishes('urn:p', 'secret'))), 'seven')
  const items = child((await alice.request('get', ITEMS('urn:p'))).children[0], 'items')!
  assert.equal(items.children[0]!.children[0]!.text, 'seven')
  const table = server.server.store.table<{ xml: string }>('localhost', { name: 'pubsub_item', version: 1 })
  const [row] = await table.scan(['alice', 'urn:p'], { gte: ['o'], lte: ['o'] })
  assert.match(row!.value.xml, /^<p xmlns='urn:p' ref='7'\/>$/)
  await alice.request('set', owner("<delete node='urn:p'/>"))
  assert.deepEqual(log, [
    'publish urn:p 1 by a',
    'published urn:p 1',
    'publish urn:p secret by a',
    'published urn:p secret',
    'gone urn:p 1',
    'publish urn:p bad by a',
    'gone urn:p secret',
  ])
})

test('a module publishes, reads and takes back in a user’s name', async t => {
  const { server, log, pep } = await withModule(t)
  const alice = await interested(server, 'alice', ['urn:p'])
  const eve = await server.client('eve')
  const account = (await server.server.host('localhost')!.account('alice'))!
  const config = { access_model: 'whitelist', max_items: 'max' } as const
  for (const id of ['1', '2']) await pep.publish(account, 'urn:p', id, parseElement(P), config)
  await alice.receive(publishes('urn:p', '2'))
  const items = await pep.items(account, 'urn:p')
  assert.deepEqual(
    items.map(({ id, publisher, payload }) => [id, publisher, payload.name]),
    [
      ['2', 'alice@localhost', 'p'],
      ['1', 'alice@localhost', 'p'],
    ],
  )
  assert.ok(Math.abs(items[0]!.at - Date.now()) < 60_000)
  assert.deepEqual(pluck(await pep.items(account, 'urn:p', ['1', '9']), 'id'), ['1'])
  assert.deepEqual(await pep.items(account, 'urn:none'), [])
  const { jid } = (await server.server.host('localhost')!.account('eve'))!
  assert.deepEqual(
    [await pep.mayRead(account, 'urn:p', account.jid), await pep.mayRead(account, 'urn:p', jid)],
    [true, false],
  )
  await pep.retract(account, 'urn:p', '1', false)
  await pep.retract(account, 'urn:p', '1', true)
  await pep.retract(account, 'urn:none', '1', true)
  await pep.remove(account, 'urn:p')
  await pep.remove(account, 'urn:p')
  await refused('item-not-found', alice.request('get', ITEMS('urn:p')))
  assert.deepEqual(log, ['published urn:p 1', 'published urn:p 2', 'gone urn:p 1', 'gone urn:p 2'])
  assert.equal(eve.closed, false)
})

test('many items published at once all count', async t => {
  const server = await serve(t)
  const alice = await server.client('alice')
  const account = (await server.server.host('localhost')!.account('alice'))!
  const ids = Array.from({ length: 50 }, (_, i) => String(i))
  const config = { max_items: 10 } as const
  await Promise.all(ids.map(id => pepOf(server)!.publish(account, 'urn:p', id, parseElement(P), config)))
  assert.deepEqual(await itemIds(alice, 'urn:p'), ids.reverse().slice(0, 10))
})

test('who comes into a group that a node is for hears what there is; who leaves it hears no more', async t => {
  const server = await serve(t)
  const [alice, bob] = await friends(server, ['alice', []], ['bob', ['urn:p', 'urn:q']])
  const group = (name: string) => {
    const item = `<item jid='bob@localhost'><group>${name}</group></item>`
    return alice.request('set', `<query xmlns='jabber:iq:roster'>${item}</query>`)
  }
  await group('Work')
  await publish(alice, 'urn:p', P, '1', { access_model: 'roster', roster_groups_allowed: ['Friends', 'Family'] })
  await publish(alice, 'urn:q', "<q xmlns='urn:q'/>", '1')
  await bob.receive(publishes('urn:q', '1'))
  await nothing(bob, publishes('urn:p'), alice)
  await group('Friends')
  await bob.receive(publishes('urn:p', '1'))
  await nothing(bob, publishes('urn:q'), alice) // that he could see before
  await group('Family')
  await publish(alice, 'urn:p', P, '2')
  await bob.receive(publishes('urn:p', '2'))
  await nothing(bob, publishes('urn:p'), alice)
  await group('Work')
  await publish(alice, 'urn:p', P, '3')
  await nothing(bob, publishes('urn:p'), alice)
  await refused('not-authorized', bob.request('get', ITEMS('urn:p'), 'alice@localhost'))
})

test('who opens and shuts a node again and again floods nobody with what is there', async t => {
  const server = await serve(t)
  const [alice, bob] = await friends(server, ['alice', []], ['bob', ['urn:p']])
  await publish(alice, 'urn:p', P, '1', { access_model: 'whitelist' })
  let items = 0
  bob.on('stanza', el => {
    if (publishes('urn:p')(el)) items++
  })
  const model = (name: string) =>
    alice.request('set', owner(`<configure node='urn:p'>${form('node_config', { access_model: name })}</configure>`))
  for (let i = 0; i < 40; i++) {
    await model('presence')
    await model('whitelist')
  }
  await nothing(bob, () => false, alice)
  assert.equal(items, 30)
})

test('who comes and goes all the time purges what there is once', async t => {
  const server = await serve(t)
  const [alice, bob] = await friends(server, ['alice', []], ['bob', ['urn:p']])
  await publish(alice, 'urn:p', P, '1', { purge_offline: 'true' })
  let purges = 0
  bob.on('stanza', el => {
    if (tells('purge', 'urn:p')(el)) purges++
  })
  for (let i = 0; i < 10; i++) {
    alice.send("<presence type='unavailable'/>")
    await alice.ping()
    await available(alice)
  }
  await bob.receive(tells('purge', 'urn:p'))
  await nothing(bob, () => false, alice)
  assert.equal(purges, 1)
})
