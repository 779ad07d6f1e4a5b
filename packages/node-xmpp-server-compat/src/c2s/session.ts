import { EventEmitter } from 'node:events'
import { documentFraming, type Element, Jid, NS, type PeerHeader, StreamError, xml } from 'hermod/engine'
import type { Callback } from '../ask.ts'
import type { MechanismClass, User } from '../auth/mechanism.ts'
import { Connection, type Speaker } from '../connection.ts'
import { type ElementLike, type Stanza, treeOf } from '../elements.ts'
import { forward, type SessionLifeEvents } from '../forward.ts'
import type { JID } from '../jid.ts'
import type { SessionOptions } from '../server.ts'
import { bind } from './bind.ts'
import { requireCertificate } from './certificate.ts'
import { Login } from './login.ts'
import { isRegistration, offersRegistration, type Registration, register } from './register.ts'
import type { C2SServer } from './server.ts'

/** Over TLS xmpp.js does not hear a header that comes at once. */
const HEADER_PAUSE = 10
const FRAMING = documentFraming(NS.CLIENT, { headerPause: HEADER_PAUSE })

export interface SessionEvents extends SessionLifeEvents {
  /** Somebody wants an account (XEP-0077). */
  register: [registration: Registration, callback: Callback]
  'registration-success': [jid: JID]
  'registration-failure': [jid: JID]
  /** Is it so? `callback(null, user)` lets them in; an error, or nobody, does not. */
  authenticate: [user: User, callback: Callback]
  'auth-success': [jid: JID]
  'auth-failure': [jid: JID]
  /** Which resource? `callback(null, resource)`. */
  bind: [resource: string | null, callback: Callback]
  /** The client has its address. Once. */
  online: []
  /** A stanza of a client that has its address, which is its `from`. */
  stanza: [stanza: Stanza]
}

/** A client's stream: its login and its resource, and what it sends. */
export class Session extends EventEmitter<SessionEvents> implements Speaker {
  readonly kind = 'client'
  readonly server: C2SServer
  readonly connection: Connection
  /** Of who has logged in; a full one once there is a resource. */
  jid: JID | undefined
  authenticated = false
  /** The domain that the client has asked for. */
  serverdomain: string | undefined
  /** On offer on this stream. */
  mechanisms: readonly MechanismClass[] = []
  #bound = false
  readonly #login: Login

  constructor(options: SessionOptions<C2SServer>) {
    super()
    this.server = options.server
    this.#login = new Login(this)
    this.connection = new Connection(this, options.socket, options.peer, FRAMING, options.server.surroundings)
    forward(this.connection, this)
  }

  // ---- for applications

  /** Sends a stanza, wholly, whichever part of it is given. See {@link Connection.send}. */
  send(stanza: ElementLike | string | Buffer): boolean {
    return this.connection.send(stanza)
  }

  /** Reads no more of what the client sends, until `resume`. */
  pause(): void {
    this.connection.pause()
  }

  resume(): void {
    this.connection.resume()
  }

  end(): void {
    this.connection.end()
  }

  /** 32 hexadecimal digits that nobody can guess. */
  generateId(): string {
    return this.server.surroundings.ids.random()
  }

  // ---- what the connection tells

  get domain(): string {
    return this.serverdomain ?? this.server.options.domain ?? ''
  }

  header({ to }: PeerHeader): void {
    const { domain } = this.server.options
    if (to === undefined) throw new StreamError('host-unknown', "the 'to' of the stream is missing or no address")
    if (domain !== undefined && to.domain !== Jid.parse(domain)?.domain) {
      throw new StreamError('host-unknown', 'that domain is not served here')
    }
    if (this.authenticated && to.domain !== this.serverdomain) {
      throw new StreamError('host-unknown', 'the domain cannot change after logging in')
    }
    this.serverdomain = to.domain
    requireCertificate(this)
  }

  opened(): void {
    this.sendFeatures()
  }

  element(stanza: Stanza): void | Promise<void> {
    if (this.#bound) return this.#stanza(stanza)
    const xmlns = stanza.attrs['xmlns']
    if (!this.authenticated) {
      if (xmlns === NS.TLS && stanza.name === 'starttls') return this.#startTls()
      if (this.#encrypted && xmlns === NS.SASL) return this.#login.step(stanza)
    }
    if (this.#encrypted && isRegistration(this, stanza)) return register(this, stanza)
    if (this.authenticated && stanza.name === 'iq') return this.#bind(stanza)
    throw new StreamError('not-authorized', 'log in and bind a resource first') // RFC 6120 4.9.3.12
  }

  // ---- the way to a session

  /** Where there is TLS nothing is said without it. */
  get #encrypted(): boolean {
    return this.server.credentials === undefined || this.connection.isSecure
  }

  sendFeatures(): void {
    this.send(xml('stream:features', { 'xmlns:stream': NS.STREAM }, this.#features()))
  }

  #features(): (Element | false)[] {
    if (this.authenticated) {
      return [xml('bind', { xmlns: NS.BIND }), xml('session', { xmlns: NS.SESSION }, xml('optional'))]
    }
    if (!this.#encrypted) return [xml('starttls', { xmlns: NS.TLS }, xml('required'))]
    this.mechanisms = [...this.server.getSaslMechanisms()]
    const names = this.mechanisms.map(({ prototype }) => xml('mechanism', {}, prototype.name))
    return [xml('mechanisms', { xmlns: NS.SASL }, names), offersRegistration(this)]
  }

  #startTls(): void {
    const { credentials, options } = this.server
    if (credentials === undefined || this.connection.isSecure) {
      this.send(xml('failure', { xmlns: NS.TLS }))
      throw new StreamError('policy-violation', 'STARTTLS is not offered here')
    }
    this.send(xml('proceed', { xmlns: NS.TLS }))
    const { requestCert = false, rejectUnauthorized = false } = options
    this.connection.upgrade({ isServer: true, secureContext: credentials, requestCert, rejectUnauthorized })
  }

  /** The login has come to an end. */
  loggedIn(jid: JID, data: Buffer | undefined): void {
    this.emit('auth-success', jid)
    this.jid = jid
    this.authenticated = true
    this.connection.admitted()
    this.send(xml('success', { xmlns: NS.SASL }, data?.toString('base64')))
    this.connection.restart()
  }

  async #bind(iq: Stanza): Promise<void> {
    const payload = iq.getChild('bind', NS.BIND)
    if (payload === undefined || iq.type !== 'set') throw new StreamError('not-authorized', 'bind a resource first')
    if (!(await bind(this, iq, payload))) return
    this.#bound = true
    this.connection.established()
    this.emit('online')
  }

  #stanza(stanza: Stanza): void {
    if (stanza.name !== 'message' && stanza.name !== 'presence' && stanza.name !== 'iq') {
      throw new StreamError('unsupported-stanza-type')
    }
    stanza.attrs['from'] = this.jid!.toString()
    if (stanza.to !== undefined && Jid.parse(stanza.to) === undefined) return this.#refuse(stanza, 'jid-malformed')
    if (stanza.name === 'iq' && stanza.type === 'set') {
      // RFC 3921 3: asked for by old clients, and of no meaning.
      if (stanza.getChild('session', NS.SESSION) !== undefined) {
        this.send(xml('iq', { type: 'result', id: stanza.id }, xml('session', { xmlns: NS.SESSION })))
        return
      }
      if (stanza.getChild('bind', NS.BIND) !== undefined) return this.#refuse(stanza, 'not-allowed')
    }
    this.emit('stanza', stanza)
  }

  #refuse({ name, id, type }: Stanza, condition: string): void {
    if (type === 'error' || type === 'result') return
    const error = xml('error', { type: 'modify' }, xml(condition, { xmlns: NS.STANZAS }))
    this.send(treeOf(xml(name, { type: 'error', id, to: this.jid!.toString() }, error), NS.CLIENT))
  }
}
