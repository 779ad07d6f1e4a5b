import type { Server as HttpServer, IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { HttpRoutes, Pace } from '../core/http.ts'
import type { Logger } from '../core/log.ts'
import { Listener, type ListenerSurroundings, type PortSettings } from '../net/listener.ts'
import { PLAIN_CONNECTION, type Share, TLS_CONNECTION } from '../net/prelogin.ts'
import { plainAddress } from '../util/address.ts'
import { answer, type Downloads } from './answer.ts'

export interface HttpListenerSettings extends PortSettings {
  maxConnectionsPerIp: number
  /** Who may ask how the server is; undefined: nobody, here. Rules may change who, but not whether. */
  operations: ((ip: string) => boolean) | undefined
  /** Ms without a byte in either direction after which a connection is closed. */
  idleTimeout: number
  /** Answers that are sent piece by piece at a time, of all connections. */
  maxDownloads: number
  /** How slowly they may be read. */
  downloadPace: Pace
}

interface HttpSurroundings extends ListenerSurroundings {
  routes: HttpRoutes
  /** For those who watch over the server (operations.ts): always served, whatever becomes of the rest. */
  operations: HttpRoutes
  /** Whether all else is served at this moment. */
  serving: () => boolean
  log: Logger
}

// Not by `import`, which reads every export: `WebSocket` of node:http brings Node's whole HTTP client, 14 MB, into memory.
const { createServer: createHttp } = process.getBuiltinModule('node:http')

/** Bytes of the head of a request. */
const MAX_HEAD = 16 * 1024
const MAX_HEADERS = 100
/** Requests of a connection that wait for the answer to an earlier one. */
const MAX_PIPELINED = 32
/** How long a connection may wait for another request (ms). */
const KEEP_ALIVE = 15_000

/** One port that speaks HTTP/1.1. */
export class HttpListener extends Listener<HttpListenerSettings> {
  readonly #around: HttpSurroundings
  readonly #http: HttpServer
  /** All connections that speak HTTP, with the answers that are under way on each. */
  readonly #sockets = new Map<Socket, Set<ServerResponse>>()
  readonly #timers = new Map<Socket, NodeJS.Timeout>()
  /** Of those that wait for a request. */
  readonly #shares = new Map<Socket, Share>()
  readonly #closed = new Set<() => void>()
  readonly #downloads: Downloads
  #closing = false

  constructor(around: HttpSurroundings, settings: HttpListenerSettings) {
    super(around, settings, (socket, { ip }, crowded) => this.#connected(socket, ip, crowded))
    this.#around = around
    this.#downloads = { running: 0, max: settings.maxDownloads, pace: settings.downloadPace }
    // Never listens itself: it is handed connections.
    this.#http = createHttp({ maxHeaderSize: MAX_HEAD, keepAliveTimeout: KEEP_ALIVE })
    this.#http.maxHeadersCount = MAX_HEADERS
    this.#http.on('request', (request, response) => this.#requested(request, response))
    this.#http.on('checkContinue', (request, response) => this.#requested(request, response))
    this.#http.on('clientError', (error, socket) => this.#garbage(error, socket as Socket))
  }

  get connections(): number {
    return this.#sockets.size
  }

  override update(settings: HttpListenerSettings): void {
    super.update(settings)
    this.#around.counter.limit = settings.maxConnectionsPerIp
    this.#http.timeout = settings.idleTimeout
    Object.assign(this.#downloads, { max: settings.maxDownloads, pace: settings.downloadPace })
  }

  /** Takes no more connections; those that wait for another request are closed. What is being answered goes on. */
  override close(): void {
    this.#closing = true
    super.close()
    for (const [socket, running] of this.#sockets) if (running.size === 0) socket.destroy()
  }

  /** After `close`: resolves when all is answered; what is not within `timeout` ms is cut off. */
  async drained(timeout: number): Promise<void> {
    if (this.#sockets.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#closed.add(resolve)
      const timer = setTimeout(resolve, timeout)
      await promise
      clearTimeout(timer)
      this.#closed.delete(resolve)
    }
    for (const socket of this.#sockets.keys()) socket.destroy()
  }

  #connected(socket: Socket, ip: string, crowded: boolean): void {
    socket.on('error', error => this.#around.log.debug({ err: error, ip }, 'an HTTP connection failed'))
    if (crowded) return void socket.end(bare('503 Service Unavailable'), () => socket.destroy())
    this.#sockets.set(socket, new Set())
    socket.once('close', () => {
      clearTimeout(this.#timers.get(socket))
      this.#timers.delete(socket)
      this.#leave(socket)
      this.#sockets.delete(socket)
      if (this.#sockets.size === 0) for (const tell of this.#closed) tell()
    })
    this.#await(socket, false)
    if (!socket.destroyed) this.#http.emit('connection', socket)
  }

  /** The head of a request must be there in time; who has sent nothing yet after an answer may be silent for longer. */
  #await(socket: Socket, kept: boolean): void {
    if (socket.destroyed) return
    clearTimeout(this.#timers.get(socket))
    const { preAuthTimeout, tls } = this.settings
    const timer = setTimeout(() => socket.destroy(), kept ? preAuthTimeout + KEEP_ALIVE : preAuthTimeout)
    this.#timers.set(socket, timer)
    const cost = tls === 'direct' ? TLS_CONNECTION : PLAIN_CONNECTION
    const ip = plainAddress(socket.remoteAddress)
    this.#leave(socket)
    this.#shares.set(
      socket,
      this.#around.prelogin.enter(ip, cost, () => socket.destroy()),
    )
  }

  /** It is being served, or gone. */
  #leave(socket: Socket): void {
    const share = this.#shares.get(socket)
    if (share !== undefined) this.#around.prelogin.leave(share)
    this.#shares.delete(socket)
  }

  #requested(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request
    clearTimeout(this.#timers.get(socket))
    this.#leave(socket)
    const running = this.#sockets.get(socket)
    // Node reads on while answers are made: a connection would have any number of them made at once.
    if (running === undefined || running.size >= MAX_PIPELINED) return void socket.destroy()
    const before = [...running].at(-1)
    running.add(response)
    if (this.#closing) response.shouldKeepAlive = false
    response.once('close', () => {
      running.delete(response)
      if (!this.#sockets.has(socket) || running.size > 0) return
      this.#await(socket, true)
      if (this.#closing) socket.destroySoon()
    })
    if (before === undefined) return this.#handle(request, response)
    before.once('close', () => {
      if (!socket.destroyed) this.#handle(request, response)
    })
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    const { log, serving, routes, operations } = this.#around
    const { url = '', method = '', socket } = request
    const open = this.settings.operations?.(plainAddress(socket.remoteAddress)) === true
    const watched = open && operations.find(url.split('?', 1)[0]!, method) !== undefined
    if (!watched && !serving()) {
      response.writeHead(503, { 'Retry-After': 60, 'Content-Length': 0, Connection: 'close' }).end()
      return
    }
    void answer(watched ? operations : routes, log, request, response, this.#downloads)
  }

  #garbage(error: NodeJS.ErrnoException, socket: Socket): void {
    this.#around.log.debug({ err: error }, 'not a request')
    if (socket.destroyed || !socket.writable) return void socket.destroy()
    // In the middle of an answer a word of ours would be taken for a part of it.
    const running = this.#sockets.get(socket) ?? []
    if ([...running].some(response => response.headersSent)) return void socket.destroy()
    const large = error.code === 'HPE_HEADER_OVERFLOW'
    socket.end(bare(large ? '431 Request Header Fields Too Large' : '400 Bad Request'), () => socket.destroy())
  }
}

function bare(status: string): string {
  return `HTTP/1.1 ${status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`
}
