import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { Authorities } from '../../../src/net/authorities.ts'
import type { CertificateSource } from '../../../src/net/certificates.ts'
import { ConnectionCounter } from '../../../src/net/connections.ts'
import { beginTls, type TlsOptions, tlsFailure } from '../../../src/net/handshake.ts'
import { Listener } from '../../../src/net/listener.ts'
import { PeerTls } from '../../../src/net/peertls.ts'
import { PreLoginBudget } from '../../../src/net/prelogin.ts'
import { TlsContexts } from '../../../src/net/tls.ts'
import { Flusher, type Receiver, SocketTransport } from '../../../src/net/transport.ts'
import { TestCa } from '../../support/ca.ts'

const ca = TestCa.create()
const authority = ca.intermediate('Test issuing CA')
const ours = authority.issue(['a.example', '*.a.example'])
const other = authority.issue(['other.example'])
const theirs = authority.issue(['b.example'])
const folder = mkdtempSync(join(tmpdir(), 'hermod-peertls-'))
after(() => rmSync(folder, { recursive: true }))
const caFile = join(folder, 'ca.pem')
writeFileSync(caFile, ca.pem)
const log = { info() {}, warn() {}, error() {}, debug() {} }
const trusted = await Authorities.load(caFile, log)
const PATIENCE = 10_000

async function contexts(...certificates: CertificateSource[]): Promise<{ tls: TlsContexts; peers: PeerTls }> {
  const tls = await TlsContexts.load({ certificates, log })
  return { tls, peers: new PeerTls(tls, trusted) }
}

/** Two sockets with each other. */
async function wire(t: TestContext): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: false })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [far] = await accepted
  server.close()
  for (const socket of [near, far]) socket.on('error', () => {})
  t.after(() => {
    near.destroy()
    far.destroy()
  })
  return [near, far]
}

/** TLS on a socket; rejects with why there is none. */
function handshake(socket: Socket, options: TlsOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const secure = beginTls(socket, options)
    secure.once('secure', () => resolve(secure))
    secure.on('error', error => reject(new Error(tlsFailure(error))))
  })
}

/** A transport whose receiver notes what it is told. */
function transport(socket: Socket): { transport: SocketTransport; heard: string[]; gone: Promise<void> } {
  const heard: string[] = []
  const { promise: gone, resolve } = Promise.withResolvers<void>()
  const receiver: Receiver = {
    data: chunk => heard.push(String(chunk)),
    end: () => {},
    close: () => resolve(),
    drain: () => {},
    failed: () => {},
  }
  const made = new SocketTransport(socket, { ip: '127.0.0.1', port: 1 }, new Flusher())
  made.open(receiver)
  return { transport: made, heard, gone }
}

const subjects = (certificates: readonly Buffer[]): string[] =>
  certificates.map(der => new X509Certificate(der).subject)

test('STARTTLS between two servers: either goes over to TLS, and each is shown the certificate of the other', async t => {
  const [a, b] = [await contexts(ours), await contexts(theirs)]
  const [near, far] = (await wire(t)).map(transport) as [ReturnType<typeof transport>, ReturnType<typeof transport>]
  far.transport.upgrade(b.peers.accept(false, 'b.example'), PATIENCE)
  near.transport.upgrade(a.peers.connect('rooms.a.example', 'b.example', false))
  near.transport.send('hello')
  far.transport.send('welcome')
  await Promise.all([once(near.transport.socket, 'data'), once(far.transport.socket, 'data')])
  assert.deepEqual([near.heard, far.heard], [['welcome'], ['hello']])
  assert.deepEqual(a.peers.certificate(near.transport, 'b.example'), { valid: true, reason: '' })
  assert.deepEqual(b.peers.certificate(far.transport, 'rooms.a.example'), { valid: true, reason: '' })
  assert.deepEqual(b.peers.certificate(far.transport, 'b.example'), {
    valid: false,
    reason: 'its certificate is for a.example, *.a.example',
  })
  assert.ok(near.transport.secured && far.transport.protocol === 'TLSv1.3')
  assert.equal(near.transport.failure, undefined)
})

test('a domain of ours that no certificate has shows none', async t => {
  const { peers } = await contexts(ours)
  const [near, far] = await wire(t)
  const [, secure] = await Promise.all([
    handshake(near, peers.connect('stranger.example', 'a.example', true)),
    handshake(far, peers.accept(true)),
  ])
  const shown = new SocketTransport(secure, { ip: '127.0.0.1', port: 1 }, new Flusher())
  assert.deepEqual(peers.certificate(shown, 'stranger.example'), { valid: false, reason: 'no certificate was shown' })
})

test('the name that is asked for is the A-label of the domain; none for an address', async t => {
  const { peers } = await contexts(ours)
  const server = createTlsServer(theirs)
  server.listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const asked = async (remote: string): Promise<string | false> => {
    const socket = connect(port, '127.0.0.1')
    const secured = once(server, 'secureConnection') as Promise<[TLSSocket & { servername: string | false }]>
    const client = await handshake(socket, peers.connect('a.example', remote, true))
    const [{ servername }] = await secured
    client.destroy()
    return servername
  }
  assert.equal(await asked('b.example'), 'b.example')
  assert.equal(await asked('bücher.example'), 'xn--bcher-kva.example')
  assert.equal(await asked('b.example.'), 'b.example')
  assert.equal(await asked('192.0.2.1'), false)
  assert.equal(await asked('[2001:db8::1]'), false)
})

/** The port of other servers, with direct TLS; each connection says what it was shown. */
async function port(t: TestContext, peers: PeerTls, accepted: (transport: SocketTransport) => void): Promise<number> {
  const around = {
    log,
    counter: new ConnectionCounter(100),
    prelogin: new PreLoginBudget(100_000_000),
    secure: () => peers.accept(true),
  }
  const settings = { port: 0, ip: '127.0.0.1', tls: 'direct', proxyProtocol: false, preAuthTimeout: PATIENCE }
  const listener = new Listener(around, settings, (socket, peer) => {
    t.after(() => socket.destroy())
    accepted(new SocketTransport(socket, peer, new Flusher()))
  })
  await listener.listen()
  t.after(() => listener.close())
  return listener.port
}

test('direct TLS: ALPN xmpp-server or none; who speaks only something else is refused', async t => {
  const { peers } = await contexts(ours)
  const number = await port(t, peers, () => {})
  const dial = async (ALPNProtocols: string[] | undefined): Promise<string | false | null> => {
    const socket = connectTls({ port: number, rejectUnauthorized: false, ...(ALPNProtocols && { ALPNProtocols }) })
    await once(socket, 'secureConnect')
    socket.destroy()
    return socket.alpnProtocol
  }
  assert.equal(await dial(['http/1.1', 'xmpp-server']), 'xmpp-server')
  assert.equal(await dial(undefined), false)
  await assert.rejects(dial(['xmpp-client']), { code: 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL' })

  const c2s = await TlsContexts.load({ certificates: [theirs], log })
  const [near, far] = await wire(t)
  const refused = await Promise.allSettled([
    handshake(far, c2s.options(true)),
    handshake(near, peers.connect('a.example', 'b.example', true)),
  ])
  assert.deepEqual(
    refused.map(result => result.status === 'rejected' && result.reason.message),
    [
      'the peer wants to speak another protocol (by its ALPN)',
      'the peer does not speak XMPP with servers there (by its ALPN)',
    ],
  )
})

test('sessions are not resumed: each connection shows its certificate anew', async t => {
  const { peers } = await contexts(ours)
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const shown: string[][] = []
    const number = await port(t, peers, transport => {
      shown.push(subjects(transport.takePeerCertificates()))
      transport.socket.write('welcome')
    })
    const sessions: Buffer[] = []
    for (let round = 0; round < 3; round++) {
      const session = sessions.at(-1)
      const socket = connectTls({
        port: number,
        ...theirs,
        maxVersion,
        rejectUnauthorized: false,
        ...(session && { session }),
      })
      socket.on('session', (session: Buffer) => sessions.push(session))
      await once(socket, 'data')
      assert.equal(socket.isSessionReused(), false)
      socket.destroy()
    }
    assert.ok(sessions.length > 0)
    assert.deepEqual(shown, Array(3).fill(['CN=b.example', 'CN=Test issuing CA']), maxVersion)
  }
})

test('which authorities are trusted is not sent to who is asked for a certificate', async t => {
  const { peers } = await contexts(ours)
  const number = await port(t, peers, transport => transport.socket.write('welcome'))
  const socket = connectTls({ port: number, ...theirs, rejectUnauthorized: false })
  await once(socket, 'data')
  assert.ok(socket.bytesRead < 4000, `the handshake had ${socket.bytesRead} bytes`)
  socket.destroy()
})

test('a certificate that is renewed, or comes with a reload, is shown from then on, in both roles', async t => {
  const cert = join(folder, 'cert.pem')
  writeFileSync(cert, ours.cert + ours.key)
  const { tls, peers } = await contexts({ cert })
  const shown = async (): Promise<string[]> => {
    const [near, far] = await wire(t)
    const both = await Promise.all([
      handshake(near, peers.connect('a.example', 'a.example', true)),
      handshake(far, peers.accept(true, 'a.example')),
    ])
    return both.map(socket => socket.getPeerX509Certificate()!.fingerprint256)
  }
  const print = (pem: string): string => new X509Certificate(pem).fingerprint256
  assert.deepEqual(await shown(), Array(2).fill(print(ours.cert)))

  const renewed = ca.issue(['a.example'])
  writeFileSync(cert, renewed.cert + renewed.key)
  assert.equal(await tls.check(), 1)
  assert.deepEqual(await shown(), Array(2).fill(print(renewed.cert)))

  const another = ca.issue(['a.example'])
  const use = await tls.prepare([other, another], {})
  use()
  assert.deepEqual(await shown(), Array(2).fill(print(another.cert)))
})

test('why there is no TLS is told in words', async t => {
  const { peers } = await contexts(ours)
  const options = peers.connect('a.example', 'b.example', false)

  const silent = transport((await wire(t))[0])
  silent.transport.upgrade(options, 50)
  await silent.gone
  assert.equal(silent.transport.failure, 'the TLS handshake was not done within 0.05 s')

  const [near, far] = await wire(t)
  const left = transport(near)
  left.transport.upgrade(options, PATIENCE)
  far.once('data', () => far.destroy())
  await left.gone
  assert.equal(left.transport.failure, 'the peer closed the connection during the TLS handshake')

  const [here, there] = await wire(t)
  const plain = transport(here)
  plain.transport.upgrade(options, PATIENCE)
  there.once('data', () => there.write("<?xml version='1.0'?><stream:stream>"))
  await plain.gone
  assert.equal(plain.transport.failure, 'the peer does not speak TLS there')

  // As Node has it where a write fails first.
  const message =
    'write EPROTO 405D2F83947F0000:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number:../tlsany_meth.c:77:\n'
  assert.equal(tlsFailure(Object.assign(new Error(message), { code: 'EPROTO' })), 'the peer does not speak TLS there')

  const served = (await wire(t)).reverse()
  const server = transport(served[0]!)
  server.transport.upgrade(peers.accept(false))
  served[1]!.write('GET / HTTP/1.1\r\n\r\n')
  await server.gone
  assert.equal(server.transport.failure, 'the peer speaks HTTP')
})

test('of a long chain ten certificates are read; a handshake of more than 32 KiB ends, done or not', async t => {
  const { peers } = await contexts(ours)
  const shown: number[] = []
  const number = await port(t, peers, transport => {
    shown.push(transport.takePeerCertificates().length)
    transport.socket.write('welcome')
  })
  const dial = async (others: number): Promise<void> => {
    const cert = theirs.cert + authority.pem.repeat(others)
    const socket = connectTls({ port: number, cert, key: theirs.key, rejectUnauthorized: false })
    t.after(() => socket.destroy())
    const welcome = once(socket, 'data')
    const closed = once(socket, 'close').then(() => Promise.reject(new Error('closed')))
    await Promise.race([welcome, closed])
    closed.catch(() => {})
  }
  const size = new X509Certificate(authority.pem).raw.length
  await dial(0)
  await dial(Math.floor(28_000 / size))
  assert.deepEqual(shown, [2, 10])
  await assert.rejects(dial(Math.ceil(34_000 / size)))
  assert.equal(shown.length, 2)

  // The beginning of a hello that never ends; then nothing more.
  const begun = connect(number, '127.0.0.1').on('error', () => {})
  const record = Buffer.alloc(5 + 16_384)
  record.set([0x16, 0x03, 0x01, 0x40, 0x00])
  const first = Buffer.from(record)
  first.set([0x01, 0x01, 0x00, 0x00], 5)
  begun.write(Buffer.concat([first, record, record]))
  const since = performance.now()
  await once(begun, 'close')
  assert.ok(performance.now() - since < PATIENCE / 2)
})

test('who is connected to and shows too much is told of in words', async t => {
  const { peers } = await contexts(ours)
  const many = await contexts({ ...theirs, cert: theirs.cert + authority.pem.repeat(100) })
  const [near, far] = await wire(t)
  const { transport: asking, gone } = transport(near)
  transport(far).transport.upgrade(many.peers.accept(false))
  asking.upgrade(peers.connect('a.example', 'b.example', false), PATIENCE)
  await gone
  assert.match(asking.failure ?? '', /^the peer shows more certificates than are taken/)
})
