import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import type { SaslExchange, SaslResult } from '../../src/auth/exchange.ts'
import { serverEndPoint } from '../../src/net/channelbinding.ts'
import { RawClient } from '../support/rawclient.ts'
import { child } from '../support/rawxml.ts'
import { type ClientOptions, scramClient } from '../support/scram.ts'
import { closed, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'

const NS_SASL = 'urn:ietf:params:xml:ns:xmpp-sasl'

async function dial(t: TestContext, server: TestServer, tls: 'none' | 'starttls' = 'none'): Promise<RawClient> {
  const client = await RawClient.connect({ port: server.port, domain: server.host, tls })
  t.after(() => client.cut())
  return client
}

async function people(t: TestContext, config: Record<string, unknown> = {}): Promise<TestServer> {
  const server = await serve(t, { config })
  await server.register('juliet', 'romeo')
  return server
}

function offered(client: RawClient): string[] {
  return child(client.features, 'mechanisms', NS_SASL)?.children.map(c => c.text) ?? []
}

const auth = (mechanism: string, text: string) => `<auth xmlns='${NS_SASL}' mechanism='${mechanism}'>${text}</auth>`
const base64 = (text: string) => Buffer.from(text).toString('base64')

async function answer(client: RawClient): Promise<string> {
  const el = await client.receive(e => e.ns === NS_SASL)
  return el.name === 'failure' ? (el.children[0]?.name ?? '') : el.name
}

/** The server's end of an exchange, over the wire. */
function overWire(client: RawClient, mechanism: string): SaslExchange {
  let begun = false
  return {
    async step(input): Promise<SaslResult> {
      const text = input === undefined ? '' : input.toString('base64')
      client.write(begun ? `<response xmlns='${NS_SASL}'>${text}</response>` : auth(mechanism, text))
      begun = true
      const el = await client.receive(e => e.ns === NS_SASL)
      const data = Buffer.from(el.text, 'base64')
      if (el.name === 'challenge') return { challenge: data }
      if (el.name === 'success') return { success: { user: '', stamp: '', data } }
      return { failure: el.children[0]!.name as 'not-authorized' }
    },
  }
}

function login(client: RawClient, options: Partial<ClientOptions> & { mechanism: string }) {
  return scramClient(overWire(client, options.mechanism), {
    username: 'juliet',
    password: 'secret',
    nonce: Buffer.from(options.mechanism).toString('hex'),
    ...options,
  })
}

const HASHES = ['SCRAM-SHA-512', 'SCRAM-SHA-256', 'SCRAM-SHA-1']

test('what is offered: passwords in the clear only under TLS, bindings only where there is something to bind to', async t => {
  const server = await people(t, { auth: { plain_without_tls: false, scram_iterations: 4096 } })
  assert.deepEqual(offered(await dial(t, server)), HASHES)
  const secure = await dial(t, server, 'starttls')
  assert.deepEqual(offered(secure), [...HASHES.map(h => `${h}-PLUS`), ...HASHES, 'PLAIN'])
  const plain = await dial(t, server)
  plain.write(auth('PLAIN', base64('\0juliet\0secret')))
  assert.equal(await answer(plain), 'invalid-mechanism')
})

test('every mechanism lets the right one in, and the server proves that it knows the keys', async t => {
  const server = await people(t)
  for (const tls of ['none', 'starttls'] as const) {
    for (const mechanism of HASHES) {
      const { result, verified } = await login(await dial(t, server, tls), { mechanism })
      assert.ok('success' in result, mechanism)
      assert.equal(verified, true, mechanism)
      const wrong = await login(await dial(t, server, tls), { mechanism, password: 'Secret' })
      assert.deepEqual(wrong.result, { failure: 'not-authorized' })
    }
    const client = await dial(t, server, tls)
    await client.login({ user: 'juliet', password: 'secret', mechanism: 'PLAIN' })
    assert.match(await client.bind(), /^juliet@localhost\//)
  }
})

test('a login bound to its TLS connection; one that is bound to another fails', async t => {
  const server = await people(t)
  for (const mechanism of HASHES.map(h => `${h}-PLUS`)) {
    for (const type of ['tls-exporter', 'tls-server-end-point'] as const) {
      const client = await dial(t, server, 'starttls')
      const socket = client['socket'] as TLSSocket
      const binding =
        type === 'tls-exporter'
          ? socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0))
          : serverEndPoint(socket.getPeerX509Certificate()!)!
      const gs2 = `p=${type},,`
      const { result, verified } = await login(client, { mechanism, gs2, binding })
      assert.ok('success' in result && verified === true, `${mechanism} ${type}`)

      const relayed = await dial(t, server, 'starttls')
      const wrong = await login(relayed, { mechanism, gs2, binding: Buffer.alloc(32, 7) })
      assert.ok('failure' in wrong.result)
    }
  }
  const unknown = await login(await dial(t, server, 'starttls'), {
    mechanism: 'SCRAM-SHA-256-PLUS',
    gs2: 'p=tls-unique,,',
    binding: Buffer.alloc(12),
  })
  assert.ok('failure' in unknown.result)
})

test('tls-unique on TLS 1.3 is refused, which is no attempt to guess; by option it is taken', async t => {
  for (const taken of [false, true]) {
    const config = { max_failures_per_ip: 2, auth: { scram_iterations: 4096, tls_unique_on_tls13: taken } }
    const server = await people(t, { ...config })
    for (let n = 0; n < 4; n++) {
      const client = await dial(t, server, 'starttls')
      const socket = client['socket'] as TLSSocket
      assert.equal(socket.getProtocol(), 'TLSv1.3')
      const options = { mechanism: 'SCRAM-SHA-256-PLUS', gs2: 'p=tls-unique,,', binding: socket.getFinished()! }
      const { result } = await login(client, options)
      assert.equal('success' in result, taken)
      if (taken) break
      // As slixmpp does: without binding, on the same stream.
      const { result: second } = await login(client, { mechanism: 'SCRAM-SHA-256' })
      assert.ok('success' in second)
    }
  }
})

test('a client that was shown no binding, though there is one, is not let in', async t => {
  const server = await people(t)
  const { result } = await login(await dial(t, server, 'starttls'), { mechanism: 'SCRAM-SHA-256', gs2: 'y,,' })
  assert.ok('failure' in result)
  const plain = await login(await dial(t, server), { mechanism: 'SCRAM-SHA-256', gs2: 'y,,' })
  assert.ok('success' in plain.result, 'there really is none')
})

test('nobody acts for somebody else', async t => {
  const server = await people(t)
  for (const [authzid, expected] of [
    ['', 'success'],
    ['juliet@localhost', 'success'],
    ['romeo@localhost', 'invalid-authzid'],
    ['juliet@example.org', 'invalid-authzid'],
    ['juliet', 'invalid-authzid'],
    ['juliet@localhost/balcony', 'invalid-authzid'],
  ] as const) {
    const client = await dial(t, server)
    client.write(auth('PLAIN', base64(`${authzid}\0juliet\0secret`)))
    assert.equal(await answer(client), expected, authzid)
  }
})

test('what is no login, by name; and the stream goes on', async t => {
  const server = await people(t)
  const client = await dial(t, server)
  for (const [sent, expected] of [
    [auth('NONE', '='), 'invalid-mechanism'],
    [auth('SCRAM-SHA-256-PLUS', '='), 'invalid-mechanism'],
    [`<auth xmlns='${NS_SASL}'/>`, 'invalid-mechanism'],
    [auth('PLAIN', '%%%'), 'incorrect-encoding'],
    [auth('PLAIN', 'AGEAYg'), 'incorrect-encoding'],
    [`${auth('PLAIN', '')}<abort xmlns='${NS_SASL}'/>`, 'challenge'],
  ] as const) {
    client.write(sent)
    assert.equal(await answer(client), expected, sent)
  }
  assert.equal(await answer(client), 'aborted')
  client.write(auth('PLAIN', ''))
  assert.equal(await answer(client), 'challenge')
  client.write(`<response xmlns='${NS_SASL}'>${base64('\0juliet\0secret')}</response>`)
  assert.equal(await answer(client), 'success')
})

test('a second login on one stream, a stanza in the middle of one', async t => {
  const server = await people(t)
  const client = await dial(t, server)
  const gone = closed(client)
  await client.login({ user: 'juliet', password: 'secret' })
  client.write(auth('PLAIN', base64('\0romeo\0secret')))
  assert.match(String(await gone), /not-authorized/)
  const other = await dial(t, server)
  const ended = closed(other)
  other.write(`${auth('PLAIN', '')}<message to='romeo@localhost'/>`)
  assert.match(String(await ended), /not-authorized/)
})

test('an unknown user looks like a known one with a wrong password', async t => {
  const server = await people(t)
  const known = await login(await dial(t, server), { mechanism: 'SCRAM-SHA-256', password: 'wrong' })
  const one = await login(await dial(t, server), { mechanism: 'SCRAM-SHA-256', username: 'nobody' })
  const two = await login(await dial(t, server), { mechanism: 'SCRAM-SHA-256', username: 'nobody' })
  assert.deepEqual(one.result, known.result)
  const salt = (challenge = '') => /s=([^,]+),i=(\d+)/.exec(challenge)!.slice(1)
  assert.deepEqual(salt(one.challenge), salt(two.challenge), 'the same salt each time')
  assert.equal(salt(one.challenge)[0]!.length, salt(known.challenge)[0]!.length)
  assert.equal(salt(one.challenge)[1], salt(known.challenge)[1])
})

test('after five wrong passwords the stream is closed', async t => {
  const server = await people(t)
  const client = await dial(t, server)
  const gone = closed(client)
  for (let i = 0; i < 5; i++) {
    client.write(auth('PLAIN', base64('\0juliet\0wrong')))
    assert.equal(await answer(client), 'not-authorized')
  }
  assert.match(String(await gone), /policy-violation/)
  const next = await dial(t, server)
  next.write(auth('PLAIN', base64('\0romeo\0secret')))
  assert.equal(await answer(next), 'success', 'others from there are not locked out')
})

test('too many failures from an address: it has to wait, and is told so, whatever it tries', async t => {
  const server = await people(t, { max_failures_per_account: 2 })
  for (let i = 0; i < 2; i++) {
    const client = await dial(t, server)
    client.write(auth('PLAIN', base64('\0juliet\0wrong')))
    assert.equal(await answer(client), 'not-authorized')
  }
  const client = await dial(t, server)
  client.write(auth('PLAIN', base64('\0juliet\0secret')))
  assert.equal(await answer(client), 'temporary-auth-failure', 'even with the right one')
  const other = await dial(t, server)
  other.write(auth('PLAIN', base64('\0romeo\0secret')))
  assert.equal(await answer(other), 'success')
})
