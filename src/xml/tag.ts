import { CHARS, isQName, NAME_CHAR, NAME_START, SPACE, VALUE_STOP } from './chars.ts'
import { XmlStreamError } from './errors.ts'
import { type Reference, readReference } from './reference.ts'
import { nextHash, word, wordAt } from './vocabulary.ts'

/** An attribute without a prefix, or with the prefix `xml`. */
export const PLAIN = 0
/** `xmlns`. */
export const DEFAULT_NS = 1
/** `xmlns:` and a prefix. */
export const PREFIX_NS = 2
/** An attribute with a prefix. */
export const PREFIXED = 3

const QUOT = 34
const AMP = 38
const APOS = 39
const SLASH = 47
const COLON = 58
const LT = 60
const EQUALS = 61
const GT = 62

/**
 * Reads start tags. The input is the same bytes twice: as a string with one character per byte, which is what is
 * scanned, and as the buffer that the few values beyond ASCII are decoded from. What it read stands in its fields until
 * the next tag.
 */
export class TagReader {
  /** The name as written, with its prefix. */
  name = ''
  /** The name's bytes, one per character: what the end tag has to repeat. */
  wire = ''
  /** Where the colon in the name is, or -1. */
  colon = -1
  /** Whether it is an empty-element tag. */
  empty = false
  /** How many attributes there are, namespace declarations among them. */
  count = 0
  readonly names: string[] = []
  readonly values: string[] = []
  /** What each attribute is: {@link PLAIN} and so on. */
  readonly kinds: number[] = []
  /** Whether any attribute declares a namespace. */
  declares = false
  /** Whether any attribute has a prefix other than `xml` and `xmlns`. */
  prefixed = false

  #word = ''
  #value = ''
  #colon = -1
  readonly #reference: Reference = { end: 0, text: '' }

  /** Lets go of the strings of the last tag, which may keep a whole chunk alive. */
  forget(): void {
    const { names, values, kinds } = this
    if (names.length > 16) names.length = values.length = kinds.length = 0
    // Emptied, not truncated: growing three lists for each stanza is measurable.
    for (let i = 0; i < names.length; i++) names[i] = values[i] = ''
    this.name = this.wire = this.#word = this.#value = ''
  }

  /**
   * Reads the tag whose name begins at `at`. Returns the index after its `>`, or -1 when `end` comes first.
   * @throws {XmlStreamError}
   */
  read(text: string, bytes: Buffer, at: number, end: number, maxAttributes: number): number {
    this.count = 0
    this.declares = false
    this.prefixed = false
    let p = this.#readName(text, bytes, at, end)
    if (p < 0) return -1
    this.name = this.#word
    this.colon = this.#colon
    this.wire = this.name.length === p - at ? this.name : text.slice(at, p)
    for (;;) {
      let code = bytes[p]!
      const before = p
      while ((CHARS[code]! & SPACE) !== 0) {
        if (++p >= end) return -1
        code = bytes[p]!
      }
      if (code === GT) {
        this.empty = false
        this.#checkDuplicates()
        return p + 1
      }
      if (code === SLASH) {
        if (p + 1 >= end) return -1
        if (bytes[p + 1] !== GT) throw malformed('a slash inside a tag')
        this.empty = true
        this.#checkDuplicates()
        return p + 2
      }
      if (p === before) throw malformed('no white space before an attribute')
      if (this.count >= maxAttributes) throw new XmlStreamError('policy-violation', 'too many attributes')
      p = this.#readAttribute(text, bytes, p, end)
      if (p < 0 || p >= end) return -1
    }
  }

  #readAttribute(text: string, bytes: Buffer, at: number, end: number): number {
    let p = this.#readName(text, bytes, at, end)
    if (p < 0) return -1
    const name = this.#word
    p = skipSpace(bytes, p, end)
    if (p >= end) return -1
    if (bytes[p]! !== EQUALS) throw malformed('an attribute without a value')
    p = skipSpace(bytes, p + 1, end)
    if (p >= end) return -1
    const quote = bytes[p]!
    if (quote !== APOS && quote !== QUOT) throw malformed('an attribute value without quotes')

    let kind = PLAIN
    if (this.#colon >= 0) {
      if (name.startsWith('xmlns:')) kind = PREFIX_NS
      else if (!name.startsWith('xml:')) kind = PREFIXED
    } else if (name === 'xmlns') kind = DEFAULT_NS
    const declares = kind === DEFAULT_NS || kind === PREFIX_NS
    if (declares) this.declares = true
    else if (kind === PREFIXED) this.prefixed = true

    const next = this.#readValue(text, bytes, p + 1, end, quote, declares)
    if (next < 0) return -1
    this.names[this.count] = name
    this.kinds[this.count] = kind
    this.values[this.count++] = this.#value
    return next
  }

  /** Leaves the name in `#word`; returns the index after it, or -1. */
  #readName(text: string, bytes: Buffer, at: number, end: number): number {
    let hash = 0
    let colon = -1
    let high = 0
    let wanted = NAME_START
    let p = at
    for (; p < end; p++) {
      const code = bytes[p]!
      if (code === COLON) {
        if (colon >= 0 || p === at) throw malformed('a misplaced colon in a name')
        colon = p - at
        wanted = NAME_START
      } else {
        if (code < 128 && (CHARS[code]! & wanted) === 0) break
        high |= code
        wanted = NAME_CHAR
      }
      hash = nextHash(hash, code)
    }
    if (p >= end) return -1
    if (p === at || colon === p - at - 1) throw malformed('not a name')
    if (high < 128) {
      this.#word = wordAt(bytes, text, at, p, hash)
      this.#colon = colon
    } else {
      const name = bytes.toString('utf8', at, p)
      if (!isQName(name)) throw malformed('not a name')
      this.#word = name
      this.#colon = name.indexOf(':')
    }
    return p
  }

  /** Leaves the value in `#value`; returns the index after the closing quote, or -1. */
  #readValue(text: string, bytes: Buffer, at: number, end: number, quote: number, declares: boolean): number {
    let high = 0
    for (let p = at; p < end; p++) {
      const code = bytes[p]!
      if (code === quote) {
        if (high >= 128) this.#value = decode(bytes, at, p)
        else this.#value = declares ? word(bytes, text, at, p) : text.slice(at, p)
        return p + 1
      }
      if (code < EQUALS && (CHARS[code]! & VALUE_STOP) !== 0) return this.#readLongValue(text, bytes, at, p, end, quote)
      high |= code
    }
    return -1
  }

  /** The rest of a value in which something has to be replaced, at `at` for the first time. XML 1.0, 3.3.3. */
  #readLongValue(text: string, bytes: Buffer, from: number, at: number, end: number, quote: number): number {
    let value = decode(bytes, from, at)
    let p = at
    while (p < end) {
      const code = bytes[p]!
      if (code === quote) {
        this.#value = value
        return p + 1
      }
      if ((CHARS[code]! & VALUE_STOP) === 0) {
        const start = p
        for (; p < end; p++) {
          const next = bytes[p]!
          if (next === quote || (CHARS[next]! & VALUE_STOP) !== 0) break
        }
        value += decode(bytes, start, p)
      } else if (code === AMP) {
        if (!readReference(text, p, end, this.#reference)) return -1
        value += this.#reference.text
        p = this.#reference.end
      } else if (code === LT) throw malformed('< in an attribute value')
      else if ((CHARS[code]! & SPACE) !== 0) {
        if (code === 13 && bytes[p + 1] === 10) p++
        value += ' '
        p++
      } else throw malformed('a character that XML forbids')
    }
    return -1
  }

  #checkDuplicates(): void {
    const { names, count } = this
    let twice = false
    if (count > 16) twice = new Set(names.slice(0, count)).size !== count
    else {
      for (let i = 1; i < count; i++) for (let k = 0; k < i; k++) if (names[i] === names[k]) twice = true
    }
    if (twice) throw malformed('an attribute given twice')
  }
}

/** The UTF-8 (known to be valid) between two places. */
export function decode(bytes: Buffer, from: number, to: number): string {
  if (from === to) return ''
  const text = bytes.toString('utf8', from, to)
  if (text.includes('\uFFFE') || text.includes('\uFFFF')) throw malformed('a character that XML forbids')
  return text
}

function skipSpace(bytes: Uint8Array, at: number, end: number): number {
  let p = at
  while (p < end && (CHARS[bytes[p]!]! & SPACE) !== 0) p++
  return p
}

/** `not-well-formed`, for this reason. */
export function malformed(why: string): XmlStreamError {
  return new XmlStreamError('not-well-formed', why)
}
