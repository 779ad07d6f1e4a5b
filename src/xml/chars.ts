/**
 * What XML 1.0 (fifth edition) and Namespaces in XML say of single characters, as tables for codes below 128 and as
 * expressions for the rest.
 */

/** Bits of {@link CHARS}. */
export const NAME_START = 1
export const NAME_CHAR = 2
export const SPACE = 4
/** Stops a run of text: `<`, `&`, `]`, CR, and what XML forbids. */
export const TEXT_STOP = 8
/** Stops a run of an attribute's value: `<`, `&`, the white space that is normalised, and what XML forbids. */
export const VALUE_STOP = 16
/** Not a character of XML 1.0. */
export const FORBIDDEN = 32

/** The classes of the codes 0 to 255. Those from 128 up are bytes of UTF-8 sequences: ordinary here. */
export const CHARS: Uint8Array = makeTable()

function makeTable(): Uint8Array {
  const table = new Uint8Array(256)
  for (let code = 0; code < 32; code++) table[code] = FORBIDDEN | TEXT_STOP | VALUE_STOP
  table[0x09] = table[0x0a] = SPACE | VALUE_STOP
  table[0x0d] = SPACE | VALUE_STOP | TEXT_STOP
  table[0x20] = SPACE
  for (const sign of '<&') table[sign.charCodeAt(0)] = TEXT_STOP | VALUE_STOP
  table[0x5d] = TEXT_STOP
  for (const sign of '-.0123456789') table[sign.charCodeAt(0)] = NAME_CHAR
  for (const sign of '_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ') {
    table[sign.charCodeAt(0)] = NAME_START | NAME_CHAR
  }
  return table
}

const START =
  'A-Z_a-z\\u{C0}-\\u{D6}\\u{D8}-\\u{F6}\\u{F8}-\\u{2FF}\\u{370}-\\u{37D}\\u{37F}-\\u{1FFF}\\u{200C}-\\u{200D}' +
  '\\u{2070}-\\u{218F}\\u{2C00}-\\u{2FEF}\\u{3001}-\\u{D7FF}\\u{F900}-\\u{FDCF}\\u{FDF0}-\\u{FFFD}\\u{10000}-\\u{EFFFF}'
const NCNAME = `[${START}][${START}\\-.0-9\\u{B7}\\u{300}-\\u{36F}\\u{203F}-\\u{2040}]*`
const QNAME = new RegExp(`^${NCNAME}(?::${NCNAME})?$`, 'u')

/** Whether this is a QName: an XML name with at most one colon, which stands between two names. */
export function isQName(name: string): boolean {
  const length = name.length
  if (length === 0 || (CHARS[name.charCodeAt(0)]! & NAME_START) === 0) return QNAME.test(name)
  for (let i = 1; i < length; i++) {
    const code = name.charCodeAt(i)
    if (code > 127 || (CHARS[code]! & NAME_CHAR) === 0) return QNAME.test(name)
  }
  return true
}

/** Whether a code point is a Char of XML 1.0 (production 2). */
export function isXmlChar(code: number): boolean {
  if (code < 0x20) return code === 0x09 || code === 0x0a || code === 0x0d
  if (code < 0xd800) return true
  return (code > 0xdfff && code < 0xfffe) || (code > 0xffff && code <= 0x10ffff)
}
