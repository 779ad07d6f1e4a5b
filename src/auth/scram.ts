import { randomBytes } from 'node:crypto'
import { cut } from '../util/text.ts'
import { prepLocal } from '../xmpp/jid.ts'
import type { Credentials } from './credentials.ts'
import { digest, hmac, type ScramHash, sameSecret } from './derive.ts'
import {
  decodeBase64Strict,
  mayActAs,
  messageText,
  type SaslContext,
  type SaslExchange,
  type SaslFailure,
  type SaslResult,
} from './exchange.ts'

interface ScramOptions {
  hash: ScramHash
  /** The mechanism's name ends in -PLUS. */
  plus: boolean
  /** All mechanisms offered on this stream. */
  offered: readonly string[]
  /** Tell the client a hash of what was offered (XEP-0474). */
  seal: boolean
  context: SaslContext
  credentials: Pick<Credentials, 'scram' | 'isDisabled'>
  domain: string
  /** Our part of the nonce: printable ASCII without comma. */
  nonce?: () => string
}

type Known = Awaited<ReturnType<Credentials['scram']>>

/** What the client's first message says (RFC 5802 section 7). */
interface ClientFirst {
  /** `gs2-header` with its final comma, as sent. */
  gs2: string
  flag: 'n' | 'y' | 'p'
  binding: string
  authzid: string
  username: string
  nonce: string
  /** `client-first-message-bare`, as sent. */
  bare: string
}

// Optional extensions are ignored, but not `m=`, which says that it must not be.
const FIRST =
  /^((?:([ny])|p=([A-Za-z0-9.-]+)),(?:a=([^,]+))?,)(n=([^,]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-ln-z]=[^,]+)*)$/
const FINAL = /^(c=([A-Za-z0-9+/=]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-ln-z]=[^,]+)*),p=([A-Za-z0-9+/=]+)$/

/** `=2C` and `=3D` undone; undefined if there is any other `=` (RFC 5802 5.1). */
function saslName(text: string): string | undefined {
  if (/=(?!2C|3D)/.test(text)) return undefined
  return text.replaceAll('=2C', ',').replaceAll('=3D', '=')
}

function parseFirst(text: string): ClientFirst | undefined {
  const match = FIRST.exec(text)
  if (match === null) return undefined
  const [, gs2, flag, binding, rawAuthzid = '', bare, rawUsername, nonce] = match
  const authzid = saslName(rawAuthzid)
  const username = saslName(rawUsername!)
  if (authzid === undefined || username === undefined || text.includes('\0')) return undefined
  return {
    gs2: gs2!,
    flag: flag === undefined ? 'p' : (flag as 'n' | 'y'),
    binding: binding ?? '',
    authzid,
    username,
    nonce: nonce!,
    bare: bare!,
  }
}

/** RFC 9266: what was used before TLS 1.3 is not defined for it. */
const ADVICE = 'use tls-exporter or tls-server-end-point, or a mechanism without -PLUS'

const MALFORMED: SaslFailure = { failure: 'malformed-request' }

/** XEP-0474 3.1: lets the client see whether somebody has shortened the lists that we sent. */
function offerHash(hash: ScramHash, offered: readonly string[], { bindings }: SaslContext): string {
  const mechanisms = offered.toSorted().join('\x1e')
  const types = bindings.types.length === 0 ? '' : `\x1f${bindings.types.toSorted().join('\x1e')}`
  return digest(hash, mechanisms + types).toString('base64')
}

/** The server's side of SCRAM (RFC 5802, RFC 7677), with channel binding where the mechanism is a -PLUS one. */
export class ScramExchange implements SaslExchange {
  readonly #options: ScramOptions
  #state: 'new' | 'asked' | 'challenged' | 'done' = 'new'
  #user = ''
  #keys: Known | undefined
  /** What the client must send back in `c=`. */
  #channel = Buffer.alloc(0)
  #nonce = ''
  /** The first two of the three parts of the AuthMessage. */
  #transcript = ''

  constructor(options: ScramOptions) {
    this.#options = options
  }

  step(input: Buffer | undefined): SaslResult | Promise<SaslResult> {
    const state = this.#state
    // Until this step has an answer, another one finds an exchange that has ended.
    this.#state = 'done'
    if (input === undefined) {
      if (state !== 'new') return MALFORMED
      this.#state = 'asked'
      return { challenge: Buffer.alloc(0) }
    }
    const text = messageText(input)
    if (text === undefined || state === 'done') return MALFORMED
    return state === 'challenged' ? this.#final(text) : this.#first(text)
  }

  async #first(text: string): Promise<SaslResult> {
    const first = parseFirst(text)
    if (first === undefined) return MALFORMED
    const { hash, context, offered, seal, credentials, domain } = this.#options
    const data = first.flag === 'p' ? context.bindings.data(first.binding) : Buffer.alloc(0)
    const refused = this.#refuseFlag(first, data !== undefined)
    if (refused !== undefined || data === undefined) return refused ?? MALFORMED

    const user = prepLocal(first.username)
    if (user === undefined) return { failure: 'not-authorized' }
    if (!mayActAs(first.authzid, user, domain)) return { failure: 'invalid-authzid', user }

    const keys = await credentials.scram(user, hash)
    this.#user = user
    this.#keys = keys
    this.#channel = Buffer.concat([Buffer.from(first.gs2), data])
    this.#nonce = first.nonce + (this.#options.nonce?.() ?? randomBytes(18).toString('base64'))
    const plain = `r=${this.#nonce},s=${keys.salt.toString('base64')},i=${keys.iterations}`
    const challenge = seal ? `${plain},h=${offerHash(hash, offered, context)}` : plain
    this.#transcript = `${first.bare},${challenge},`
    this.#state = 'challenged'
    return { challenge: Buffer.from(challenge) }
  }

  /** RFC 5802 section 6. */
  #refuseFlag({ flag, binding }: ClientFirst, bound: boolean): SaslFailure | undefined {
    const { plus, offered } = this.#options
    if (plus !== (flag === 'p'))
      return { failure: 'malformed-request', text: 'the channel binding flag does not fit the mechanism' }
    if (!bound) {
      return { failure: 'not-authorized', text: `channel binding ${cut(binding, 30)} is not supported here; ${ADVICE}` }
    }
    if (flag === 'y' && offered.some(name => name.endsWith('-PLUS'))) {
      return { failure: 'not-authorized', text: 'channel binding was offered, and somebody has hidden it' }
    }
    return undefined
  }

  async #final(text: string): Promise<SaslResult> {
    const match = FINAL.exec(text)
    if (match === null) return MALFORMED
    const [, withoutProof, channel, nonce, proofText] = match as unknown as [string, string, string, string, string]
    const bound = decodeBase64Strict(channel)
    const proof = decodeBase64Strict(proofText)
    if (bound === undefined || proof === undefined) return MALFORMED

    const { hash, credentials } = this.#options
    const user = this.#user
    const keys = this.#keys!
    const message = this.#transcript + withoutProof
    const signature = hmac(hash, keys.storedKey, message)
    // All of it is computed whatever fails, and every failure looks the same.
    const sameChannel = sameSecret(bound, this.#channel)
    const sameNonce = sameSecret(Buffer.from(nonce), Buffer.from(this.#nonce))
    const sameLength = proof.length === signature.length
    const clientKey = signature.map((byte, i) => byte ^ (proof[i] ?? 0))
    const sameKey = sameSecret(digest(hash, clientKey), keys.storedKey)
    if (!(sameChannel && sameNonce && sameLength && sameKey && keys.real)) return { failure: 'not-authorized', user }

    if (await credentials.isDisabled(user)) return { failure: 'account-disabled', user }
    // Removed, or removed and made anew by somebody else, since the first message.
    if (!sameSecret((await credentials.scram(user, hash)).storedKey, keys.storedKey)) {
      return { failure: 'not-authorized', user }
    }
    return {
      success: {
        user,
        stamp: keys.stamp ?? '',
        data: Buffer.from(`v=${hmac(hash, keys.serverKey, message).toString('base64')}`),
      },
    }
  }
}
