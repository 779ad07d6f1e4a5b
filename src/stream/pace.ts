import type { Shaper } from '../net/shaper.ts'
import type { StreamReader } from './framing.ts'
import { Portion, type Rounds } from './rounds.ts'
import type { XmppStream } from './stream.ts'

/** Unparsed bytes that may wait while a stanza is being handled; beyond, the connection is not read. */
const MAX_UNPARSED = 64 * 1024
/** Bytes that never wait for others' turns: all but what is much work. */
const SMALL = 2048

/**
 * When a stream handles what it reads, and reads more: one thing at a time, in turn with other streams, and as fast as its
 * shaper allows.
 */
export class Pace {
  /** Of the stream that is on the connection now. */
  reader: StreamReader
  readonly #stream: XmppStream
  readonly #rounds: Rounds
  readonly #shaper: Shaper | undefined
  readonly #portion = new Portion()
  /** Stanzas since the shaper was last asked. */
  #stanzas = 0
  #handling = false
  #halted = false
  /** Others have their turn, though there may be more to be handled. */
  #resting = false
  #slowed: NodeJS.Timeout | undefined
  #whenHandled: () => void = () => {}

  constructor(stream: XmppStream, reader: StreamReader, rounds: Rounds, shaper: Shaper | undefined) {
    this.#stream = stream
    this.reader = reader
    this.#rounds = rounds
    this.#shaper = shaper
  }

  /** Bytes came. */
  read(chunk: Buffer): void {
    if (chunk.length > SMALL && !this.#handling && this.#rounds.isLate()) this.waitFor(this.#othersFirst())
    this.reader.write(chunk)
  }

  /** They are read, and handled as far as that could be. */
  wasRead(bytes: number): void {
    this.#pay(bytes)
    if (this.#handling && this.reader.rest().length > MAX_UNPARSED) this.#stream.transport.pause()
  }

  /** A stanza is handled, or will be. */
  handled(done: void | Promise<void>): void {
    this.#stanzas++
    const enough = this.#rounds.spend(this.#portion)
    if (done instanceof Promise) this.waitFor(enough ? done.then(() => this.#othersFirst()) : done)
    else if (enough) this.waitFor(this.#othersFirst())
  }

  /** There may be much more of this stream to be handled: others have their turn, and what was handled is paid for. */
  async #othersFirst(): Promise<void> {
    this.#resting = true
    this.#pay(0)
    await this.#rounds.next()
    this.#resting = false
  }

  /** What follows waits until this is done. */
  waitFor(done: Promise<void>): void {
    this.#handling = true
    this.reader.pause()
    done
      .catch((error: unknown) => this.#stream.failWith(error))
      .then(() => {
        this.#handling = false
        if (this.#halted) return this.#whenHandled()
        this.#goOn()
      })
      .catch((error: unknown) => this.#stream.failWith(error))
  }

  #pay(bytes: number): void {
    if (this.#shaper === undefined) return
    const wait = this.#shaper.spend(bytes, this.#stanzas)
    this.#stanzas = 0
    if (wait > 0) this.#slow(wait)
  }

  /** Reads no further for a while, and handles nothing of what was read: the peer is faster than its shaper allows. */
  #slow(ms: number): void {
    this.reader.pause()
    this.#stream.transport.pause()
    clearTimeout(this.#slowed)
    this.#slowed = setTimeout(() => {
      this.#slowed = undefined
      try {
        this.#goOn()
      } catch (error) {
        this.#stream.failWith(error)
      }
    }, ms)
  }

  get #mayNot(): boolean {
    return this.#halted || this.#handling || this.#slowed !== undefined
  }

  /** Goes on, with what was read and then with the connection, unless there is a reason left not to. */
  #goOn(): void {
    if (this.#mayNot) return
    this.reader.resume()
    this.#stream.wentOn()
    if (!this.#mayNot) this.#stream.transport.resume()
  }

  /** There may be more to be handled, though nothing is being waited for but time. */
  get mustWait(): boolean {
    return this.#resting || this.#slowed !== undefined
  }

  /** Reads no more; resolves when what is being handled is done, or after `timeout` ms. */
  halt(timeout: number): Promise<void> {
    this.#halted = true
    this.reader.pause()
    this.#stream.transport.pause()
    if (!this.#handling) return Promise.resolve()
    return new Promise(resolve => {
      const timer = setTimeout(resolve, timeout)
      this.#whenHandled = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  stop(): void {
    clearTimeout(this.#slowed)
  }
}
