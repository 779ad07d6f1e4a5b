import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { faultyStore } from '../support/faultystore.ts'
import { attrs, pluck } from '../support/pluck.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { nothing, refused, serve } from '../support/talk.ts'
import { TestServer } from '../support/testserver.ts'

const NS = 'jabber:iq:roster'

const server = await serve({ after })

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
  const [alice, other, deaf] = await server.clients('alice', 'alice', 'alice')
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
    assert.deepEqual(pluck(item.children, 'text'), ['Friends'])
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
  const [ada, eve] = await server.clients('ada', 'eve')
  await refused('service-unavailable', set(eve, `<item jid='eve@localhost' subscription='both'/>`, ada.jid))
  await nothing(ada, isPush)
})

test('a client that has the roster as it is gets an empty result, one with a version of elsewhere gets it whole', async () => {
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

  // A version that nobody here knows gets the whole of it.
  const all = child(await get(bea, 'elsewhere-17'), 'query')!
  assert.equal(all.attrs['ver'], ver)
  assert.deepEqual(attrs(all.children, 'jid'), ['one@localhost'])
})

test('a client that has missed a few changes gets them as pushes, the last state of each, in order, and nothing more', async () => {
  const mia = await server.client('mia')
  await get(mia, '')
  const change = async (item: string, jid: string): Promise<string> => {
    await set(mia, item)
    return child(await mia.receive(pushOf(jid)), 'query')!.attrs['ver']!
  }
  await change("<item jid='a@localhost' name='A'/>", 'a@localhost')
  const ver = await change("<item jid='b@localhost'/>", 'b@localhost')
  await change("<item jid='c@localhost'/>", 'c@localhost')
  await change("<item jid='a@localhost' name='Ann'/>", 'a@localhost')
  await change("<item jid='d@localhost'/>", 'd@localhost')
  await change("<item jid='b@localhost' subscription='remove'/>", 'b@localhost')
  const last = await change("<item jid='c@localhost' name='Cy'/>", 'c@localhost')
  const phone = await server.client('mia')
  assert.equal((await get(phone, ver)).children.length, 0)
  const pushes: XmlElement[] = []
  for (let i = 0; i < 4; i++) pushes.push(await phone.receive(isPush))
  assert.deepEqual(
    pushes.map(push => Object.values(itemOf(push)!.attrs).join(' ')),
    ['a@localhost Ann none', 'd@localhost none', 'b@localhost remove', 'c@localhost Cy none'],
  )
  const vers = pushes.map(push => child(push, 'query')!.attrs['ver']!)
  assert.deepEqual(vers, [...new Set(vers)].sort())
  assert.equal(vers.at(-1), last)
  await nothing(phone, isPush)
  // A client that was cut off between two of them goes on from the last it has.
  const tablet = await server.client('mia')
  assert.equal((await get(tablet, vers[2])).children.length, 0)
  assert.equal(itemOf(await tablet.receive(isPush))!.attrs['jid'], 'c@localhost')
  await nothing(tablet, isPush)
})

test('so many changes are remembered, over a restart too; who has missed more gets the roster whole', async t => {
  const { store } = faultyStore()
  const first = await serve(t, { store })
  const kim = await first.client('kim')
  await set(kim, "<item jid='x@localhost'/>")
  const ver = child(await get(kim, ''), 'query')!.attrs['ver']!
  const versions: string[] = []
  for (let i = 0; i < 130; i++) {
    await set(kim, `<item jid='x@localhost' name='${i}'/>`)
    versions.push(child(await kim.receive(pushOf('x@localhost')), 'query')!.attrs['ver']!)
  }
  const rows = await store.table('localhost', { name: 'roster_change' }).scan(['kim'])
  assert.ok(rows.length <= 101, `${rows.length} changes`)
  assert.equal(child(await get(kim, ver), 'query')!.children.length, 1, 'whole')
  await first.stop()
  const second = await serve(t, { store })
  const again = await second.client('kim')
  assert.equal((await get(again, versions[40])).children.length, 0)
  assert.equal(itemOf(await again.receive(isPush))!.attrs['name'], '129')
  // Many contacts that changed are told in one answer rather than in many.
  const before = versions.at(-1)!
  for (let i = 0; i < 51; i++) await set(again, `<item jid='y${i}@localhost'/>`)
  assert.equal(child(await get(again, before), 'query')!.children.length, 52)
  await again.close()
  await second.server.host('localhost')!.removeAccount('kim')
  assert.deepEqual(await store.table('localhost', { name: 'roster_change' }).scan(['kim']), [])
})

test('a push tells of what is durable', async t => {
  const { store, troubles } = faultyStore({ only: 'roster' })
  const slow = await serve(t, { store })
  const [one, other] = await slow.clients('sam', 'sam')
  await get(one)
  await get(other)
  troubles.writes.close()
  const done = set(one, "<item jid='a@localhost' name='A'/>")
  await nothing(other, isPush, other)
  troubles.writes.open()
  await done
  await other.receive(pushOf('a@localhost'))
  // What cannot be stored is not told of.
  troubles.failWrites = true
  await assert.rejects(set(one, "<item jid='b@localhost'/>"), /iq error/)
  await nothing(other, pushOf('b@localhost'), one)
})

test('a group of another namespace is no group', async () => {
  const zoe = await server.client('zoe')
  await set(zoe, "<item jid='a@localhost'><group xmlns='urn:x'>Not</group><group>Yes</group></item>")
  const [item] = child(await get(zoe), 'query')!.children
  assert.deepEqual(pluck(item!.children, 'text'), ['Yes'])
})

test('the names and groups of a roster have so many bytes, however many contacts it has', async t => {
  const small = await serve(t, { modules: { mod_roster: { max_bytes: '100 KiB' } } })
  const hal = await small.client('hal')
  const groups = (count: number) =>
    Array.from({ length: count }, (_, i) => `<group>${String(i).padEnd(1000, 'g')}</group>`).join('')
  await set(hal, `<item jid='a@localhost'>${groups(49)}</item>`)
  await set(hal, `<item jid='b@localhost'>${groups(49)}</item>`)
  await refused('not-allowed', set(hal, `<item jid='c@localhost'>${groups(49)}</item>`))
  await set(hal, `<item jid='a@localhost'>${groups(10)}</item>`)
  await set(hal, `<item jid='c@localhost'>${groups(30)}</item>`)
  await refused('not-allowed', set(hal, `<item jid='a@localhost'>${groups(49)}</item>`))
  await set(hal, "<item jid='b@localhost' subscription='remove'/>")
  await set(hal, `<item jid='a@localhost'>${groups(49)}</item>`)
})

test('a roster holds so many contacts and no more; what is there can still be changed', async t => {
  const small = await serve(t, { modules: { mod_roster: { max_items: 10 } } })
  const cat = await small.client('cat')
  for (let i = 0; i < 10; i++) await set(cat, `<item jid='c${i}@localhost'/>`)
  await refused('not-allowed', set(cat, `<item jid='more@localhost'/>`))
  cat.send(`<presence to='more@localhost' type='subscribe' id='s1'/>`)
  const error = await cat.receive(el => el.name === 'presence' && el.attrs['type'] === 'error')
  assert.ok(child(child(error, 'error'), 'not-allowed'))
  await set(cat, `<item jid='c3@localhost' name='Three'/>`)
  assert.equal(child(await get(cat), 'query')?.children.length, 10)
})

test('an account weighs what is in its roster, and what strangers have put there', async t => {
  const small = await serve(t)
  const [cat, dog] = await small.clients('cat', 'dog')
  const weight = () => small.server.host('localhost')!.accounts.get('cat')!.weight
  const before = weight()
  await set(cat, `<item jid='c1@localhost' name='${'x'.repeat(1000)}'/>`)
  const after = weight()
  assert.ok(after > before + 1000)
  dog.send(`<presence to='cat@localhost' type='subscribe'><status>${'x'.repeat(2000)}</status></presence>`)
  await dog.ping()
  assert.ok(weight() > after + 2000)
  await set(cat, `<item jid='c1@localhost' subscription='remove'/>`)
  cat.send(`<presence to='dog@localhost' type='unsubscribed'/>`)
  await cat.ping()
  assert.equal(weight(), before)
})

test('what could not be stored is not in the roster', async t => {
  const { store, troubles } = faultyStore({ only: 'roster' })
  const weak = await serve(t, { store })
  const wim = await weak.client('wim')
  await set(wim, `<item jid='kept@localhost' name='Kept'/>`)
  const ver = child(await get(wim, ''), 'query')!.attrs['ver']!
  troubles.failWrites = true
  troubles.failDeletes = true
  await assert.rejects(set(wim, `<item jid='lost@localhost'/>`), /iq error/)
  await assert.rejects(set(wim, `<item jid='kept@localhost' name='Changed'/>`), /iq error/)
  await assert.rejects(set(wim, `<item jid='kept@localhost' subscription='remove'/>`), /iq error/)
  const query = child(await get(wim, ver), 'query')!
  assert.deepEqual(attrs(query.children, 'name'), ['Kept'])
})

test('rosters outlive the server, and go with the account', async () => {
  const { store } = faultyStore()
  const first = await TestServer.start({ store })
  const dan = await first.client('dan')
  await set(dan, `<item jid='x@localhost' name='X'><group>G</group></item>`)
  const ver = child(await get(dan, ''), 'query')!.attrs['ver']!
  await first.stop()

  const second = await TestServer.start({ store })
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
  const fay = await server.client('fay')
  await get(fay)
  const account = 'fay@localhost'
  const gus = { account, contact: 'gus@localhost' }
  await server.command('add_rosteritem', { ...gus, name: 'Gus', group: 'Work', subscription: 'both' })
  assert.equal(itemOf(await fay.receive(pushOf('gus@localhost')))!.attrs['subscription'], 'both')
  assert.deepEqual(await server.command('get_roster', { account }), [
    { jid: 'gus@localhost', name: 'Gus', subscription: 'both', ask: '', groups: ['Work'] },
  ])
  await server.command('delete_rosteritem', gus)
  assert.equal(itemOf(await fay.receive(pushOf('gus@localhost')))!.attrs['subscription'], 'remove')
  const missing = { name: 'CommandError', code: 'not_found' }
  await assert.rejects(server.command('delete_rosteritem', gus), missing)
  await assert.rejects(server.command('get_roster', { account: 'nobody@localhost' }), missing)
})
