import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDerive } from '../../../src/auth/derive.ts'
import { decodeBase64Strict, type SaslResult } from '../../../src/auth/exchange.ts'
import { createSasl } from '../../../src/auth/sasl.ts'
import { accounts, CLEAR, DOMAIN, PROXIED, TLS } from './support.ts'

const { credentials } = accounts()
await credentials.create('me', 'pw')
await credentials.create('victim', 'secret')
await credentials.create('banned', 'pw')
await credentials.disable('banned')
const sasl = createSasl({ credentials, domain: DOMAIN })

async function plain(message: string | Buffer, using = sasl): Promise<SaslResult> {
  const exchange = using.start('PLAIN', PROXIED)
  assert.ok(exchange)
  return exchange.step(Buffer.from(message))
}

test('what is offered follows from the connection', () => {
  const scram = ['SCRAM-SHA-512', 'SCRAM-SHA-256', 'SCRAM-SHA-1']
  const plus = scram.map(name => `${name}-PLUS`)
  assert.deepEqual(sasl.offered(TLS), [...plus, ...scram, 'PLAIN'])
  assert.deepEqual(sasl.offered(PROXIED), [...scram, 'PLAIN'])
  assert.deepEqual(sasl.offered(CLEAR), scram)
  assert.deepEqual(sasl.offered({ ...CLEAR, allowPlainInsecure: true }), [...scram, 'PLAIN'])
  const few = createSasl({ credentials, domain: DOMAIN, mechanisms: ['PLAIN', 'SCRAM-SHA-1'] })
  assert.deepEqual(few.offered(TLS), ['SCRAM-SHA-1-PLUS', 'PLAIN', 'SCRAM-SHA-1'])
  assert.deepEqual(createSasl({ credentials, domain: DOMAIN, mechanisms: ['PLAIN'] }).offered(CLEAR), [])
})

test('what is not offered cannot be started', () => {
  assert.equal(sasl.start('PLAIN', CLEAR), undefined)
  assert.equal(sasl.start('SCRAM-SHA-256-PLUS', PROXIED), undefined)
  for (const name of ['', 'plain', 'SCRAM-SHA-384', 'SCRAM-', '__proto__', 'EXTERNAL']) {
    assert.equal(sasl.start(name, TLS), undefined, name)
  }
})

test("PLAIN with every authzid that is one's own", async () => {
  const stamp = await credentials.stamp('me')
  for (const authzid of ['', 'me@example.org', 'ME@Example.org']) {
    assert.deepEqual(await plain(`${authzid}\0me\0pw`), { success: { user: 'me', stamp } }, authzid)
  }
  assert.deepEqual(await plain('\0ME\0pw'), { success: { user: 'me', stamp } })
})

test('PLAIN with an authzid of somebody else', async () => {
  for (const authzid of [
    'victim',
    'victim@example.org',
    'VICTIM@example.org',
    'me',
    'me@example.com',
    'me@example.org/x',
    ' ',
  ]) {
    assert.deepEqual(await plain(`${authzid}\0me\0pw`), { failure: 'invalid-authzid', user: 'me' }, authzid)
  }
})

test('PLAIN that fails looks the same whatever is wrong', async () => {
  assert.deepEqual(await plain('\0me\0no'), { failure: 'not-authorized', user: 'me' })
  assert.deepEqual(await plain('\0nobody\0pw'), { failure: 'not-authorized', user: 'nobody' })
  assert.deepEqual(await plain('\0me@example.org\0pw'), { failure: 'not-authorized' })
  assert.deepEqual(await plain(`\0me\0${'p'.repeat(1024)}`), { failure: 'not-authorized', user: 'me' })
  assert.deepEqual(await plain('\0banned\0no'), { failure: 'not-authorized', user: 'banned' })
  assert.deepEqual(await plain('\0banned\0pw'), { failure: 'account-disabled', user: 'banned' })
})

test('PLAIN messages that are none', async () => {
  for (const text of [
    '',
    '\0',
    '\0\0',
    'me\0pw',
    '\0me',
    '\0me\0',
    '\0\0pw',
    '\0me\0pw\0',
    'victim\0me\0pw\0x',
    '\0me\0pw\0\0',
  ]) {
    assert.deepEqual(await plain(text), { failure: 'malformed-request' }, JSON.stringify(text))
  }
  assert.deepEqual(await plain(Buffer.from([0, 0x6d, 0x65, 0, 0xff])), { failure: 'malformed-request' })
  assert.deepEqual(await plain(`\0me\0${'p'.repeat(10_000)}`), { failure: 'malformed-request' })
})

test('PLAIN asks once where there was no initial response, and ends with its result', async () => {
  const exchange = sasl.start('PLAIN', TLS)!
  assert.deepEqual(await exchange.step(undefined), { challenge: Buffer.alloc(0) })
  const stamp = await credentials.stamp('me')
  assert.deepEqual(await exchange.step(Buffer.from('\0me\0pw')), { success: { user: 'me', stamp } })
  assert.deepEqual(await exchange.step(Buffer.from('\0me\0pw')), { failure: 'malformed-request' })
  const silent = sasl.start('PLAIN', TLS)!
  await silent.step(undefined)
  assert.deepEqual(await silent.step(undefined), { failure: 'malformed-request' })
})

test('too many passwords at once are put off, not queued for ever', async () => {
  const derive = createDerive({ parallel: 1, waiting: 1 })
  const busy = accounts({ derive }).credentials
  const using = createSasl({ credentials: busy, domain: DOMAIN })
  const results = await Promise.all(Array.from({ length: 5 }, () => plain('\0nobody\0pw', using)))
  const conditions = results.map(result => ('failure' in result ? result.failure : 'success'))
  assert.equal(conditions.filter(name => name === 'not-authorized').length, 2)
  assert.equal(conditions.filter(name => name === 'temporary-auth-failure').length, 3)
  assert.deepEqual(await plain('\0nobody\0pw', using), { failure: 'not-authorized', user: 'nobody' }, 'afterwards')
})

test('base64 is taken only as it should be', () => {
  assert.deepEqual(decodeBase64Strict('='), Buffer.alloc(0))
  assert.deepEqual(decodeBase64Strict(''), Buffer.alloc(0))
  assert.deepEqual(decodeBase64Strict('AG1lAHB3'), Buffer.from('\0me\0pw'))
  assert.deepEqual(decodeBase64Strict('+/8='), Buffer.from([0xfb, 0xff]))
  for (const text of [
    'A',
    'AA',
    'AA=',
    'AA===',
    'AAA',
    'AB==',
    ' AAAA',
    'AAAA\n',
    'AA AA',
    '-_8=',
    'AAAA=',
    '==',
    'AA==AA==',
    '\u00e9===',
  ]) {
    assert.equal(decodeBase64Strict(text), undefined, JSON.stringify(text))
  }
})
