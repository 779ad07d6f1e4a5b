/**
 * What the Compliance Suites 2023 (XEP-0479) want of an advanced server, as far as a client can see that it is offered. That
 * it works is shown by the file named beside each line. Federation, components, rooms and the web are not there.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { serve } from '../support/talk.ts'

const INFO = 'http://jabber.org/protocol/disco#info'
const PUBSUB = 'http://jabber.org/protocol/pubsub'

interface Wanted {
  category: 'Core' | 'IM' | 'Mobile'
  what: string
  /** A feature of the account, of the server, or of the stream after login. */
  account?: string
  server?: string
  stream?: string
  /** A feature of the service for uploads. */
  upload?: string
  shownBy: string
}

const SUITE: readonly Wanted[] = [
  {
    category: 'Core',
    what: 'RFC 6120: resource binding',
    stream: 'urn:ietf:params:xml:ns:xmpp-bind',
    shownBy: 'streams',
  },
  { category: 'Core', what: 'XEP-0030', server: INFO, shownBy: 'disco' },
  { category: 'Core', what: 'XEP-0115', stream: 'http://jabber.org/protocol/caps', shownBy: 'caps' },
  { category: 'Core', what: 'XEP-0163: presence', account: `${PUBSUB}#auto-subscribe`, shownBy: 'pep' },
  { category: 'Core', what: 'XEP-0163: +notify', account: `${PUBSUB}#filtered-notifications`, shownBy: 'pep' },
  { category: 'IM', what: 'RFC 6121: pre-approval', stream: 'urn:xmpp:features:pre-approval', shownBy: 'subscription' },
  { category: 'IM', what: 'RFC 6121: roster versions', stream: 'urn:xmpp:features:rosterver', shownBy: 'roster' },
  { category: 'IM', what: 'XEP-0398, 0153', account: 'urn:xmpp:pep-vcard-conversion:0', shownBy: 'avatar' },
  { category: 'IM', what: 'XEP-0054', server: 'vcard-temp', shownBy: 'vcard' },
  { category: 'IM', what: 'XEP-0280', account: 'urn:xmpp:carbons:2', shownBy: 'carbons' },
  { category: 'IM', what: 'XEP-0191', server: 'urn:xmpp:blocking', shownBy: 'blocking' },
  { category: 'IM', what: 'XEP-0223', account: `${PUBSUB}#publish-options`, shownBy: 'pep' },
  { category: 'IM', what: 'XEP-0049', server: 'jabber:iq:private', shownBy: 'private' },
  { category: 'IM', what: 'XEP-0402', account: 'urn:xmpp:bookmarks:1#compat', shownBy: 'bookmarks' },
  { category: 'IM', what: 'XEP-0198', stream: 'urn:xmpp:sm:3', shownBy: 'resume' },
  { category: 'IM', what: 'XEP-0313', account: 'urn:xmpp:mam:2', shownBy: 'mam' },
  { category: 'IM', what: 'XEP-0313 extended', account: 'urn:xmpp:mam:2#extended', shownBy: 'mam' },
  { category: 'IM', what: 'XEP-0363', upload: 'urn:xmpp:http:upload:0', shownBy: 'http-upload' },
  { category: 'Mobile', what: 'XEP-0352', stream: 'urn:xmpp:csi:0', shownBy: 'csi' },
  { category: 'Mobile', what: 'XEP-0357', account: 'urn:xmpp:push:0', shownBy: 'push' },
]

test('an advanced server of the compliance suites, by what it offers', async t => {
  const server = await serve(t, { http: {} })
  const alice = await server.client('alice')
  const features = async (to: string): Promise<Set<string | undefined>> => {
    const info = child(await alice.request('get', `<query xmlns='${INFO}'/>`, to), 'query', INFO)!
    return new Set(info.children.filter(el => el.name === 'feature').map(el => el.attrs['var']))
  }
  const [account, host] = [await features('alice@localhost'), await features('localhost')]
  const upload = await features('upload.localhost')
  const stream = new Set(alice.features!.children.map((el: XmlElement) => el.ns))
  for (const wanted of SUITE) {
    const label = `${wanted.category}: ${wanted.what}`
    if (wanted.account !== undefined) assert.ok(account.has(wanted.account), `${label}, at the account`)
    if (wanted.server !== undefined) assert.ok(host.has(wanted.server), `${label}, at the server`)
    if (wanted.stream !== undefined) assert.ok(stream.has(wanted.stream), `${label}, on the stream`)
    if (wanted.upload !== undefined) assert.ok(upload.has(wanted.upload), `${label}, at the upload service`)
    assert.ok(existsSync(path.join(import.meta.dirname, `${wanted.shownBy}.test.ts`)), `${label}: ${wanted.shownBy}`)
  }
})

test('STARTTLS, direct TLS, SASL2 with Bind 2', async t => {
  const server = await serve(t, { listen: { tls: true } })
  const client = await RawClient.connect({ port: server.port, domain: 'localhost', tls: 'direct' })
  t.after(() => client.cut())
  const offered = new Set(client.features!.children.map(el => el.ns))
  assert.ok(offered.has('urn:xmpp:sasl:2'))
  const plain = await serve(t)
  const before = await RawClient.connect({ port: plain.port, domain: 'localhost' })
  t.after(() => before.cut())
  assert.ok(child(before.features, 'starttls', 'urn:ietf:params:xml:ns:xmpp-tls') !== undefined)
})
