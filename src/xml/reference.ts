import { CHARS, isXmlChar, NAME_CHAR, NAME_START } from './chars.ts'
import { XmlStreamError } from './errors.ts'

/** Longer ones (`&#x0000000000041;`) are refused, so that an unfinished one is never worth more than a few bytes. */
const MAX_LENGTH = 16

/** Where the last reference read ends, and the character it stands for. One per parser: it is read at once. */
export interface Reference {
  end: number
  text: string
}

/**
 * Reads the reference that begins (with its `&`) at `at`. Returns false when `text` ends before it does.
 * @throws {XmlStreamError} `restricted-xml` for an entity other than the five predefined (RFC 6120 11.1),
 * `not-well-formed` for what is no reference or stands for a character that XML forbids
 */
export function readReference(text: string, at: number, limit: number, into: Reference): boolean {
  const last = Math.min(limit, at + MAX_LENGTH)
  let end = at + 1
  if (end >= limit) return false
  const numeric = text.charCodeAt(end) === 0x23
  if (numeric) end++
  const hex = numeric && end < last && text.charCodeAt(end) === 0x78
  if (hex) end++
  const from = end
  let value = 0
  for (; end < last; end++) {
    const code = text.charCodeAt(end)
    if (code === 0x3b) {
      if (end === from) break
      into.end = end + 1
      into.text = numeric ? character(value) : predefined(text.slice(from, end))
      return true
    }
    if (numeric) {
      const digit = digitOf(code, hex)
      if (digit < 0) break
      value = Math.min(value * (hex ? 16 : 10) + digit, 0x110000)
    } else if (code < 128 && (CHARS[code]! & (end === from ? NAME_START : NAME_CHAR)) === 0) break
  }
  if (end === limit && limit < at + MAX_LENGTH) return false
  if (end === last && !numeric) throw undeclared()
  throw new XmlStreamError('not-well-formed', 'not a reference')
}

function digitOf(code: number, hex: boolean): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  if (!hex) return -1
  const lower = code | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}

function character(value: number): string {
  if (!isXmlChar(value)) throw new XmlStreamError('not-well-formed', 'a reference to a character that XML forbids')
  return String.fromCodePoint(value)
}

function predefined(name: string): string {
  switch (name) {
    case 'lt':
      return '<'
    case 'gt':
      return '>'
    case 'amp':
      return '&'
    case 'apos':
      return "'"
    case 'quot':
      return '"'
    default:
      throw undeclared()
  }
}

function undeclared(): XmlStreamError {
  return new XmlStreamError('restricted-xml', 'an entity reference that is not one of the five predefined ones')
}
