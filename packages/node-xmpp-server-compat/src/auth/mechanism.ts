import { EventEmitter } from 'node:events'
import { inherits } from 'node:util'
import { decodeBase64Strict, messageText, type SaslCondition } from 'hermod/engine'
import type { Session } from '../c2s/session.ts'
import type { Stanza } from '../elements.ts'
import type { JID } from '../jid.ts'

/** Who wants to come in: what a mechanism found out, and what the session adds for the application. */
export interface User {
  username?: string
  password?: string
  /** A text from a mechanism; an address when the application sees it. */
  jid?: JID | string
  /** Whom the client wants to act as (RFC 6120 6.3.8). */
  authzid?: string
  oauth_token?: string
  /** Name of the mechanism. */
  saslmech?: string
  client?: Session
  [more: string]: unknown
}

/** A login that fails. `type`: the condition (RFC 6120 6.5); `message`: a text for people. */
export interface LoginError {
  type?: SaslCondition
  message?: string
}

/** One attempt to log in, by one SASL mechanism. */
export interface Mechanism extends EventEmitter {
  /** As it is offered to clients. */
  readonly name: string
  /** Credentials from a client's only message. To be overridden, or {@link manageAuth}. */
  extractSasl(message: string): User
  /** Handles `<auth/>` and each `<response/>`. */
  manageAuth(stanza: Stanza, session: Session): void | Promise<void>
  // Of the session.
  /** Asks the application. */
  authenticate(user: User, callback: (error: unknown, user?: User) => void): void
  /** The client is that user. @param data goes to it with the success */
  success(user: User, data?: Buffer): void
  failure(error?: unknown): void
}

export interface MechanismClass {
  new (): Mechanism
  readonly prototype: Mechanism
}

/** A function rather than a class, so that `util.inherits` and `Mechanism.call(this)` go on working. */
export const Mechanism = function Mechanism(this: Mechanism) {
  EventEmitter.call(this)
} as unknown as MechanismClass

inherits(Mechanism, EventEmitter)

Object.assign(Mechanism.prototype, {
  extractSasl(): never {
    throw new Error('a mechanism overrides extractSasl, or manageAuth')
  },

  manageAuth(this: Mechanism, stanza: Stanza): void {
    const message = textOfMessage(stanza)
    if (typeof message === 'object') return this.failure(message)
    this.authenticate(this.extractSasl(message), (error, user) => {
      if (!error && user) this.success(user)
      else this.failure(error)
    })
  },

  authenticate(_user: User, callback: (error: unknown) => void): void {
    callback(new Error('a mechanism is of use in a session only'))
  },
  success(): void {},
  failure(): void {},
} satisfies Partial<Mechanism>)

/** What a client says, decoded; an error where it is no text. */
export function textOfMessage(stanza: Stanza): string | LoginError {
  const encoded = stanza.getText()
  const bytes = encoded === '' ? Buffer.alloc(0) : decodeBase64Strict(encoded)
  if (bytes === undefined) return { type: 'incorrect-encoding' }
  return messageText(bytes) ?? { type: 'malformed-request' }
}
