/** What strangers and clients may not do. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { connect } from 'node:tls'
import { TestCa } from '../../../test/support/ca.ts'
import { eventually } from '../../../test/support/waiting.ts'
import type { C2SStream as Session } from '../src/index.ts'
import { auth, header, open, plain, SASL, serve, session, Wire } from './support.ts'

const TLS = 'urn:ietf:params:xml:ns:xmpp-tls'

describe('TLS', () => {
  const ca = TestCa.create()
  const own = ca.issue(['localhost'])

  async function startTls(port: number): Promise<Wire> {
    const wire = await open(port)
    wire.write(`<starttls xmlns='${TLS}'/>`)
    await wire.until(/<proceed[^>]*>/)
    return wire
  }

  test('where there is some nothing else is offered before it, or taken', async t => {
    const { port } = await serve(t, client => client.on('register', () => assert.fail('asked in the clear')), {
      tls: { ...own },
    })
    const wire = await open(port)
    assert.match(wire.whole, /<starttls xmlns='[^']+'><required\/><\/starttls><\/stream:features>/)
    assert.doesNotMatch(wire.whole, /mechanism|iq-register/)
    wire.write(auth('PLAIN', plain('alice', 'secret')))
    assert.equal(await wire.error(), 'not-authorized')
  })

  test('STARTTLS, then the login; the session knows', async t => {
    const { promise, resolve } = Promise.withResolvers<Session>()
    const { port } = await serve(t, resolve, { tls: { ...own } })
    const wire = await startTls(port)
    await wire.encrypt()
    wire.write(header())
    await wire.until(/<mechanism>PLAIN<.*<\/stream:features>/)
    assert.equal(await session(wire), 'alice@localhost/home')
    assert.equal((await promise).connection.isSecure, true)
  })

  test('what was sent in the clear after STARTTLS is not taken for encrypted', async t => {
    const { port } = await serve(t, client => client.on('authenticate', () => assert.fail('heard')), {
      tls: { ...own },
    })
    const wire = await open(port)
    wire.write(`<starttls xmlns='${TLS}'/>${header()}${auth('PLAIN', plain('alice', 'secret'))}`)
    await wire.until(/<proceed[^>]*>/)
    await wire.encrypt()
    wire.write(header())
    await wire.until(/<\/stream:features>/)
    assert.doesNotMatch(wire.whole, /<success|<failure/)
  })

  test('is refused where there is none', async t => {
    const { port } = await serve(t)
    const wire = await open(port)
    wire.write(`<starttls xmlns='${TLS}'/>`)
    await wire.until(/<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'\/>/)
    assert.equal(await wire.error(), 'policy-violation')
  })

  test('a client without the certificate that is asked for is not let in', async t => {
    const { port } = await serve(t, undefined, { tls: { ...own, ca: ca.pem }, requestCert: true })
    const wire = await startTls(port)
    await wire.encrypt().then(
      () => wire.write(header()),
      () => {}, // TLS 1.2 says so in the handshake, 1.3 after it
    )
    assert.doesNotMatch(await wire.end(), /<stream:features/)
  })

  test('... nor one with a certificate of somebody else; who has a valid one is', async t => {
    const { port } = await serve(t, undefined, { tls: { ...own, ca: ca.pem }, requestCert: true })
    for (const [{ key, cert }, answer] of [
      [ca.issue(['alice']), /<\/stream:features>/],
      [TestCa.create('Another CA').issue(['alice']), /<stream:error><not-authorized /],
    ] as const) {
      const wire = await startTls(port)
      wire.socket.removeAllListeners('data')
      const secure = connect({ socket: wire.socket, key, cert, rejectUnauthorized: false })
      secure.write(header())
      let text = ''
      secure.on('data', (data: Buffer) => (text += data))
      await eventually(() => answer.test(text))
      secure.destroy()
    }
  })

  test('keys that cannot be used are an error at once', async () => {
    const { C2SServer } = await import('../src/index.ts')
    assert.throws(() => new C2SServer({ port: 0, tls: { key: 'nonsense', cert: 'nonsense' } }))
  })
})

describe('strangers', () => {
  test('have so much time to log in', async t => {
    const { port } = await serve(t, undefined, { authTimeout: 100 })
    const wire = await open(port)
    assert.equal(await wire.error(), 'connection-timeout')
  })

  test('also while the application never answers', async t => {
    const { port } = await serve(t, client => client.on('authenticate', () => {}), { authTimeout: 100 })
    const wire = await open(port)
    wire.write(auth('PLAIN', plain('alice', 'secret')))
    assert.equal(await wire.error(), 'connection-timeout')
  })

  test('send so much before', async t => {
    const { port } = await serve(t)
    const wire = await open(port)
    wire.write(`<auth xmlns='${SASL}' mechanism='PLAIN'>${'A'.repeat(70_000)}`)
    assert.equal(await wire.error(), 'policy-violation')
  })

  test('have so many connections from one address', async t => {
    const { port } = await serve(t, undefined, { maxConnectionsPerAddress: 2 })
    await open(port)
    await open(port)
    const third = await Wire.connect(port)
    await third.end()
  })

  test('that are no XML end their stream, and no other', async t => {
    const { port } = await serve(t)
    const [wire, other] = [await open(port), await open(port)]
    wire.write('<a><b></a>')
    assert.equal(await wire.error(), 'not-well-formed')
    await session(other)
  })

  test('who guess are slowed down, then not heard', async t => {
    const { server, port } = await serve(t)
    server.surroundings.failures.limits = { perAddress: 3, perAccount: 3, total: 200, window: 600_000 }
    for (let i = 0; i < 3; i++) {
      const wire = await open(port)
      wire.write(auth('PLAIN', plain('alice', 'wrong')))
      await wire.until(/<failure[^>]*><not-authorized\/>/)
      wire.cut()
    }
    const wire = await open(port)
    wire.write(auth('PLAIN', plain('alice', 'secret')))
    await wire.until(/<failure[^>]*><temporary-auth-failure\/>/)
  })
})

describe('clients', () => {
  test('send stanzas of so many bytes', async t => {
    const { port } = await serve(t, undefined, { maxStanzaSize: 20_000 })
    const wire = await open(port)
    await session(wire)
    wire.write(`<message><body>${'x'.repeat(30_000)}</body></message>`)
    assert.equal(await wire.error(), 'policy-violation')
  })

  test('that do not read are given up at a bound', async t => {
    const { promise, resolve } = Promise.withResolvers<Session>()
    const { port } = await serve(t, client => client.on('online', () => resolve(client)), { maxBacklog: 100_000 })
    const wire = await open(port)
    await session(wire)
    const client = await promise
    wire.socket.pause()
    t.after(() => wire.cut())
    const gone = once(client, 'close')
    const body = `<message><body>${'x'.repeat(10_000)}</body></message>`
    let told = true
    for (let i = 0; i < 20; i++) told = client.send(body) && told
    await gone
    assert.equal(told, false)
    assert.equal(client.send(body), false)
  })

  test('cannot be sent what is no XML: the application is told', async t => {
    const { promise, resolve } = Promise.withResolvers<Session>()
    const { port } = await serve(t, client => client.on('online', () => resolve(client)))
    const wire = await open(port)
    await session(wire)
    const client = await promise
    assert.throws(() => client.send({ name: 'message', attrs: {}, children: ['\u0000'] }))
    client.send('<presence/>')
    await wire.until(/<presence\/>/)
  })

  test('with a `to` that is no address are told, and the application is not', async t => {
    const { port } = await serve(t, client => client.on('stanza', () => assert.fail('a stanza')))
    const wire = await open(port)
    await session(wire)
    wire.write("<message to='@nowhere' id='m'/>")
    assert.match(await wire.until(/<\/message>/), /type='error' id='m'.*<jid-malformed /)
  })
})
