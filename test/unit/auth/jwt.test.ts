import assert from 'node:assert/strict'
import { createSecretKey, generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { type JwtKey, JwtSource, readJwtKeys } from '../../../src/auth/jwt.ts'
import { jwt } from '../../support/jwt.ts'

const NOW = 1_800_000_000_000
const SECONDS = NOW / 1000
const SECRET = Buffer.alloc(64, 3)
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
const ed = generateKeyPairSync('ed25519')
const claims = { jid: 'juliet@example.org', exp: SECONDS + 60 }

const jwk = (key: { export(options: { format: 'jwk' }): unknown }, more: object = {}): string =>
  JSON.stringify({ ...(key.export({ format: 'jwk' }) as object), ...more })
const oct = (more: object = {}) => jwk(createSecretKey(SECRET), more)

function source(keys: readonly JwtKey[], claim = 'jid'): JwtSource {
  return new JwtSource({ keys, claim, domain: 'example.org', now: () => NOW })
}

test('a token of each kind lets the account in whose address it has', async () => {
  for (const [alg, file, signer] of [
    ['HS256', oct(), SECRET],
    ['HS512', oct(), SECRET],
    ['RS256', jwk(rsa.publicKey), rsa.privateKey],
    ['RS512', rsa.publicKey.export({ format: 'pem', type: 'spki' }) as string, rsa.privateKey],
    ['ES256', jwk(p256.publicKey), p256.privateKey],
    ['ES384', p384.publicKey.export({ format: 'pem', type: 'spki' }) as string, p384.privateKey],
    ['EdDSA', jwk(ed.publicKey), ed.privateKey],
  ] as const) {
    const jwts = source(readJwtKeys(file))
    assert.equal(await jwts.check('juliet', jwt(alg, signer, claims)), true, alg)
    assert.equal(await jwts.check('romeo', jwt(alg, signer, claims)), false, alg)
    const [head, body, signature] = jwt(alg, signer, claims).split('.') as [string, string, string]
    const other = Buffer.from(JSON.stringify({ ...claims, jid: 'romeo@example.org' })).toString('base64url')
    assert.equal(await jwts.check('romeo', `${head}.${other}.${signature}`), false, `${alg} forged`)
    assert.equal(await jwts.check('juliet', `${head}.${body}.${signature.slice(4)}`), false, `${alg} cut`)
    assert.equal(await jwts.check('juliet', `${head}.${body}.`), false, `${alg} unsigned`)
  }
})

test('what a key is for decides what it is used for', async () => {
  const pem = rsa.publicKey.export({ format: 'pem', type: 'spki' }) as string
  const jwts = source(readJwtKeys(pem))
  // The classic: the public key, which everybody has, as the secret of an HMAC.
  assert.equal(await jwts.check('juliet', jwt('HS256', Buffer.from(pem), claims)), false)
  assert.equal(await jwts.check('juliet', jwt('none', Buffer.alloc(0), claims)), false)
  assert.equal(
    await source(readJwtKeys(jwk(p256.publicKey))).check('juliet', jwt('ES384', p384.privateKey, claims)),
    false,
  )
  const only = source(readJwtKeys(oct({ alg: 'HS256' })))
  assert.equal(await only.check('juliet', jwt('HS256', SECRET, claims)), true)
  assert.equal(await only.check('juliet', jwt('HS512', SECRET, claims)), false)
  for (const alg of ['__proto__', 'constructor', 7, null]) {
    assert.equal(await jwts.check('juliet', jwt('HS256', SECRET, claims, { alg })), false, String(alg))
  }
})

test('of a set the key is taken that the token names; keys without a name are all tried', async () => {
  const other = Buffer.alloc(64, 4)
  const keys = readJwtKeys(
    JSON.stringify({
      keys: [JSON.parse(oct({ kid: 'one' })), JSON.parse(jwk(createSecretKey(other), { kid: 'two' }))],
    }),
  )
  const jwts = source(keys)
  assert.equal(await jwts.check('juliet', jwt('HS256', other, claims, { kid: 'two' })), true)
  assert.equal(await jwts.check('juliet', jwt('HS256', other, claims, { kid: 'one' })), false)
  assert.equal(await jwts.check('juliet', jwt('HS256', other, claims)), true)
})

test('a token holds from its beginning to its end, and one without an end never', async () => {
  const jwts = source(readJwtKeys(oct()))
  for (const [more, expected] of [
    [{}, true],
    [{ exp: SECONDS }, false],
    [{ exp: SECONDS - 1 }, false],
    [{ exp: undefined }, false],
    [{ exp: String(SECONDS + 60) }, false],
    [{ nbf: SECONDS - 10 }, true],
    [{ nbf: SECONDS + 30 }, true],
    [{ nbf: SECONDS + 100 }, false],
    [{ nbf: 'x' }, false],
    [{ jid: 'JULIET@Example.org' }, true],
    [{ jid: 'juliet@example.com' }, false],
    [{ jid: 'juliet' }, false],
    [{ jid: 'juliet@example.org/balcony' }, false],
    [{ jid: ['juliet@example.org'] }, false],
    [{ jid: undefined }, false],
  ] as const) {
    const token = jwt('HS256', SECRET, { ...claims, ...more })
    assert.equal(await jwts.check('juliet', token), expected, JSON.stringify(more))
  }
  const named = source(readJwtKeys(oct()), 'sub')
  assert.equal(await named.check('juliet', jwt('HS256', SECRET, { sub: 'juliet@example.org', exp: SECONDS + 1 })), true)
  assert.equal(await named.check('juliet', jwt('HS256', SECRET, claims)), false)
})

test('what is no token is a wrong password', async () => {
  const jwts = source(readJwtKeys(oct()))
  const token = jwt('HS256', SECRET, claims)
  for (const text of [
    '',
    'secret',
    '..',
    'a.b.c',
    `${token}.x`,
    ` ${token}`,
    `${token}\n`,
    `${token}=`,
    token.replace('.', '..'),
    'e30.e30.e30',
    'bnVsbA.bnVsbA.x',
  ]) {
    assert.equal(await jwts.check('juliet', text), false, text)
  }
  assert.equal(await jwts.check('juliet', jwt('HS256', SECRET, claims, { crit: ['exp'] })), false)
})

test('a key file that cannot be used says why', () => {
  const short = JSON.stringify({ kty: 'oct', k: Buffer.alloc(16).toString('base64url') })
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey
  const strange = generateKeyPairSync('x25519').publicKey
  for (const [file, words] of [
    ['', /neither a JWK nor PEM/],
    ['secret', /neither a JWK nor PEM/],
    ['{"keys":[]}', /no key/],
    [short, /32 bytes/],
    [jwk(weak), /2048 bits/],
    [jwk(strange), /cannot be used/],
    [oct({ alg: 'RS256' }), /alg RS256/],
    [rsa.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string, /private key/],
  ] as const) {
    assert.throws(() => readJwtKeys(file), words, file.slice(0, 40))
  }
})
