import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { NS, xml } from 'hermod/engine'
import type { Session } from '../c2s/session.ts'
import type { Stanza } from '../elements.ts'
import { Mechanism, textOfMessage, type User } from './mechanism.ts'

/** A client's digest-response (RFC 2831 2.1.2). */
type Directives = Record<string, string>

/**
 * SASL DIGEST-MD5 (RFC 2831), which is obsolete (RFC 6331) and needs passwords in the clear: the application gives the
 * user's with its answer. For old clients only.
 */
export class DigestMD5 extends Mechanism {
  static id = 'DIGEST-MD5'
  #state: 'new' | 'challenged' | 'proved' = 'new'
  #nonce = ''
  #user: User | undefined

  override manageAuth(stanza: Stanza, session: Session): void {
    const message = textOfMessage(stanza)
    if (typeof message === 'object') return this.failure(message)
    const state = this.#state
    if (state === 'new' && stanza.name === 'auth') return this.#challenge(session)
    if (state === 'challenged' && message !== '') return this.#prove(message, session)
    if (state === 'proved' && message === '' && this.#user !== undefined) return this.success(this.#user)
    // Who skips a step has shown nothing.
    this.failure({ type: 'malformed-request', message: 'not the next step of DIGEST-MD5' })
  }

  #challenge(session: Session): void {
    this.#state = 'challenged'
    this.#nonce = randomBytes(16).toString('hex')
    const realm = session.serverdomain
    send(session, `realm="${realm}",nonce="${this.#nonce}",qop="auth",charset=utf-8,algorithm=md5-sess`)
  }

  #prove(message: string, session: Session): void {
    const given = directives(message)
    if (given === undefined || !this.#fits(given, session)) return this.failure({ type: 'malformed-request' })
    const { username, authzid } = given
    this.authenticate({ username, ...(authzid && { authzid }) }, (error, user) => {
      const password = user?.password
      if (error || typeof password !== 'string') return this.failure(error)
      if (!same(given['response']!, digest(given, password, 'AUTHENTICATE'))) return this.failure(error)
      delete user!.password
      this.#user = user
      this.#state = 'proved'
      send(session, `rspauth=${digest(given, password, '')}`)
    })
  }

  #fits(given: Directives, session: Session): boolean {
    const { nonce, cnonce, nc, qop = 'auth', realm = '', username, response } = given
    const domain = session.serverdomain
    const uri = given['digest-uri'] ?? ''
    return (
      nonce === this.#nonce &&
      nc === '00000001' &&
      qop === 'auth' &&
      (realm === domain || realm === '') &&
      (uri === `xmpp/${domain}` || uri.endsWith(`/${domain}`)) &&
      [cnonce, username, response].every(value => value !== undefined && value !== '')
    )
  }
}

Object.assign(DigestMD5.prototype, { name: DigestMD5.id })

function send(session: Session, text: string): void {
  session.send(xml('challenge', { xmlns: NS.SASL }, Buffer.from(text).toString('base64')))
}

/** Undefined for what is no list of directives, or names one twice. */
function directives(message: string): Directives | undefined {
  const found: Directives = Object.create(null)
  const one = /\s*([a-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]*))\s*(?:,|$)/gy
  while (one.lastIndex < message.length) {
    const [, name, quoted, token] = one.exec(message) ?? []
    if (name === undefined || name in found) return undefined
    found[name] = quoted === undefined ? token! : quoted.replace(/\\(.)/g, '$1')
  }
  return found
}

/** RFC 2831 2.1.2.1; of the server's answer 2.1.3. */
export function digest(given: Directives, password: string, method: 'AUTHENTICATE' | ''): string {
  const { username = '', realm = '', nonce, cnonce, nc, qop = 'auth', authzid } = given
  const secret = md5(Buffer.concat([latin1(username), colon, latin1(realm), colon, latin1(password)]))
  const a1 = Buffer.concat([secret, Buffer.from(`:${nonce}:${cnonce}${authzid === undefined ? '' : `:${authzid}`}`)])
  const a2 = Buffer.from(`${method}:${given['digest-uri']}`)
  return hex(`${hex(a1)}:${nonce}:${nc}:${cnonce}:${qop}:${hex(a2)}`)
}

const colon = Buffer.from(':')

function md5(bytes: Buffer | string): Buffer {
  return createHash('md5').update(bytes).digest()
}

function hex(bytes: Buffer | string): string {
  return md5(bytes).toString('hex')
}

/** A text that ISO 8859-1 can say is hashed in it, whatever it came in. */
function latin1(text: string): Buffer {
  return Buffer.from(text, /^[\0-\xff]*$/.test(text) ? 'latin1' : 'utf8')
}

function same(one: string, other: string): boolean {
  return timingSafeEqual(md5(one), md5(other))
}
