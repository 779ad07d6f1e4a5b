import { TagFrame } from './frame.ts'
import { Utf8Checker } from './utf8.ts'

const NOTHING = Buffer.alloc(0)
const LT = 60
const EXCLAMATION = 33
const QUESTION = 63

/**
 * The bytes a parser has to parse: the chunk in work, the chunks that wait behind it, and the beginning of a token that
 * the next chunk has to complete. Each byte is looked at a constant number of times, however the chunks are cut.
 */
export class Input {
  /** The bytes in work: an unfinished token of before, if any, then a chunk. */
  bytes: Buffer = NOTHING
  /** The same, one character per byte: what is scanned. */
  text = ''
  /** Up to where the bytes are whole, valid UTF-8. */
  valid = 0
  /** Whether what follows `valid` can never become UTF-8. */
  broken = false

  readonly #waiting: Buffer[] = []
  readonly #utf8 = new Utf8Checker()
  readonly #frame = new TagFrame()
  #held: Buffer = NOTHING
  #heldLength = 0
  #heldValid = 0
  #inTag = false

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    this.#waiting.push(Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
  }

  get waiting(): boolean {
    return this.#waiting.length > 0
  }

  /** Whether there are bytes in work. */
  get active(): boolean {
    return this.bytes.length > 0
  }

  /** Whether the beginning of a token is held. */
  get unfinished(): boolean {
    return this.#heldLength > 0
  }

  /** Bytes of memory in use: held, in work or waiting. */
  get size(): number {
    let size = this.#held.length + this.bytes.length
    for (const chunk of this.#waiting) size += chunk.length
    return size
  }

  /** How many bytes of an unfinished token are held, not counting those of an unfinished character. */
  get held(): number {
    return this.#heldValid
  }

  /**
   * Puts the next chunk in work. Returns whether there is anything to parse: a chunk that does not complete the tag
   * that is held is only added to it.
   */
  next(): boolean {
    const chunk = this.#waiting.shift()
    if (chunk === undefined) return false
    const bad = this.#utf8.check(chunk)
    this.broken = bad !== undefined
    const valid = bad ?? chunk.length - this.#utf8.tail
    if (this.#inTag && this.#frame.scan(chunk, 0, Math.max(0, valid)) < 0) {
      this.#heldValid = this.#heldLength + valid
      this.#hold(chunk)
      return false
    }
    this.valid = this.#heldLength + valid
    this.bytes = this.#heldLength === 0 ? chunk : Buffer.concat([this.#held.subarray(0, this.#heldLength), chunk])
    this.text = this.bytes.toString('latin1', 0, this.valid)
    this.#held = NOTHING
    this.#heldLength = this.#heldValid = 0
    this.#inTag = false
    return true
  }

  /**
   * Keeps the bytes in work from `at` on, the beginning of a token, for the next chunk to complete. Returns false if no
   * byte could: it is a tag, and as complete as it can get.
   */
  suspend(at: number): boolean {
    const { bytes, valid } = this
    this.#heldValid = valid - at
    if (at < bytes.length) {
      const second = bytes[at + 1]
      this.#inTag = bytes[at] === LT && second !== undefined && second !== EXCLAMATION && second !== QUESTION
      if (this.#inTag) {
        this.#frame.reset()
        if (this.#frame.scan(bytes, at + 1, valid) >= 0) return false
      }
      this.#hold(bytes.subarray(at))
    }
    this.bytes = NOTHING
    this.text = ''
    this.valid = 0
    return true
  }

  /** Whether a tag that begins at `at` is complete: whatever follows, it will not change. */
  isWholeTag(at: number, end: number): boolean {
    this.#frame.reset()
    return this.#frame.scan(this.bytes, at + 1, end) >= 0
  }

  /** Everything that is not parsed: from `at` in the bytes in work, or the token held, and the chunks behind. */
  rest(at: number): Buffer {
    return Buffer.concat([this.#held.subarray(0, this.#heldLength), this.bytes.subarray(at), ...this.#waiting])
  }

  #hold(bytes: Buffer): void {
    const needed = this.#heldLength + bytes.length
    if (this.#held.length < needed) {
      const larger = Buffer.allocUnsafe(needed <= 16 ? needed : needed * 2)
      this.#held.copy(larger, 0, 0, this.#heldLength)
      this.#held = larger
    }
    bytes.copy(this.#held, this.#heldLength)
    this.#heldLength = needed
  }
}
