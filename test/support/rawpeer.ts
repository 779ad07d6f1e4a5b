/**
 * A server elsewhere for tests, on a bare socket: it says exactly what a test says, in either role, and can misbehave as
 * servers do. No XMPP library.
 */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { TLSSocket, connect as tlsConnect } from 'node:tls'
import { StreamReader, type XmlElement } from './rawxml.ts'

export const NS_STREAM = 'http://etherx.jabber.org/streams'
export const NS_TLS = 'urn:ietf:params:xml:ns:xmpp-tls'
export const NS_SASL = 'urn:ietf:params:xml:ns:xmpp-sasl'
export const NS_SM = 'urn:xmpp:sm:3'
export const NS_DIALBACK = 'jabber:server:dialback'
export const NS_BIDI = 'urn:xmpp:bidi'

interface Pair {
  readonly cert: string
  readonly key: string
}

/** What comes over a stream, in order. */
export type Heard = { header: Record<string, string> } | { el: XmlElement } | { end: 'stream' | 'connection' }

/** One connection with hermod. */
export class RawPeer {
  socket: Socket
  #reader: StreamReader | undefined
  readonly #heard: Heard[] = []
  #waiting: ((heard: Heard) => void)[] = []
  #gone = false

  constructor(socket: Socket) {
    this.socket = socket
    this.#adopt(socket)
    this.#read()
  }

  /** @param from the address that it comes from */
  static async connect(at: { ip: string; port?: number; from?: string }): Promise<RawPeer> {
    const socket = connect({ host: at.ip, port: at.port ?? 5269, noDelay: true, localAddress: at.from ?? '127.0.0.1' })
    await once(socket, 'connect')
    return new RawPeer(socket)
  }

  #adopt(socket: Socket): void {
    this.socket = socket
    socket.on('data', (data: Buffer) => {
      const fault = this.#reader?.write(data)
      if (fault !== undefined) this.#hear({ end: 'connection' })
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      if (socket !== this.socket || this.#gone) return
      this.#gone = true
      this.#hear({ end: 'connection' })
    })
  }

  #read(): void {
    this.#reader = new StreamReader(
      el => this.#hear({ el }),
      () => this.#hear({ end: 'stream' }),
      ({ attrs }) => this.#hear({ header: attrs }),
    )
  }

  #hear(heard: Heard): void {
    const waiting = this.#waiting.shift()
    if (waiting === undefined) this.#heard.push(heard)
    else waiting(heard)
  }

  write(data: string | Uint8Array): void {
    if (this.socket.writable) this.socket.write(data)
  }

  /** The next thing that comes; rejects after `timeout` ms. */
  next(timeout = 10_000): Promise<Heard> {
    const first = this.#heard.shift()
    if (first !== undefined) return Promise.resolve(first)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter(one => one !== take)
        reject(new Error(`nothing came within ${timeout} ms`))
      }, timeout)
      const take = (heard: Heard): void => {
        clearTimeout(timer)
        resolve(heard)
      }
      this.#waiting.push(take)
    })
  }

  /** The next thing, which is an element. */
  async element(): Promise<XmlElement> {
    const heard = await this.next()
    if ('el' in heard) return heard.el
    throw new Error(`an element was to come, and it was ${JSON.stringify(heard)}`)
  }

  /** The attributes of the header, which is the next thing. */
  async header(): Promise<Record<string, string>> {
    const heard = await this.next()
    if ('header' in heard) return heard.header
    throw new Error(`a header was to come, and it was ${JSON.stringify(heard)}`)
  }

  /** The condition of the stream error that comes next, after a header or not; the stream ends with it. */
  async streamError(): Promise<string> {
    let heard = await this.next()
    if ('header' in heard) heard = await this.next()
    if (!('el' in heard) || heard.el.ns !== NS_STREAM || heard.el.name !== 'error') {
      throw new Error(`a stream error was to come, and it was ${JSON.stringify(heard)}`)
    }
    const condition = heard.el.children[0]?.name ?? ''
    await this.ended()
    return condition
  }

  /** Resolves when the stream, or the connection, has ended; what comes before is passed over. */
  async ended(): Promise<void> {
    for (;;) if ('end' in (await this.next())) return
  }

  /** A header, as the end that begins (`id` undefined) or that answers. */
  open(attrs: { from?: string; to?: string; id?: string; version?: string }): void {
    const all = Object.entries({ version: '1.0', ...attrs }).flatMap(([name, value]) =>
      value === undefined || value === '' ? [] : [` ${name}='${value}'`],
    )
    this.write(
      `<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='${NS_STREAM}' xmlns:db='${NS_DIALBACK}'${all.join('')}>`,
    )
  }

  /** A stream to hermod, to its features: the names of what it offers. */
  async begin(from: string, to: string): Promise<{ id: string; features: XmlElement }> {
    this.open({ from, to })
    const { id = '' } = await this.header()
    return { id, features: await this.element() }
  }

  /** STARTTLS as the client, then a new stream. @param pair the certificate to show */
  async encrypt(from: string, to: string, pair?: Pair): Promise<{ id: string; features: XmlElement }> {
    await this.begin(from, to)
    this.write(`<starttls xmlns='${NS_TLS}'/>`)
    const answer = await this.element()
    if (answer.name !== 'proceed') throw new Error(`no TLS: ${answer.name}`)
    await this.secure(to, pair)
    return this.begin(from, to)
  }

  /** TLS from here on, as its client. */
  async secure(servername: string, pair?: Pair, protocol?: string): Promise<void> {
    const plain = this.socket
    plain.removeAllListeners('data')
    this.#read()
    const secure = tlsConnect({
      socket: plain,
      servername,
      rejectUnauthorized: false,
      ...pair,
      ...(protocol === undefined ? {} : { ALPNProtocols: [protocol] }),
    })
    this.#adopt(secure)
    await once(secure, 'secureConnect')
  }

  /** TLS from here on, as its server. */
  async serveTls(pair: Pair): Promise<void> {
    const plain = this.socket
    plain.removeAllListeners('data')
    this.#read()
    this.#adopt(new TLSSocket(plain, { isServer: true, ...pair, requestCert: true, rejectUnauthorized: false }))
  }

  /** SASL EXTERNAL, then a new stream. */
  async external(from: string, to: string): Promise<{ id: string; features: XmlElement }> {
    this.write(`<auth xmlns='${NS_SASL}' mechanism='EXTERNAL'>${Buffer.from(from).toString('base64')}</auth>`)
    const answer = await this.element()
    if (answer.name !== 'success') throw new Error(`no login: ${answer.children[0]?.name}`)
    this.#read()
    return this.begin(from, to)
  }

  /** What comes is a stream of its own. */
  restart(): void {
    this.#read()
  }

  cut(): void {
    this.socket.destroy()
  }
}

/** Takes the connections that hermod makes to a server elsewhere. */
export class RawPeerServer {
  readonly port: number
  readonly #peers: RawPeer[] = []
  readonly #waiting: ((peer: RawPeer) => void)[] = []
  /** Connections taken so far. */
  count = 0

  private constructor(server: Server, port: number) {
    this.port = port
    server.on('connection', socket => {
      this.count++
      const peer = new RawPeer(socket)
      const waiting = this.#waiting.shift()
      if (waiting === undefined) this.#peers.push(peer)
      else waiting(peer)
    })
  }

  /** Listens until the test is over. */
  static async listen(
    t: { after(fn: () => void): void },
    { ip, port = 5269 }: { ip: string; port?: number },
  ): Promise<RawPeerServer> {
    const server = createServer({ noDelay: true })
    const sockets = new Set<Socket>()
    server.on('connection', socket => {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
    })
    server.listen(port, ip)
    await once(server, 'listening')
    t.after(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    return new RawPeerServer(server, port)
  }

  accept(): Promise<RawPeer> {
    const first = this.#peers.shift()
    return first === undefined ? new Promise(resolve => this.#waiting.push(resolve)) : Promise.resolve(first)
  }

  /**
   * The next connection, to features over TLS.
   *
   * @param features what is offered there
   */
  async encrypted(
    pair: Pair,
    features: string,
    id = 'id-of-the-raw-peer',
  ): Promise<{ peer: RawPeer; to: string; from: string }> {
    const peer = await this.accept()
    const { to = '', from = '' } = await peer.header()
    peer.open({ from: to, to: from, id: 'plain' })
    peer.write(`<stream:features><starttls xmlns='${NS_TLS}'><required/></starttls></stream:features>`)
    await peer.element() // <starttls/>
    peer.write(`<proceed xmlns='${NS_TLS}'/>`)
    await peer.serveTls(pair)
    await peer.header()
    peer.open({ from: to, to: from, id })
    peer.write(`<stream:features>${features}</stream:features>`)
    return { peer, to, from }
  }
}
