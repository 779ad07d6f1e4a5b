import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { type ChannelBindings, NO_BINDINGS, tlsBindings } from './channelbinding.ts'
import { beginTls, CLOSED_EARLY, isOfTls, type TlsOptions, tlsFailure, tooSlow } from './handshake.ts'

/** Where a connection comes from: with a proxy before us, who is behind it. */
export interface Peer {
  readonly ip: string
  readonly port: number
}

/** What a transport tells of its connection. None of these throws. */
export interface Receiver {
  readonly data: (chunk: Buffer) => void
  /** The peer has ended its side. */
  readonly end: () => void
  /** The connection is gone, once; `failed`: it broke. */
  readonly close: (failed: boolean) => void
  /** The peer has taken what it was sent. */
  readonly drain: () => void
  /** What was sent could not be written; the connection is closed by then. */
  readonly failed: (error: unknown) => void
}

/**
 * A connection as far as a stream knows it, whatever it is made of. What is sent is one piece of the stream at a time, whole:
 * a header, a stanza, an end. How pieces become writes or frames is the transport's.
 */
export interface Transport {
  readonly peer: Peer
  /** What goes over it is encrypted. */
  readonly secured: boolean
  /** The version of TLS, as Node names it; undefined where it has none of its own. */
  readonly protocol: string | undefined
  /** Bytes that the peer has not taken yet. */
  readonly backlog: number
  /** What a login can be bound to; see {@link tlsBindings}. */
  bindings(endPoint: boolean, uniqueOnTls13: boolean): ChannelBindings
  /**
   * What the peer has shown in its TLS handshake: its certificate, then what it sent of its chain; each as DER. To be asked for once,
   * after the handshake: Node takes the chain apart while it answers. Who asks again keeps what it has found out, not this: it
   * is large. Nothing where a session was resumed.
   */
  takePeerCertificates(): Buffer[]
  /** From here on the receiver is told. */
  open(receiver: Receiver): void
  /** Why it broke, in words for the operator; undefined where it did not, or no more is known. */
  readonly failure: string | undefined
  /**
   * Goes over to TLS, as its server or its client (RFC 6120 5). What is sent from now on waits for the handshake; one that fails
   * ends the connection, and {@link failure} says why. Throws where it cannot begin; then all is as before.
   *
   * @param timeout ms that the handshake may take; left out, the caller watches
   */
  upgrade(options: TlsOptions, timeout?: number): void
  send(data: string | Buffer): void
  /** Reads no more, until `resume`; then so does the peer write no more. */
  pause(): void
  resume(): void
  /** From here on our side stays open when the peer has ended its own, until we end it. */
  allowHalfOpen(): void
  /** Writes what waits, then ends our side; the peer has `grace` ms to end its own. */
  end(grace: number): void
  /**
   * The peer has ended its side without a word. Tells whether its program had read all that we sent before: that is tried in
   * `wait` ms, or when it is hurried, by sending `last`; then, `wait` ms later at the latest, the connection is closed.
   */
  linger(wait: number, last: string): Lingering
  destroy(): void
}

export interface Lingering {
  readonly hasRead: Promise<boolean>
  readonly hurry: () => void
}

/** What is written of one turn of the event loop leaves in one write per connection. */
export class Flusher {
  #dirty: SocketTransport[] = []
  #scheduled = false
  readonly #run = (): void => this.flush()

  /** Writes everything that waits, now. */
  flush(): void {
    this.#scheduled = false
    const dirty = this.#dirty
    this.#dirty = []
    for (const transport of dirty) transport.flush()
  }

  add(transport: SocketTransport): void {
    this.#dirty.push(transport)
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(this.#run)
  }
}

const EVENTS = ['data', 'end', 'close', 'drain'] as const

/** More certificates are no chain that anybody follows. */
const LONGEST_CHAIN = 10

/** A TCP socket, or TLS over it: gathers what is sent and writes it once a turn. */
export class SocketTransport implements Transport {
  readonly peer: Peer
  /** Another after an upgrade. */
  socket: Socket
  readonly #flusher: Flusher
  #receiver: Receiver | undefined
  #out: (string | Buffer)[] = []
  /** Characters and bytes sent and not yet handed to the socket. */
  #pending = 0
  #closed = false
  #handshaking = false
  #failure: string | undefined

  constructor(socket: Socket, peer: Peer, flusher: Flusher) {
    this.socket = socket
    this.peer = peer
    this.#flusher = flusher
  }

  get secured(): boolean {
    return this.socket instanceof TLSSocket
  }

  get protocol(): string | undefined {
    return this.socket instanceof TLSSocket ? (this.socket.getProtocol() ?? undefined) : undefined
  }

  get backlog(): number {
    return this.#pending + this.socket.writableLength
  }

  get failure(): string | undefined {
    return this.#failure
  }

  takePeerCertificates(): Buffer[] {
    const shown: Buffer[] = []
    if (!(this.socket instanceof TLSSocket) || this.socket.isSessionReused()) return shown
    let next = this.socket.getPeerX509Certificate()
    for (; next !== undefined && shown.length < LONGEST_CHAIN; next = next.issuerCertificate) shown.push(next.raw)
    return shown
  }

  bindings(endPoint: boolean, uniqueOnTls13: boolean): ChannelBindings {
    return this.socket instanceof TLSSocket ? tlsBindings(this.socket, endPoint, uniqueOnTls13) : NO_BINDINGS
  }

  open(receiver: Receiver): void {
    this.#receiver = receiver
    this.#attach(receiver)
  }

  #attach(receiver: Receiver): void {
    // 'close' follows.
    this.socket.on('error', error => {
      if (this.#handshaking || isOfTls(error)) this.#failure ??= tlsFailure(error)
    })
    for (const event of EVENTS) this.socket.on(event, receiver[event])
  }

  upgrade(options: TlsOptions, timeout?: number): void {
    const plain = this.socket
    const receiver = this.#receiver!
    // Ours only: who counts connections waits for the end of this socket too.
    for (const event of EVENTS) plain.off(event, receiver[event])
    this.flush()
    try {
      this.socket = beginTls(plain, options)
      this.#watch(this.socket, timeout)
    } finally {
      this.#attach(receiver) // of the plain one too: it is still to be closed, and its end to be heard of
    }
  }

  /** Before the receiver is attached, which may ask why it is told. */
  #watch(socket: Socket, timeout: number | undefined): void {
    this.#handshaking = true
    const late = (): void => {
      this.#failure ??= tooSlow(timeout!)
      this.destroy()
    }
    const timer = timeout === undefined ? undefined : setTimeout(late, timeout)
    const closed = (): void => {
      clearTimeout(timer)
      this.#failure ??= CLOSED_EARLY
    }
    socket.once('close', closed)
    socket.once('secure', () => {
      clearTimeout(timer)
      socket.off('close', closed)
      this.#handshaking = false
    })
  }

  send(data: string | Buffer): void {
    if (this.#closed) return
    this.#pending += data.length
    if (this.#out.push(data) === 1) this.#flusher.add(this)
  }

  /** Never throws: others are flushed in the same turn. */
  flush(): void {
    const out = this.#out
    if (out.length === 0) return
    this.#out = []
    this.#pending = 0
    if (this.socket.destroyed || this.socket.writableEnded) return
    try {
      this.socket.write(out.length === 1 ? out[0]! : join(out))
    } catch (error) {
      this.destroy()
      this.#receiver?.failed(error)
    }
  }

  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    if (!this.socket.destroyed && this.socket.isPaused()) this.socket.resume()
  }

  allowHalfOpen(): void {
    this.socket.allowHalfOpen = true
  }

  end(grace: number): void {
    if (this.#closed) return
    this.flush()
    this.#closed = true
    this.socket.end()
    const timer = setTimeout(() => this.socket.destroy(), grace)
    timer.unref()
    this.socket.once('close', () => clearTimeout(timer))
  }

  /** What comes to a socket that nobody has any more, or lies there unread, is answered by a reset, after which writing fails. */
  linger(wait: number, last: string): Lingering {
    this.flush()
    this.#closed = true
    const socket = this.socket
    let hurry = (): void => {}
    const hasRead = new Promise<boolean>(resolve => {
      const answer = (read: boolean): void => {
        resolve(read)
        socket.destroy()
      }
      let asked = false
      const ask = (): void => {
        if (asked || socket.destroyed) return
        asked = true
        clearTimeout(timer)
        // Where what was sent before does not leave, nobody reads.
        timer = setTimeout(() => answer(false), wait)
        socket.write(last, error => answer(!error))
      }
      let timer = setTimeout(ask, wait)
      socket.once('close', () => {
        clearTimeout(timer)
        answer(false)
      })
      hurry = ask
    })
    return { hasRead, hurry }
  }

  destroy(): void {
    this.#closed = true
    this.#out = []
    this.socket.destroy()
  }
}

/** Texts are joined as texts (one encoding for all of them); bytes make it bytes. */
function join(parts: readonly (string | Buffer)[]): string | Buffer {
  let text = ''
  for (const part of parts) {
    if (typeof part !== 'string') return Buffer.concat(parts.map(p => (typeof p === 'string' ? Buffer.from(p) : p)))
    text += part
  }
  return text
}
