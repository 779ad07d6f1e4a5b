import type { Transport } from '../net/transport.ts'
import { documentFraming } from '../stream/framing.ts'
import { type PeerHeader, type StreamHandler, type StreamSettings, XmppStream } from '../stream/stream.ts'
import { type Element, elementNs, NS } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import type { Component } from './component.ts'
import type { Components } from './components.ts'
import { Connection } from './connection.ts'
import { logIn } from './handshake.ts'
import type { ComponentServer } from './server.ts'

/** XEP-0114 knows neither versions nor features; where STARTTLS is offered, who says that it speaks XMPP 1.0 gets both. */
const PLAIN = documentFraming(NS.COMPONENT, { version: 'none' })
const FEATURES = documentFraming(NS.COMPONENT, { version: 'optional' })

/** What a stream is allowed, from its listener. */
export interface ComponentStreamSettings extends StreamSettings {
  starttls: 'off' | 'optional' | 'required'
  /** Domains of the components that log in here. */
  hosts: ReadonlySet<string>
  /** Whether a component may log in from this address. */
  from: (ip: string) => boolean
}

/** A component's stream: it says which one it is, shows that it knows the secret, and is one of its connections from then on. */
export class ComponentStream implements StreamHandler {
  readonly peerKind = 'component'
  readonly server: ComponentServer
  readonly settings: ComponentStreamSettings
  readonly xmpp: XmppStream
  readonly inDoubt = false
  /** The component that it says to be. */
  component: Component | undefined
  /** The login that is being looked at. */
  loggingIn = false
  /** Since it has logged in. */
  connection: Connection | undefined
  #versioned = false
  readonly #components: Components
  readonly #onClose: () => void

  constructor(
    server: ComponentServer,
    components: Components,
    transport: Transport,
    settings: ComponentStreamSettings,
    onClose: () => void,
  ) {
    this.server = server
    this.settings = settings
    this.#components = components
    this.#onClose = onClose
    this.xmpp = new XmppStream(transport, settings.starttls === 'off' ? PLAIN : FEATURES, this, server, settings)
  }

  get name(): string {
    return this.component?.name ?? this.server.router.hosts.keys().next().value ?? ''
  }

  get peerName(): string | undefined {
    return this.component?.name
  }

  get ip(): string {
    return this.xmpp.transport.peer.ip
  }

  onHeader({ to, versioned }: PeerHeader): void {
    const component = to === undefined ? undefined : this.#components.get(to.domain)
    if (component === undefined || !this.settings.hosts.has(component.name)) {
      throw new StreamError('host-unknown', 'there is no such component here')
    }
    this.component = component
    this.#versioned = versioned
  }

  /** The component goes on by itself with its handshake; only who speaks XMPP 1.0 waits for features. */
  onOpen(): void {
    const { starttls } = this.settings
    const { secured } = this.xmpp.transport
    if (starttls === 'required' && !secured && !this.#versioned) {
      throw new StreamError(
        'policy-violation',
        'the connection must be encrypted: STARTTLS, after a header of version 1.0',
      )
    }
    if (starttls === 'off' || !this.#versioned) return
    const offer = secured
      ? ''
      : `<starttls xmlns='${NS.TLS}'>${starttls === 'required' ? '<required/>' : ''}</starttls>`
    this.xmpp.send(`<stream:features>${offer}</stream:features>`)
  }

  onElement(el: Element): void | Promise<void> {
    const { connection } = this
    if (connection !== undefined) return connection.receive(el)
    const ns = elementNs(el)
    if (el.name === 'starttls' && ns === NS.TLS) return this.#startTls()
    if (el.name !== 'handshake' || el.attrs['xmlns'] !== undefined || this.loggingIn) {
      throw new StreamError('not-authorized', 'log in first')
    }
    if (this.settings.starttls === 'required' && !this.xmpp.transport.secured) {
      throw new StreamError('policy-violation', 'the connection must be encrypted')
    }
    return logIn(this, el)
  }

  #startTls(): void {
    const { tls } = this.server
    if (this.xmpp.transport.secured || this.settings.starttls === 'off') {
      this.xmpp.send(`<failure xmlns='${NS.TLS}'/>`)
      throw new StreamError('policy-violation', 'STARTTLS is not offered here')
    }
    this.xmpp.send(`<proceed xmlns='${NS.TLS}'/>`)
    this.xmpp.upgrade(tls.options(false, this.component!.name))
  }

  /** It is a connection of its component from now on. */
  admitted(): void {
    this.connection = new Connection(this.component!, this.xmpp, this.server)
    this.xmpp.admitted()
    this.xmpp.established()
  }

  onEnd(hasRead: Promise<boolean>): void {
    this.connection?.closed(hasRead)
  }

  onLeft(): void {
    this.onParted('the component ended its connection')
  }

  onDrain(): void {
    this.connection?.outflow.drained()
  }

  onParted(reason: string): void {
    this.connection?.gone(reason)
  }

  onGone(): void {
    this.#onClose()
  }

  fail(error: StreamError): void {
    this.xmpp.fail(error)
  }
}
