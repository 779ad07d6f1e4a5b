import { isQName } from './chars.ts'
import { compacted } from './compact.ts'
import { type Attrs, type Element, MAX_DEPTH } from './element.ts'
import { XmlError } from './errors.ts'
import { escapeAttr, escapeText } from './escape.ts'
import { PLAIN_NAMES } from './vocabulary.ts'

/** From so many characters on it is worth looking whether namespaces are declared again and again. */
const LONG = 2048

/**
 * The XML of a tree, in single quotes, without declaration. What it returns is always well-formed, whoever made the
 * tree: a receiver's stream must not die of a value that came through an API or a database.
 *
 * Attributes that are undefined or null are left out.
 * @throws {XmlError} on what has no XML form: a forbidden character, a bad name, an undeclared prefix (`stream:` is
 * taken as declared: every stream does), more than {@link MAX_DEPTH} levels.
 */
export function serialize(el: Element): string {
  return write(el, undefined)
}

/**
 * Serialises a tree once for many receivers: the function returned gives the XML with this value for one attribute of
 * the root, and costs one escape and one concatenation.
 */
export function serializeFor(el: Element, name: string): (value: string) => string {
  if (!isQName(name) || name.includes(':')) throw new XmlError('not a plain attribute name')
  const start = `<${el.name}`
  const rest = write(el, name).slice(start.length)
  const [head, tail] = [`${start} ${name}='`, `'${rest}`]
  return value => head + escapeAttr(value) + tail
}

/** @param without an attribute of the root */
function write(el: Element, without: string | undefined): string {
  const text = writeElement(el, without, 0, undefined)
  return text.length < LONG ? text : (compacted(el, without, text.length) ?? text)
}

/** Prefixes declared by the elements around, innermost first. */
interface Declared {
  readonly prefix: string
  readonly next: Declared | undefined
}

function writeElement(el: Element, without: string | undefined, depth: number, around: Declared | undefined): string {
  if (depth >= MAX_DEPTH) throw new XmlError('the tree is too deep')
  const name = el.name
  const attrs = el.attrs
  let declared = around
  let prefixed = checkName(name)
  let out = `<${name}`
  for (const key in attrs) {
    const value = attrs[key]
    if (value === undefined || value === null || key === without) continue
    if (checkName(key)) {
      prefixed = true
      declared = declare(key, value, declared)
    }
    out += ` ${key}='${escapeAttr(value)}'`
  }
  if (prefixed) {
    checkPrefix(name, declared)
    checkPrefixes(attrs, declared)
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
