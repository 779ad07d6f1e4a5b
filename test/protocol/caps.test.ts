import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import type { Features } from '../../src/modules/mod_caps.ts'
import { parseElement } from '../../src/xml/index.ts'
import { verificationString } from '../../src/xmpp/caps.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { nothing, serve } from '../support/talk.ts'

const INFO = 'http://jabber.org/protocol/disco#info'
const CAPS = 'http://jabber.org/protocol/caps'

const said = (feature: string) => `<identity category='client' type='pc'/><feature var='${feature}'/>`
const ver = (info: string) => verificationString(parseElement(`<query xmlns='${INFO}'>${info}</query>`))
const asks = (el: XmlElement) =>
  el.name === 'iq' && el.attrs['type'] === 'get' && child(el, 'query', INFO) !== undefined

/** Two clients, and what the server thinks that a presence of them means. */
async function setup(t: TestContext) {
  const server = await serve(t, { modules: { mod_pubsub: false } })
  const caps = server.server.host('localhost')!.services.use('caps')!
  const [alice, bob] = await server.clients('alice', 'bob')
  const features = async (client: RawClient, hash: string, attrs = "hash='sha-1'"): Promise<string[] | undefined> => {
    const c = `<c xmlns='${CAPS}' ${attrs} node='urn:client' ver='${hash}'/>`
    const known: Features | undefined = await caps.features(
      Stanza.of(parseElement(`<presence from='${client.jid}'>${c}</presence>`)),
    )
    return known && [...known]
  }
  const answer = async (client: RawClient, info: string): Promise<void> => {
    const asked = await client.receive(asks)
    assert.equal(asked.attrs['from'], 'localhost')
    const { node } = child(asked, 'query')!.attrs
    client.send(
      `<iq type='result' id='${asked.attrs['id']}' to='localhost'><query xmlns='${INFO}' node='${node}'>${info}</query></iq>`,
    )
  }
  return { server, alice, bob, features, answer }
}

test('one client of a kind is asked, for all of them', async t => {
  const { alice, bob, features, answer } = await setup(t)
  const hash = ver(said('urn:a'))
  const [first, second] = [features(alice, hash), features(bob, hash)]
  await answer(alice, said('urn:a'))
  assert.deepEqual(await first, ['urn:a'])
  assert.deepEqual(await second, ['urn:a'])
  assert.deepEqual(await features(bob, hash), ['urn:a'])
  await nothing(bob, asks)
})

test('a lie counts for the liar, and the next one is asked', async t => {
  const { alice, bob, features, answer } = await setup(t)
  const hash = ver(said('urn:b'))
  const [first, second] = [features(alice, hash), features(bob, hash)]
  await answer(alice, said('urn:forged'))
  assert.deepEqual(await first, ['urn:forged'])
  await answer(bob, said('urn:b'))
  assert.deepEqual(await second, ['urn:b'])
  assert.deepEqual(await features(alice, hash), ['urn:b'])
})

test('two answers that one hash could mean are remembered for nobody', async t => {
  const { alice, bob, features, answer } = await setup(t)
  // The string that is hashed parts its fields by "<": this is one feature, or two.
  const honest = `${said('urn:a')}<feature var='urn:b'/>`
  const forged = said('urn:a&lt;urn:b')
  assert.equal(ver(honest), ver(forged))
  const first = features(alice, ver(honest))
  await answer(alice, forged)
  assert.deepEqual(await first, ['urn:a<urn:b'])
  const second = features(bob, ver(honest))
  await answer(bob, honest)
  assert.deepEqual(await second, ['urn:a', 'urn:b'])
})

test('the old form without a hash says nothing; a hash that nobody can verify is asked for each time', async t => {
  const { alice, bob, features, answer } = await setup(t)
  assert.equal(await features(alice, '1.0', "ext='a b'"), undefined)
  const md5 = createHash('md5').update('client/pc//<urn:c<').digest('base64')
  for (const client of [alice, bob]) {
    const asked = features(client, md5, "hash='md5'")
    await answer(client, said('urn:c'))
    assert.deepEqual(await asked, ['urn:c'])
  }
})

test('other hashes are verified too, and one says nothing of another', async t => {
  const { alice, bob, features, answer } = await setup(t)
  const sha256 = createHash('sha256').update('client/pc//<urn:c<').digest('base64')
  const asked = features(alice, sha256, "hash='SHA-256'")
  await answer(alice, said('urn:c'))
  assert.deepEqual(await asked, ['urn:c'])
  assert.deepEqual(await features(bob, sha256, "hash='sha-256'"), ['urn:c'])
  await nothing(bob, asks)
  // The same text as a hash of another kind is another matter.
  const other = features(bob, sha256)
  await answer(bob, said('urn:d'))
  assert.deepEqual(await other, ['urn:d'])
  const lie = createHash('sha512').update('client/pc//<urn:e<').digest('base64')
  for (const feature of ['urn:x', 'urn:e']) {
    const asked = features(alice, lie, "hash='sha-512'")
    await answer(alice, said(feature))
    assert.deepEqual(await asked, [feature])
  }
  assert.deepEqual(await features(bob, lie, "hash='sha-512'"), ['urn:e'])
})

test('of one answer so much is read, and more than that is remembered for nobody', async t => {
  const { alice, bob, features, answer } = await setup(t)
  const long = Array.from({ length: 40 }, (_, i) => `<feature var='${String(i).padEnd(500, 'x')}'/>`).join('')
  const info = `<identity category='client' type='pc'/>${long}`
  for (const client of [alice, bob]) {
    const asked = features(client, ver(info))
    await answer(client, info)
    assert.equal((await asked)!.length, 32)
  }
})

test('who answers with an error is known for nothing', async t => {
  const { alice, features } = await setup(t)
  const asked = features(alice, ver(said('urn:d')))
  const { attrs } = await alice.receive(asks)
  alice.send(
    `<iq type='error' id='${attrs['id']}' to='localhost'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`,
  )
  assert.equal(await asked, undefined)
})
