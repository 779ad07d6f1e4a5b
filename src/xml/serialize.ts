import { isQName } from './chars.ts'
import { type Attrs, type Element, MAX_DEPTH } from './element.ts'
import { XmlError } from './errors.ts'
import { PLAIN_NAMES } from './vocabulary.ts'

/**
 * The XML of a tree, in single quotes, without declaration. What it returns is always well-formed, whoever made the
 * tree: a receiver's stream must not die of a value that came through an API or a database.
 *
 * Attributes that are undefined or null are left out.
 * @throws {XmlError} on what has no XML form: a forbidden character, a bad name, an undeclared prefix (`stream:` is
 * taken as declared: every stream does), more than {@link MAX_DEPTH} levels.
 */
export function serialize(el: Element): string {
  return writeElement(el, undefined, 0, undefined)
}

/**
 * As {@link serialize}, with other values for some of the root's attributes, without cloning the tree. An attribute
 * given as undefined is left out.
 */
export function serializeWith(el: Element, attrs: Attrs): string {
  return writeElement(el, attrs, 0, undefined)
}

/**
 * Serialises a tree once for many receivers: the function returned gives the XML with this value for one attribute of
 * the root, and costs one escape and one concatenation.
 */
export function serializeFor(el: Element, name: string): (value: string) => string {
  if (!isQName(name) || name.includes(':')) throw new XmlError('not a plain attribute name')
  const head = `<${el.name}`
  const tail = writeElement(el, { [name]: undefined }, 0, undefined).slice(head.length)
  return value => `${head} ${name}='${escapeAttr(value)}'${tail}`
}

/** Prefixes declared by the elements around, innermost first. */
interface Declared {
  readonly prefix: string
  readonly next: Declared | undefined
}

function writeElement(el: Element, replaced: Attrs | undefined, depth: number, around: Declared | undefined): string {
  if (depth >= MAX_DEPTH) throw new XmlError('the tree is too deep')
  const name = el.name
  const attrs = el.attrs
  let declared = around
  let prefixed = checkName(name)
  let out = `<${name}`
  for (const key in attrs) {
    if (replaced !== undefined && Object.hasOwn(replaced, key)) continue
    const value = attrs[key]
    if (value === undefined || value === null) continue
    if (checkName(key)) {
      prefixed = true
      declared = declare(key, value, declared)
    }
    out += ` ${key}='${escapeAttr(value)}'`
  }
  if (replaced !== undefined) {
    for (const key in replaced) {
      const value = replaced[key]
      if (value === undefined || value === null) continue
      if (checkName(key)) {
        prefixed = true
        declared = declare(key, value, declared)
      }
      out += ` ${key}='${escapeAttr(value)}'`
    }
  }
  if (prefixed) {
    checkPrefix(name, declared)
    checkPrefixes(attrs, declared)
    if (replaced !== undefined) checkPrefixes(replaced, declared)
  }

  const children = el.children
  const count = children.length
  if (count === 0) return `${out}/>`
  out += '>'
  for (let i = 0; i < count; i++) {
    const child: unknown = children[i]
    if (typeof child === 'string') out += escapeText(child)
    else if (typeof child === 'object' && child !== null) {
      out += writeElement(child as Element, undefined, depth + 1, declared)
    } else if (child !== undefined && child !== null) out += escapeText(String(child))
  }
  return `${out}</${name}>`
}

/** Whether the name has a prefix. */
function checkName(name: string): boolean {
  if (PLAIN_NAMES.has(name)) return false
  if (!isQName(name)) throw new XmlError('not an XML name')
  return name.includes(':')
}

function declare(key: string, value: string, around: Declared | undefined): Declared | undefined {
  if (!key.startsWith('xmlns:')) return around
  if (value === '') throw new XmlError('a prefix declared as nothing')
  return { prefix: key.slice(6), next: around }
}

function checkPrefixes(attrs: Attrs, declared: Declared | undefined): void {
  for (const key in attrs) {
    if (attrs[key] !== undefined && !key.startsWith('xmlns:')) checkPrefix(key, declared)
  }
}

function checkPrefix(name: string, declared: Declared | undefined): void {
  const colon = name.indexOf(':')
  if (colon < 0) return
  const prefix = name.slice(0, colon)
  if (prefix === 'xml' || prefix === 'stream') return
  for (let at = declared; at; at = at.next) if (at.prefix === prefix) return
  throw new XmlError('a prefix that is not declared')
}

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
