/** A connection of which a test says and sees every byte: for what no well-behaved client does. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from 'node:tls'

export const NS_STREAM = 'http://etherx.jabber.org/streams'

/** A stream header for clients. */
export function header(to = 'localhost', more = "version='1.0'", ns = 'jabber:client'): string {
  return `<?xml version='1.0'?><stream:stream xmlns='${ns}' xmlns:stream='${NS_STREAM}' to='${to}' ${more}>`
}

export class Wire {
  #socket: Socket
  /** What came and was not taken yet. */
  text = ''
  /** All that came. */
  whole = ''
  closed = false
  #changed = Promise.withResolvers<void>()

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#adopt(socket)
  }

  static async connect(port: number, host = '127.0.0.1', localAddress?: string): Promise<Wire> {
    const socket = connect({ port, host, localAddress, noDelay: true })
    const wire = new Wire(socket)
    await once(socket, 'connect')
    return wire
  }

  get socket(): Socket {
    return this.#socket
  }

  write(data: string | Uint8Array): void {
    this.#socket.write(data)
  }

  /** Waits until what came matches, and takes it, up to the end of the match. */
  async until(pattern: RegExp, timeout = 10_000): Promise<string> {
    const deadline = AbortSignal.timeout(timeout)
    for (;;) {
      const found = pattern.exec(this.text)
      if (found !== null) {
        const end = found.index + found[0].length
        const taken = this.text.slice(0, end)
        this.text = this.text.slice(end)
        return taken
      }
      if (this.closed || deadline.aborted)
        throw new Error(`no ${pattern} in ${JSON.stringify(this.text.slice(0, 500))}`)
      await Promise.race([this.#changed.promise, once(deadline, 'abort')])
    }
  }

  /** Waits until the server has closed; answers with what came and was not taken. */
  async end(timeout = 10_000): Promise<string> {
    const deadline = AbortSignal.timeout(timeout)
    while (!this.closed) {
      if (deadline.aborted) throw new Error(`not closed after ${JSON.stringify(this.text.slice(0, 500))}`)
      await Promise.race([this.#changed.promise, once(deadline, 'abort')])
    }
    return this.text
  }

  /** The condition of the stream error with which the server ends this stream. */
  async error(timeout?: number): Promise<string> {
    const text = await this.end(timeout)
    const found = /<stream:error><([\w-]+) xmlns='urn:ietf:params:xml:ns:xmpp-streams'/.exec(text)
    if (found === null || !text.endsWith('</stream:error></stream:stream>'))
      throw new Error(`no stream error in ${text}`)
    return found[1]!
  }

  /** Goes over to TLS; `before` is written first, in the clear. */
  async encrypt(
    servername = 'localhost',
    alpn: string[] = ['xmpp-client'],
    own: Pick<ConnectionOptions, 'cert' | 'key' | 'ecdhCurve'> = {},
  ): Promise<TLSSocket> {
    const plain = this.#socket
    plain.removeAllListeners('data')
    plain.removeAllListeners('close')
    const options = { servername, rejectUnauthorized: false, ALPNProtocols: alpn, ...own }
    const secure = tlsConnect({ socket: plain, ...options })
    this.#adopt(secure)
    await once(secure, 'secureConnect')
    return secure
  }

  cut(): void {
    this.#socket.destroy()
  }

  #adopt(socket: Socket): void {
    this.#socket = socket
    socket.on('data', (data: Buffer) => {
      this.text += data.toString()
      this.whole += data.toString()
      this.#wake()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      if (socket !== this.#socket) return
      this.closed = true
      this.#wake()
    })
  }

  #wake(): void {
    const changed = this.#changed
    this.#changed = Promise.withResolvers<void>()
    changed.resolve()
  }
}
