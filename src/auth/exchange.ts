import type { ChannelBindings } from '../net/channelbinding.ts'
import { Jid } from '../xmpp/jid.ts'
import type { ScramHash } from './derive.ts'
import type { DeviceLogin } from './devices.ts'

/** What a client is told that has to wait (ms), whether it has the right password or not. */
export function tooManyFailures(wait: number): { failure: SaslCondition; text: string } {
  return { failure: 'temporary-auth-failure', text: `too many failed logins; wait ${Math.ceil(wait / 1000)} s` }
}

/** RFC 6120 6.5. */
export type SaslCondition =
  | 'aborted'
  | 'account-disabled'
  | 'credentials-expired'
  | 'encryption-required'
  | 'incorrect-encoding'
  | 'invalid-authzid'
  | 'invalid-mechanism'
  | 'malformed-request'
  | 'mechanism-too-weak'
  | 'not-authorized'
  | 'temporary-auth-failure'

/** What a mechanism needs to know of the stream. */
export interface SaslContext {
  /** Encrypted, by TLS of ours or in front of us. */
  secure: boolean
  /** NO_BINDINGS without TLS of ours. */
  bindings: ChannelBindings
  allowPlainInsecure?: boolean
  /** Ms until a password of this user is looked at, where too many failed; not before that is it of any use. */
  wait?: (user: string) => number | Promise<number>
  /** The hashes of the account that the stream says it is from: others are of no use to it. */
  hashes?: readonly ScramHash[]
}

export interface SaslFailure {
  failure: SaslCondition
  text?: string
  /** The prepared localpart that was tried, where it came so far: for counting failures. */
  user?: string
}

export interface SaslSuccess {
  /** A prepared localpart. */
  user: string
  /** The account as it was when it was told who this is (see Credentials.stamp): in another state it lets nobody in. */
  stamp: string
  /** Goes to the client with the success. */
  data?: Buffer
  /** Another source of accounts has said so: nothing that outlives this login may follow from it. */
  vouched?: boolean
  /** A token was used, which may be due to be replaced (XEP-0484). */
  token?: { login: DeviceLogin; due: boolean }
}

export type SaslResult = { challenge: Buffer } | { success: SaslSuccess } | SaslFailure

/** One attempt to log in; ends with the first result that is no challenge. Dropping it is all that aborting needs. */
export interface SaslExchange {
  /** `undefined` where the client sent no initial response (RFC 6120 6.4.2). One step at a time. */
  step(input: Buffer | undefined): SaslResult | Promise<SaslResult>
}

/** Bytes of the longest message of a client that is looked at: escaped name, authzid and a nonce fit well. */
export const MAX_MESSAGE = 10_000

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The message as text; undefined if it is too long or no UTF-8. */
export function messageText(input: Buffer): string | undefined {
  if (input.length > MAX_MESSAGE) return undefined
  try {
    return utf8.decode(input)
  } catch {
    return undefined
  }
}

/** Whether the authorization identity is none or the user's own bare address (RFC 6120 6.3.8): nobody acts for others. */
export function mayActAs(authzid: string, user: string, domain: string): boolean {
  return authzid === '' || Jid.parse(authzid)?.equals(Jid.of(user, domain)) === true
}

/**
 * Base64 as RFC 6120 6.4.2 and RFC 4648 section 4 want it: padded, canonical, without white space; `=` means empty.
 * @returns undefined if it is anything else (`incorrect-encoding`)
 */
export function decodeBase64Strict(text: string): Buffer | undefined {
  if (text === '=') return Buffer.alloc(0)
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}
