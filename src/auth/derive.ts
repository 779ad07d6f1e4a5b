import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { Limit } from '../util/limit.ts'
import { opaqueString } from '../xmpp/precis.ts'

/** Hash functions of SCRAM, by the name that the mechanism carries (RFC 5802, RFC 7677). */
export type ScramHash = 'SHA-1' | 'SHA-256' | 'SHA-512'

export const SCRAM_HASHES: Record<ScramHash, { node: string; bytes: number }> = {
  'SHA-1': { node: 'sha1', bytes: 20 },
  'SHA-256': { node: 'sha256', bytes: 32 },
  'SHA-512': { node: 'sha512', bytes: 64 },
}

/** What SCRAM keeps of a password (RFC 5802 section 3); the password cannot be computed from it. */
export interface ScramKeys {
  salt: Buffer
  iterations: number
  storedKey: Buffer
  serverKey: Buffer
}

/** Too much is being done already; the same call may succeed a moment later. */
export class BusyError extends Error {
  constructor(message = 'too many passwords are being checked') {
    super(message)
    this.name = 'BusyError'
  }
}

const MAX_PASSWORD = 1023

const derivedBits = promisify(pbkdf2)

// RFC 3454 B.1, which SASLprep removes: soft hyphen, joiners, variation selectors and their like.
const REMOVED = /\u00ad|\u034f|\u1806|[\u180b-\u180d]|[\u200b-\u200d]|\u2060|[\ufe00-\ufe0f]|\ufeff/gu

/**
 * A password in the one form in which it is hashed. SCRAM requires SASLprep (RFC 4013), which clients apply before they
 * hash, so its mappings (B.1, spaces, NFKC) come first; what may then be in it follows OpaqueString (RFC 8265 4.2), since
 * SASLprep knows no character newer than Unicode 3.2.
 * @returns undefined if it is empty, longer than 1023 bytes, or has control characters and the like
 */
export function preparePassword(text: string): string | undefined {
  if (text.length > MAX_PASSWORD) return undefined
  if (/^[\x20-\x7e]+$/.test(text)) return text
  const password = opaqueString(
    text
      .replace(REMOVED, '')
      .replace(/\p{Zs}/gu, ' ')
      .normalize('NFKC'),
  )
  return password === undefined || Buffer.byteLength(password) > MAX_PASSWORD ? undefined : password
}

export function hmac(hash: ScramHash, key: Buffer, data: string | Buffer): Buffer {
  return createHmac(SCRAM_HASHES[hash].node, key).update(data).digest()
}

export function digest(hash: ScramHash, data: Uint8Array | string): Buffer {
  return createHash(SCRAM_HASHES[hash].node).update(data).digest()
}

/** Constant in time for what has the same length; lengths are no secret. */
export function sameSecret(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}

/** What is kept of a SaltedPassword (RFC 5802 section 3). */
export function scramKeys(hash: ScramHash, salted: Buffer, salt: Buffer, iterations: number): ScramKeys {
  const storedKey = digest(hash, hmac(hash, salted, 'Client Key'))
  return { salt, iterations, storedKey, serverKey: hmac(hash, salted, 'Server Key') }
}

/** Derives keys from a prepared password, off the event loop. Rejects with {@link BusyError} beyond its bound. */
export type Derive = (hash: ScramHash, password: string, salt: Buffer, iterations: number) => Promise<ScramKeys>

/**
 * PBKDF2 takes a thread of the pool for milliseconds, and the database writes on the same pool: strangers who send
 * passwords must not stop the disk. So only `parallel` run at a time, and `waiting` more wait for their turn.
 */
export function createDerive({ parallel = 2, waiting = 256 } = {}): Derive {
  const limit = new Limit(parallel, waiting, () => new BusyError())
  return (hash, password, salt, iterations) =>
    limit.run(async () => {
      const { node, bytes } = SCRAM_HASHES[hash]
      return scramKeys(hash, await derivedBits(password, salt, iterations, bytes, node), salt, iterations)
    })
}
