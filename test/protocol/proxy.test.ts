/** A port behind a proxy that says for whom it connects (HAProxy's PROXY protocol). */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { serve } from '../support/talk.ts'
import type { TestOptions, TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'
import { header, Wire } from '../support/wire.ts'

const AUTH = `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${btoa('\0juliet\0secret')}</auth>`
const WRONG = AUTH.replace(btoa('\0juliet\0secret'), btoa('\0juliet\0wrong'))
const BIND = "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"

async function behind(t: TestContext, options: TestOptions = {}): Promise<TestServer> {
  const server = await serve(t, { ...options, listen: { use_proxy_protocol: true, ...options.listen } })
  await server.register('juliet')
  return server
}

async function dial(t: TestContext, server: TestServer, ...sent: (string | Uint8Array)[]): Promise<Wire> {
  const wire = await Wire.connect(server.port)
  t.after(() => wire.cut())
  for (const data of sent) wire.write(data)
  return wire
}

async function login(wire: Wire): Promise<void> {
  await wire.until(/<\/stream:features>/)
  wire.write(AUTH)
  await wire.until(/<success[^>]*>(<\/success>)?/)
  wire.write(header() + BIND)
  await wire.until(/<iq [^>]*result.*<\/iq>/)
}

/** Where the sessions come from, as an administrator sees them. */
function addresses(server: TestServer): string[] {
  return [...server.server.host('localhost')!.sessions()].map(({ info }) => `${info.ip} ${info.port}`)
}

const v1 = (ip: string, port = 40000) =>
  `PROXY TCP${ip.includes(':') ? 6 : 4} ${ip} ${ip.includes(':') ? '2001:db8::1' : '192.0.2.1'} ${port} 5222\r\n`

/** Version 2, of IPv4; `command` 0 is the proxy's own connection. */
function v2(ip: string, port: number, command = 1): Buffer {
  const bytes = Buffer.alloc(28)
  Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1').copy(bytes)
  bytes[12] = 0x20 | command
  bytes[13] = 0x11
  bytes.writeUInt16BE(12, 14)
  Buffer.from([...ip.split('.').map(Number), 192, 0, 2, 1]).copy(bytes, 16)
  bytes.writeUInt16BE(port, 24)
  bytes.writeUInt16BE(5222, 26)
  return bytes
}

test('a client behind a proxy logs in, and has the address that the proxy names', async t => {
  const server = await behind(t)
  for (const [sent, address] of [
    [v1('203.0.113.9', 1234), '203.0.113.9 1234'],
    [v1('2001:db8::9', 1235), '2001:db8::9 1235'],
    [v2('203.0.113.10', 1236), '203.0.113.10 1236'],
  ] as const) {
    const wire = await dial(t, server, sent, header())
    await login(wire)
    assert.deepEqual(addresses(server), [address])
    wire.write('</stream:stream>')
    await wire.end()
  }
})

test('the header may come in pieces, and with what follows it', async t => {
  const server = await behind(t)
  const wire = await dial(t, server)
  const bytes = Buffer.concat([v2('203.0.113.10', 1236), Buffer.from(header())])
  for (let at = 0; at < bytes.length; at += 7) {
    wire.write(bytes.subarray(at, at + 7))
    await new Promise(setImmediate)
  }
  await login(wire)
  assert.deepEqual(addresses(server), ['203.0.113.10 1236'])
})

test('where the proxy speaks for itself, or does not know, its own address counts', async t => {
  const server = await behind(t)
  for (const sent of [v2('203.0.113.10', 1, 0), 'PROXY UNKNOWN\r\n']) {
    const wire = await dial(t, server, sent, header())
    await login(wire)
    assert.match(addresses(server)[0]!, /^127\.0\.0\.1 /)
    wire.write('</stream:stream>')
    await wire.end()
  }
})

test('who does not begin with a header is closed without a word', async t => {
  const server = await behind(t)
  for (const sent of [
    header(),
    'PROXY TCP4 203.0.113.9\r\n',
    'PROXY TCP4 999.0.113.9 192.0.2.1 1 2\r\n',
    'x',
    '\x16\x03\x01',
  ]) {
    const wire = await dial(t, server, sent)
    assert.equal(await wire.end(), '', sent)
  }
  const silent = await dial(t, server)
  silent.write('PROXY ')
  silent.cut()
  await eventually(() => server.server.streams().length === 0)
})

test('limits by address are by that of the client', async t => {
  const server = await behind(t, { config: { max_failures_per_ip: 2 }, listen: { max_connections_per_ip: 2 } })
  const first = [await dial(t, server, v1('203.0.113.9'), header()), await dial(t, server, v1('203.0.113.9'), header())]
  for (const wire of first) await wire.until(/<\/stream:features>/)
  assert.equal(await (await dial(t, server, v1('203.0.113.9'), header())).error(), 'policy-violation')
  const other = await dial(t, server, v1('203.0.113.8'), header())
  await other.until(/<\/stream:features>/)
  for (const wire of first) {
    wire.write(WRONG)
    await wire.until(/<not-authorized\/>/)
  }
  first[0]!.write(AUTH)
  await first[0]!.until(/<temporary-auth-failure\/>/)
  other.write(AUTH)
  await other.until(/<success/)
})

for (const [name, listen] of [
  ['direct TLS', { tls: true }],
  ['STARTTLS', { starttls_required: true }],
] as const) {
  test(`then comes ${name}`, async t => {
    const server = await behind(t, { listen })
    const wire = await dial(t, server, v1('203.0.113.9', 1234))
    if (name === 'STARTTLS') {
      wire.write(header())
      await wire.until(/<\/stream:features>/)
      wire.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
      await wire.until(/<proceed[^>]*>/)
    }
    await wire.encrypt()
    wire.write(header())
    await login(wire)
    assert.deepEqual(addresses(server), ['203.0.113.9 1234'])
  })
}
