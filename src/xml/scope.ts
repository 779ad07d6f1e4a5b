import { type Attrs, Element, setAttr } from './element.ts'
import { XmlStreamError } from './errors.ts'
import { NS } from './ns.ts'
import { DEFAULT_NS, malformed, PLAIN, PREFIX_NS, PREFIXED, type TagReader } from './tag.ts'

/** A namespace prefix in scope, and the ones declared before it. */
interface Prefix {
  readonly prefix: string
  readonly uri: string
  readonly next: Prefix | undefined
  /** How many there are, this one included. */
  readonly size: number
}

/** An element whose end tag is still to come. */
export interface Open {
  readonly el: Element
  /** What its end tag has to repeat, byte for byte. */
  readonly wire: string
  /** The namespace the element itself is in. */
  readonly ns: string
  /** The namespace of names without a prefix inside it. */
  readonly defaultNs: string
  readonly prefixes: Prefix | undefined
  readonly up: Open | undefined
  /** How many characters of namespaces the element carries that its own tag did not spell out. */
  readonly repeated: number
  /** Bytes of memory that the element takes, without its children, by estimate. */
  readonly size: number
}

/** What an element takes, and an attribute beside its texts: measured, rounded up. */
const ELEMENT_SIZE = 160
const ATTRIBUTE_SIZE = 64

/**
 * Makes the element a tag stands for, in its canonical form: no prefix in the name, `attrs.xmlns` only where the
 * namespace is not `inherited`, and beside an attribute with a prefix the declaration of that prefix.
 *
 * @param maxPrefixes how many prefixes may be in scope: each name with one is looked up in a list
 * @param outerNs the default namespace around an element that has no parent
 */
export function openElement(
  tag: TagReader,
  up: Open | undefined,
  inherited: string | undefined,
  maxPrefixes: number,
  outerNs = '',
): Open {
  const { name, colon, count, names, values, kinds } = tag
  let defaultNs = up === undefined ? outerNs : up.defaultNs
  let prefixes = up === undefined ? undefined : up.prefixes
  let spelledOut = false
  if (tag.declares) {
    for (let i = 0; i < count; i++) {
      const kind = kinds[i]
      if (kind === DEFAULT_NS) {
        defaultNs = checkUri(values[i]!)
        spelledOut = colon < 0
      } else if (kind === PREFIX_NS) prefixes = declare(names[i]!.slice(6), values[i]!, prefixes)
    }
    if (prefixes !== undefined && prefixes.size > maxPrefixes) {
      throw new XmlStreamError('policy-violation', 'too many namespace prefixes')
    }
  }

  const ns = colon < 0 ? defaultNs : resolve(name.slice(0, colon), prefixes)
  const el = new Element(colon < 0 ? name : name.slice(colon + 1))
  const attrs = el.attrs
  let repeated = 0
  let size = ELEMENT_SIZE + name.length
  if (ns !== inherited) {
    attrs['xmlns'] = ns
    if (!spelledOut) repeated = ns.length
  }
  for (let i = 0; i < count; i++) {
    const kind = kinds[i]
    size += ATTRIBUTE_SIZE + names[i]!.length + values[i]!.length
    if (kind === PLAIN || kind === PREFIXED) setAttr(attrs, names[i]!, values[i])
  }
  if (tag.prefixed) repeated += declareUsed(attrs, tag, prefixes)
  return { el, wire: tag.wire, ns, defaultNs, prefixes, up, repeated, size }
}

/** Puts the declarations of the attributes' prefixes on the element; returns how many characters they have. */
function declareUsed(attrs: Attrs, tag: TagReader, prefixes: Prefix | undefined): number {
  const expanded = new Map<string, Set<string>>()
  let length = 0
  for (let i = 0; i < tag.count; i++) {
    if (tag.kinds[i] !== PREFIXED) continue
    const attr = tag.names[i]!
    const colon = attr.indexOf(':')
    const prefix = attr.slice(0, colon)
    const uri = resolve(prefix, prefixes)
    const locals = expanded.get(uri) ?? new Set()
    const local = attr.slice(colon + 1)
    if (locals.has(local)) throw malformed('an attribute given twice')
    expanded.set(uri, locals.add(local))
    const key = `xmlns:${prefix}`
    if (attrs[key] === undefined) length += uri.length
    attrs[key] = uri
  }
  return length
}

function declare(prefix: string, uri: string, next: Prefix | undefined): Prefix | undefined {
  // Namespaces in XML 1.0, section 3: reserved prefixes and namespace names.
  if (prefix === 'xml') {
    if (uri !== NS.XML) throw malformed('the prefix xml declared as something else')
    return next
  }
  if (prefix === 'xmlns') throw malformed('the prefix xmlns declared')
  if (uri === '') throw malformed('a prefix declared as nothing')
  return { prefix, uri: checkUri(uri), next, size: next === undefined ? 1 : next.size + 1 }
}

function checkUri(uri: string): string {
  if (uri === NS.XML || uri === NS.XMLNS) throw malformed('a reserved namespace declared')
  return uri
}

function resolve(prefix: string, prefixes: Prefix | undefined): string {
  for (let at = prefixes; at !== undefined; at = at.next) if (at.prefix === prefix) return at.uri
  if (prefix === 'xml') return NS.XML
  throw new XmlStreamError('bad-namespace-prefix', 'a namespace prefix that is not declared')
}
