import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import {
  type Element,
  type Framing,
  NS,
  type Peer,
  type PeerHeader,
  type Receiver,
  SocketTransport,
  StreamError,
  type StreamHandler,
  serialize,
  textOf,
  XmppStream,
} from 'hermod/engine'
import { type ElementLike, type Stanza, stanzaOf, treeOf } from './elements.ts'
import type { Surroundings } from './surroundings.ts'

/** Bytes that may wait for the peer before `send` says so. */
const ENOUGH = 16 * 1024

export interface ConnectionEvents {
  connect: [socket: Socket]
  /** What was read, as it came. */
  data: [chunk: Buffer]
  drain: []
  error: [error: Error]
  end: []
  disconnect: [error?: Error]
  close: []
}

/** What is spoken on a connection. What a method throws, or its promise rejects with, ends the stream. */
export interface Speaker {
  /** Who is on the other side. */
  readonly kind: 'client' | 'component'
  /** Our address, for our header. */
  readonly domain: string
  /** The peer's header is there. */
  header(header: PeerHeader): void
  /** Ours is sent too. */
  opened(): void | Promise<void>
  /** An element of the first level; the next waits for the promise. */
  element(el: Stanza): void | Promise<void>
}

type StreamCondition = StreamError['condition']

/** A stream that says why it fails. */
class Stream extends XmppStream {
  failed: (error: Error) => void = () => {}

  override fail(error: StreamError): void {
    if (!this.closing) this.failed(error)
    super.fail(error)
  }

  override failWith(error: unknown): void {
    if (!(error instanceof StreamError) && error instanceof Error) this.failed(error)
    super.failWith(error)
  }
}

/** A socket whose bytes somebody else wants to see too. */
class ObservedTransport extends SocketTransport {
  observe: (chunk: Buffer) => void = () => {}

  override open(receiver: Receiver): void {
    super.open({
      ...receiver,
      data: chunk => {
        try {
          this.observe(chunk)
        } catch (error) {
          receiver.failed(error)
        }
        receiver.data(chunk)
      },
    })
  }
}

/**
 * A connection that was accepted, and the stream on it: what `session.connection` is. Events are those of old: `connect`,
 * `data`, `drain`, `end`, `disconnect`, `close`, and `error` where somebody listens to it.
 */
export class Connection extends EventEmitter<ConnectionEvents> implements StreamHandler {
  readonly inDoubt = false
  /** The peer's header said so. */
  streamTo: string | undefined
  readonly #speaker: Speaker
  readonly #framing: Framing
  readonly #around: Surroundings
  readonly #transport: ObservedTransport
  readonly #stream: Stream
  /** Both headers of this stream are there. */
  #open = false
  #parted = false
  #ended = false
  #failure: Error | undefined
  #resumed: PromiseWithResolvers<void> | undefined

  constructor(speaker: Speaker, socket: Socket, peer: Peer, framing: Framing, around: Surroundings) {
    super()
    this.#speaker = speaker
    this.#framing = framing
    this.#around = around
    this.#transport = new ObservedTransport(socket, peer, around.flusher)
    this.#transport.observe = chunk => this.emit('data', chunk)
    this.#stream = new Stream(this.#transport, framing, this, around, around.streamSettings())
    this.#stream.failed = error => this.#fail(error)
    this.#stream.accept()
    process.nextTick(() => this.emit('connect', this.socket))
  }

  /** The TCP socket; after STARTTLS the one of TLS. */
  get socket(): Socket {
    return this.#transport.socket
  }

  get isSecure(): boolean {
    return this.#transport.secured
  }

  /** Where it comes from. */
  get peer(): Peer {
    return this.#transport.peer
  }

  /** What our header says of the stream. */
  get streamAttrs(): { id: string | undefined; from: string } {
    return { id: this.#stream.id, from: this.name }
  }

  /** Nothing is sent or heard any more. */
  get closed(): boolean {
    return this.#stream.closing
  }

  // ---- for applications

  /**
   * Sends an element, wholly, whichever part of it is given; or a text or bytes as they are. What is sent before the stream is
   * open, or after its end, is dropped.
   *
   * @returns whether the peer keeps up; if not, `drain` says when it has
   * @throws XmlError on what has no XML form
   */
  send(stanza: ElementLike | string | Buffer): boolean {
    if (!this.#open || this.#stream.closing) return false
    const raw = typeof stanza === 'string' || Buffer.isBuffer(stanza)
    this.#stream.send(raw ? stanza : serialize(treeOf(stanza, this.#framing.contentNs)))
    const { backlog } = this.#transport
    if (backlog > this.#around.maxBacklog) this.#stream.abandon('the peer does not read what it is sent')
    return backlog < ENOUGH
  }

  /** Reads no more, until `resume`. */
  pause(): void {
    this.#resumed ??= Promise.withResolvers()
    this.#transport.pause()
  }

  resume(): void {
    const resumed = this.#resumed
    this.#resumed = undefined
    this.#transport.resume()
    resumed?.resolve()
  }

  /** Closes the stream, and the connection with it. */
  end(): void {
    if (this.#stream.id !== undefined) this.#stream.close()
    else this.#stream.abandon('ended before it began')
  }

  disconnect(): void {
    this.end()
  }

  /** Ends the stream with an error (RFC 6120 4.9.3). */
  error(condition: StreamCondition, text?: string): void {
    this.#stream.fail(new StreamError(condition, text))
  }

  // ---- for speakers

  /** Goes over to TLS; a new stream begins. */
  upgrade(options: Parameters<XmppStream['upgrade']>[0]): void {
    this.#open = false
    this.#stream.upgrade(options)
  }

  /** The peer begins its stream anew (RFC 6120 4.3.3). */
  restart(): void {
    this.#open = false
    this.#stream.restart()
  }

  /** The peer is known; more is taken of it. */
  admitted(): void {
    this.#stream.admitted()
  }

  /** The peer may stay, and be silent. */
  established(): void {
    this.#stream.established()
  }

  // ---- what the stream tells

  get name(): string {
    return this.#speaker.domain
  }

  get peerKind(): 'client' | 'component' {
    return this.#speaker.kind
  }

  get peerName(): undefined {
    return undefined
  }

  onHeader(header: PeerHeader): void {
    this.streamTo = header.to?.toString()
    this.#speaker.header(header)
  }

  onOpen(): void | Promise<void> {
    this.#open = true
    return this.#speaker.opened()
  }

  onElement(el: Element): void | Promise<void> {
    if (this.#resumed !== undefined) return this.#resumed.promise.then(() => this.onElement(el))
    if (this.closed) return // while it was paused
    if (el.name === 'error' && el.attrs['xmlns'] === NS.STREAM) return this.#peerFailed(el)
    const done = this.#speaker.element(stanzaOf(el))
    const paused = this.#resumed as PromiseWithResolvers<void> | undefined
    return done ?? paused?.promise
  }

  /** The peer ends its stream with an error; its end follows (RFC 6120 4.9.1.1). */
  #peerFailed(el: Element): void {
    const [condition] = el.children.filter(child => typeof child !== 'string')
    const text = el.getChild('text')
    const error = new Error((text && textOf(text)) || condition?.name || 'stream error')
    this.#fail(Object.assign(error, { stanza: el }))
  }

  onEnd(): void {
    this.#end()
  }

  onLeft(): void {
    this.onParted()
  }

  onDrain(): void {
    this.emit('drain')
  }

  /** There is nobody any more whom a paused stream waits for. */
  onParted(): void {
    if (this.#parted) return
    this.#parted = true
    this.#resumed?.resolve()
    this.#resumed = undefined
  }

  onGone(): void {
    this.#end()
    this.emit('disconnect', this.#failure)
    this.emit('close')
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    this.emit('end')
  }

  /** Never throws. */
  #fail(error: Error): void {
    this.#failure ??= error
    if (this.listenerCount('error') === 0) return
    try {
      this.emit('error', error)
    } catch (thrown) {
      this.#around.log.error({ err: thrown }, 'a listener to "error" failed')
    }
  }
}
