import { setTimeout as delay } from 'node:timers/promises'
import { Jid, mayActAs, NS, StreamError, xml } from 'hermod/engine'
import { ask } from '../ask.ts'
import type { LoginError, Mechanism, User } from '../auth/mechanism.ts'
import type { Stanza } from '../elements.ts'
import { JID } from '../jid.ts'
import { addressOf } from './register.ts'
import type { Session } from './session.ts'

/** Failed logins after which a stream is closed (RFC 6120 6.4.5 recommends 2 to 5). */
const MAX_FAILURES = 5
/** An element name: what applications say is the condition of a failure. */
const CONDITION = /^[a-z][a-z-]{0,40}$/

/** How a client logs in on a session (RFC 6120 6). */
export class Login {
  readonly #session: Session
  #mechanism: Mechanism | undefined
  /** Who is being asked about, and is to be told whether it went well. */
  #claimed: JID | undefined
  #failures = 0
  /** What is still to be waited for before the client is heard again. */
  #pending: Promise<unknown>[] = []

  constructor(session: Session) {
    this.#session = session
  }

  /** `<auth/>`, `<response/>` or `<abort/>`. */
  async step(stanza: Stanza): Promise<void> {
    const { name } = stanza
    if (name === 'abort') this.#fail({ type: 'aborted', message: 'aborted' })
    else if (name === 'auth') await this.#begin(stanza)
    else if (name === 'response' && this.#mechanism !== undefined) await this.#handle(this.#mechanism, stanza)
    else throw new StreamError('not-authorized', 'there is no login going on')
    while (this.#pending.length > 0) await this.#pending.shift()
    if (this.#failures >= MAX_FAILURES) throw new StreamError('policy-violation', 'too many failed logins')
  }

  async #begin(stanza: Stanza): Promise<void> {
    const wanted = stanza.attrs['mechanism']
    const found = this.#session.mechanisms.find(({ prototype }) => prototype.name === wanted)
    this.#claimed = undefined
    if (found === undefined) return this.#fail({ type: 'invalid-mechanism', message: 'not offered here' })
    const verdict = this.#failuresOf.check(this.#ip)
    if (!verdict.allowed) return this.#busy()
    const mechanism = new found()
    this.#mechanism = mechanism
    mechanism.authenticate = (user, callback) => this.#ask(mechanism, user, callback)
    mechanism.success = (user, data) => this.#succeed(mechanism, user, data)
    mechanism.failure = error => {
      if (this.#mechanism === mechanism) this.#pending.push(this.#refuse(error))
    }
    await this.#handle(mechanism, stanza)
  }

  async #handle(mechanism: Mechanism, stanza: Stanza): Promise<void> {
    await mechanism.manageAuth(stanza, this.#session)
  }

  #ask(mechanism: Mechanism, user: User, callback: (error: unknown, user?: User) => void): void {
    const session = this.#session
    const jid = claimedBy(user, session.serverdomain!)
    if (jid === undefined) return callback({ type: 'malformed-request', message: 'no such user can be' })
    this.#claimed = jid
    if (user.authzid !== undefined && !actsForOneself(user.authzid, jid)) {
      return callback({ type: 'invalid-authzid', message: 'nobody acts for others here' })
    }
    if (!this.#failuresOf.check(this.#ip, jid.toString()).allowed) return callback(BUSY)
    user.saslmech ??= mechanism.name
    user.jid = jid
    user.client = session
    const asked = ask(session, 'authenticate', user)
    if (asked === undefined) return callback({ type: 'temporary-auth-failure', message: 'nobody to ask' })
    this.#pending.push(asked.then(([error, found]) => callback(error, (found || undefined) as User | undefined)))
  }

  #succeed(mechanism: Mechanism, user: User, data: Buffer | undefined): void {
    if (this.#mechanism !== mechanism || this.#session.connection.closed) return
    this.#mechanism = undefined
    const jid = new JID(user.jid?.toString())
    if (Jid.parse(jid.toString()) === undefined) throw new TypeError(`not an address: ${jid}`)
    this.#failuresOf.succeeded(this.#ip, jid.toString())
    this.#session.loggedIn(jid, data)
  }

  /** It was really tried, and failed: it counts, and the more there were the later comes the answer. */
  async #refuse(error: unknown): Promise<void> {
    const failures = this.#failuresOf
    const account = this.#claimed?.toString()
    failures.failed(this.#ip, account)
    const verdict = failures.check(this.#ip, account)
    if (verdict.allowed && verdict.delay > 0) await delay(verdict.delay)
    this.#fail((error || {}) as LoginError)
  }

  #busy(): void {
    this.#fail(BUSY)
  }

  #fail({ type, message }: LoginError): void {
    const session = this.#session
    this.#mechanism = undefined
    this.#failures++
    if (this.#claimed !== undefined) session.emit('auth-failure', this.#claimed)
    const condition = type !== undefined && CONDITION.test(type) ? type : 'not-authorized'
    const text = xml('text', { 'xml:lang': 'en' }, message || 'Authentication failure')
    session.send(xml('failure', { xmlns: NS.SASL }, xml(condition), text))
  }

  get #failuresOf() {
    return this.#session.server.surroundings.failures
  }

  get #ip(): string {
    return this.#session.connection.peer.ip
  }
}

const BUSY: LoginError = { type: 'temporary-auth-failure', message: 'too many failed logins; try again later' }

function claimedBy({ username, jid }: User, domain: string): JID | undefined {
  if (!jid) return username ? addressOf(username, domain) : undefined
  const text = jid.toString()
  return Jid.parse(text) === undefined ? undefined : new JID(text)
}

function actsForOneself(authzid: string, jid: JID): boolean {
  return mayActAs(authzid, jid.local, jid.domain)
}
