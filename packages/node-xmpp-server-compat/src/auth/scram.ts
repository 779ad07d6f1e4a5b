import { createHmac, randomBytes } from 'node:crypto'
import {
  BusyError,
  decodeBase64Strict,
  NO_BINDINGS,
  NS,
  preparePassword,
  type SaslResult,
  ScramExchange,
  type ScramHash,
  type ScramKeys,
  xml,
} from 'hermod/engine'
import type { Session } from '../c2s/session.ts'
import type { Stanza } from '../elements.ts'
import { Mechanism, type User } from './mechanism.ts'

/** Rounds of PBKDF2; RFC 7677 4 wants no fewer. */
const ITERATIONS = 4096
const SALT_BYTES = 16

type Known = ScramKeys & { readonly real: boolean; readonly stamp: undefined }

/**
 * SCRAM (RFC 5802, RFC 7677), which the old API did not have: passwords are not sent, so that clients of today log in by it
 * without TLS, too. As for DIGEST-MD5 the application gives the password of the user with its answer.
 */
abstract class Scram extends Mechanism {
  protected abstract readonly hash: ScramHash
  #exchange: ScramExchange | undefined
  /** What the application knows of the user, and the keys of the password. */
  #user: User | undefined
  #keys: Promise<Known> | undefined

  override async manageAuth(stanza: Stanza, session: Session): Promise<void> {
    this.#exchange ??= this.#begin(session)
    const text = stanza.getText()
    const input = text === '' ? undefined : decodeBase64Strict(text)
    if (text !== '' && input === undefined) return this.failure({ type: 'incorrect-encoding' })
    let result: SaslResult
    try {
      result = await this.#exchange.step(input)
    } catch (error) {
      if (!(error instanceof BusyError)) throw error
      return this.failure({ type: 'temporary-auth-failure', message: error.message })
    }
    if ('challenge' in result) {
      session.send(xml('challenge', { xmlns: NS.SASL }, result.challenge.toString('base64')))
    } else if ('success' in result) this.success(this.#user!, result.success.data)
    else this.failure({ type: result.failure, message: result.text })
  }

  #begin(session: Session): ScramExchange {
    const credentials = {
      scram: (username: string) => (this.#keys ??= this.#keysOf(username, session)),
      isDisabled: () => false,
    }
    const domain = session.serverdomain!
    const context = { secure: session.connection.isSecure, bindings: NO_BINDINGS }
    return new ScramExchange({ hash: this.hash, plus: false, offered: [], seal: false, context, credentials, domain })
  }

  /** Who is unknown gets a salt like everybody, the same each time, and fails when all was said (RFC 5802 9). */
  async #keysOf(username: string, session: Session): Promise<Known> {
    const user = await new Promise<User | undefined>(resolve => {
      this.authenticate({ username }, (error, found) => resolve(error ? undefined : found))
    })
    const { derive, secret } = session.server.surroundings
    const known = typeof user?.password === 'string' ? preparePassword(user.password) : undefined
    if (user !== undefined) delete user.password
    this.#user = user
    const salt = createHmac('sha256', secret).update(`${this.hash} ${username}`).digest().subarray(0, SALT_BYTES)
    const keys = await derive(this.hash, known ?? randomBytes(16).toString('hex'), salt, ITERATIONS)
    return { ...keys, real: known !== undefined, stamp: undefined }
  }
}

export class ScramSHA1 extends Scram {
  static id = 'SCRAM-SHA-1'
  protected readonly hash = 'SHA-1'
}

export class ScramSHA256 extends Scram {
  static id = 'SCRAM-SHA-256'
  protected readonly hash = 'SHA-256'
}

Object.assign(ScramSHA1.prototype, { name: ScramSHA1.id })
Object.assign(ScramSHA256.prototype, { name: ScramSHA256.id })
