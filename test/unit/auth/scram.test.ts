import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { createDerive, type ScramHash } from '../../../src/auth/derive.ts'
import type { SaslContext, SaslResult } from '../../../src/auth/exchange.ts'
import { createSasl } from '../../../src/auth/sasl.ts'
import { ScramExchange } from '../../../src/auth/scram.ts'
import { type ClientOptions, scramClient } from '../../support/scram.ts'
import { accounts, bindingsOf, CLEAR, DOMAIN, END_POINT, EXPORTER, PROXIED, TLS } from './support.ts'

const VECTORS = [
  {
    rfc: 'RFC 5802 section 5',
    hash: 'SHA-1' as ScramHash,
    salt: 'QSXCR+Q6sek8bf92',
    serverNonce: '3rfcNHYJY1ZVvWVs7j',
    messages: [
      'n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL',
      'r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096',
      'c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
      'v=rmF9pqV8S7suAoZWja4dJRkFsKQ=',
    ],
  },
  {
    rfc: 'RFC 7677 section 3',
    hash: 'SHA-256' as ScramHash,
    salt: 'W22ZaJ0SNY7soEsUEjb6gQ==',
    serverNonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
    messages: [
      'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
      'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
      'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
      'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
    ],
  },
]

for (const { rfc, hash, salt, serverNonce, messages } of VECTORS) {
  test(`the exchange of ${rfc}, byte for byte`, async () => {
    const { credentials, table } = accounts()
    const keys = await createDerive()(hash, 'pencil', Buffer.from(salt, 'base64'), 4096)
    const { storedKey, serverKey } = keys
    const stored = {
      salt,
      iterations: 4096,
      storedKey: storedKey.toString('base64'),
      serverKey: serverKey.toString('base64'),
    }
    await table.put(['user'], [], { createdAt: 0, scram: { [hash]: stored } })
    const exchange = new ScramExchange({
      hash,
      plus: false,
      offered: [`SCRAM-${hash}`],
      seal: false,
      context: CLEAR,
      credentials,
      domain: DOMAIN,
      nonce: () => serverNonce,
    })
    const [first, challenge, final, signature] = messages.map(text => Buffer.from(text))
    assert.deepEqual(await exchange.step(first), { challenge })
    assert.deepEqual(await exchange.step(final), { success: { user: 'user', stamp: '0.0', data: signature } })
  })
}

const { credentials } = accounts({ iterations: 4096 })
await credentials.create('juliet', 'R0m30')
await credentials.create('victim', 'other')
await credentials.create('a,b=c', 'pw')
await credentials.create('jos\u00e9', 'p\u00e4ss \u2163')
await credentials.create('banned', 'pw')
await credentials.disable('banned', 'spam')
const sasl = createSasl({ credentials, domain: DOMAIN })

function attempt(options: Partial<ClientOptions>, context: SaslContext = PROXIED): ReturnType<typeof scramClient> {
  const mechanism = options.mechanism ?? 'SCRAM-SHA-256'
  const exchange = sasl.start(mechanism, context)
  assert.ok(exchange, `${mechanism} is offered`)
  return scramClient(exchange, { username: 'juliet', password: 'R0m30', ...options, mechanism })
}

function failure(result: SaslResult): string {
  return 'failure' in result ? result.failure : 'no failure'
}

for (const mechanism of ['SCRAM-SHA-1', 'SCRAM-SHA-256', 'SCRAM-SHA-512']) {
  test(`${mechanism}: client and server prove themselves to each other`, async () => {
    const { result, verified } = await attempt({ mechanism })
    assert.ok('success' in result && result.success.user === 'juliet' && verified)
  })

  test(`${mechanism}-PLUS with each binding`, async () => {
    for (const [type, binding] of [
      ['tls-exporter', EXPORTER],
      ['tls-server-end-point', END_POINT],
    ] as const) {
      const end = await attempt({ mechanism: `${mechanism}-PLUS`, gs2: `p=${type},,`, binding }, TLS)
      assert.ok('success' in end.result && end.verified, type)
    }
  })
}

test('names are prepared, escaped and answered in their prepared form', async () => {
  for (const [username, password, user] of [
    ['JULIET', 'R0m30', 'juliet'],
    ['a,b=c', 'pw', 'a,b=c'],
    ['JOSE\u0301', 'p\u00e4ss IV', 'jos\u00e9'],
  ] as const) {
    const { result } = await attempt({ username, password })
    assert.ok('success' in result && result.success.user === user, username)
  }
})

test('a wrong password, an unknown user and a name that cannot be get the same answer', async () => {
  const wrong = await attempt({ password: 'wrong' })
  const unknown = await attempt({ username: 'nobody' })
  assert.deepEqual(wrong.result, { failure: 'not-authorized', user: 'juliet' })
  assert.deepEqual(unknown.result, { failure: 'not-authorized', user: 'nobody' })
  assert.equal(failure((await attempt({ username: 'no body' })).result), 'not-authorized')
})

test('an unknown user has a salt like others: its own, and the same each time', async () => {
  const salt = async (username: string, mechanism = 'SCRAM-SHA-256'): Promise<string> => {
    const { challenge = '' } = await attempt({ username, mechanism })
    assert.match(challenge, /,i=4096,/)
    return /,s=([^,]*),/.exec(challenge)![1]!
  }
  assert.equal(await salt('nobody'), await salt('nobody'))
  assert.notEqual(await salt('nobody'), await salt('nobody2'))
  assert.notEqual(await salt('nobody'), await salt('nobody', 'SCRAM-SHA-1'))
  assert.equal((await salt('nobody')).length, (await salt('juliet')).length)
})

test('a disabled account is told only to who has its password', async () => {
  assert.equal(failure((await attempt({ username: 'banned', password: 'pw' })).result), 'account-disabled')
  assert.equal(failure((await attempt({ username: 'banned', password: 'no' })).result), 'not-authorized')
})

test('nobody acts for another', async () => {
  for (const own of ['juliet@example.org', 'JULIET@Example.ORG', 'juliet@example.org.']) {
    assert.ok('success' in (await attempt({ gs2: `n,a=${own},` })).result, own)
  }
  for (const other of [
    'victim@example.org',
    'victim',
    'juliet',
    'juliet@example.com',
    'juliet@example.org/r',
    'example.org',
  ]) {
    assert.equal(failure((await attempt({ gs2: `n,a=${other},` })).result), 'invalid-authzid', other)
  }
})

test('a client that was led to believe that channel binding is not offered is refused', async () => {
  assert.equal(failure((await attempt({ gs2: 'y,,' }, TLS)).result), 'not-authorized')
  assert.ok('success' in (await attempt({ gs2: 'y,,' }, PROXIED)).result)
  assert.ok('success' in (await attempt({ gs2: 'n,,' }, TLS)).result)
})

test('flag and mechanism must fit, and the binding must be one of the connection', async () => {
  const plus = 'SCRAM-SHA-256-PLUS'
  assert.equal(failure((await attempt({ mechanism: plus, gs2: 'n,,' }, TLS)).result), 'malformed-request')
  assert.equal(failure((await attempt({ mechanism: plus, gs2: 'y,,' }, TLS)).result), 'malformed-request')
  assert.equal(
    failure((await attempt({ gs2: 'p=tls-exporter,,', binding: EXPORTER }, TLS)).result),
    'malformed-request',
  )
  assert.equal(
    failure((await attempt({ mechanism: plus, gs2: 'p=tls-unique,,', binding: EXPORTER }, TLS)).result),
    'not-authorized',
  )
  const endPointOnly = { secure: true, bindings: bindingsOf({ 'tls-server-end-point': END_POINT }) }
  const exporter = { mechanism: plus, gs2: 'p=tls-exporter,,', binding: EXPORTER }
  assert.equal(failure((await attempt(exporter, endPointOnly)).result), 'not-authorized')
})

test('a proof made on another connection does not fit', async () => {
  const plus = { mechanism: 'SCRAM-SHA-256-PLUS', gs2: 'p=tls-exporter,,' }
  assert.equal(failure((await attempt({ ...plus, binding: Buffer.alloc(32, 9) }, TLS)).result), 'not-authorized')
  assert.equal(failure((await attempt({ ...plus, binding: END_POINT }, TLS)).result), 'not-authorized')
  assert.equal(failure((await attempt({ ...plus, binding: Buffer.alloc(0) }, TLS)).result), 'not-authorized')
  assert.equal(failure((await attempt({ binding: EXPORTER }, TLS)).result), 'not-authorized')
})

test('the offer is sealed as in the example of XEP-0474', async () => {
  const exchange = new ScramExchange({
    hash: 'SHA-1',
    plus: false,
    offered: ['SCRAM-SHA-1-PLUS', 'SCRAM-SHA-1'],
    seal: true,
    context: TLS,
    credentials,
    domain: DOMAIN,
  })
  const answer = await exchange.step(Buffer.from('n,,n=juliet,r=abc'))
  assert.ok('challenge' in answer)
  assert.match(answer.challenge.toString(), /,h=G6k\/rBLDqgOhRRaCuuatSDFkJ08=$/)
  const { challenge } = await attempt({}, PROXIED)
  const list = 'PLAIN\x1eSCRAM-SHA-1\x1eSCRAM-SHA-256\x1eSCRAM-SHA-512'
  assert.ok(challenge?.endsWith(`,h=${createHash('sha256').update(list).digest('base64')}`))
})

const BAD_FIRST = [
  '',
  'n,,',
  'n,,n=juliet',
  'n,,r=abc',
  'n,,n=,r=abc',
  'n,,n=juliet,r=',
  'n,,n=juliet,r=a b',
  'n,,n=juliet,r=\u00e9',
  'n,n=juliet,r=abc',
  'x,,n=juliet,r=abc',
  'p=,,n=juliet,r=abc',
  'n,juliet,n=juliet,r=abc',
  'n,,m=x,n=juliet,r=abc',
  'n,,n=juliet,r=abc,m=x',
  'n,,n=jul=iet,r=abc',
  'n,,n=juliet=2c,r=abc',
  'n,a==,n=juliet,r=abc',
  'n,,n=juliet\0,r=abc',
  `n,,n=juliet,r=${'a'.repeat(10_000)}`,
  `n,,n=juliet,r=abc${',x=1'.repeat(10_000)}`,
]

test('first messages that are none', async () => {
  for (const text of BAD_FIRST) {
    const { result } = await attempt({ first: () => text })
    assert.equal(failure(result), 'malformed-request', text.slice(0, 60))
  }
  const exchange = sasl.start('SCRAM-SHA-1', PROXIED)!
  assert.equal(failure(await exchange.step(Buffer.from([0x6e, 0x2c, 0x2c, 0xff]))), 'malformed-request')
})

test('optional extensions are ignored but signed', async () => {
  const exchange = sasl.start('SCRAM-SHA-256', PROXIED)!
  const answer = await exchange.step(Buffer.from('n,,n=juliet,r=abc,x=y'))
  assert.ok('challenge' in answer)
})

test('final messages that are none, or not of this exchange', async () => {
  const cases: [string, (final: string) => string][] = [
    ['malformed-request', () => ''],
    ['malformed-request', final => final.replace(/,p=.*/, '')],
    ['malformed-request', final => final.replace(/,p=.*/, ',p=')],
    ['malformed-request', final => `${final}=`],
    ['malformed-request', final => final.replace(/,p=/, ',m=x,p=')],
    ['malformed-request', final => final.replace('c=biws', 'c=biwt=')],
    ['malformed-request', final => `${final},x=y`],
    ['malformed-request', final => final.replace('c=biws,', '')],
    ['not-authorized', final => final.replace(/,p=.*/, `,p=${Buffer.alloc(32).toString('base64')}`)],
    ['not-authorized', final => final.replace(/,p=.*/, ',p=AAAA')],
    [
      'not-authorized',
      final =>
        final.replace(
          /,p=(.*)/,
          (_, p: string) => `,p=${Buffer.concat([Buffer.from(p, 'base64'), Buffer.alloc(1)]).toString('base64')}`,
        ),
    ],
    ['not-authorized', final => final.replace(/r=[^,]*/, 'r=clientnonce')],
    ['not-authorized', final => final.replace(/r=[^,]*/, m => `${m}x`)],
    ['not-authorized', final => final.replace('c=biws', `c=${Buffer.from('y,,').toString('base64')}`)],
    ['not-authorized', final => final.replace(',p=', ',x=y,p=')],
  ]
  for (const [expected, final] of cases) {
    const { result } = await attempt({ final })
    assert.equal(failure(result), expected, final.toString())
  }
})

test('a right proof of another nonce or another header does not count; one with an extension does', async () => {
  for (const signed of [
    (text: string) => text.replace(/r=.*/, 'r=clientnonce'),
    (text: string) => `${text}x`,
    (text: string) => text.replace('c=biws', `c=${Buffer.from('y,,').toString('base64')}`),
  ]) {
    assert.deepEqual((await attempt({ signed })).result, { failure: 'not-authorized', user: 'juliet' })
  }
  assert.ok('success' in (await attempt({ signed: text => `${text},x=y` })).result)
})

test('a proof that fits the keys of no account does not count', async () => {
  const keys = { ...(await credentials.scram('juliet', 'SHA-256')), real: false }
  const exchange = new ScramExchange({
    hash: 'SHA-256',
    plus: false,
    offered: [],
    seal: false,
    context: PROXIED,
    credentials: { scram: () => keys, isDisabled: () => false },
    domain: DOMAIN,
  })
  const { result } = await scramClient(exchange, { mechanism: 'SCRAM-SHA-256', username: 'nobody', password: 'R0m30' })
  assert.deepEqual(result, { failure: 'not-authorized', user: 'nobody' })
})

test('without an initial response the server asks, once', async () => {
  const exchange = sasl.start('SCRAM-SHA-256', PROXIED)!
  assert.deepEqual(await exchange.step(undefined), { challenge: Buffer.alloc(0) })
  const { result } = await scramClient(exchange, { mechanism: 'SCRAM-SHA-256', username: 'juliet', password: 'R0m30' })
  assert.ok('success' in result)
  const again = sasl.start('SCRAM-SHA-256', PROXIED)!
  await again.step(undefined)
  assert.equal(failure(await again.step(undefined)), 'malformed-request')
})

test('an exchange ends with its first result', async () => {
  const exchange = sasl.start('SCRAM-SHA-256', PROXIED)!
  const options = { mechanism: 'SCRAM-SHA-256', username: 'juliet', password: 'R0m30' }
  let final = ''
  const { result } = await scramClient(exchange, { ...options, final: text => (final = text) })
  assert.ok('success' in result)
  assert.equal(failure(await exchange.step(Buffer.from(final))), 'malformed-request')
  const replay = sasl.start('SCRAM-SHA-256', PROXIED)!
  assert.equal(failure((await scramClient(replay, { ...options, final: () => final })).result), 'not-authorized')
  const hasty = sasl.start('SCRAM-SHA-256', PROXIED)!
  const first = hasty.step(Buffer.from('n,,n=juliet,r=abc'))
  assert.equal(failure(await hasty.step(Buffer.from(final))), 'malformed-request', 'while the first step is under way')
  await first
})

test('an account that was removed or got another password meanwhile', async () => {
  await credentials.create('gone', 'pw')
  const exchange = sasl.start('SCRAM-SHA-256', PROXIED)!
  const step = exchange.step.bind(exchange)
  const slow = {
    async step(input: Buffer | undefined): Promise<SaslResult> {
      const result = await step(input)
      if ('challenge' in result) await credentials.remove('gone')
      return result
    },
  }
  const { result } = await scramClient(slow, { mechanism: 'SCRAM-SHA-256', username: 'gone', password: 'pw' })
  assert.equal(failure(result), 'not-authorized')
})
