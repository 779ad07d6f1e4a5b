import { Transform, type TransformCallback, type Writable } from 'node:stream'
import type { Pace } from '../core/http.ts'

/**
 * Passes on so many bytes, not more and not less (what ends early fails, so that nobody takes a part for the whole), or any
 * number up to a limit, and gives up whoever is slower than the pace. There is a credit of time that runs out while
 * the other side is waited for, and that each byte renews by what it may take: so a pause is nobody's fault, and a drip is.
 */
export class Paced extends Transform {
  readonly #pace: Pace
  readonly #bytes: number | { most: number }
  #credit: number
  #size = 0
  readonly #timer: NodeJS.Timeout

  /**
   * @param bytes how many there are, or how many there may be
   * @param waited whether it is the client that is waited for now
   * @param slow what is done to a client that is too slow
   */
  constructor(pace: Pace, bytes: number | { most: number }, waited: (stream: Writable) => boolean, slow: () => void) {
    super()
    this.#pace = pace
    this.#bytes = bytes
    this.#credit = pace.grace
    const step = Math.min(1000, Math.max(10, pace.grace / 4))
    this.#timer = setInterval(() => {
      if (waited(this)) this.#credit -= step
      if (this.#credit < 0) slow()
    }, step)
    this.once('close', () => clearInterval(this.#timer))
    this.on('error', () => {}) // whoever reads it hears of it; nobody may have begun
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#size += chunk.length
    const { rate, grace } = this.#pace
    this.#credit = Math.min(grace, this.#credit + (chunk.length / rate) * 1000)
    const most = typeof this.#bytes === 'number' ? this.#bytes : this.#bytes.most
    if (this.#size > most) done(new TypeError(`a body of more than ${most} bytes`))
    else done(null, chunk)
  }

  override _flush(done: TransformCallback): void {
    const early = typeof this.#bytes === 'number' && this.#size < this.#bytes
    done(early ? new TypeError(`a body of ${this.#size} bytes where ${this.#bytes} were to come`) : null)
  }
}
