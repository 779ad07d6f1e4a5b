import { createHmac } from 'node:crypto'
import { prepLocal } from '../xmpp/jid.ts'
import type { Credentials } from './credentials.ts'
import type { Devices } from './devices.ts'
import { messageText, type SaslContext, type SaslExchange, type SaslResult } from './exchange.ts'

/**
 * The mechanisms that take tokens (draft-schmaus-kitten-sasl-ht), by the channel binding each needs. -UNIQ is not among
 * them: `tls-unique` is not defined for TLS 1.3, and is not safe before it without an extension that Node does not report.
 */
const BINDINGS = {
  'HT-SHA-256-EXPR': 'tls-exporter',
  'HT-SHA-256-ENDP': 'tls-server-end-point',
  'HT-SHA-256-NONE': undefined,
} as const

export type TokenMechanism = keyof typeof BINDINGS

const PROOF_BYTES = 32

/** Those that can be used on a connection, the strongest first. */
export function tokenMechanisms({ secure, bindings }: SaslContext): TokenMechanism[] {
  if (!secure) return []
  const names = Object.keys(BINDINGS) as TokenMechanism[]
  return names.filter(name => BINDINGS[name] === undefined || bindings.types.includes(BINDINGS[name]))
}

/** What a client says of the token that it uses. */
export interface TokenUse {
  /** The id of the device that it was given to. */
  device: string
  /** XEP-0484 3.4: rises with every attempt. */
  count: number | undefined
  /** XEP-0484 3.6: after this the token is void. */
  invalidate: boolean
}

/** What a client claims with a token. */
export interface TokenAttempt extends Omit<TokenUse, 'device'> {
  mechanism: string
  proof: Buffer
  /** Data of the channel binding; empty for -NONE. */
  binding: Buffer
}

/** `initiator-hashed-token` and `responder-hashed-token` of the draft. */
export function tokenProof(who: 'Initiator' | 'Responder', secret: string, binding: Buffer): Buffer {
  return createHmac('sha256', secret).update(who).update(binding).digest()
}

interface TokenOptions extends TokenUse {
  mechanism: TokenMechanism
  context: SaslContext
  devices: Devices
  credentials: Pick<Credentials, 'stamp'>
}

/** The server's side of HT: `authcid NUL initiator-hashed-token`, in one message. */
export class TokenExchange implements SaslExchange {
  readonly #options: TokenOptions

  constructor(options: TokenOptions) {
    this.#options = options
  }

  async step(input: Buffer | undefined): Promise<SaslResult> {
    // There is no round trip for anything else (XEP-0484 3.1).
    const end = input?.indexOf(0) ?? -1
    const authcid = end > 0 ? messageText(input!.subarray(0, end)) : undefined
    const proof = input?.subarray(end + 1)
    if (authcid === undefined || proof?.length !== PROOF_BYTES) return { failure: 'malformed-request' }
    const user = prepLocal(authcid)
    if (user === undefined) return { failure: 'not-authorized' }
    const { mechanism, context, device, count, invalidate, devices, credentials } = this.#options
    const type = BINDINGS[mechanism]
    const binding = type === undefined ? Buffer.alloc(0) : context.bindings.data(type)
    if (binding === undefined) return { failure: 'not-authorized', user }
    const stamp = await credentials.stamp(user)
    const verdict = await devices.verify(user, device, stamp, { mechanism, proof, binding, count, invalidate })
    if ('failure' in verdict) return { ...verdict, user }
    return {
      success: { user, stamp: stamp ?? '', data: verdict.proof, token: { login: verdict.login, due: verdict.due } },
    }
  }
}
