import { createHmac, createPublicKey, createSecretKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto'
import { Jid } from '../xmpp/jid.ts'
import type { PasswordSource } from './chain.ts'
import { sameSecret } from './derive.ts'

/** What `alg` of a token may say (RFC 7518 3.1, RFC 8037 3.1), and the one kind of key that each is for. */
const ALGORITHMS: Readonly<Record<string, { hash: string | null; kind: string; curve?: string }>> = {
  HS256: { hash: 'sha256', kind: 'oct' },
  HS384: { hash: 'sha384', kind: 'oct' },
  HS512: { hash: 'sha512', kind: 'oct' },
  RS256: { hash: 'sha256', kind: 'rsa' },
  RS384: { hash: 'sha384', kind: 'rsa' },
  RS512: { hash: 'sha512', kind: 'rsa' },
  ES256: { hash: 'sha256', kind: 'ec', curve: 'prime256v1' },
  ES384: { hash: 'sha384', kind: 'ec', curve: 'secp384r1' },
  ES512: { hash: 'sha512', kind: 'ec', curve: 'secp521r1' },
  EdDSA: { hash: null, kind: 'ed25519' },
}

/** A clock may be behind that of who made the token by so much (s). It is not to live longer for that. */
const LEEWAY = 60

export interface JwtKey {
  key: KeyObject
  kid: string | undefined
  /** The only algorithm that it may be used with, where its file says so (RFC 7517 4.4). */
  alg: string | undefined
}

/**
 * The keys in a file: a JWK, a JWK Set (RFC 7517), or a public key or certificate in PEM.
 *
 * @throws Error that says what is wrong with them
 */
export function readJwtKeys(text: string): JwtKey[] {
  const trimmed = text.trim()
  if (trimmed.startsWith('-----BEGIN')) {
    // A private key would do, and has no business here.
    if (trimmed.includes('PRIVATE KEY')) throw new Error('it is a private key; only the public key is wanted')
    return [checked({ key: createPublicKey(trimmed), kid: undefined, alg: undefined })]
  }
  let json: unknown
  try {
    json = JSON.parse(trimmed)
  } catch {
    throw new Error('it is neither a JWK nor PEM')
  }
  const set = (json as { keys?: unknown }).keys ?? [json]
  if (!Array.isArray(set) || set.length === 0) throw new Error('there is no key in it')
  return set.map(fromJwk)
}

function fromJwk(jwk: JsonWebKey & { kid?: unknown; alg?: unknown }): JwtKey {
  const secret = jwk.kty === 'oct'
  const key = secret
    ? createSecretKey(Buffer.from(String(jwk.k), 'base64url'))
    : createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
  const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)
  return checked({ key, kid: text(jwk.kid), alg: text(jwk.alg) })
}

function checked(made: JwtKey): JwtKey {
  const { key, alg } = made
  const kind = kindOf(key)
  if (alg !== undefined && !fits(alg, key)) throw new Error(`its alg ${alg} is none that can be used with it`)
  if (!Object.keys(ALGORITHMS).some(name => fits(name, key)))
    throw new Error(`a key of the kind ${kind} cannot be used`)
  // RFC 7518 3.2 and 3.3: what is shorter can be found out.
  if (kind === 'oct' && (key.symmetricKeySize ?? 0) < 32) throw new Error('a secret has 32 bytes or more')
  const bits = key.asymmetricKeyDetails?.modulusLength
  if (bits !== undefined && bits < 2048) throw new Error('an RSA key has 2048 bits or more')
  return made
}

function kindOf(key: KeyObject): string {
  return key.type === 'secret' ? 'oct' : String(key.asymmetricKeyType)
}

function fits(alg: string, key: KeyObject): boolean {
  const wanted = Object.hasOwn(ALGORITHMS, alg) ? ALGORITHMS[alg] : undefined
  if (wanted?.kind !== kindOf(key)) return false
  return wanted.curve === undefined || wanted.curve === key.asymmetricKeyDetails?.namedCurve
}

export interface JwtOptions {
  keys: readonly JwtKey[]
  /** The claim that has the address of the account (option `jwt_jid_field`). */
  claim: string
  /** The host, prepared. */
  domain: string
  now?: () => number
}

/** Passwords that are JSON Web Tokens (RFC 7519), signed by somebody whom the operator trusts. */
export class JwtSource implements PasswordSource {
  readonly name = 'jwt'
  readonly #options: JwtOptions

  constructor(options: JwtOptions) {
    this.#options = options
  }

  async check(user: string, password: string): Promise<boolean> {
    const claims = this.#claims(password)
    if (claims === undefined) return false
    const { claim, domain, now = Date.now } = this.#options
    const seconds = now() / 1000
    // One without an end would be a password that nobody can change.
    const { exp, nbf } = claims
    if (typeof exp !== 'number' || exp <= seconds) return false
    if (nbf !== undefined && (typeof nbf !== 'number' || nbf > seconds + LEEWAY)) return false
    const address = claims[claim]
    return typeof address === 'string' && Jid.parse(address)?.equals(Jid.of(user, domain)) === true
  }

  /** What a token says, if its signature is by one of the keys. */
  #claims(token: string): Record<string, unknown> | undefined {
    const match = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/.exec(token)
    if (match === null) return undefined
    const [, head, body, signature] = match as unknown as [string, string, string, string]
    const header = parse(head)
    const alg = header?.['alg']
    // RFC 7515 4.1.11: what must be understood is not.
    if (header === undefined || typeof alg !== 'string' || header['crit'] !== undefined) return undefined
    const signed = Buffer.from(`${head}.${body}`)
    const given = Buffer.from(signature, 'base64url')
    const { kid } = header
    const known = this.#options.keys.some(key => key.kid !== undefined && key.kid === kid)
    const right = this.#options.keys.some(
      key =>
        (!known || key.kid === kid) &&
        (key.alg === undefined || key.alg === alg) &&
        fits(alg, key.key) &&
        isSigned(alg, key.key, signed, given),
    )
    return right ? parse(body) : undefined
  }
}

function isSigned(alg: string, key: KeyObject, signed: Buffer, signature: Buffer): boolean {
  const { hash, kind } = ALGORITHMS[alg]!
  if (kind === 'oct') return sameSecret(createHmac(hash!, key).update(signed).digest(), signature)
  return verify(hash, signed, kind === 'ec' ? { key, dsaEncoding: 'ieee-p1363' } : key, signature)
}

function parse(part: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString())
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
