import { createServer, type Server, type Socket } from 'node:net'
import { plainAddress } from '../util/address.ts'
import type { ConnectionCounter } from './connections.ts'
import { beginTls, type TlsOptions } from './handshake.ts'
import { openPort, portOf } from './port.ts'
import { type PreLoginBudget, TLS_CONNECTION } from './prelogin.ts'
import { ProxyHeader, type ProxyResult } from './proxy.ts'
import type { TlsLog } from './tls.ts'
import type { Peer } from './transport.ts'

export interface PortSettings {
  port: number
  ip: string
  /** `direct`: from the first byte. All else is up to who is handed the connections. */
  tls: string
  proxyProtocol: boolean
  /** Before the login: here, how long a TLS handshake may take (ms). */
  preAuthTimeout: number
  /** Connections at a time; undefined: any number. */
  maxConnections?: number
}

export interface ListenerSurroundings {
  log: TlsLog & { debug(fields: object, message: string): void }
  counter: ConnectionCounter
  prelogin: PreLoginBudget
  /** How TLS is spoken with who connects now: certificates change while the server runs. */
  secure: () => TlsOptions
}

/**
 * Is handed a connection: after its PROXY header, and where TLS is direct after the handshake. What it throws ends the
 * connection.
 *
 * @param crowded more connections come from there than may: it is to be told so, and closed
 */
export type Accept = (socket: Socket, peer: Peer, crowded: boolean) => void

/** How long a proxy may take to say for whom it connects (ms). */
const PROXY_TIMEOUT = 5000
const BACKLOG = 4096
const SOCKETS = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }

/** One port that takes connections; what is spoken on them it does not know. */
export class Listener<S extends PortSettings> {
  readonly #around: ListenerSurroundings
  readonly #accept: Accept
  /** That have not been handed on. */
  readonly #sockets = new Set<Socket>()
  readonly #server: Server
  #settings: S

  /** @param server what opens the port, where somebody else has made it */
  constructor(around: ListenerSurroundings, settings: S, accept: Accept, server: Server = createServer(SOCKETS)) {
    this.#around = around
    this.#settings = settings
    this.#accept = accept
    this.#server = server
    server.on('connection', (socket: Socket) => this.#guard(socket, () => this.#connected(socket)))
  }

  /** Opens the port; rejects with what is wrong with it. */
  listen(): Promise<void> {
    this.update(this.#settings)
    const { port, ip } = this.#settings
    return openPort(this.#server, { port, ip, backlog: BACKLOG }, error => {
      this.#around.log.error({ err: error }, 'a listener failed')
    })
  }

  get port(): number {
    return portOf(this.#server, this.#settings.port)
  }

  get settings(): S {
    return this.#settings
  }

  /** New limits for connections from now on. */
  update(settings: S): void {
    this.#settings = settings
    if (settings.maxConnections !== undefined) this.#server.maxConnections = settings.maxConnections
  }

  /** Takes no more connections; those there are stay. */
  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #guard(socket: Socket, fn: () => void): void {
    try {
      fn()
    } catch (error) {
      this.#around.log.error({ err: error, ip: socket.remoteAddress }, 'a connection failed')
      socket.destroy()
    }
  }

  #connected(socket: Socket): void {
    if (!this.#settings.proxyProtocol) {
      return this.#begin(socket, peerOf(socket))
    }
    this.#sockets.add(socket)
    const header = new ProxyHeader()
    const timer = setTimeout(() => socket.destroy(), PROXY_TIMEOUT)
    const done = (): void => {
      clearTimeout(timer)
      this.#sockets.delete(socket)
    }
    socket.on('error', () => {})
    socket.once('close', done)
    const onData = (chunk: Buffer): void => {
      const found = this.#readHeader(socket, header, chunk)
      if (found === undefined) return
      done()
      socket.off('data', onData)
      socket.off('close', done)
      socket.pause()
      if (found.rest.length > 0) socket.unshift(found.rest)
      this.#guard(socket, () => this.#begin(socket, found.source ?? peerOf(socket)))
    }
    socket.on('data', onData)
  }

  #readHeader(socket: Socket, header: ProxyHeader, chunk: Buffer): ProxyResult | undefined {
    try {
      return header.write(chunk)
    } catch (error) {
      this.#around.log.warn({ err: error, ip: socket.remoteAddress }, 'not a PROXY header; connection closed')
      socket.destroy()
      return undefined
    }
  }

  #begin(socket: Socket, peer: Peer): void {
    const { counter, prelogin } = this.#around
    const counted = counter.enter(peer.ip)
    if (counted) socket.once('close', () => counter.leave(peer.ip))
    if (this.#settings.tls !== 'direct') return this.#handOn(socket, peer, !counted)
    if (!counted) return void socket.destroy() // no word before the handshake, and none is worth one
    // Until the connection is handed on; by then the socket may have been refused.
    const share = prelogin.enter(peer.ip, TLS_CONNECTION, () => socket.destroy())
    socket.once('close', () => prelogin.leave(share))
    if (!socket.destroyed) this.#handshake(socket, peer, () => prelogin.leave(share))
  }

  #handshake(socket: Socket, peer: Peer, opened: () => void): void {
    const secure = beginTls(socket, this.#around.secure())
    this.#sockets.add(secure)
    const timer = setTimeout(() => secure.destroy(), this.#settings.preAuthTimeout)
    const done = (): void => {
      clearTimeout(timer)
      this.#sockets.delete(secure)
    }
    const failed = (error: Error): void => {
      this.#around.log.debug({ err: error, ip: peer.ip }, 'a TLS handshake failed')
      secure.destroy()
    }
    secure.on('error', failed)
    secure.once('close', done)
    secure.once('secure', () => {
      done()
      secure.off('error', failed)
      secure.off('close', done)
      opened()
      this.#guard(secure, () => this.#handOn(secure, peer, false))
    })
  }

  #handOn(socket: Socket, peer: Peer, crowded: boolean): void {
    if (socket.destroyed) return
    this.#accept(socket, peer, crowded)
    if (socket.isPaused()) socket.resume()
  }
}

function peerOf(socket: Socket): Peer {
  return { ip: plainAddress(socket.remoteAddress), port: socket.remotePort ?? 0 }
}
