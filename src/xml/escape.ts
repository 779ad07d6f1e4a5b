import { XmlError } from './errors.ts'

const LT = 60
const GT = 62
const AMP = 38
const APOS = 39

/** A value as it stands between single quotes. White space that a parser would normalise becomes a reference. */
export function escapeAttr(value: string): string {
  // A number or a boolean that code without types put there serialises as ltx would.
  const text = typeof value === 'string' ? value : String(value)
  const length = text.length
  let out = ''
  let from = 0
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i)
    if (code > APOS ? code !== LT && code < 0xd800 : code > 31 && code < AMP) continue
    let reference: string
    if (code === APOS) reference = '&apos;'
    else if (code === AMP) reference = '&amp;'
    else if (code === LT) reference = '&lt;'
    else if (code === 9) reference = '&#x9;'
    else if (code === 10) reference = '&#xA;'
    else if (code === 13) reference = '&#xD;'
    else {
      i = checkHigh(text, i, code)
      continue
    }
    out += text.slice(from, i) + reference
    from = i + 1
  }
  return from === 0 ? text : out + text.slice(from)
}

/** A value as text between tags. A carriage return becomes a reference: a parser would turn it into a line feed. */
export function escapeText(text: string): string {
  const length = text.length
  let out = ''
  let from = 0
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i)
    if (code > AMP ? code !== LT && code !== GT && code < 0xd800 : code > 31 && code !== AMP) continue
    let reference: string
    if (code === LT) reference = '&lt;'
    else if (code === GT) reference = '&gt;'
    else if (code === AMP) reference = '&amp;'
    else if (code === 13) reference = '&#xD;'
    else if (code === 9 || code === 10) continue
    else {
      i = checkHigh(text, i, code)
      continue
    }
    out += text.slice(from, i) + reference
    from = i + 1
  }
  return from === 0 ? text : out + text.slice(from)
}

/** Passes one character at or above U+D800 (two units if it is a pair); returns the index of its last unit. */
function checkHigh(text: string, at: number, code: number): number {
  if (code >= 0xe000 && code < 0xfffe) return at
  if (code >= 0xd800 && code < 0xdc00) {
    const low = text.charCodeAt(at + 1)
    if (low >= 0xdc00 && low < 0xe000) return at + 1
  }
  throw new XmlError('a character that XML forbids')
}
