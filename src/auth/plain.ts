import { prepLocal } from '../xmpp/jid.ts'
import type { Credentials } from './credentials.ts'
import { BusyError } from './derive.ts'
import {
  mayActAs,
  messageText,
  type SaslContext,
  type SaslExchange,
  type SaslResult,
  tooManyFailures,
} from './exchange.ts'

/** SASL PLAIN (RFC 4616): `authzid NUL authcid NUL password` in one message. */
export class PlainExchange implements SaslExchange {
  readonly #passwords: Pick<Credentials, 'check'>
  readonly #credentials: Pick<Credentials, 'stamp'>
  readonly #domain: string
  readonly #wait: SaslContext['wait']
  #state: 'new' | 'asked' | 'done' = 'new'

  constructor(
    passwords: Pick<Credentials, 'check'>,
    credentials: Pick<Credentials, 'stamp'>,
    domain: string,
    wait?: SaslContext['wait'],
  ) {
    this.#passwords = passwords
    this.#credentials = credentials
    this.#domain = domain
    this.#wait = wait
  }

  step(input: Buffer | undefined): SaslResult | Promise<SaslResult> {
    if (input === undefined && this.#state === 'new') {
      this.#state = 'asked'
      return { challenge: Buffer.alloc(0) }
    }
    if (input === undefined || this.#state === 'done') return { failure: 'malformed-request' }
    this.#state = 'done'
    return this.#login(input)
  }

  async #login(input: Buffer): Promise<SaslResult> {
    const parts = messageText(input)?.split('\0')
    if (parts?.length !== 3) return { failure: 'malformed-request' }
    const [authzid, authcid, password] = parts as [string, string, string]
    if (authcid === '' || password === '') return { failure: 'malformed-request' }
    const user = prepLocal(authcid)
    if (user === undefined) return { failure: 'not-authorized' }
    if (!mayActAs(authzid, user, this.#domain)) return { failure: 'invalid-authzid', user }
    const wait = (await this.#wait?.(user)) ?? 0
    if (wait > 0) return { ...tooManyFailures(wait), user }
    try {
      const before = await this.#credentials.stamp(user)
      const answer = await this.#passwords.check(user, password)
      const vouched = answer === 'vouched'
      // Who is vouched for may have got the account just now.
      const stamp = vouched ? (before ?? (await this.#credentials.stamp(user))) : before
      if (vouched || answer === 'right') {
        return stamp === undefined
          ? { failure: 'not-authorized', user }
          : { success: { user, stamp, ...(vouched && { vouched }) } }
      }
      return { failure: answer === 'disabled' ? 'account-disabled' : 'not-authorized', user }
    } catch (error) {
      if (error instanceof BusyError) return { failure: 'temporary-auth-failure', text: error.message }
      throw error
    }
  }
}
