import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { PepService } from '../../src/modules/pubsub/pep.ts'
import { type Element, NS, serialize } from '../../src/xml/index.ts'
import { StanzaError } from '../../src/xmpp/errors.ts'
import { interested, publishes } from '../support/publishing.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { available, befriend, copied, nothing, serve } from '../support/talk.ts'
import { testModule } from '../support/testserver.ts'

const MDS = 'urn:xmpp:mds:displayed:0'
const isMarker = (el: XmlElement) => el.name === 'message' && child(el, 'displayed', NS.MARKERS) !== undefined
const displayed = (id: string) =>
  `<displayed xmlns='${MDS}'><stanza-id xmlns='urn:xmpp:sid:0' by='juliet@localhost' id='${id}'/></displayed>`
const marker = (to: string, id: string, more = displayed(id), type = 'chat') =>
  `<message to='${to}' type='${type}'><displayed xmlns='${NS.MARKERS}' id='m-${id}'/>${more}</message>`

interface Published {
  user: string
  node: string
  id: string
  payload: Element
  config: object
}

/** Juliet and romeo on a server whose personal nodes only write down what they are asked. */
async function people(t: TestContext, refuse = false) {
  const published: Published[] = []
  const nodes = testModule('mod_pubsub', ctx => {
    const pep: Pick<PepService, 'publish'> = {
      async publish(account, node, id, payload, config = {}) {
        await Promise.resolve()
        if (refuse) throw new StanzaError('resource-constraint')
        published.push({ user: account.user, node, id, payload, config })
      },
    }
    ctx.provide('pep', pep as PepService)
  })
  const server = await serve(t, { extra: [nodes] })
  const juliet = await server.client('juliet', { resource: 'phone' })
  const romeo = await server.client('romeo', { resource: 'r' })
  await available(romeo)
  return { server, juliet, romeo, published }
}

const namespaces = (el: XmlElement) => el.children.map(c => c.ns)

test('accounts say that they do', async t => {
  const { juliet } = await people(t)
  const info = await juliet.request('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>", 'juliet@localhost')
  assert.ok(info.children[0]!.children.some(c => c.attrs['var'] === 'urn:xmpp:mds:server-assist:0'))
})

test('a marker is noted in the private node, and goes on without the id', async t => {
  const { server, juliet, romeo, published } = await people(t)
  const desk = await server.client('juliet', { resource: 'desk' })
  await available(desk)
  await desk.request('set', "<enable xmlns='urn:xmpp:carbons:2'/>")
  juliet.send(marker('romeo@localhost', '1'))
  const came = await romeo.receive(isMarker)
  assert.ok(!namespaces(came).includes(MDS))
  const copy = copied(await desk.receive(el => copied(el, 'sent') !== undefined), 'sent')
  assert.equal(child(copy, 'displayed', MDS), undefined)
  assert.equal(published.length, 1)
  const { payload, ...rest } = published[0]!
  assert.deepEqual(rest, {
    user: 'juliet',
    node: MDS,
    id: 'romeo@localhost',
    config: { persist_items: true, max_items: 'max', send_last_published_item: 'never', access_model: 'whitelist' },
  })
  assert.equal(serialize(payload), displayed('1'))
})

test('the latest marker of a chat is the one that stays; each chat has its own', async t => {
  const { juliet, published } = await people(t)
  for (const n of [1, 2, 3]) juliet.send(marker('romeo@localhost', String(n)))
  juliet.send(marker('room@muc.localhost', '9', displayed('9'), 'groupchat'))
  await juliet.ping()
  assert.deepEqual(
    published.map(({ id, payload }) => [id, (payload.children[0] as Element).attrs['id']]),
    [
      ['romeo@localhost', '1'],
      ['romeo@localhost', '2'],
      ['romeo@localhost', '3'],
      ['room@muc.localhost', '9'],
    ],
  )
})

test('what does not say which message was displayed is taken out and noted nowhere', async t => {
  const { juliet, romeo, published } = await people(t)
  for (const [n, more] of [
    `<displayed xmlns='${MDS}'/>`,
    `<displayed xmlns='${MDS}'><other xmlns='x'/></displayed>`,
    `<displayed xmlns='${MDS}'><stanza-id xmlns='urn:xmpp:sid:0' by='a' id='1'/><other xmlns='x'/></displayed>`,
  ].entries()) {
    juliet.send(marker('romeo@localhost', String(n), more))
    const came = await romeo.receive(isMarker)
    assert.ok(!namespaces(came).includes(MDS))
  }
  assert.equal(published.length, 0)
})

test('what others send is not noted, and a marker without the element is left alone', async t => {
  const { juliet, romeo, published } = await people(t)
  await available(juliet)
  romeo.send(marker('juliet@localhost', '5'))
  await juliet.receive(isMarker)
  assert.deepEqual(
    published.map(p => p.user),
    ['romeo'],
  ) // romeo's own reading
  juliet.send(marker('romeo@localhost', '6', ''))
  await romeo.receive(isMarker)
  assert.equal(published.length, 1)
})

test('a node that takes no more does not keep the marker from its reader', async t => {
  const { juliet, romeo, published } = await people(t, true)
  juliet.send(marker('romeo@localhost', '1'))
  await romeo.receive(isMarker)
  await nothing(juliet, el => el.attrs['type'] === 'error')
  assert.equal(published.length, 0)
})

test('her other device hears of it, one that comes later finds it, and nobody else may look', async t => {
  const server = await serve(t)
  const phone = await server.client('juliet', { resource: 'phone' })
  const romeo = await interested(server, 'romeo', [MDS])
  const desk = await interested(server, 'juliet', [MDS])
  await available(phone)
  await befriend(romeo, desk)
  phone.send(marker('romeo@localhost', '1'))
  await desk.receive(publishes(MDS, 'romeo@localhost'))
  phone.send(marker('romeo@localhost', '2'))
  await desk.receive(publishes(MDS, 'romeo@localhost'))
  await nothing(romeo, publishes(MDS), phone)

  const read = `<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='${MDS}'/></pubsub>`
  const late = await interested(server, 'juliet', [MDS])
  await nothing(late, publishes(MDS), phone) // it asks for all of them itself
  const items = child(child(await late.request('get', read), 'pubsub'), 'items')!
  assert.deepEqual(
    items.children.map(item => [item.attrs['id'], child(child(item, 'displayed', MDS), 'stanza-id')?.attrs['id']]),
    [['romeo@localhost', '2']],
  )
  await assert.rejects(romeo.request('get', read, 'juliet@localhost'))
})

test('a client that made the node itself finds it as it was', async t => {
  const server = await serve(t)
  const juliet = await server.client('juliet', { resource: 'phone' })
  await server.register('romeo')
  const publish =
    `<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='${MDS}'><item id='carol@localhost'>${displayed('7')}</item></publish>` +
    "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>" +
    "<field var='pubsub#persist_items'><value>true</value></field><field var='pubsub#max_items'><value>max</value></field>" +
    "<field var='pubsub#send_last_published_item'><value>never</value></field><field var='pubsub#access_model'><value>whitelist</value></field></x></publish-options></pubsub>"
  await juliet.request('set', publish)
  juliet.send(marker('romeo@localhost', '1'))
  await juliet.request('set', publish) // its options are those of the node still
  const read = `<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='${MDS}'/></pubsub>`
  const items = child(child(await juliet.request('get', read), 'pubsub'), 'items')!
  assert.deepEqual(items.children.map(item => item.attrs['id']).sort(), ['carol@localhost', 'romeo@localhost'])
})
