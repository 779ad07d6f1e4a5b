import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { parseElement, xml } from '../../src/xml/index.ts'
import { verificationString } from '../../src/xmpp/caps.ts'
import { pluck } from '../support/pluck.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { available, befriend, refused, serve } from '../support/talk.ts'
import { testModule } from '../support/testserver.ts'

const INFO = 'http://jabber.org/protocol/disco#info'
const ITEMS = 'http://jabber.org/protocol/disco#items'
const CAPS = 'http://jabber.org/protocol/caps'

const ask = (ns: string, node?: string) => `<query xmlns='${ns}'${node === undefined ? '' : ` node='${node}'`}/>`
const query = (answer: XmlElement) => answer.children[0]!
const features = (answer: XmlElement) =>
  query(answer)
    .children.filter(c => c.name === 'feature')
    .map(c => c.attrs['var']!)
const identities = (answer: XmlElement) =>
  query(answer)
    .children.filter(c => c.name === 'identity')
    .map(c => `${c.attrs['category']}/${c.attrs['type']}`)

/** Another module with something to tell. */
const mod_shelf = testModule('mod_shelf', ctx => {
  ctx.identity({ category: 'server', type: 'im' }) // as mod_disco has it too
  ctx.feature('urn:shelf', 'account')
  ctx.hook('disco_info', event => {
    if (event.node === 'shelf') event.answer = [xml('feature', { var: `urn:shelf:${event.scope}` })]
  })
  ctx.hook('disco_items', event => {
    if (event.node === '' && event.scope === 'server') event.items.push({ jid: 'books.localhost', name: 'Books' })
    if (event.node !== 'shelf') return
    event.known = true
    if (event.trusted) event.items.push({ jid: 'a@localhost', node: 'book' })
  })
})

const server = await serve(
  { after },
  {
    extra: [mod_shelf],
    modules: {
      mod_disco: { contact_addresses: { abuse: ['mailto:abuse@localhost', 'xmpp:abuse@localhost'] } },
      mod_pubsub: false, // whose identity, and domain, its own tests look at
    },
  },
)

test('the server says what it is, what it can do and whom to contact', async () => {
  const alice = await server.client('alice')
  const answer = await alice.request('get', ask(INFO), 'localhost')
  assert.equal(answer.attrs['from'], 'localhost')
  assert.deepEqual(identities(answer), ['server/im'])
  const list = features(answer)
  assert.ok([INFO, ITEMS, CAPS].every(ns => list.includes(ns)))
  assert.equal(new Set(list).size, list.length)
  const form = child(query(answer), 'x', 'jabber:x:data')!
  const fields = Object.fromEntries(form.children.map(f => [f.attrs['var'], f.children.map(v => v.text)]))
  assert.deepEqual(fields, {
    FORM_TYPE: ['http://jabber.org/network/serverinfo'],
    'abuse-addresses': ['mailto:abuse@localhost', 'xmpp:abuse@localhost'],
  })
})

test('one’s own account is a registered one with features of its own', async () => {
  const alice = await server.client('alice')
  const answer = await alice.request('get', ask(INFO))
  assert.deepEqual(identities(answer), ['account/registered'])
  assert.ok(features(answer).includes('urn:shelf'))
  assert.ok(!features(answer).includes(CAPS))
})

test('a stranger’s account looks like none; a contact’s does not', async () => {
  const alice = await server.client('alice', { resource: 'a' })
  const bob = await server.client('bob', { resource: 'b' })
  for (const node of [undefined, 'shelf']) {
    for (const jid of ['bob@localhost', 'nobody@localhost']) {
      await refused('service-unavailable', alice.request('get', ask(INFO, node), jid))
      const items = await alice.request('get', ask(ITEMS, node), jid)
      assert.deepEqual(query(items).children, [])
      assert.equal(query(items).attrs['node'], node)
    }
  }
  await available(alice)
  await available(bob)
  await befriend(alice, bob)
  assert.deepEqual(identities(await alice.request('get', ask(INFO), 'bob@localhost')), ['account/registered'])
  const items = await alice.request('get', ask(ITEMS), 'bob@localhost')
  assert.deepEqual(
    query(items).children.map(c => c.attrs['jid']),
    ['bob@localhost/b'],
  )
  assert.equal(query(await alice.request('get', ask(ITEMS, 'shelf'), 'bob@localhost')).children.length, 1)
})

test('nodes are for those who know them', async () => {
  const alice = await server.client('alice')
  const info = await alice.request('get', ask(INFO, 'shelf'), 'localhost')
  assert.equal(query(info).attrs['node'], 'shelf')
  assert.deepEqual(features(info), ['urn:shelf:server'])
  const items = await alice.request('get', ask(ITEMS), 'localhost')
  assert.deepEqual(pluck(query(items).children, 'attrs'), [{ jid: 'books.localhost', name: 'Books' }])
  await refused('item-not-found', alice.request('get', ask(INFO, 'attic'), 'localhost'))
  await refused('item-not-found', alice.request('get', ask(ITEMS, 'attic'), 'localhost'))
  await refused('item-not-found', alice.request('get', ask(INFO, 'attic')))
})

test('the hash at login is that of the answer, and names it as a node', async () => {
  const alice = await server.client('alice')
  const caps = child(alice.features, 'c', CAPS)!
  assert.equal(caps.attrs['hash'], 'sha-1')
  const node = `${caps.attrs['node']}#${caps.attrs['ver']}`
  const answer = await alice.request('get', ask(INFO, node), 'localhost')
  assert.equal(query(answer).attrs['node'], node)
  const plain = await alice.request('get', ask(INFO), 'localhost')
  assert.deepEqual(query(answer).children, query(plain).children)
  assert.equal(verificationString(parseElement(write(query(plain)))), caps.attrs['ver'])
  await refused('item-not-found', alice.request('get', ask(INFO, `${caps.attrs['node']}#old`), 'localhost'))
})

test('the hash changes with the features', async () => {
  const host = server.server.host('localhost')!
  const ver = async () => child((await server.client('alice')).features, 'c', CAPS)!.attrs['ver']
  const first = await ver()
  const remove = host.disco.addFeature('server', 'urn:something:new')
  assert.notEqual(await ver(), first)
  remove()
  assert.equal(await ver(), first)
})

function write(el: XmlElement): string {
  const attrs = Object.entries(el.attrs).map(([name, value]) => ` ${name}='${value}'`)
  return `<${el.name}${attrs.join('')}>${el.text}${el.children.map(write).join('')}</${el.name}>`
}
