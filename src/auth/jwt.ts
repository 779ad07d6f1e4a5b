import { createPublicKey, createSecretKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import type { JWTPayload } from 'jose'
import { Jid } from '../xmpp/jid.ts'
import type { PasswordSource } from './chain.ts'

/** What `alg` of a token may say (RFC 7518 3.1, RFC 8037 3.1), by the kind of key, or its curve. */
const ALGORITHMS: Readonly<Record<string, readonly string[]>> = {
  oct: ['HS256', 'HS384', 'HS512'],
  rsa: ['RS256', 'RS384', 'RS512'],
  prime256v1: ['ES256'],
  secp384r1: ['ES384'],
  secp521r1: ['ES512'],
  ed25519: ['EdDSA'],
}

/** RFC 7515 7.1 and 2: without padding and white space, which jose would leave out. */
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/
/** A clock may be behind that of who made the token by so much (s). It is not to live longer for that. */
const LEEWAY = 60

export interface JwtKey {
  key: KeyObject
  kid: string | undefined
  /** What it may be used with: only one, where its file says so (RFC 7517 4.4). */
  algorithms: readonly string[]
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
    return [checked(createPublicKey(trimmed))]
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
  return checked(key, text(jwk.kid), text(jwk.alg))
}

function checked(key: KeyObject, kid?: string, alg?: string): JwtKey {
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {}
  const kind = key.type === 'secret' ? 'oct' : (namedCurve ?? String(key.asymmetricKeyType))
  const fitting = ALGORITHMS[kind]
  if (fitting === undefined) throw new Error(`a key of the kind ${kind} cannot be used`)
  const algorithms = alg === undefined ? fitting : fitting.filter(name => name === alg)
  if (algorithms.length === 0) throw new Error(`its alg ${alg} is none that can be used with it`)
  // RFC 7518 3.2 and 3.3: what is shorter can be found out.
  if ((key.symmetricKeySize ?? 32) < 32) throw new Error('a secret has 32 bytes or more')
  if (modulusLength !== undefined && modulusLength < 2048) throw new Error('an RSA key has 2048 bits or more')
  return { key, kid, algorithms }
}

interface JwtOptions {
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
    const { claim, domain, now = Date.now } = this.#options
    const claims = await this.#claims(password, new Date(now()))
    // One without an end would be a password that nobody can change.
    if (claims?.exp === undefined || claims.exp <= now() / 1000) return false
    const address = claims[claim]
    return typeof address === 'string' && Jid.parse(address)?.equals(Jid.of(user, domain)) === true
  }

  /** What a token says, if its signature is by one of the keys and its time has come. */
  async #claims(token: string, currentDate: Date): Promise<JWTPayload | undefined> {
    if (!COMPACT.test(token)) return undefined
    const { decodeProtectedHeader, jwtVerify } = await import('jose') // not in memory where nobody needs it
    const { keys } = this.#options
    try {
      const { kid } = decodeProtectedHeader(token)
      const named = keys.filter(key => key.kid !== undefined && key.kid === kid)
      for (const { key, algorithms } of named.length > 0 ? named : keys) {
        const options = { algorithms: [...algorithms], currentDate, clockTolerance: LEEWAY }
        const verified = await jwtVerify(token, key, options).catch(() => undefined)
        if (verified !== undefined) return verified.payload
      }
    } catch {
      // no token at all
    }
    return undefined
  }
}
