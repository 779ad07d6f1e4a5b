import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { publish as publishItem } from '../support/publishing.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { refused, serve } from '../support/talk.ts'

const NS = 'urn:ietf:params:xml:ns:vcard-4.0'
const NODE = 'urn:xmpp:vcard4'
const PUBSUB = 'http://jabber.org/protocol/pubsub'
const GET = "<vCard xmlns='vcard-temp'/>"

const server = await serve({ after })

const card4 = (content: string) => `<vcard xmlns='${NS}'>${content}</vcard>`

function publish(client: RawClient, content: string): Promise<XmlElement> {
  const item = `<publish node='${NODE}'><item id='current'>${card4(content)}</item></publish>`
  return client.request('set', `<pubsub xmlns='${PUBSUB}'>${item}</pubsub>`)
}

async function published(client: RawClient, to?: string): Promise<XmlElement | undefined> {
  const answer = await client.request('get', `<pubsub xmlns='${PUBSUB}'><items node='${NODE}'/></pubsub>`, to)
  const [item] = child(child(answer, 'pubsub'), 'items')?.children ?? []
  return child(item, 'vcard', NS)
}

const fieldOf = (vcard: XmlElement | undefined, ...path: string[]) =>
  path.reduce<XmlElement | undefined>((el, name) => child(el, name), vcard)?.text

async function vcardOf(client: RawClient, to?: string): Promise<XmlElement | undefined> {
  return child(await client.request('get', GET, to), 'vCard', 'vcard-temp')
}

test('a vCard that is set is published as vCard4', async () => {
  const [alice, bob] = await server.clients('alice', 'bob')
  const content =
    '<FN>Alice</FN><NICKNAME>al</NICKNAME><EMAIL><WORK/><USERID>a@x.example</USERID></EMAIL><TEL><NUMBER>+1-23</NUMBER></TEL>'
  await alice.request('set', `<vCard xmlns='vcard-temp'>${content}<X-MOOD>merry</X-MOOD></vCard>`)
  const vcard = await published(bob, 'alice@localhost')
  assert.equal(fieldOf(vcard, 'fn', 'text'), 'Alice')
  assert.equal(fieldOf(vcard, 'nickname', 'text'), 'al')
  assert.equal(fieldOf(vcard, 'email', 'text'), 'a@x.example')
  assert.equal(fieldOf(vcard, 'email', 'parameters', 'type', 'text'), 'work')
  assert.equal(fieldOf(vcard, 'tel', 'uri'), 'tel:+1-23')
})

test('a vCard4 that is published is the vCard, which keeps what a vCard4 cannot say', async () => {
  const [carol, bob] = await server.clients('carol', 'bob')
  await carol.request('set', "<vCard xmlns='vcard-temp'><FN>C</FN><TITLE>Dr</TITLE><X-MOOD>merry</X-MOOD></vCard>")
  await publish(carol, '<fn><text>Carol</text></fn><note><text>hi</text></note><geo><uri>geo:1,2</uri></geo>')
  await carol.ping()
  const vcard = await vcardOf(bob, 'carol@localhost')
  assert.equal(fieldOf(vcard, 'FN'), 'Carol')
  assert.equal(fieldOf(vcard, 'DESC'), 'hi')
  assert.equal(fieldOf(vcard, 'X-MOOD'), 'merry')
  assert.equal(fieldOf(vcard, 'TITLE'), undefined)
  await carol.request('set', "<vCard xmlns='vcard-temp'><FN>Carola</FN></vCard>")
  const vcard4 = await published(carol)
  assert.equal(fieldOf(vcard4, 'fn', 'text'), 'Carola')
  assert.equal(fieldOf(vcard4, 'geo', 'uri'), 'geo:1,2')
})

test('it can be asked for and set without PEP', async () => {
  const [dave, bob] = await server.clients('dave', 'bob')
  await refused('item-not-found', dave.request('get', `<vcard xmlns='${NS}'/>`))
  await refused('service-unavailable', bob.request('get', `<vcard xmlns='${NS}'/>`, 'dave@localhost'))
  await refused('service-unavailable', bob.request('get', `<vcard xmlns='${NS}'/>`, 'nobody@localhost'))
  await dave.request('set', card4('<fn><text>Dave</text></fn>'))
  await dave.ping()
  const answer = await bob.request('get', `<vcard xmlns='${NS}'/>`, 'dave@localhost')
  assert.equal(fieldOf(child(answer, 'vcard', NS), 'fn', 'text'), 'Dave')
  assert.equal(fieldOf(await vcardOf(bob, 'dave@localhost'), 'FN'), 'Dave')
  await refused('forbidden', bob.request('set', card4('<fn><text>Mallory</text></fn>'), 'dave@localhost'))
})

test('what only some may read by PEP, others cannot ask for in another way', async () => {
  const [erin, bob] = await server.clients('erin', 'bob')
  await publish(erin, '<fn><text>Erin</text></fn>') // a personal node is for contacts, if nothing else is said
  await refused('service-unavailable', bob.request('get', `<vcard xmlns='${NS}'/>`, 'erin@localhost'))
})

test('what only some may read in a vCard4 does not come into a vCard for everybody', async () => {
  const [gina, bob] = await server.clients('gina', 'bob')
  await publish(gina, '<fn><text>Gina</text></fn><tel><text>+1-23</text></tel>') // for contacts
  await gina.ping()
  await refused('service-unavailable', bob.request('get', GET, 'gina@localhost'))
})

test('nor what is in a vCard for contacts into a vCard4 for everybody', async t => {
  const closed = await serve(t, { modules: { mod_vcard: { privacy: 'contacts' } } })
  const [alice, bob] = await closed.clients('alice', 'bob')
  await publishItem(alice, NODE, card4('<fn><text>Alice</text></fn>'), 'current', { access_model: 'open' })
  await alice.request('set', "<vCard xmlns='vcard-temp'><FN>Alice</FN><TEL><NUMBER>+1-23</NUMBER></TEL></vCard>")
  await alice.ping()
  const vcard = await published(bob, 'alice@localhost')
  assert.equal(fieldOf(vcard, 'fn', 'text'), 'Alice')
  assert.equal(child(vcard, 'tel'), undefined)
})
