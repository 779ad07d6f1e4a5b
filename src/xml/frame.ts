/**
 * Finds where a tag ends in bytes that come piecemeal, so that a tag is parsed once, when it is whole: what a dripped
 * tag costs is one look at each byte.
 */
export class TagFrame {
  /** 0 between attributes, 61 (`=`) before a value, else the quote that closes the value it is in. */
  #state = 0

  /** Begins anew, after the `<`. */
  reset(): void {
    this.#state = 0
  }

  /**
   * Looks at the bytes from `from` to `to`. Returns the index after the one that ends the tag, or -1 if none does: the
   * `>`, or a byte that makes it malformed whatever follows.
   */
  scan(bytes: Uint8Array, from: number, to: number): number {
    let state = this.#state
    for (let i = from; i < to; i++) {
      const byte = bytes[i]!
      // `<` and control characters are nowhere allowed in a tag.
      if (byte === LT || (byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d)) return i + 1
      if (state === 0) {
        if (byte === EQUALS) state = EQUALS
        else if (byte === GT || byte === APOS || byte === QUOT) return i + 1
      } else if (state !== EQUALS) {
        if (byte === state) state = 0
      } else if (byte === APOS || byte === QUOT) state = byte
      else if (byte > 0x20) return i + 1
    }
    this.#state = state
    return -1
  }
}

const QUOT = 34
const APOS = 39
const LT = 60
const EQUALS = 61
const GT = 62
