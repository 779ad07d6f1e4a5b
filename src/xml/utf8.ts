import { isUtf8 } from 'node:buffer'

/**
 * Checks UTF-8 as it arrives, cut anywhere: overlong forms, surrogates, codes above U+10FFFF and stray bytes are
 * refused (RFC 3629, table 3-7 of the Unicode standard).
 */
export class Utf8Checker {
  /** Bytes still wanted by the sequence at the end of what was checked. */
  #wanted = 0
  /** Bytes of that sequence so far. */
  #held = 0
  #lowest = 0x80
  #highest = 0xbf

  /** How many bytes at the end of what was checked are the beginning of a character, 0 to 3. */
  get tail(): number {
    return this.#held
  }

  /**
   * Checks the next bytes. Returns undefined when all is well so far, else how many of `chunk`'s bytes stand before the first
   * bad sequence: a negative number when it began in an earlier chunk. After that the checker is of no more use.
   */
  check(chunk: Uint8Array): number | undefined {
    if (this.#wanted === 0 && isUtf8(chunk)) return undefined
    let start = -this.#held
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i]!
      if (this.#wanted === 0) {
        if (byte < 0x80) continue
        start = i
        if (!this.#begin(byte)) return start
      } else {
        if (byte < this.#lowest || byte > this.#highest) return start
        this.#lowest = 0x80
        this.#highest = 0xbf
        this.#held++
        if (--this.#wanted === 0) this.#held = 0
      }
    }
    return undefined
  }

  #begin(byte: number): boolean {
    if (byte < 0xc2 || byte > 0xf4) return false
    this.#wanted = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3
    this.#held = 1
    this.#lowest = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80
    this.#highest = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf
    return true
  }
}
