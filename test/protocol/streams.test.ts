import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { RawClient } from '../support/rawclient.ts'
import { child } from '../support/rawxml.ts'
import { serve } from '../support/talk.ts'
import type { TestOptions, TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'
import { header, NS_STREAM, Wire } from '../support/wire.ts'

const STARTTLS = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"

async function wire(t: TestContext, server: TestServer): Promise<Wire> {
  const made = await Wire.connect(server.port)
  t.after(() => made.cut())
  return made
}

async function dial(t: TestContext, options: TestOptions = {}): Promise<Wire> {
  return wire(t, await serve(t, options))
}

const names = (client: RawClient) => client.features!.children.map(c => c.name)

test('the server’s stream begins with an XML declaration, an id, its name, and the features', async t => {
  const client = await dial(t)
  client.write(header())
  const text = await client.until(/<\/stream:features>/)
  assert.match(
    text,
    /^<\?xml version='1.0'\?><stream:stream xmlns='jabber:client' xmlns:stream='http:\/\/etherx.jabber.org\/streams' id='[0-9a-f]{32}' from='localhost' version='1.0' xml:lang='en'><stream:features/,
  )
})

const ERRORS: [name: string, sent: string | Uint8Array, condition: string][] = [
  ['a host that is not served', header('example.com'), 'host-unknown'],
  ['no host', `<stream:stream xmlns='jabber:client' xmlns:stream='${NS_STREAM}' version='1.0'>`, 'host-unknown'],
  ['a host that is no domain', header('@@'), 'host-unknown'],
  ['the namespace of servers', header('localhost', "version='1.0'", 'jabber:server'), 'invalid-namespace'],
  ['no content namespace', header('localhost', "version='1.0'", ''), 'invalid-namespace'],
  ['another stream namespace', header().replace(NS_STREAM, 'urn:streams'), 'invalid-namespace'],
  ['another root element', header().replace('<stream:stream', '<stream:flow'), 'invalid-namespace'],
  ['a stanza for a header', "<iq type='get' id='1'><query xmlns='x'/></iq>", 'invalid-namespace'],
  ['no version', header('localhost', ''), 'unsupported-version'],
  ['version 0.9', header('localhost', "version='0.9'"), 'unsupported-version'],
  ['version 2.0', header('localhost', "version='2.0'"), 'unsupported-version'],
  ['no XML', 'GET / HTTP/1.1\r\n\r\n', 'not-well-formed'],
  ['another encoding', "<?xml version='1.0' encoding='ISO-8859-1'?>", 'unsupported-encoding'],
  ['a document type', `<!DOCTYPE a [<!ENTITY b 'c'>]>${header()}`, 'restricted-xml'],
  ['a comment', `${header()}<!-- hi -->`, 'restricted-xml'],
  ['a processing instruction', `${header()}<?php ?>`, 'restricted-xml'],
  ['an undeclared entity', `${header()}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>&foo;</auth>`, 'restricted-xml'],
  ['text between stanzas', `${header()}hello`, 'bad-format'],
  ['a wrong end tag', `${header()}<a></b>`, 'not-well-formed'],
  ['an unbound prefix', `${header()}<x:a/>`, 'bad-namespace-prefix'],
  [
    'invalid UTF-8',
    Buffer.concat([Buffer.from(`${header()}<a>`), Buffer.from([0xc0, 0xaf]), Buffer.from('</a>')]),
    'unsupported-encoding',
  ],
  ['a header without end', `<stream:stream a='${'x'.repeat(11_000)}`, 'policy-violation'],
  ['something before the login', `${header()}<message to='a@localhost'><body>hi</body></message>`, 'not-authorized'],
  ['an element nobody knows', `${header()}<hello xmlns='urn:hello'/>`, 'not-authorized'],
  ['an answer to nothing', `${header()}<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>`, 'not-authorized'],
]

test('what is wrong with a stream is told by name, within a stream of the server’s own, which is then closed', async t => {
  const server = await serve(t)
  for (const [name, sent, condition] of ERRORS) {
    const client = await wire(t, server)
    client.write(sent)
    assert.equal(await client.error(), condition, name)
    assert.match(client.whole, /^<\?xml version='1.0'\?><stream:stream [^>]*id='[0-9a-f]{32}'/, name)
    assert.equal(client.whole.split('<stream:stream').length, 2, `${name}: one header`)
  }
  await eventually(() => server.server.streams().length === 0, 'that all streams are gone')
})

test('stream ids do not repeat', async t => {
  const server = await serve(t)
  const ids = new Set<string>()
  for (let i = 0; i < 10; i++) {
    const client = await wire(t, server)
    client.write(header())
    ids.add(/ id='([^']+)'/.exec(await client.until(/<\/stream:features>/))![1]!)
    client.write('</stream:stream>')
    assert.equal(await client.end(), '</stream:stream>')
  }
  assert.equal(ids.size, 10)
})

test('features follow the state of the stream: TLS, login, bind', async t => {
  const server = await serve(t, { listen: { starttls_required: true } })
  await server.register('juliet')
  const plain = await RawClient.connect({ port: server.port, domain: 'localhost' })
  t.after(() => plain.cut())
  assert.deepEqual(names(plain), ['starttls', 'limits'])
  assert.ok(child(child(plain.features, 'starttls'), 'required'))
  assert.equal(child(child(plain.features, 'limits', 'urn:xmpp:stream-limits:0'), 'max-bytes')?.text, '65536') // before the login

  const client = await RawClient.connect({ port: server.port, domain: 'localhost', tls: 'starttls' })
  t.after(() => client.cut())
  assert.deepEqual(names(client).slice(0, 4), ['mechanisms', 'authentication', 'sasl-channel-binding', 'limits'])
  const bindings = child(client.features, 'sasl-channel-binding')!.children.map(c => c.attrs['type'])
  assert.deepEqual(bindings, ['tls-exporter', 'tls-server-end-point'])
  await client.login({ user: 'juliet', password: 'secret' })
  assert.equal(child(child(client.features, 'limits', 'urn:xmpp:stream-limits:0'), 'max-bytes')?.text, '262144')
  for (const feature of ['bind', 'session', 'sm', 'limits']) assert.ok(names(client).includes(feature), feature)
  assert.ok(!names(client).includes('mechanisms') && !names(client).includes('starttls'))
})

test('where STARTTLS is required nothing else is taken before it', async t => {
  const server = await serve(t, { listen: { starttls_required: true } })
  const login = await wire(t, server)
  login.write(`${header()}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>`)
  await login.until(/<failure [^>]*><encryption-required\/>/)
  const register = await wire(t, server)
  register.write(`${header()}<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>`)
  assert.equal(await register.error(), 'not-authorized')
})

test('where STARTTLS is optional it may be left; where it is off it is refused', async t => {
  const optional = await serve(t)
  const client = await optional.client('juliet')
  await client.ping()
  const off = await serve(t, { listen: { starttls: false } })
  const other = await wire(t, off)
  other.write(header())
  assert.doesNotMatch(await other.until(/<\/stream:features>/), /starttls/)
  other.write(STARTTLS)
  await other.until(/<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'\/>/)
  assert.equal(await other.error(), 'policy-violation')
})

test('what was sent in the clear after starttls is discarded, in one piece with it or not', async t => {
  const client = await dial(t)
  client.write(header())
  await client.until(/<\/stream:features>/)
  client.write(
    `${STARTTLS}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='NONE'/><iq type='get' id='injected'>`,
  )
  assert.equal(await client.until(/<proceed[^>]*>/), "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
  await client.encrypt()
  client.write(header())
  const text = await client.until(/<\/stream:features>/)
  assert.match(text, /^<\?xml/)
  assert.doesNotMatch(client.whole, /invalid-mechanism|injected/)
  client.write('</stream:stream>')
  assert.equal(await client.end(), '</stream:stream>')
})

test('STARTTLS comes once', async t => {
  const client = await dial(t)
  client.write(header() + STARTTLS)
  await client.until(/<proceed[^>]*>/)
  await client.encrypt()
  client.write(header())
  assert.doesNotMatch(await client.until(/<\/stream:features>/), /starttls/)
  client.write(STARTTLS)
  await client.until(/<failure /)
  assert.equal(await client.error(), 'policy-violation')
})

test('direct TLS speaks xmpp-client, and takes who does not name a protocol', async t => {
  const server = await serve(t, { listen: { tls: true } })
  for (const [offered, taken] of [
    [['xmpp-client'], 'xmpp-client'],
    [['h2', 'xmpp-client'], 'xmpp-client'],
    [[], false],
  ] as const) {
    const client = await wire(t, server)
    const secure = await client.encrypt('localhost', [...offered])
    assert.equal(secure.alpnProtocol, taken)
    client.write(header())
    assert.doesNotMatch(await client.until(/<\/stream:features>/), /starttls/)
  }
})

test('a handshake that breaks, or never begins, costs nobody anything', async t => {
  const server = await serve(t, { listen: { tls: true } })
  const reset = await wire(t, server)
  reset.write(Buffer.from([0x16, 0x03, 0x01]))
  reset.socket.resetAndDestroy()
  const noise = await wire(t, server)
  noise.write(header())
  await noise.end()
  const client = await wire(t, server)
  await client.encrypt()
  client.write(header())
  await client.until(/<\/stream:features>/)
  await eventually(() => server.server.streams().length === 1, 'that only one is left')
})

test('the host of a stream and its user stay what they were at login', async t => {
  const server = await serve(t, { hosts: ['localhost', 'example.org'] })
  await server.register('juliet')
  const authenticated = async (): Promise<Wire> => {
    const client = await wire(t, server)
    client.write(header())
    await client.until(/<\/stream:features>/)
    client.write(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${btoa('\0juliet\0secret')}</auth>`)
    await client.until(/<success[^>]*>(<\/success>)?/)
    return client
  }
  for (const [again, condition] of [
    [header('example.org'), 'host-unknown'],
    [header('localhost', "version='1.0' from='romeo@localhost'"), 'invalid-from'],
    [header('localhost', "version='1.0' from='juliet@example.org'"), 'invalid-from'],
  ] as const) {
    const client = await authenticated()
    client.write(again)
    assert.equal(await client.error(), condition)
  }
  const client = await authenticated()
  client.write(header('localhost', "version='1.0' from='Juliet@localhost'"))
  await client.until(/<\/stream:features>/)
})

test('what names no language is in that of its stream', async t => {
  const server = await serve(t)
  const bob = await server.client('bob')
  await server.register('alice')
  const hello = async (lang: string, stanza: string): Promise<string | undefined> => {
    const alice = await wire(t, server)
    alice.write(header('localhost', `version='1.0' xml:lang='${lang}'`))
    await alice.until(/<\/stream:features>/)
    alice.write(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${btoa('\0alice\0secret')}</auth>`)
    await alice.until(/<success[^>]*>(<\/success>)?/)
    alice.write(header('localhost', `version='1.0' xml:lang='${lang}'`))
    alice.write("<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
    alice.write(stanza.replace('TO', bob.jid))
    const got = await bob.receive(el => el.attrs['id'] === 'hello')
    alice.cut()
    return got.attrs['xml:lang']
  }
  const message = "<message to='TO' id='hello'><body>hi</body></message>"
  assert.equal(await hello('cs', message), 'cs')
  assert.equal(await hello('de-CH-1901', message.replace('message', "message xml:lang='fr'")), 'fr')
  assert.equal(await hello('sr-Latn', "<presence to='TO' id='hello'/>"), 'sr-Latn')
  assert.equal(await hello('x'.repeat(3000), message), undefined)
  assert.equal(await hello('', message), undefined)
})

test('a prefix declared once for many children comes out once, and means the same', async t => {
  const server = await serve(t)
  const [alice, bob] = await server.clients('alice', 'bob')
  let bytes = 0
  const { socket } = bob as unknown as { socket: import('node:net').Socket }
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  const ns = `urn:${'x'.repeat(250)}`
  const sent = `<message to='${bob.jid}' id='many'><x xmlns='urn:x' xmlns:p='${ns}'>${"<p:a p:n='1'/>".repeat(400)}</x></message>`
  alice.send(sent)
  const got = await bob.receive(el => el.attrs['id'] === 'many')
  const children = child(got, 'x', 'urn:x')!.children
  assert.equal(children.length, 400)
  assert.ok(children.every(c => c.name === 'a' && c.ns === ns))
  assert.ok(bytes < 2 * sent.length, `${bytes} for ${sent.length}`)
})
