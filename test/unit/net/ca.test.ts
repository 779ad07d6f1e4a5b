import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { connect, createServer } from 'node:tls'
import { selfSignedLeaf, TestCa } from '../../support/ca.ts'

const ca = TestCa.create()

/** What Node, by OpenSSL, thinks of a server with it that is asked for `name`. */
async function verdict(issued: { cert: string; key: string }, name: string): Promise<string> {
  const server = createServer(issued, socket => socket.on('error', () => {}))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const socket = connect({ port, host: '127.0.0.1', servername: name, ca: ca.pem, rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  socket.destroy()
  server.close()
  // Of a wrong name it is an Error, which the types do not know.
  const error = socket.authorizationError as unknown as string | { code: string } | null
  return socket.authorized ? 'good' : typeof error === 'string' ? error : String(error?.code)
}

test('what the authority for tests issues is what it says, for OpenSSL too', async () => {
  const leaf = ca.issue(['a.example', '*.b.example'])
  assert.equal(await verdict(leaf, 'a.example'), 'good')
  assert.equal(await verdict(leaf, 'x.b.example'), 'good')
  assert.equal(await verdict(leaf, 'c.example'), 'ERR_TLS_CERT_ALTNAME_INVALID')
  assert.equal(await verdict(ca.intermediate().issue(['a.example']), 'a.example'), 'good')
  assert.equal(await verdict(ca.expired('a.example'), 'a.example'), 'CERT_HAS_EXPIRED')
  assert.equal(await verdict(ca.notYetValid('a.example'), 'a.example'), 'CERT_NOT_YET_VALID')
  assert.equal(await verdict(selfSignedLeaf(['a.example']), 'a.example'), 'DEPTH_ZERO_SELF_SIGNED_CERT')
  assert.equal(
    await verdict(TestCa.create('Another').issue(['a.example']), 'a.example'),
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  )
  assert.equal(await verdict(ca.issue(['a.example'], { usages: ['clientAuth'] }), 'a.example'), 'INVALID_PURPOSE')
})

test('names of other kinds stand in it', () => {
  const { cert } = ca.issue([], { srv: ['_xmpp-server.a.example'], xmppAddr: ['a.example'], commonName: 'b.example' })
  const parsed = new X509Certificate(cert)
  assert.equal(parsed.subject, 'CN=b.example')
  assert.match(parsed.subjectAltName ?? '', /othername.*_xmpp-server.a.example.*a.example/)
})
