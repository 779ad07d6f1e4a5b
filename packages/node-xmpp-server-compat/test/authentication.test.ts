/** SASL: the mechanisms of the old API, and those of an application. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { inherits } from 'node:util'
import { client } from '@xmpp/client'
import { settled } from '../../../test/support/waiting.ts'
import { digest } from '../src/auth/digestmd5.ts'
import { type C2SStream as Session, auth as sasl, type User } from '../src/index.ts'
import { auth, bot, header, open, plain, SASL, serve, session, Wire } from './support.ts'

const { Plain, XOAuth2, DigestMD5, Anonymous, ScramSHA1, ScramSHA256, Mechanism } = sasl

type Mechanisms = Parameters<Awaited<ReturnType<typeof serve>>['server']['registerSaslMechanism']>[0]

/** A server with one mechanism, and what the application was asked. */
async function offering(t: TestContext, mechanism: Mechanisms, answer: (user: User) => unknown) {
  const asked: User[] = []
  const events: string[] = []
  const serving = await serve(t, client => {
    client.on('authenticate', (user, callback) => {
      asked.push({ ...user })
      const found = answer(user)
      if (found instanceof Error) callback(found)
      else callback(null, found)
    })
    client.on('auth-success', jid => events.push(`success ${jid}`))
    client.on('auth-failure', jid => events.push(`failure ${jid}`))
  })
  serving.server.clearSaslMechanism()
  serving.server.registerSaslMechanism(mechanism)
  return { ...serving, asked, events }
}

describe('PLAIN', () => {
  const check = (user: User) => (user.password === 'secret' ? user : new Error('wrong password'))

  test('is accepted', async t => {
    const serving = await offering(t, Plain, check)
    const { xmpp } = await bot(t, serving, { resource: 'home' })
    assert.equal(String(await xmpp.start()), 'alice@localhost/home')
    const [{ client, jid, ...user } = {}] = serving.asked
    assert.deepEqual(user, { username: 'alice', password: 'secret', saslmech: 'PLAIN' })
    assert.equal(String(jid), 'alice@localhost')
    assert.ok((client as Session).authenticated)
    assert.deepEqual(serving.events, ['success alice@localhost'])
  })

  test('is refused, with the condition and the words of the application', async t => {
    const serving = await offering(t, Plain, () =>
      Object.assign(new Error('paid until May'), { type: 'account-disabled' }),
    )
    const { xmpp } = await bot(t, serving, { password: 'nonsense' })
    await assert.rejects(xmpp.start(), { condition: 'account-disabled', text: 'paid until May' })
    assert.deepEqual(serving.events, ['failure alice@localhost'])
  })

  for (const nobody of [false, null]) {
    test(`is refused by callback(${nobody === null ? 'null, null' : 'false'})`, async t => {
      const serving = await serve(t, client =>
        client.on('authenticate', (_, callback) => (nobody === null ? callback(null, null) : callback(nobody))),
      )
      const { xmpp } = await bot(t, serving)
      await assert.rejects(xmpp.start(), { condition: 'not-authorized', text: 'Authentication failure' })
    })
  }

  test('as an async listener has it: what it returns is let in, what it throws refuses', async t => {
    const serving = await serve(t, client =>
      client.on('authenticate', (async (user: User) => {
        await null
        if (user.username !== 'alice') throw new Error('only alice')
        return user
      }) as never),
    )
    await (await bot(t, serving)).xmpp.start()
    const bob = await bot(t, serving, { username: 'bob' })
    await assert.rejects(bob.xmpp.start(), { text: 'only alice' })
  })

  test('without a first message the client is asked for it', async t => {
    const { port } = await serve(t)
    const wire = await open(port)
    wire.write(auth('PLAIN'))
    await wire.until(/<challenge xmlns='[^']+'\/>/)
    wire.write(`<response xmlns='${SASL}'>${plain('alice', 'secret')}</response>`)
    await wire.until(/<success/)
  })

  test('what is no base64, no text, no name, or for another is refused, and nobody is asked', async t => {
    const serving = await offering(t, Plain, user => user)
    const base64 = (text: string) => Buffer.from(text).toString('base64')
    for (const [text, condition] of [
      ['%%%', 'incorrect-encoding'],
      [Buffer.from([0, 0xff, 0, 0x61]).toString('base64'), 'malformed-request'],
      [base64('alice'), 'malformed-request'],
      [base64('root@localhost\0alice\0secret'), 'invalid-authzid'],
    ] as const) {
      const wire = await open(serving.port)
      wire.write(auth('PLAIN', text))
      await wire.until(new RegExp(`<failure[^>]*><${condition}/>`))
      wire.cut()
    }
    assert.deepEqual(serving.asked, [])
  })
})

describe('X-OAUTH2', () => {
  test('an address and a token', async t => {
    const serving = await offering(t, XOAuth2, user => user.oauth_token === 'xxxx.xxxxxxxxxxx' && user)
    const wire = await open(serving.port)
    wire.write(auth('X-OAUTH2', plain('me@gmail.com', 'xxxx.xxxxxxxxxxx')))
    await wire.until(/<success/)
    assert.deepEqual(serving.events, ['success me@gmail.com'])
    assert.equal(serving.asked[0]?.saslmech, 'X-OAUTH2')
  })
})

describe('ANONYMOUS', () => {
  test('a name of 32 digits for whoever comes', async t => {
    const serving = await offering(t, Anonymous, user => user)
    const { xmpp } = await bot(t, serving, { mechanism: 'ANONYMOUS' })
    assert.match(String(await xmpp.start()), /^[0-9a-f]{32}@localhost\/[0-9a-f]{32}$/)
  })
})

describe('DIGEST-MD5', () => {
  const known = (user: User) => ({ ...user, password: 'secret' })

  /** As far as the server's challenge; answers with its nonce. */
  async function challenged(wire: Wire): Promise<string> {
    wire.write(auth('DIGEST-MD5'))
    const text = await wire.until(/<challenge[^>]*>[^<]+<\/challenge>/)
    const challenge = Buffer.from(/>([^<]+)<\/challenge>/.exec(text)![1]!, 'base64').toString()
    assert.match(challenge, /^realm="localhost",nonce="[0-9a-f]{32}",qop="auth",charset=utf-8,algorithm=md5-sess$/)
    return /nonce="([^"]+)/.exec(challenge)![1]!
  }

  function answer(nonce: string, password: string): string {
    const given = { username: 'alice', realm: 'localhost', nonce, cnonce: 'abc', nc: '00000001', qop: 'auth' }
    const response = digest({ ...given, 'digest-uri': 'xmpp/localhost' }, password, 'AUTHENTICATE')
    const text = `username="alice",realm="localhost",nonce="${nonce}",cnonce="abc",nc=00000001,qop=auth,digest-uri="xmpp/localhost",response=${response},charset=utf-8`
    return `<response xmlns='${SASL}'>${Buffer.from(text).toString('base64')}</response>`
  }

  test('is computed as in RFC 2831 4', () => {
    const given = {
      username: 'chris',
      realm: 'elwood.innosoft.com',
      nonce: 'OA6MG9tEQGm2hh',
      cnonce: 'OA6MHXh6VqTrRk',
      nc: '00000001',
      qop: 'auth',
      'digest-uri': 'imap/elwood.innosoft.com',
    }
    assert.equal(digest(given, 'secret', 'AUTHENTICATE'), 'd388dad90d4bbd760a152321f2143af7')
    assert.equal(digest(given, 'secret', ''), 'ea40f60335c427b5527b84dbabcdfffd')
  })

  test('is accepted: three steps', async t => {
    const serving = await offering(t, DigestMD5, known)
    const wire = await open(serving.port)
    wire.write(answer(await challenged(wire), 'secret'))
    const text = await wire.until(/<challenge[^>]*>[^<]+<\/challenge>/)
    assert.match(Buffer.from(/>([^<]+)<\/challenge>/.exec(text)![1]!, 'base64').toString(), /^rspauth=[0-9a-f]{32}$/)
    wire.write(`<response xmlns='${SASL}'/>`)
    await wire.until(/<success/)
    assert.deepEqual(serving.events, ['success alice@localhost'])
  })

  test('is refused for another password, and for an answer to another challenge', async t => {
    const { port } = await offering(t, DigestMD5, known)
    for (const [nonce, password, condition] of [
      [undefined, 'nonsense', 'not-authorized'],
      ['0123456789abcdef', 'secret', 'malformed-request'],
    ] as const) {
      const wire = await open(port)
      const own = await challenged(wire)
      wire.write(answer(nonce ?? own, password))
      await wire.until(new RegExp(`<failure[^>]*><${condition}/>`))
      wire.cut()
    }
  })

  test('its challenges cannot be skipped', async t => {
    const serving = await offering(t, DigestMD5, known)
    const wire = await open(serving.port)
    wire.write(`${auth('DIGEST-MD5')}<response xmlns='${SASL}'/>`)
    await wire.until(/<failure[^>]*><malformed-request\/>/)
    assert.deepEqual(serving.asked, [])
  })
})

describe('SCRAM', () => {
  const known = (user: User) => (user.username === 'alice' ? { ...user, password: 'secret' } : new Error('unknown'))

  test('a client of today logs in without TLS, by itself', async t => {
    const serving = await offering(t, ScramSHA1, known)
    const xmpp = client({
      service: `xmpp://127.0.0.1:${serving.port}`,
      domain: 'localhost',
      username: 'alice',
      password: 'secret',
    })
    t.after(() => xmpp.stop())
    assert.match(String(await xmpp.start()), /^alice@localhost\//)
    assert.deepEqual(serving.events, ['success alice@localhost'])
    assert.deepEqual(serving.asked[0]?.saslmech, 'SCRAM-SHA-1')
  })

  test('another password, and a name that is unknown: not-authorized, at the end', async t => {
    const serving = await offering(t, ScramSHA1, known)
    for (const [username, password] of [
      ['alice', 'wrong'],
      ['nobody', 'secret'],
    ] as const) {
      const { xmpp } = await bot(t, serving, { username, password, mechanism: 'SCRAM-SHA-1' })
      await assert.rejects(xmpp.start(), { condition: 'not-authorized' })
    }
    assert.deepEqual(serving.events, ['failure alice@localhost', 'failure nobody@localhost'])
  })

  test('who asks twice is told the same salt, whether there is such a user or not', async t => {
    const { port } = await offering(t, ScramSHA256, known)
    for (const user of ['alice', 'nobody']) {
      const salts = new Set<string>()
      for (let i = 0; i < 2; i++) {
        const wire = await open(port)
        wire.write(auth('SCRAM-SHA-256', Buffer.from(`n,,n=${user},r=abc`).toString('base64')))
        const [, text] = /<challenge[^>]*>([^<]+)/.exec(await wire.until(/<\/challenge>/))!
        salts.add(/s=([^,]+)/.exec(Buffer.from(text!, 'base64').toString())![1]!)
        wire.cut()
      }
      assert.equal(salts.size, 1)
    }
  })
})

describe('mechanisms of an application', () => {
  test('a subclass that overrides extractSasl', async t => {
    class Token extends Mechanism {
      static id = 'X-TOKEN'
      override readonly name = 'X-TOKEN'
      override extractSasl(text: string): User {
        return { username: 'bob', token: text }
      }
    }
    Object.assign(Token.prototype, { name: 'X-TOKEN' })
    const serving = await offering(t, Token, user => user['token'] === 'open sesame' && user)
    const wire = await open(serving.port)
    wire.write(auth('X-TOKEN', Buffer.from('open sesame').toString('base64')))
    await wire.until(/<success/)
    assert.deepEqual(serving.events, ['success bob@localhost'])
  })

  test('one of the old kind that manages by itself: util.inherits, and a constructor that calls that of Mechanism', async t => {
    function TwoSteps(this: typeof Mechanism.prototype) {
      ;(Mechanism as unknown as () => void).call(this)
    }
    inherits(TwoSteps, Mechanism)
    Object.assign(TwoSteps.prototype, {
      name: 'X-TWO',
      manageAuth(this: typeof Mechanism.prototype, stanza: { name: string }, client: Session) {
        if (stanza.name === 'auth') return void client.send(`<challenge xmlns='${SASL}'/>`)
        this.authenticate({ username: 'carol' }, (error, user) => (error ? this.failure(error) : this.success(user!)))
      },
    })
    const serving = await offering(t, TwoSteps as unknown as Mechanisms, user => user)
    const wire = await open(serving.port)
    wire.write(auth('X-TWO'))
    await wire.until(/<challenge/)
    wire.write(`<response xmlns='${SASL}'/>`)
    await wire.until(/<success/)
    assert.deepEqual(serving.events, ['success carol@localhost'])
  })

  test('are offered in the order in which they were registered, each once', async t => {
    const { server, port } = await serve(t)
    for (const one of [DigestMD5, Anonymous, DigestMD5]) server.registerSaslMechanism(one)
    server.unregisterSaslMechanism(Plain)
    assert.deepEqual(server.getSaslMechanisms(), [DigestMD5, Anonymous])
    const wire = await Wire.connect(port)
    wire.write(header())
    const features = await wire.until(/<\/stream:features>/)
    assert.deepEqual(
      [...features.matchAll(/<mechanism>([^<]+)/g)].map(([, name]) => name),
      ['DIGEST-MD5', 'ANONYMOUS'],
    )
  })
})

describe('who is not let in', () => {
  test('an unknown mechanism fails, and nothing else does', async t => {
    const { port } = await serve(t)
    const wire = await open(port)
    wire.write(auth('X-NOBODY-KNOWS', 'AAAA'))
    await wire.until(/<failure[^>]*><invalid-mechanism\/>/)
    await session(wire)
  })

  test('another mechanism may be tried after one that failed', async t => {
    const { server, port } = await serve(t)
    server.registerSaslMechanism(Anonymous)
    const wire = await open(port)
    wire.write(auth('ANONYMOUS'))
    await wire.until(/<failure/)
    await session(wire)
  })

  test('five failures end the stream', async t => {
    const { port } = await serve(t)
    const wire = await open(port)
    for (let i = 0; i < 5; i++) {
      wire.write(auth('X-NOBODY-KNOWS'))
      await wire.until(/<\/failure>/)
    }
    assert.equal(await wire.error(), 'policy-violation')
  })

  test('a listener that throws ends that stream, and is told by `error`', async t => {
    const { promise, resolve } = Promise.withResolvers<Error>()
    const { port } = await serve(t, client => {
      client.on('authenticate', () => {
        throw new RangeError('a bug')
      })
      client.on('error', resolve)
    })
    const [wire, other] = [await open(port), await open(port)]
    wire.write(auth('PLAIN', plain('alice', 'secret')))
    assert.equal(await wire.error(), 'internal-server-error')
    assert.equal((await promise).message, 'a bug')
    other.write(' ')
    assert.equal(other.closed, false)
  })

  test('who is gone by the time that the application answers', async t => {
    const asked = Promise.withResolvers<() => void>()
    const gone = Promise.withResolvers<void>()
    const { port } = await serve(t, client => {
      client.on('authenticate', (user, callback) => asked.resolve(() => callback(null, user)))
      client.on('auth-success', () => assert.fail('let in'))
      client.on('close', () => gone.resolve())
    })
    const wire = await open(port)
    wire.write(auth('PLAIN', plain('alice', 'secret')))
    const answer = await asked.promise
    wire.cut()
    await gone.promise
    answer()
    await settled()
  })

  test('nothing is heard before the login, nor before a resource is bound', async t => {
    const { port } = await serve(t, client => client.on('stanza', () => assert.fail('a stanza')))
    const early = await open(port)
    early.write("<message to='bob@localhost'/>")
    assert.equal(await early.error(), 'not-authorized')
    const unbound = await open(port)
    unbound.write(auth('PLAIN', plain('alice', 'secret')))
    await unbound.until(/<success/)
    unbound.write(`${header()}<message to='bob@localhost'/>`)
    assert.equal(await unbound.error(), 'not-authorized')
  })
})
