import type { Socket } from 'node:net'

/** What is written of one turn of the event loop leaves in one write per connection. */
export class Flusher {
  #dirty: Transport[] = []
  #scheduled = false
  readonly #run = (): void => this.flush()

  /** Writes everything that waits, now. */
  flush(): void {
    this.#scheduled = false
    const dirty = this.#dirty
    this.#dirty = []
    for (const transport of dirty) transport.flush()
  }

  add(transport: Transport): void {
    this.#dirty.push(transport)
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(this.#run)
  }
}

/** A connection as far as a stream writes to it: gathers what is sent, writes once a turn, and knows what waits. */
export class Transport {
  socket: Socket
  readonly #flusher: Flusher
  #out: (string | Buffer)[] = []
  /** Characters and bytes sent and not yet handed to the socket. */
  #pending = 0
  #closed = false
  readonly #failed: (error: unknown) => void

  /** @param failed what could not be written; the connection is gone by then */
  constructor(socket: Socket, flusher: Flusher, failed: (error: unknown) => void) {
    this.socket = socket
    this.#flusher = flusher
    this.#failed = failed
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Bytes that the peer has not taken yet: ours, and the kernel's refusals kept by the socket. */
  get backlog(): number {
    return this.#pending + this.socket.writableLength
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
      this.#failed(error)
    }
  }

  /** Writes what waits, then ends our side; the peer has `grace` ms to end its own. */
  end(grace: number): void {
    if (this.#closed) return
    this.flush()
    this.#closed = true
    this.socket.end()
    const timer = setTimeout(() => this.socket.destroy(), grace)
    timer.unref()
    this.socket.once('close', () => clearTimeout(timer))
  }

  /**
   * The peer has ended its side without a word. Tells whether its program had read all that we sent before: what comes to a
   * socket that nobody has any more, or lies there unread, is answered by a reset, after which writing fails. That is tried
   * in `wait` ms, or when it is hurried; then, `wait` ms later at the latest, the connection is closed.
   */
  linger(wait: number): { hasRead: Promise<boolean>; hurry: () => void } {
    this.flush()
    this.#closed = true
    const { socket } = this
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
        socket.write('</stream:stream>', error => answer(!error))
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
