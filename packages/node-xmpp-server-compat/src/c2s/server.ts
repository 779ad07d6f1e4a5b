import { readFileSync } from 'node:fs'
import { createServer, type Server as NetServer } from 'node:net'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import type { MechanismClass } from '../auth/mechanism.ts'
import { Plain } from '../auth/plain.ts'
import { Server, type ServerOptions, type SessionClass, type SessionOptions } from '../server.ts'
import { Session } from './session.ts'

/** As `tls.createSecureContext` takes them, or paths of PEM files. */
export interface TlsOptions extends SecureContextOptions {
  keyPath?: string
  certPath?: string
}

export interface C2SServerOptions extends ServerOptions {
  /** The domain that is served. Left out, whatever a client asks for is: only for who serves one domain on a port anyway. */
  domain?: string
  /** Where it is given STARTTLS is offered, and required: nothing else is offered before it. */
  tls?: TlsOptions
  /** Ask clients for a certificate. */
  requestCert?: boolean
  /** Refuse clients without a valid one; true where one is asked for. */
  rejectUnauthorized?: boolean
}

/** A server for clients (RFC 6120), whatever they connect by. */
export class C2SServer extends Server<Session> {
  declare readonly options: C2SServerOptions
  declare Session: SessionClass<Session, SessionOptions<C2SServer>>
  /** Offered in this order. */
  availableSaslMechanisms: MechanismClass[] = [Plain]
  readonly credentials: SecureContext | undefined

  constructor(options: C2SServerOptions = {}, server?: NetServer) {
    const credentials = options.tls && secureContext(options.tls) // may throw: before a port is opened
    super(options, server)
    this.credentials = credentials
    if (options.requestCert && options.rejectUnauthorized !== false) options.rejectUnauthorized = true
  }

  getSaslMechanisms(): MechanismClass[] {
    return this.availableSaslMechanisms
  }

  clearSaslMechanism(): void {
    this.availableSaslMechanisms = []
  }

  registerSaslMechanism(mechanism: MechanismClass): void {
    if (!this.availableSaslMechanisms.includes(mechanism)) this.availableSaslMechanisms.push(mechanism)
  }

  unregisterSaslMechanism(mechanism: MechanismClass): void {
    this.availableSaslMechanisms = this.availableSaslMechanisms.filter(one => one !== mechanism)
  }
}

C2SServer.prototype.Session = Session

/** Clients over TCP. */
export class TCPServer extends C2SServer {
  constructor(options: C2SServerOptions = {}) {
    super(options, options.server ?? createServer({ noDelay: true, keepAlive: true }))
  }
}

TCPServer.prototype.DEFAULT_PORT = 5222

function secureContext({ keyPath, certPath, ...details }: TlsOptions): SecureContext {
  return createSecureContext({
    minVersion: 'TLSv1.2',
    ...details,
    key: details.key ?? (keyPath === undefined ? undefined : readFileSync(keyPath)),
    cert: details.cert ?? (certPath === undefined ? undefined : readFileSync(certPath)),
  })
}
