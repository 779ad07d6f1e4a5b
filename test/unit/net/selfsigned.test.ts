import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { connect, createServer } from 'node:tls'
import { selfSigned } from '../../../src/net/selfsigned.ts'

const NOW = Date.UTC(2031, 1, 3, 4, 5, 6, 789)

test('the certificate says what was asked for', async () => {
  const { cert, key } = await selfSigned(['example.org', 'conference.example.net'], NOW)
  const parsed = new X509Certificate(cert)
  assert.equal(parsed.subject, 'CN=example.org')
  assert.equal(parsed.issuer, 'CN=example.org')
  assert.equal(
    parsed.subjectAltName,
    'DNS:example.org, DNS:*.example.org, DNS:conference.example.net, DNS:*.conference.example.net',
  )
  assert.equal(parsed.validFromDate.toISOString(), '2031-02-02T04:05:06.000Z')
  assert.equal(parsed.validToDate.toISOString(), '2041-02-02T04:05:06.000Z')
  assert.equal(parsed.ca, false)
  assert.deepEqual(parsed.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'])
  assert.equal(parsed.publicKey.asymmetricKeyType, 'ec')
  assert.equal(parsed.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
  assert.ok(parsed.verify(parsed.publicKey))
  assert.ok(parsed.checkPrivateKey(createPrivateKey(key)))
  assert.equal(parsed.checkHost('example.org'), 'example.org')
  assert.equal(parsed.checkHost('upload.example.org'), '*.example.org')
  assert.equal(parsed.checkHost('example.com'), undefined)
})

test('the years on both sides of 2050 are written right', async () => {
  for (const [now, wanted] of [
    [Date.UTC(2039, 11, 31), '2049-12-30'],
    [Date.UTC(2040, 0, 3), '2050-01-02'],
    [Date.UTC(2060, 5, 1), '2070-06-01'],
  ] as const) {
    const parsed = new X509Certificate((await selfSigned(['a.example'], now)).cert)
    assert.equal(parsed.validToDate.toISOString().slice(0, 10), wanted)
  }
})

test('serial numbers are random, keys too', async () => {
  const made = await Promise.all(Array.from({ length: 20 }, () => selfSigned(['a.example'])))
  const serials = made.map(({ cert }) => new X509Certificate(cert).serialNumber)
  for (const serial of serials) assert.match(serial, /^[4-7][0-9A-F]{31}$/)
  assert.equal(new Set(serials).size, 20)
  assert.equal(new Set(made.map(({ key }) => key)).size, 20)
})

test('names in Unicode, addresses, long names and many names', async () => {
  const long = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.example`
  const many = Array.from({ length: 3000 }, (_, i) => `host-${i}.example.org`)
  const { cert } = await selfSigned([long, 'Bücher.Example', '192.0.2.1', '2001:db8::1', '[::1]', ...many])
  const parsed = new X509Certificate(cert)
  assert.equal(parsed.subject, 'CN=self-signed')
  assert.equal(parsed.checkHost(long), long)
  assert.equal(parsed.checkHost('xn--bcher-kva.example'), 'xn--bcher-kva.example')
  assert.equal(parsed.checkIP('192.0.2.1'), '192.0.2.1')
  assert.equal(parsed.checkIP('2001:db8::1'), '2001:db8::1')
  assert.equal(parsed.checkIP('::1'), '::1')
  assert.equal(parsed.checkHost('host-2999.example.org'), 'host-2999.example.org')
  assert.ok(parsed.verify(parsed.publicKey))
})

test('what is no name is refused', async () => {
  for (const names of [
    [],
    [''],
    ['a b'],
    ['a..b'],
    ['*.example.org'],
    ['a/b'],
    ['a:5222'],
    ['u@a'],
    [`${'a'.repeat(64)}.example`],
    ['a\n'],
  ]) {
    await assert.rejects(selfSigned(names), RangeError, JSON.stringify(names))
  }
})

test('a client that trusts it talks TLS with it', async () => {
  const pair = await selfSigned(['localhost'])
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const server = createServer(pair, socket => socket.end('hello')).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const client = connect({ port, host: '127.0.0.1', servername: 'localhost', ca: pair.cert, maxVersion })
    const [data] = await once(client, 'data')
    assert.equal(String(data), 'hello')
    assert.equal(client.authorized, true)
    client.destroy()
    server.close()
    await once(server, 'close')
  }
})
