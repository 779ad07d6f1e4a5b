import { createHash, timingSafeEqual } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { documentFraming, NS, type PeerHeader, StreamError, xml } from 'hermod/engine'
import { ask, type Callback } from '../ask.ts'
import { Connection, type Speaker } from '../connection.ts'
import type { ElementLike, Stanza } from '../elements.ts'
import { forward, type SessionLifeEvents } from '../forward.ts'
import { JID } from '../jid.ts'
import type { SessionOptions } from '../server.ts'
import type { ComponentServer } from './server.ts'

const FRAMING = documentFraming(NS.COMPONENT, { version: 'none' })

export interface ComponentSessionEvents extends SessionLifeEvents {
  /** Is there such a component? `callback(null, secret)` says so; an error ends the stream with `host-unknown`. */
  'verify-component': [jid: JID, callback: Callback]
  'auth-success': []
  online: []
  /** A stanza of a component that has shown that it knows the secret. Its addresses are as it wrote them. */
  stanza: [stanza: Stanza]
}

/** The stream of a component (XEP-0114). */
export class ComponentSession extends EventEmitter<ComponentSessionEvents> implements Speaker {
  readonly kind = 'component'
  readonly server: ComponentServer
  readonly connection: Connection
  /** Of the component, as it calls itself. */
  jid: JID | undefined
  authenticated = false
  /** What the component has to send, in hexadecimal digits. */
  expectedDigest: string | undefined

  constructor(options: SessionOptions<ComponentServer>) {
    super()
    this.server = options.server
    this.connection = new Connection(this, options.socket, options.peer, FRAMING, options.server.surroundings)
    forward(this.connection, this)
  }

  send(stanza: ElementLike | string | Buffer): boolean {
    return this.connection.send(stanza)
  }

  pause(): void {
    this.connection.pause()
  }

  resume(): void {
    this.connection.resume()
  }

  end(): void {
    this.connection.end()
  }

  get domain(): string {
    return this.jid?.toString() ?? ''
  }

  header({ to }: PeerHeader): void {
    if (to === undefined) throw new StreamError('host-unknown', "the 'to' of the stream is missing or no address")
    this.jid = new JID(to.toString())
  }

  async opened(): Promise<void> {
    const answer = await ask(this, 'verify-component', this.jid)
    const [error, secret] = answer ?? [new Error('unknown host')]
    if (error || typeof secret !== 'string') {
      const text = error instanceof Error ? error.message : typeof error === 'string' ? error : 'unknown host'
      throw new StreamError('host-unknown', text)
    }
    const { id } = this.connection.streamAttrs
    this.expectedDigest = createHash('sha1').update(`${id}${secret}`).digest('hex')
  }

  element(stanza: Stanza): void {
    if (this.authenticated) this.emit('stanza', stanza)
    else if (stanza.name === 'handshake' && this.#proves(stanza.getText())) this.#welcome()
    else throw new StreamError('not-authorized', 'not authorized')
  }

  #proves(digest: string): boolean {
    const expected = Buffer.from(this.expectedDigest ?? '')
    const given = Buffer.from(digest.trim().toLowerCase())
    return expected.length > 0 && expected.length === given.length && timingSafeEqual(expected, given)
  }

  #welcome(): void {
    this.authenticated = true
    this.connection.admitted()
    this.connection.established()
    this.emit('auth-success')
    this.send(xml('handshake'))
    this.emit('online')
  }
}
