/**
 * An XMPP client for tests, on a bare socket: it sends exactly what a test says, counts XEP-0198 to the stanza, and can
 * misbehave as networks do (cut, fall silent). No XMPP library, so that a library's repairs hide no fault of the server.
 *
 *   const client = await RawClient.session({ port, domain, user: 'romeo', password: 'x', resource: 'orchard' })
 *   client.send('<message to="juliet@example.org" type="chat" id="1"><body>Hi</body></message>')
 *   const answer = await client.receive(el => el.name === 'message' && el.attrs['from'] === 'juliet@example.org/balcony')
 *   await client.close()
 */
import { EventEmitter } from 'node:events'
import { type Socket, connect as tcpConnect } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { authenticate, authenticateDevice, type Credentials } from './rawsasl.ts'
import { child, errorCondition, StreamReader, type XmlElement, xmlText } from './rawxml.ts'

export const NS_SM = 'urn:xmpp:sm:3'
const NS_TLS = 'urn:ietf:params:xml:ns:xmpp-tls'
const NS_BIND = 'urn:ietf:params:xml:ns:xmpp-bind'
const NS_STREAM = 'http://etherx.jabber.org/streams'

/** A stanza sent and not yet acknowledged; `tag` is the test's own handle on it. */
export interface Outgoing {
  xml: string
  tag?: string
}

/** One XEP-0198 session: outlives the connection, and is handed to `resume` on the next one. Counters wrap at 2^32. */
export interface StreamManagement {
  id: string
  resumable: boolean
  /** Seconds the server keeps the session, when it says so. */
  max?: number
  /** Stanzas received from the server: what the next `<a h>` says. */
  handled: number
  /** The last h told to the server. */
  told: number
  /** Stanzas sent that the server acknowledged. */
  acked: number
  /** Stanzas sent after those, in order. */
  unacked: Outgoing[]
}

export interface RawClientOptions {
  port: number
  host?: string
  domain: string
  /** The address to connect from, such as 127.0.0.2. */
  localAddress?: string
  /** Who the stream header says that it is from; nobody when not given. */
  from?: string
  tls?: 'none' | 'starttls' | 'direct'
  /** ms to wait for each answer of the server; 10,000 when not given. */
  timeout?: number
  /** Answer `<r/>`; true when not given. */
  autoAck?: boolean
  /** Answer pings; true when not given. */
  autoPong?: boolean
  /** Keep what nobody awaited for a later `receive`; true when not given. */
  inbox?: boolean
}

interface RawClientEvents {
  /** Every element at depth one. */
  element: [XmlElement]
  /** Messages, presences and iqs, after counting. */
  stanza: [XmlElement]
  /** Stanzas of ours that the server took over, and which element said so. */
  acked: [Outgoing[], 'a' | 'resumed' | 'failed']
  /** `<r/>` came (and was answered, with autoAck). */
  asked: []
  /** The server broke the protocol (XML, XEP-0198 counting). */
  violation: [string]
  /** The connection is gone; why. */
  closed: [string]
}

interface Waiter {
  matches(el: XmlElement): boolean
  settle(result: XmlElement | Error): void
}

const STANZAS = new Set(['message', 'presence', 'iq'])
/** a - b in the arithmetic of XEP-0198 section 4 (counters wrap at 2^32). */
const minus = (a: number, b: number): number => (a - b) >>> 0

export class RawClient extends EventEmitter<RawClientEvents> {
  readonly options: RawClientOptions
  /** Full JID, once bound. */
  jid = ''
  features: XmlElement | undefined
  sm: StreamManagement | undefined
  /** True when there is no connection (any more). */
  closed = false
  /** True when the server closed its stream with `</stream:stream>`. */
  serverClosed = false
  /** What is written to: the TCP socket, or TLS on top of it. */
  private socket: Socket
  private readonly tcp: Socket
  private reader: StreamReader | undefined
  private streamError = ''
  private enabled = false
  private waiters = new Set<Waiter>()
  private inbox: XmlElement[] = []
  private resuming: StreamManagement | undefined
  private silent = false
  private serial = 0

  private constructor(options: RawClientOptions, socket: Socket) {
    super()
    this.options = options
    this.socket = socket
    this.tcp = socket
    this.adopt(socket)
  }

  /** Connects and opens the stream (through TLS when asked); `features` are there afterwards. */
  static async connect(options: RawClientOptions): Promise<RawClient> {
    const host = options.host ?? '127.0.0.1'
    const { port, localAddress, timeout } = options
    const socket = await opened(tcpConnect({ host, port, localAddress, noDelay: true }), 'connect', timeout)
    const client = new RawClient(options, socket)
    if (options.tls === 'direct') await client.encrypt()
    await client.openStream()
    if (options.tls === 'starttls') {
      client.write(`<starttls xmlns='${NS_TLS}'/>`)
      await client.receive(el => el.ns === NS_TLS && el.name === 'proceed')
      await client.encrypt()
      await client.openStream()
    }
    return client
  }

  /** The whole way to an available resource: connect, login, bind, enable stream management, initial presence. */
  static async session(
    options: RawClientOptions & Credentials & { sm?: boolean; presence?: boolean },
  ): Promise<RawClient> {
    const client = await RawClient.connect(options)
    await client.login(options)
    await client.bind(options.resource)
    if (options.sm !== false) await client.enable()
    if (options.presence !== false) client.send('<presence/>')
    return client
  }

  /** In-band registration (XEP-0077) on a connection of its own. */
  static async register(options: RawClientOptions, user: string, password: string): Promise<void> {
    const client = await RawClient.connect(options)
    try {
      const fields = `<username>${xmlText(user)}</username><password>${xmlText(password)}</password>`
      await client.request('set', `<query xmlns='jabber:iq:register'>${fields}</query>`, options.domain)
    } finally {
      await client.close()
    }
  }

  /** SASL (RFC 6120 6, RFC 5802), then the new stream. Rejects with the failure's condition. */
  async login(credentials: Credentials): Promise<void> {
    if (credentials.device !== undefined) {
      // They may come along with the success.
      const features = this.receive(el => el.ns === NS_STREAM && el.name === 'features')
      features.catch(() => undefined)
      await authenticateDevice(this, credentials)
      this.features = await features
      return
    }
    await authenticate(this, credentials)
    await this.openStream()
  }

  /** Binds a resource (the server's choice when not given) and returns the full JID. */
  async bind(resource?: string): Promise<string> {
    const wanted = resource === undefined ? '' : `<resource>${xmlText(resource)}</resource>`
    const answer = await this.request('set', `<bind xmlns='${NS_BIND}'>${wanted}</bind>`)
    this.jid = child(child(answer, 'bind', NS_BIND), 'jid')?.text ?? ''
    if (!this.jid) throw new Error('bound to no JID')
    return this.jid
  }

  /** XEP-0198 `<enable/>`; our count of sent stanzas starts with it, that of received ones with `<enabled/>`. */
  async enable(resume = true): Promise<StreamManagement> {
    this.sm = { id: '', resumable: false, handled: 0, told: 0, acked: 0, unacked: [] }
    this.write(`<enable xmlns='${NS_SM}'${resume ? " resume='true'" : ''}/>`)
    const answer = await this.receive(el => el.ns === NS_SM && (el.name === 'enabled' || el.name === 'failed'))
    if (answer.name === 'failed') {
      this.sm = undefined
      throw new Error(`stream management refused: ${answer.children[0]?.name}`)
    }
    return this.sm
  }

  /**
   * XEP-0198 `<resume/>` in place of bind. When resumed, what the server has not counted is sent again at once, in order;
   * when refused (false), the stream can be bound, and `sm.unacked` has lost what a `<failed h>` covered.
   */
  async resume(sm: StreamManagement): Promise<boolean> {
    this.resuming = sm
    sm.told = sm.handled
    this.write(`<resume xmlns='${NS_SM}' h='${sm.handled}' previd='${xmlText(sm.id)}'/>`)
    const answer = await this.receive(el => el.ns === NS_SM && (el.name === 'resumed' || el.name === 'failed'))
    return answer.name === 'resumed'
  }

  /** Sends one stanza, counting and keeping it until acknowledged when stream management is on (even if the link is dead). */
  send(xml: string, tag?: string): void {
    this.sm?.unacked.push({ xml, tag })
    this.write(xml)
  }

  /** Writes anything that is not a stanza of ours to count. */
  write(data: string | Uint8Array): void {
    if (!this.silent && !this.closed && this.socket.writable) this.socket.write(data)
  }

  /** Asks the server for its count. */
  askAck(): void {
    this.write(`<r xmlns='${NS_SM}'/>`)
  }

  /** Tells the server ours. */
  ack(): void {
    if (!this.sm || this.silent || this.closed) return
    this.sm.told = this.sm.handled
    this.write(`<a xmlns='${NS_SM}' h='${this.sm.handled}'/>`)
  }

  /** Sends an iq (to our own account when `to` is not given) and resolves with its result; an error rejects. */
  async request(type: 'get' | 'set', payload: string, to?: string, timeout?: number): Promise<XmlElement> {
    const id = `q${++this.serial}`
    this.send(`<iq type='${type}' id='${id}'${to ? ` to='${xmlText(to)}'` : ''}>${payload}</iq>`)
    const answer = await this.receive(
      el =>
        el.name === 'iq' && el.attrs['id'] === id && (el.attrs['type'] === 'result' || el.attrs['type'] === 'error'),
      timeout,
    )
    if (answer.attrs['type'] === 'error') throw new Error(`iq error: ${errorCondition(answer)}`)
    return answer
  }

  /** XEP-0199 to the server: when it resolves, the server has read everything sent before. */
  async ping(timeout?: number): Promise<void> {
    await this.request('get', "<ping xmlns='urn:xmpp:ping'/>", this.options.domain, timeout)
  }

  /** The first element, kept or yet to come, that matches; it is taken out of the inbox. Rejects after `timeout` ms. */
  receive(matches: (el: XmlElement) => boolean, timeout = this.options.timeout ?? 10_000): Promise<XmlElement> {
    const kept = this.inbox.findIndex(matches)
    if (kept >= 0) return Promise.resolve(this.inbox.splice(kept, 1)[0]!)
    if (this.closed) return Promise.reject(new Error('the connection is closed'))
    return new Promise((resolve, reject) => {
      const late = (): void => waiter.settle(new Error(`nothing that matches ${matches} within ${timeout} ms`))
      const timer = setTimeout(late, timeout)
      const waiter: Waiter = {
        matches,
        settle: result => {
          clearTimeout(timer)
          this.waiters.delete(waiter)
          if (result instanceof Error) reject(result)
          else resolve(result)
        },
      }
      this.waiters.add(waiter)
    })
  }

  /** Cuts the connection as a network does: no `</stream:stream>`; FIN, or RST. */
  cut(how: 'fin' | 'rst' = 'fin'): void {
    if (how === 'rst') this.tcp.resetAndDestroy()
    this.socket.destroy()
    this.tcp.destroy()
    this.end(`cut (${how})`)
  }

  /** Half-open: nothing is read or written any more, and the peer is told nothing. The socket stays until `cut`. */
  fallSilent(): void {
    this.silent = true
    this.socket.pause()
    this.fail(new Error('silent'))
  }

  /** Reads no further for now, as a client does that is busy or has a poor network. */
  pause(): void {
    this.socket.pause()
  }

  resumeReading(): void {
    this.socket.resume()
  }

  /** Orderly: `<a/>` for what came, `</stream:stream>`, then what the server still sends, until it closes (true) or `timeout`. */
  async close(timeout = this.options.timeout ?? 10_000): Promise<boolean> {
    if (this.closed) return this.serverClosed
    this.ack()
    this.write('</stream:stream>')
    if (!this.serverClosed) {
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, timeout)
        this.once('closed', () => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
    this.socket.end()
    this.end('closed in order')
    return this.serverClosed
  }

  private adopt(socket: Socket): void {
    this.socket = socket
    socket.on('data', (data: Buffer) => this.onData(data))
    socket.on('error', () => undefined)
    socket.on('close', () => {
      if (socket === this.socket) this.end('closed by the peer')
    })
  }

  private async encrypt(): Promise<void> {
    const plain = this.socket
    plain.removeAllListeners('data')
    const servername = this.options.domain
    const secure = tlsConnect({ socket: plain, servername, rejectUnauthorized: false, ALPNProtocols: ['xmpp-client'] })
    this.adopt(await opened(secure, 'secureConnect', this.options.timeout))
  }

  private async openStream(): Promise<void> {
    this.reader = new StreamReader(
      el => this.onElement(el),
      () => this.onStreamEnd(),
    )
    const { domain, from } = this.options
    const sender = from === undefined ? '' : ` from='${xmlText(from)}'`
    this.write(
      `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='${NS_STREAM}' to='${domain}'${sender} version='1.0'>`,
    )
    this.features = await this.receive(el => el.ns === NS_STREAM && el.name === 'features')
  }

  private onData(data: Buffer): void {
    if (this.silent || this.closed) return
    const fault = this.reader?.write(data)
    if (fault === undefined) return
    this.emit('violation', `not well-formed: ${fault}`)
    this.cut()
  }

  private onStreamEnd(): void {
    this.serverClosed = true
    this.socket.end()
    this.end(`the server closed the stream ${this.streamError}`.trimEnd())
  }

  private onElement(el: XmlElement): void {
    if (this.silent || this.closed) return
    if (el.ns === NS_SM) this.onNonza(el)
    if (el.ns === NS_STREAM && el.name === 'error') this.streamError = `(${el.children[0]?.name ?? 'error'})`
    const stanza = el.ns === 'jabber:client' && STANZAS.has(el.name)
    if (stanza) {
      if (this.sm && this.enabled) this.sm.handled = (this.sm.handled + 1) >>> 0
      this.emit('stanza', el)
      if (this.options.autoPong !== false && el.attrs['type'] === 'get' && child(el, 'ping', 'urn:xmpp:ping')) {
        const { id = '', from } = el.attrs
        this.send(`<iq type='result' id='${xmlText(id)}'${from ? ` to='${xmlText(from)}'` : ''}/>`)
      }
    }
    this.emit('element', el)
    for (const waiter of this.waiters) {
      if (!waiter.matches(el)) continue
      waiter.settle(el)
      return
    }
    if (this.options.inbox !== false) this.inbox.push(el)
  }

  private onNonza(el: XmlElement): void {
    const h = el.attrs['h'] === undefined ? undefined : Number(el.attrs['h'])
    if (el.name === 'r') {
      if (this.options.autoAck !== false) this.ack()
      this.emit('asked')
    } else if (el.name === 'a' && this.sm) {
      this.settle(this.sm, h ?? Number.NaN, 'a')
    } else if (el.name === 'enabled' && this.sm) {
      this.enabled = true
      this.sm.id = el.attrs['id'] ?? ''
      this.sm.resumable = el.attrs['resume'] === 'true' || el.attrs['resume'] === '1'
      if (el.attrs['max'] !== undefined) this.sm.max = Number(el.attrs['max'])
    } else if (el.name === 'resumed' && this.resuming) {
      this.enabled = true
      this.sm = this.resuming
      this.settle(this.sm, h ?? Number.NaN, 'resumed')
      for (const stanza of this.sm.unacked) this.write(stanza.xml)
    } else if (el.name === 'failed' && this.resuming && h !== undefined) {
      this.settle(this.resuming, h, 'failed')
    }
  }

  private settle(sm: StreamManagement, h: number, how: 'a' | 'resumed' | 'failed'): void {
    const count = minus(h, sm.acked)
    if (Number.isNaN(h) || count > sm.unacked.length) {
      this.emit('violation', `<${how} h='${h}'> but ${sm.acked} were acknowledged and ${sm.unacked.length} are open`)
      return
    }
    sm.acked = h
    if (count > 0) this.emit('acked', sm.unacked.splice(0, count), how)
  }

  private end(why: string): void {
    if (this.closed) return
    this.closed = true
    this.fail(new Error(`connection gone: ${why}`))
    this.emit('closed', why)
  }

  private fail(error: Error): void {
    for (const waiter of this.waiters) waiter.settle(error)
  }
}

function opened<S extends Socket>(socket: S, event: string, timeout = 10_000): Promise<S> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      clearTimeout(timer)
      socket.destroy()
      reject(error)
    }
    const timer = setTimeout(() => fail(new Error(`no ${event} within ${timeout} ms`)), timeout)
    socket.once('error', fail)
    socket.once(event, () => {
      clearTimeout(timer)
      socket.off('error', fail)
      resolve(socket)
    })
  })
}
