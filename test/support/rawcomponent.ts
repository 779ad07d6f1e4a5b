/** A component for tests, on a bare socket (XEP-0114): it sends exactly what a test says. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { child, errorCondition, StreamReader, type XmlElement, xmlText } from './rawxml.ts'

const NS_STREAM = 'http://etherx.jabber.org/streams'

export interface RawComponentOptions {
  port: number
  /** Its domain. */
  name: string
  /** Attributes of its header, such as `version='1.0'`. */
  header?: string
  tls?: boolean
  /** Answer pings; true when not given. */
  autoPong?: boolean
  timeout?: number
}

interface Waiter {
  matches(el: XmlElement): boolean
  settle(result: XmlElement | Error): void
}

export class RawComponent {
  readonly options: RawComponentOptions
  /** Of the stream. */
  id = ''
  /** The server's header, as it was sent. */
  header = ''
  closed = false
  /** The condition of the stream error that came, if one did. */
  streamError = ''
  readonly #waiters = new Set<Waiter>()
  readonly #inbox: XmlElement[] = []
  #socket: Socket
  #reader = this.#newReader()
  #serial = 0
  #whenClosed: (() => void)[] = []

  private constructor(options: RawComponentOptions, socket: Socket) {
    this.options = options
    this.#socket = socket
    this.#adopt(socket)
  }

  /** A stream, before the handshake. */
  static async connect(options: RawComponentOptions): Promise<RawComponent> {
    const plain = connect({ host: '127.0.0.1', port: options.port, noDelay: true })
    await once(plain, 'connect')
    const socket = options.tls ? tlsConnect({ socket: plain, rejectUnauthorized: false }) : plain
    if (options.tls) await once(socket, 'secureConnect')
    const component = new RawComponent(options, socket)
    await component.open()
    return component
  }

  /** One that has logged in. */
  static async login(options: RawComponentOptions & { password?: string }): Promise<RawComponent> {
    const component = await RawComponent.connect(options)
    await component.handshake(options.password)
    return component
  }

  /** The server's header is there when it resolves, or the end of the stream. */
  async open(): Promise<void> {
    this.#reader = this.#newReader()
    const { name, header = '' } = this.options
    this.write(
      `<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' xmlns:stream='${NS_STREAM}' to='${name}' ${header}>`,
    )
    while (this.header === '' && !this.closed) await once(this.#socket, 'data')
    this.id = / id='([^']*)'/.exec(this.header)?.[1] ?? ''
  }

  async handshake(password = 'secret'): Promise<void> {
    this.write(
      `<handshake>${createHash('sha1')
        .update(this.id + password)
        .digest('hex')}</handshake>`,
    )
    await this.receive(el => el.name === 'handshake')
  }

  /** STARTTLS, and a stream that is encrypted. */
  async secure(): Promise<void> {
    this.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    await this.receive(el => el.name === 'proceed')
    this.#socket.removeAllListeners('data')
    this.#socket.removeAllListeners('close')
    this.#socket = tlsConnect({ socket: this.#socket, rejectUnauthorized: false })
    await once(this.#socket, 'secureConnect')
    this.header = ''
    this.#adopt(this.#socket)
    await this.open()
  }

  write(data: string): void {
    if (!this.closed) this.#socket.write(data)
  }

  /** Sends a stanza from an address of it; the domain itself unless given. */
  send(stanza: string, from = this.options.name): void {
    this.write(stanza.replace(/^<\w+/, `$& from='${xmlText(from)}'`))
  }

  async request(type: 'get' | 'set', payload: string, to: string, from = this.options.name): Promise<XmlElement> {
    const id = `c${++this.#serial}`
    this.send(`<iq type='${type}' id='${id}' to='${xmlText(to)}'>${payload}</iq>`, from)
    const answer = await this.receive(el => el.name === 'iq' && el.attrs['id'] === id && el.attrs['type'] !== type)
    if (answer.attrs['type'] === 'error') throw new Error(`iq error: ${errorCondition(answer)}`)
    return answer
  }

  /** When it resolves, the server has read everything sent before. */
  async ping(host = 'localhost'): Promise<void> {
    await this.request('get', "<ping xmlns='urn:xmpp:ping'/>", host)
  }

  receive(matches: (el: XmlElement) => boolean, timeout = this.options.timeout ?? 10_000): Promise<XmlElement> {
    const kept = this.#inbox.findIndex(matches)
    if (kept >= 0) return Promise.resolve(this.#inbox.splice(kept, 1)[0]!)
    if (this.closed) return Promise.reject(new Error(`the connection is closed ${this.streamError}`.trimEnd()))
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => waiter.settle(new Error(`nothing that matches ${matches} within ${timeout} ms`)),
        timeout,
      )
      const waiter: Waiter = {
        matches,
        settle: result => {
          clearTimeout(timer)
          this.#waiters.delete(waiter)
          if (result instanceof Error) reject(result)
          else resolve(result)
        },
      }
      this.#waiters.add(waiter)
    })
  }

  /** Until the server has ended the stream; resolves with the condition of its error. */
  async ended(): Promise<string> {
    if (!this.closed) await new Promise<void>(resolve => this.#whenClosed.push(resolve))
    return this.streamError
  }

  /** Reads no further, as a component that hangs. */
  pause(): void {
    this.#socket.pause()
  }

  resumeReading(): void {
    this.#socket.resume()
  }

  cut(): void {
    this.#socket.destroy()
    this.#end()
  }

  /** In order. */
  async close(): Promise<void> {
    this.write('</stream:stream>')
    await this.ended()
  }

  #adopt(socket: Socket): void {
    socket.on('error', () => {})
    socket.on('data', data => this.#onData(data))
    socket.on('close', () => this.#end())
  }

  #newReader(): StreamReader {
    return new StreamReader(
      el => this.#onElement(el),
      () => this.#socket.end(),
    )
  }

  #onData(data: Buffer): void {
    if (this.header === '') this.header = /<stream:stream[^>]*>/.exec(data.toString())?.[0] ?? ''
    const fault = this.#reader.write(data)
    if (fault !== undefined) throw new Error(`the server sent what is not well-formed: ${fault}`)
  }

  #onElement(el: XmlElement): void {
    if (el.ns === NS_STREAM && el.name === 'error') this.streamError = el.children[0]?.name ?? 'error'
    if (this.options.autoPong !== false && el.attrs['type'] === 'get' && child(el, 'ping', 'urn:xmpp:ping')) {
      const { id = '', from = '', to } = el.attrs
      this.send(`<iq type='result' id='${xmlText(id)}' to='${xmlText(from)}'/>`, to)
    }
    for (const waiter of this.#waiters) if (waiter.matches(el)) return waiter.settle(el)
    this.#inbox.push(el)
  }

  #end(): void {
    if (this.closed) return
    this.closed = true
    for (const waiter of this.#waiters) waiter.settle(new Error(`the connection is gone ${this.streamError}`.trimEnd()))
    for (const resolve of this.#whenClosed) resolve()
  }
}
