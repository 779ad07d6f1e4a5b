import { EventEmitter } from 'node:events'
import type { Server as NetServer, Socket } from 'node:net'
import { Listener, type Peer, type PortSettings } from 'hermod/engine'
import { type Bounds, Surroundings } from './surroundings.ts'

export interface ServerOptions extends Bounds {
  /** Default: that of the protocol; 0: any that is free. */
  port?: number
  /** Address to listen on; default `::`, which is all of them. */
  host?: string
  /** False: `listen` is called by the application. */
  autostart?: boolean
  /** A server of node:net to take connections from. */
  server?: NetServer
}

export interface ServerEvents<S> {
  connection: [session: S]
  /** The older name of `connection`. */
  connect: [session: S]
  listening: []
  /** The older name of `listening`. */
  online: []
  close: []
  /** Older names of `close`. */
  offline: []
  shutdown: []
  error: [error: Error]
}

/** What a server knows of its sessions. */
interface Ending {
  once(event: 'close', listener: () => void): unknown
  end(): void
}

export type SessionClass<S, Options> = new (options: Options) => S

/** What a session is made of. */
export interface SessionOptions<Owner> {
  socket: Socket
  server: Owner
  peer: Peer
}

/** What servers of all protocols have in common. Without a server of node:net it has no port. */
export class Server<S extends Ending = Ending> extends EventEmitter<ServerEvents<Ending>> {
  /** The port where the options name none. */
  declare DEFAULT_PORT: number | null
  /** Made for each connection. */
  declare Session: SessionClass<S, SessionOptions<never>> | null
  readonly options: ServerOptions
  readonly connections = new Set<S>()
  readonly server: NetServer | undefined
  readonly surroundings: Surroundings
  readonly #listener: Listener<PortSettings> | undefined
  /** The port is open, or about to be. */
  #opening: Promise<boolean> | undefined
  #closed = false

  constructor(options: ServerOptions = {}, server?: NetServer) {
    super()
    this.options = options
    this.server = server
    this.surroundings = new Surroundings(options)
    this.on('connection', session => this.#connected(session as S))
    this.on('listening', () => this.emit('online'))
    this.on('close', () => {
      this.emit('offline')
      this.emit('shutdown')
    })
    if (server === undefined) return
    this.#listener = this.#listenerOf(server)
    server.on('listening', () => this.emit('listening'))
    server.on('close', () => {
      this.#opening = undefined
      this.emit('close')
    })
    server.on('error', error => this.emit('error', error))
    if (options.autostart === false) return
    // The constructors of what extends this have still to run.
    queueMicrotask(() => {
      if (!this.#closed && this.#opening === undefined) void this.listen()
    })
  }

  #listenerOf(server: NetServer): Listener<PortSettings> {
    const { surroundings } = this
    const { counter, log, prelogin, preAuthTimeout } = surroundings
    // TLS begins on the stream, or in front of us.
    const secure = (): never => {
      throw new Error('no TLS from the first byte')
    }
    const settings = { port: this.port, ip: this.host, tls: 'off', proxyProtocol: false, preAuthTimeout }
    return new Listener({ log, counter, prelogin, secure }, settings, this.#accept, server)
  }

  readonly #accept = (socket: Socket, peer: Peer, crowded: boolean): void => {
    if (crowded) socket.destroy()
    else this.acceptConnection(socket, peer)
  }

  /** The port that is listened on, or will be. */
  get port(): number {
    const address = this.server?.address()
    if (typeof address === 'object' && address !== null) return address.port
    return this.options.port ?? this.DEFAULT_PORT ?? 0
  }

  get host(): string {
    return this.options.host ?? '::'
  }

  /** Takes a connection, from wherever. */
  acceptConnection(socket: Socket, peer?: Peer): S {
    const from = peer ?? { ip: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 }
    const session = new this.Session!({ socket, peer: from, server: this as never })
    this.emit('connection', session)
    return session
  }

  #connected(session: S): void {
    this.connections.add(session)
    session.once('close', () => this.connections.delete(session))
    this.emit('connect', session)
  }

  /**
   * Opens the port: `listen([port], [host], [callback])`. What is wrong with it comes as `error`.
   *
   * @returns when it is open; false: it could not be opened
   */
  listen(...args: (number | string | (() => void) | null | undefined)[]): Promise<boolean> {
    const listener = this.#listener
    if (listener === undefined) throw new Error('this server has no port')
    const callback = args.find(arg => typeof arg === 'function')
    const [port, host] = args.filter(arg => typeof arg !== 'function')
    this.#opening ??= this.#open(listener, Number(port ?? this.port), String(host ?? this.host))
    if (callback === undefined) return this.#opening
    return this.#opening.then(open => {
      if (open) callback()
      return open
    })
  }

  async #open(listener: Listener<PortSettings>, port: number, ip: string): Promise<boolean> {
    if (this.server!.listening) return true
    listener.update({ ...listener.settings, port, ip })
    try {
      await listener.listen()
      return true
    } catch {
      this.#opening = undefined
      return false // the server has said why
    }
  }

  /** Takes no more connections. `close` follows when those that there are have ended. */
  close(callback?: (error?: Error) => void): void {
    this.#closed = true
    this.server?.close(callback)
  }

  /** Takes no more connections, and ends those that there are. */
  end(callback?: () => void): Promise<void> {
    const closed =
      this.server?.listening === true ? new Promise<void>(resolve => this.once('close', resolve)) : Promise.resolve()
    if (callback !== undefined) this.once('close', callback)
    this.close()
    this.endSessions()
    return closed
  }

  /** The same as `end`. */
  shutdown(callback?: () => void): Promise<void> {
    return this.end(callback)
  }

  endSessions(): void {
    for (const session of this.connections) session.end()
  }
}

Server.prototype.DEFAULT_PORT = null
Server.prototype.Session = null
