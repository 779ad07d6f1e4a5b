/**
 * Ordered keys: tuples of strings and finite numbers as one string, and back.
 *
 * The text of a tuple sorts as the tuple does, both compared by `<` in JavaScript and byte by byte as UTF-8, and the text
 * of a tuple is a prefix of the texts of its extensions and of no other. A part is a tag, then
 *
 * - `n` and eleven digits: the 64 bits of the double, sign folded so that they order as unsigned;
 * - `s`, the characters, NUL. Characters that would break the order or the end mark are escaped.
 *
 * Numbers sort before strings, strings by code point. -0 becomes 0.
 */

/** Longest text of a key in UTF-16 units: far above three full JIDs, below every database's limit (64 KiB) in UTF-8. */
export const MAX_KEY_LENGTH = 16_384

/** Sorts after every tag: `text + AFTER` is above all extensions of `text` and below all that is not. */
export const AFTER = '\x7f'

// In ASCII order, so that digits compare as the bits do.
const DIGITS = '-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz'
const NUMBER_LENGTH = 11
const VALUES = Array.from({ length: 128 }, (_, code) => DIGITS.indexOf(String.fromCharCode(code)))

// Scratch for one conversion; nothing is kept in it between calls.
const double = new Float64Array(1)
const words = new Uint32Array(double.buffer)
const HIGH = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 1 : 0
const LOW = 1 - HIGH

// What needs a second look: our marks (NUL, SOH), and what UTF-16 sorts unlike UTF-8 (surrogates, U+E000 and above).
const UNUSUAL = /[^\x02-\ud7fe]/
const TO_ESCAPE = /[\0\x01\ud7ff\ue000-\uffff]/g
const ESCAPED = /\x01([\x01\x02])|\ud7ff([\ud7ff\ue000-\uffff])/g
const HAS_ESCAPE = /[\x01\ud7ff]/

/** Text of a tuple. Throws a TypeError for NaN, infinities, lone surrogates, other types, and what is too long. */
export function encodeTuple(key: readonly (string | number)[]): string {
  let text = ''
  for (let i = 0; i < key.length; i++) {
    const part = key[i]
    if (typeof part === 'string') text += UNUSUAL.test(part) ? `s${escapePart(part)}\0` : `s${part}\0`
    else text += encodeNumber(part as number)
  }
  if (text.length > MAX_KEY_LENGTH) {
    throw new TypeError(`key too long: ${text.length} characters, at most ${MAX_KEY_LENGTH}`)
  }
  return text
}

/** The tuple of a text made by {@link encodeTuple}. Throws a TypeError for anything else. */
export function decodeTuple(text: string): (string | number)[] {
  const { key, end } = readTuple(text, 0)
  if (end !== text.length) throw new TypeError(`not a key: no tag at ${end} in ${JSON.stringify(text)}`)
  return key
}

/** Reads parts from `start` until something that is not a part; `end` is where it stands. */
export function readTuple(text: string, start: number): { key: (string | number)[]; end: number } {
  const key: (string | number)[] = []
  let at = start
  for (;;) {
    const tag = text[at]
    if (tag === 's') {
      const end = text.indexOf('\0', at)
      if (end < 0) throw new TypeError(`not a key: unfinished string at ${at} in ${JSON.stringify(text)}`)
      const part = text.slice(at + 1, end)
      key.push(HAS_ESCAPE.test(part) ? unescapePart(part) : part)
      at = end + 1
    } else if (tag === 'n') {
      key.push(decodeNumber(text, at + 1))
      at += 1 + NUMBER_LENGTH
    } else {
      return { key, end: at }
    }
  }
}

function escapePart(part: string): string {
  if (!part.isWellFormed()) throw new TypeError(`key part with a lone surrogate: ${JSON.stringify(part)}`)
  // U+D7FF goes before U+E000..U+FFFF: thus they stay below the surrogates, as in UTF-8.
  return part.replace(TO_ESCAPE, char => (char === '\0' ? '\x01\x01' : char === '\x01' ? '\x01\x02' : `\ud7ff${char}`))
}

function unescapePart(part: string): string {
  return part.replace(ESCAPED, (_, mark?: string, high?: string) => high ?? (mark === '\x01' ? '\0' : '\x01'))
}

function encodeNumber(part: number): string {
  if (!Number.isFinite(part)) throw new TypeError(`key part is neither a string nor a finite number: ${String(part)}`)
  double[0] = part + 0 // -0 + 0 is 0
  let high = words[HIGH]!
  let low = words[LOW]!
  if (high & 0x80000000) {
    high = ~high
    low = ~low
  } else {
    high ^= 0x80000000
  }
  return (
    'n' +
    DIGITS[high >>> 26] +
    DIGITS[(high >>> 20) & 63] +
    DIGITS[(high >>> 14) & 63] +
    DIGITS[(high >>> 8) & 63] +
    DIGITS[(high >>> 2) & 63] +
    DIGITS[((high & 3) << 4) | (low >>> 28)] +
    DIGITS[(low >>> 22) & 63] +
    DIGITS[(low >>> 16) & 63] +
    DIGITS[(low >>> 10) & 63] +
    DIGITS[(low >>> 4) & 63] +
    DIGITS[(low & 15) << 2]
  )
}

function decodeNumber(text: string, start: number): number {
  const digit = (i: number): number => {
    const value = VALUES[text.charCodeAt(start + i)] ?? -1
    if (value < 0) throw new TypeError(`not a key: no number at ${start} in ${JSON.stringify(text)}`)
    return value
  }
  const middle = digit(5)
  let high = (digit(0) << 26) | (digit(1) << 20) | (digit(2) << 14) | (digit(3) << 8) | (digit(4) << 2) | (middle >>> 4)
  let low =
    (middle << 28) | (digit(6) << 22) | (digit(7) << 16) | (digit(8) << 10) | (digit(9) << 4) | (digit(10) >>> 2)
  if (high & 0x80000000) {
    high ^= 0x80000000
  } else {
    high = ~high
    low = ~low
  }
  words[HIGH] = high
  words[LOW] = low
  return double[0]!
}
