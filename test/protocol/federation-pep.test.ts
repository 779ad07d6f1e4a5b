/** Nodes, avatars and nicknames of people on other servers (XEP-0163, 0084, 0153, 0398, 0060). */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import {
  form,
  type InterestedClient,
  ITEMS,
  interest,
  itemIds,
  owner,
  publish,
  publishes,
  pubsub,
  refusal,
  retracts,
} from '../support/publishing.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { available, befriend, presenceFrom } from '../support/talk.ts'
import type { TestOptions } from '../support/testserver.ts'
import { TwoServers } from '../support/twoservers.ts'

const [ROMEO, JULIET] = ['romeo@montague.example', 'juliet@capulet.example']
const P = "<p xmlns='urn:p'/>"

/** Contacts; romeo’s client wants to hear of these nodes. */
async function lovers(t: TestContext, nodes: readonly string[] = ['urn:p'], capulet: TestOptions = {}) {
  const two = await TwoServers.start(t, { capulet })
  const juliet = await two.capulet.client('juliet', { resource: 'one' })
  await available(juliet)
  const romeo = await interest(await two.montague.client('romeo', { resource: 'one' }), nodes)
  await befriend(romeo, juliet)
  await two.settled(romeo, juliet)
  return { two, romeo, juliet }
}

/** Available once more; its contacts elsewhere know what it wants to hear of. */
async function comeBack(two: TwoServers, nodes: readonly string[], resource = 'two'): Promise<InterestedClient> {
  const client = await interest(await two.montague.client('romeo', { resource }), nodes)
  await two.settled(client)
  return client
}

test('a contact elsewhere hears of what is published and taken back, at each client that wants to', async t => {
  const { two, romeo, juliet } = await lovers(t)
  const tab = await comeBack(two, ['urn:p', 'urn:q'])
  const deaf = await two.montague.client('romeo', { resource: 'deaf' })
  await available(deaf)
  await publish(juliet, 'urn:p', P, 'x')
  for (const client of [romeo, tab]) {
    const { attrs } = await client.receive(publishes('urn:p', 'x'))
    assert.deepEqual([attrs['from'], attrs['to']], [JULIET, client.jid])
  }
  await publish(juliet, 'urn:q', "<q xmlns='urn:q'/>", 'y')
  await tab.receive(publishes('urn:q', 'y'))
  await two.nothing(romeo, publishes('urn:q'), juliet)
  await two.nothing(deaf, publishes('urn:p'))
  await juliet.request('set', pubsub("<retract node='urn:p' notify='true'><item id='x'/></retract>"))
  await romeo.receive(retracts('urn:p', 'x'))
})

test('who comes online gets the last items, also of somebody who is away; not where the option says otherwise', async t => {
  const { two, romeo, juliet } = await lovers(t, [])
  await publish(juliet, 'urn:p', P, 'x')
  await romeo.close()
  await juliet.close()
  const back = await comeBack(two, ['urn:p'])
  const last = await back.receive(publishes('urn:p', 'x'))
  assert.ok(child(last, 'delay', 'urn:xmpp:delay'))
  await back.close()
  await two.reload('capulet', { mod_pubsub: { ignore_pep_from_offline: true } })
  const third = await comeBack(two, ['urn:p'], 'three')
  await two.nothing(third, publishes('urn:p'))
})

test('who has gone, or is no contact any more, hears nothing', async t => {
  const { two, romeo, juliet } = await lovers(t)
  const came = two.arrivals('montague')
  const heard = (): string[] => came.splice(0).filter(line => line.startsWith('message'))
  romeo.send("<presence type='unavailable'/>")
  await two.settled(romeo)
  await publish(juliet, 'urn:p', P, 'gone')
  await two.settled(juliet)
  assert.deepEqual(heard(), [])
  romeo.send(romeo.lastPresence)
  await romeo.receive(publishes('urn:p', 'gone'))
  juliet.send(`<presence to='${ROMEO}' type='unsubscribed'/>`)
  await two.settled(juliet)
  heard()
  await publish(juliet, 'urn:p', P, 'secret')
  await two.settled(juliet)
  assert.deepEqual(heard(), [])
  await refusal('not-authorized presence-subscription-required', romeo, 'get', ITEMS('urn:p'), JULIET)
})

test('to clients of a peer that is gone nothing is sent; when it is back they hear what they have missed', async t => {
  const { two, romeo, juliet } = await lovers(t)
  await publish(juliet, 'urn:p', P, 'x')
  await romeo.receive(publishes('urn:p', 'x'))
  const came = two.arrivals('montague')
  two.tell('peer_gone')
  await publish(juliet, 'urn:p', P, 'y')
  await two.settled(juliet)
  assert.deepEqual(
    came.filter(line => line.startsWith('message')),
    [],
  )
  two.tell('peer_back')
  await romeo.receive(publishes('urn:p', 'y'))
})

test('a contact whose server says that it is away, and not which client, is away', async t => {
  const { two, juliet, romeo } = await lovers(t)
  const came = two.arrivals('montague')
  two.send(`<presence type='unavailable' from='${ROMEO}' to='${JULIET}'/>`)
  await two.settled(juliet)
  await publish(juliet, 'urn:p', P, 'x')
  await two.nothing(romeo, publishes('urn:p'), juliet)
  assert.deepEqual(
    came.filter(line => line.startsWith('message')),
    [],
  )
})

test('strangers elsewhere read and subscribe what is open, and nothing else; subscribers are told', async t => {
  const two = await TwoServers.start(t)
  const juliet = await two.capulet.client('juliet')
  const romeo = await two.montague.client('romeo')
  for (const client of [juliet, romeo]) await available(client)
  await publish(juliet, 'urn:open', P, 'a', { access_model: 'open' })
  await publish(juliet, 'urn:friends', P, 'b')
  await publish(juliet, 'urn:few', P, 'c', { access_model: 'whitelist' })
  assert.deepEqual(await itemIds(romeo, 'urn:open', JULIET), ['a'])
  for (const node of ['urn:friends', 'urn:few', 'urn:none']) {
    await refusal('not-authorized presence-subscription-required', romeo, 'get', ITEMS(node), JULIET)
  }
  await romeo.request('set', pubsub(`<subscribe node='urn:open' jid='${ROMEO}'/>`), JULIET)
  await publish(juliet, 'urn:open', P, 'd')
  await romeo.receive(publishes('urn:open', 'd'))
  await assert.rejects(publish(romeo, 'urn:open', P, 'mine', undefined, JULIET), /iq error/)
  await assert.rejects(romeo.request('get', owner("<configure node='urn:open'/>"), JULIET), /iq error/)
  const affiliate = `<affiliations node='urn:few'><affiliation jid='${ROMEO}' affiliation='member'/></affiliations>`
  await juliet.request('set', owner(affiliate))
  assert.deepEqual(await itemIds(romeo, 'urn:few', JULIET), ['c'])
})

test('the service for everybody serves people of other servers, as far as a node is open', async t => {
  const two = await TwoServers.start(t)
  const juliet = await two.capulet.client('juliet')
  const romeo = await two.montague.client('romeo')
  for (const client of [juliet, romeo]) await available(client)
  const service = 'pubsub.capulet.example'
  await publish(juliet, 'news', P, 'a', { access_model: 'open' }, service)
  await romeo.request('set', pubsub(`<subscribe node='news' jid='${ROMEO}'/>`), service)
  await publish(juliet, 'news', P, 'b', undefined, service)
  const { attrs } = await romeo.receive(publishes('news', 'b'))
  assert.equal(attrs['from'], service)
  await juliet.request(
    'set',
    owner(`<configure node='news'>${form('node_config', { access_model: 'whitelist' })}</configure>`),
    service,
  )
  await publish(juliet, 'news', P, 'c', undefined, service)
  await two.nothing(romeo, publishes('news', 'c'), juliet)
})

const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
)
const DATA = 'urn:xmpp:avatar:data'
const METADATA = 'urn:xmpp:avatar:metadata'

test('an avatar: contacts elsewhere hear of it, see its hash in presence, and have the picture by either way', async t => {
  const { two, romeo, juliet } = await lovers(t, [METADATA])
  const id = createHash('sha1').update(PNG).digest('hex')
  await publish(juliet, DATA, `<data xmlns='${DATA}'>${PNG.toString('base64')}</data>`, id)
  const info = `<info bytes='${PNG.length}' id='${id}' type='image/png' width='1' height='1'/>`
  await publish(juliet, METADATA, `<metadata xmlns='${METADATA}'>${info}</metadata>`, id)
  const told = await romeo.receive(publishes(METADATA))
  const shown = child(child(told, 'event')!.children[0]!.children[0], 'metadata', METADATA)!.children[0]!.attrs
  const hashOf = (el: XmlElement) => child(child(el, 'x', 'vcard-temp:x:update'), 'photo')?.text
  const presence = await romeo.receive(el => presenceFrom(juliet.jid)(el) && hashOf(el) !== undefined)
  const answer = await romeo.request('get', ITEMS(DATA, `<item id='${shown['id']}'/>`), JULIET)
  const data = child(child(answer.children[0], 'items')!.children[0], 'data', DATA)!.text
  const sha1 = (text: string): string => createHash('sha1').update(Buffer.from(text, 'base64')).digest('hex')
  assert.equal(sha1(data), shown['id'])
  const card = child(await romeo.request('get', "<vCard xmlns='vcard-temp'/>", JULIET), 'vCard')
  assert.equal(sha1(child(child(card, 'PHOTO'), 'BINVAL')!.text), hashOf(presence))
  // Who comes online later sees it, too.
  const tab = await comeBack(two, [METADATA])
  await tab.receive(publishes(METADATA))
  assert.equal(hashOf(await tab.receive(presenceFrom(juliet.jid))), hashOf(presence))
})

test('a nickname that is published reaches contacts elsewhere', async t => {
  const NICK = 'http://jabber.org/protocol/nick'
  const { romeo, juliet } = await lovers(t, [NICK])
  await publish(juliet, NICK, `<nick xmlns='${NICK}'>Jule</nick>`)
  const told = await romeo.receive(publishes(NICK))
  assert.equal(child(child(told, 'event')!.children[0]!.children[0], 'nick')?.text, 'Jule')
})
