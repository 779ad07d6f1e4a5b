import { createServer, type Server, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { ConnectionCounter } from '../net/connections.ts'
import { openPort, portOf } from '../net/port.ts'
import { TLS_CONNECTION } from '../net/prelogin.ts'
import { ProxyHeader, type ProxyResult } from '../net/proxy.ts'
import { Shaper, type ShaperLimits } from '../net/shaper.ts'
import { plainAddress } from '../util/address.ts'
import type { ParserLimits } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import type { AccessCheck, C2SServer } from './server.ts'
import { C2SStream, type StreamSettings } from './stream.ts'

export interface ListenerSettings {
  port: number
  ip: string
  tls: 'direct' | 'starttls' | 'required' | 'off'
  proxyProtocol: boolean
  limits: ParserLimits
  /** Before the login. */
  preAuthLimits: ParserLimits
  preAuthTimeout: number
  preAuthBytes: number
  keepalive: number
  access: AccessCheck
  /** Undefined: no limit. */
  shaper: ShaperLimits | undefined
}

interface Peer {
  ip: string
  port: number
}

function peerOf(socket: Socket): Peer {
  return { ip: plainAddress(socket.remoteAddress), port: socket.remotePort ?? 0 }
}

/** How long a proxy may take to say for whom it connects (ms). */
const PROXY_TIMEOUT = 5000
const BACKLOG = 4096
const SOCKETS = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }

/** One port that clients connect to (RFC 6120 3; direct TLS: XEP-0368). */
export class C2SListener {
  readonly #c2s: C2SServer
  readonly #counter: ConnectionCounter
  readonly #streams = new Set<C2SStream>()
  readonly #sockets = new Set<Socket>()
  readonly #server: Server
  #settings: ListenerSettings

  constructor(c2s: C2SServer, settings: ListenerSettings, counter: ConnectionCounter) {
    this.#c2s = c2s
    this.#settings = settings
    this.#counter = counter
    this.#server = createServer(SOCKETS, socket => this.#guard(socket, () => this.#connected(socket)))
  }

  /** Opens the port; rejects with what is wrong with it. */
  listen(): Promise<void> {
    const { port, ip } = this.#settings
    return openPort(this.#server, { port, ip, backlog: BACKLOG }, error => {
      this.#c2s.log.error({ err: error }, 'a listener failed')
    })
  }

  get port(): number {
    return portOf(this.#server, this.#settings.port)
  }

  get settings(): ListenerSettings {
    return this.#settings
  }

  get streams(): ReadonlySet<C2SStream> {
    return this.#streams
  }

  /** New limits for connections from now on. */
  update(settings: ListenerSettings): void {
    this.#settings = settings
  }

  /** Takes no more connections; those there are stay. */
  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  /** What fails for one connection, before it has a stream, ends that connection. */
  #guard(socket: Socket, fn: () => void): void {
    try {
      fn()
    } catch (error) {
      this.#c2s.log.error({ err: error, ip: socket.remoteAddress }, 'a connection failed')
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
      this.#c2s.log.warn({ err: error, ip: socket.remoteAddress }, 'not a PROXY header; connection closed')
      socket.destroy()
      return undefined
    }
  }

  #begin(socket: Socket, peer: Peer): void {
    const counted = this.#count(socket, peer.ip)
    if (this.#settings.tls !== 'direct') return this.#open(socket, peer, false, counted)
    if (!counted) return void socket.destroy() // no word before the handshake, and none is worth one
    const { prelogin } = this.#c2s
    // Until the stream takes its place; by then the socket may have been refused.
    const share = prelogin.enter(peer.ip, TLS_CONNECTION, () => socket.destroy())
    socket.once('close', () => prelogin.leave(share))
    if (!socket.destroyed) this.#handshake(socket, peer, () => prelogin.leave(share))
  }

  #count(socket: Socket, ip: string): boolean {
    const counted = this.#counter.enter(ip)
    if (counted) socket.once('close', () => this.#counter.leave(ip))
    return counted
  }

  #handshake(socket: Socket, peer: Peer, opened: () => void): void {
    const secure = new TLSSocket(socket, this.#c2s.tls.options(true))
    this.#sockets.add(secure)
    const timer = setTimeout(() => secure.destroy(), this.#settings.preAuthTimeout)
    const done = (): void => {
      clearTimeout(timer)
      this.#sockets.delete(secure)
    }
    const failed = (error: Error): void => {
      this.#c2s.log.debug({ err: error, ip: peer.ip }, 'a TLS handshake failed')
      secure.destroy()
    }
    secure.on('error', failed)
    secure.once('close', done)
    secure.once('secure', () => {
      done()
      secure.off('error', failed)
      secure.off('close', done)
      opened()
      this.#guard(secure, () => this.#open(secure, peer, true, true))
    })
  }

  #open(socket: Socket, peer: Peer, secured: boolean, counted: boolean): void {
    if (socket.destroyed) return
    const settings = this.#settings
    const streamSettings: StreamSettings = {
      limits: settings.limits,
      preAuthLimits: settings.preAuthLimits,
      preAuthTimeout: settings.preAuthTimeout,
      preAuthBytes: settings.preAuthBytes,
      keepalive: settings.keepalive,
      starttls: settings.tls === 'required' ? 'required' : settings.tls === 'starttls' ? 'optional' : 'off',
      access: settings.access,
      shaper: settings.shaper === undefined ? undefined : new Shaper(settings.shaper),
    }
    const stream = new C2SStream(this.#c2s, socket, { ...peer, secured }, streamSettings, () => {
      this.#streams.delete(stream)
    })
    this.#streams.add(stream)
    if (!counted) stream.fail(new StreamError('policy-violation', 'too many connections from your address'))
    if (socket.isPaused()) socket.resume()
  }
}
