import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { faultyStore } from '../support/faultystore.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { nothing, refused } from '../support/talk.ts'
import { TestServer } from '../support/testserver.ts'

const NS = 'jabber:iq:roster'

let server: TestServer
before(async () => {
  server = await TestServer.start()
})
after(() => server.stop())

const get = (client: RawClient, ver?: string, to?: string): Promise<XmlElement> =>
  client.request('get', `<query xmlns='${NS}'${ver === undefined ? '' : ` ver='${ver}'`}/>`, to)

const set = (client: RawClient, items: string, to?: string): Promise<XmlElement> =>
  client.request('set', `<query xmlns='${NS}'>${items}</query>`, to)

const itemOf = (el: XmlElement): XmlElement | undefined => child(child(el, 'query', NS), 'item')

const isPush = (el: XmlElement): boolean => el.name === 'iq' && el.attrs['type'] === 'set' && itemOf(el) !== undefined

const pushOf =
  (jid: string) =>
  (el: XmlElement): boolean =>
    isPush(el) && itemOf(el)!.attrs['jid'] === jid

test('a contact is added, changed and removed, and every session that asked for the roster learns it', async () => {
  const alice = await server.client('alice')
  const other = await server.client('alice')
  const deaf = await server.client('alice')
  assert.deepEqual(child(await get(alice), 'query')?.children, [])
  await get(other) // interested, though it never becomes available (RFC 6121 2.2)

  await set(
    alice,
    `<item jid='Bob@localhost' name='Bob' subscription='both' ask='subscribe'><group>Friends</group></item>`,
  )
  for (const client of [alice, other]) {
    const push = await client.receive(pushOf('bob@localhost'))
    const item = itemOf(push)!
    assert.ok(push.attrs['from'] === undefined || push.attrs['from'] === 'alice@localhost')
    assert.equal(push.attrs['to'], client.jid)
    assert.deepEqual(item.attrs, { jid: 'bob@localhost', name: 'Bob', subscription: 'none' })
    assert.deepEqual(
      item.children.map(group => group.text),
      ['Friends'],
    )
  }
  await nothing(deaf, isPush)

  await set(alice, `<item jid='bob@localhost' name='Bobby'/>`)
  const changed = itemOf(await other.receive(pushOf('bob@localhost')))!
  assert.deepEqual([changed.attrs['name'], changed.children.length], ['Bobby', 0])

  await set(alice, `<item jid='bob@localhost' subscription='remove'/>`)
  const removed = itemOf(
    await other.receive(el => pushOf('bob@localhost')(el) && itemOf(el)!.attrs['name'] === undefined),
  )!
  assert.equal(removed.attrs['subscription'], 'remove')
  assert.deepEqual(child(await get(alice), 'query')?.children, [])
})

test('a set that breaks the rules is refused, each with its error, and changes nothing', async () => {
  const amy = await server.client('amy')
  const long = 'x'.repeat(1024)
  await refused('bad-request', set(amy, ''))
  await refused('bad-request', set(amy, `<item jid='a@localhost'/><item jid='b@localhost'/>`))
  await refused('bad-request', set(amy, `<item name='nobody'/>`))
  await refused('bad-request', set(amy, `<item jid='a@localhost'><group>x</group><group>x</group></item>`))
  await refused('not-acceptable', set(amy, `<item jid='a@localhost'><group/></item>`))
  await refused('not-acceptable', set(amy, `<item jid='a@localhost'><group>${long}</group></item>`))
  await refused('not-acceptable', set(amy, `<item jid='a@localhost' name='${long}'/>`))
  const groups = Array.from({ length: 51 }, (_, i) => `<group>g${i}</group>`).join('')
  await refused('not-acceptable', set(amy, `<item jid='a@localhost'>${groups}</item>`))
  await refused('item-not-found', set(amy, `<item jid='a@localhost' subscription='remove'/>`))
  assert.deepEqual(child(await get(amy), 'query')?.children, [])
})

test('a roster is for its owner; of an account that does not exist the answer is the same', async () => {
  await server.register('ann')
  const eve = await server.client('eve')
  for (const to of ['ann@localhost', 'nobody@localhost']) {
    await refused('forbidden', get(eve, undefined, to))
    await refused('forbidden', set(eve, `<item jid='eve@localhost'/>`, to))
  }
})

test('nobody pushes a roster to the client of another', async () => {
  const ada = await server.client('ada')
  const eve = await server.client('eve')
  await refused('service-unavailable', set(eve, `<item jid='eve@localhost' subscription='both'/>`, ada.jid))
  await nothing(ada, isPush)
})

test('a client that has the roster as it is gets an empty result, one that has not gets it whole', async () => {
  const bea = await server.client('bea')
  assert.ok(child(bea.features, 'ver', 'urn:xmpp:features:rosterver'))
  assert.ok(child(bea.features, 'sub', 'urn:xmpp:features:pre-approval'))
  const empty = child(await get(bea, ''), 'query')
  assert.notEqual(empty, undefined) // RFC 6121 2.6.2: an empty version asks for the roster
  await set(bea, `<item jid='one@localhost'/>`)
  const ver = child(await bea.receive(pushOf('one@localhost')), 'query')!.attrs['ver']!
  assert.notEqual(ver, '')
  assert.equal((await get(bea, ver)).children.length, 0)
  assert.equal(child(await get(bea), 'query')?.attrs['ver'], undefined)

  await set(bea, `<item jid='two@localhost'/>`)
  const next = child(await bea.receive(pushOf('two@localhost')), 'query')!.attrs['ver']!
  assert.notEqual(next, ver)
  const whole = child(await get(bea, ver), 'query')!
  assert.equal(whole.attrs['ver'], next)
  assert.deepEqual(whole.children.map(item => item.attrs['jid']).sort(), ['one@localhost', 'two@localhost'])
})

test('a roster holds so many contacts and no more; what is there can still be changed', async t => {
  const small = await TestServer.start({ modules: { mod_roster: { max_items: 10 } } })
  t.after(() => small.stop())
  const cat = await small.client('cat')
  for (let i = 0; i < 10; i++) await set(cat, `<item jid='c${i}@localhost'/>`)
  await refused('not-allowed', set(cat, `<item jid='more@localhost'/>`))
  cat.send(`<presence to='more@localhost' type='subscribe' id='s1'/>`)
  const error = await cat.receive(el => el.name === 'presence' && el.attrs['type'] === 'error')
  assert.ok(child(child(error, 'error'), 'not-allowed'))
  await set(cat, `<item jid='c3@localhost' name='Three'/>`)
  assert.equal(child(await get(cat), 'query')?.children.length, 10)
})

test('what could not be stored is not in the roster', async t => {
  let full = false
  const weak = await TestServer.start({
    store: faultyStore(
      'roster',
      () => false,
      () => full,
    ),
  })
  t.after(() => weak.stop())
  const wim = await weak.client('wim')
  await set(wim, `<item jid='kept@localhost' name='Kept'/>`)
  const ver = child(await get(wim, ''), 'query')!.attrs['ver']!
  full = true
  await assert.rejects(set(wim, `<item jid='lost@localhost'/>`), /iq error/)
  await assert.rejects(set(wim, `<item jid='kept@localhost' name='Changed'/>`), /iq error/)
  await assert.rejects(set(wim, `<item jid='kept@localhost' subscription='remove'/>`), /iq error/)
  const query = child(await get(wim, ver), 'query')!
  assert.deepEqual(
    query.children.map(item => item.attrs['name']),
    ['Kept'],
  )
})

test('rosters outlive the server, and go with the account', async () => {
  const { openMemoryStore } = await import('../../src/storage/memory.ts')
  const store = openMemoryStore()
  const keep = new Proxy(store, {
    get: (target, key) => (key === 'close' ? async () => {} : Reflect.get(target, key).bind(target)),
  })
  const first = await TestServer.start({ store: keep })
  const dan = await first.client('dan')
  await set(dan, `<item jid='x@localhost' name='X'><group>G</group></item>`)
  const ver = child(await get(dan, ''), 'query')!.attrs['ver']!
  await first.stop()

  const second = await TestServer.start({ store: keep })
  const again = await second.client('dan')
  assert.equal((await get(again, ver)).children.length, 0)
  const item = child(await get(again), 'query')!.children[0]!
  assert.deepEqual([item.attrs['name'], item.children[0]?.text], ['X', 'G'])
  await again.close()
  await second.server.host('localhost')!.removeAccount('dan')
  const reborn = await second.client('dan')
  assert.deepEqual(child(await get(reborn), 'query')?.children, [])
  await second.stop()
})

test('commands list, add and delete contacts; clients see it', async () => {
  const commands = server.server.commands
  const io = { progress: () => {} }
  const fay = await server.client('fay')
  await get(fay)
  const account = 'fay@localhost'
  await commands
    .get('add_rosteritem')!
    .run({ account, contact: 'gus@localhost', name: 'Gus', group: 'Work', subscription: 'both' }, io)
  assert.equal(itemOf(await fay.receive(pushOf('gus@localhost')))!.attrs['subscription'], 'both')
  assert.deepEqual(await commands.get('get_roster')!.run({ account }, io), [
    { jid: 'gus@localhost', name: 'Gus', subscription: 'both', ask: '', groups: 'Work' },
  ])
  await commands.get('delete_rosteritem')!.run({ account, contact: 'gus@localhost' }, io)
  assert.equal(itemOf(await fay.receive(pushOf('gus@localhost')))!.attrs['subscription'], 'remove')
  const again = async (): Promise<unknown> =>
    commands.get('delete_rosteritem')!.run({ account, contact: 'gus@localhost' }, io)
  await assert.rejects(again, { name: 'CommandError', code: 'not_found' })
  const nobody = async (): Promise<unknown> => commands.get('get_roster')!.run({ account: 'nobody@localhost' }, io)
  await assert.rejects(nobody, { name: 'CommandError', code: 'not_found' })
})
