import type { Element } from './element.ts'
import { escapeAttr, escapeText } from './escape.ts'

/** What a tree's declarations of namespaces are: how often each comes, and which prefixes are taken. */
interface Census {
  /** By namespace: how many elements declare it as their default. */
  readonly namespaces: Map<string, number>
  /** By prefix and namespace, of attributes. */
  readonly prefixes: Map<string, { prefix: string; uri: string; count: number }>
  readonly taken: Set<string>
  /** An element has a prefix in its name already: such a tree is left as it is. */
  prefixed: boolean
}

/** Declarations at the root: a receiver has every one of them in scope throughout the stanza. */
const MOST = 32

/**
 * The XML of a tree whose namespaces are declared once, at the root, where declaring each where it is used makes up a good
 * part of its `length`. A tree in canonical form has a namespace with each element that differs from its parent, so one long
 * namespace that was declared once for a thousand children would come out a thousand times. Undefined where it is not worth it.
 *
 * @param without an attribute of the root. The tree must be one that was written before: its names and depth are not checked again
 */
export function compacted(root: Element, without: string | undefined, length: number): string | undefined {
  const census: Census = { namespaces: new Map(), prefixes: new Map(), taken: new Set(), prefixed: false }
  for (const child of root.children) if (typeof child === 'object' && child !== null) count(child, census)
  if (census.prefixed || repeated(census) * 4 < length) return undefined
  return new Compact(root, census).write(without)
}

function count(el: Element, census: Census): void {
  const { name, attrs } = el
  if (name.includes(':')) census.prefixed = true
  for (const key in attrs) {
    const value = attrs[key]
    if (value === undefined || value === null) continue
    if (key === 'xmlns') {
      if (value !== '') census.namespaces.set(value, (census.namespaces.get(value) ?? 0) + 1)
      continue
    }
    const colon = key.indexOf(':')
    if (colon < 0) continue
    census.taken.add(key.slice(0, colon))
    if (!key.startsWith('xmlns:')) continue
    const prefix = key.slice(6)
    census.taken.add(prefix)
    const known = census.prefixes.get(`${prefix} ${value}`)
    if (known === undefined) census.prefixes.set(`${prefix} ${value}`, { prefix, uri: value, count: 1 })
    else known.count++
  }
  for (const child of el.children) if (typeof child === 'object' && child !== null) count(child, census)
}

/** How many characters go without saying. */
function repeated({ namespaces, prefixes }: Census): number {
  let characters = 0
  for (const [uri, times] of namespaces) characters += (times - 1) * (uri.length + 9)
  for (const { prefix, uri, count: times } of prefixes.values()) {
    characters += (times - 1) * (prefix.length + uri.length + 10)
  }
  return characters
}

class Compact {
  readonly #root: Element
  /** The prefixes that the root declares for elements, by namespace, and for attributes, by prefix. */
  readonly #ofElements = new Map<string, string>()
  readonly #ofAttributes = new Map<string, string>()

  constructor(root: Element, { namespaces, prefixes, taken }: Census) {
    this.#root = root
    for (const key in root.attrs)
      if (key.includes(':')) taken.add(key.slice(key.startsWith('xmlns:') ? 6 : 0).split(':')[0]!)
    let serial = 0
    const free = (): string => {
      let prefix: string
      do prefix = `n${serial++}`
      while (taken.has(prefix))
      return prefix
    }
    const worthwhile = [
      ...[...namespaces].map(([uri, times]) => ({ prefix: undefined, uri, saved: (times - 1) * uri.length })),
      ...[...prefixes.values()].map(({ prefix, uri, count: times }) => ({
        prefix,
        uri,
        saved: (times - 1) * uri.length,
      })),
    ].filter(({ saved }) => saved > 0)
    // Those that save most, so also the most frequent of those that share a prefix; the root's own declarations stand.
    for (const { prefix, uri } of worthwhile.sort((a, b) => b.saved - a.saved).slice(0, MOST)) {
      if (prefix === undefined) this.#ofElements.set(uri, free())
      else if (!this.#ofAttributes.has(prefix) && root.attrs[`xmlns:${prefix}`] === undefined) {
        this.#ofAttributes.set(prefix, uri)
      }
    }
  }

  write(without: string | undefined): string {
    const { name, attrs, children } = this.#root
    let out = `<${name}`
    for (const key in attrs) {
      const value = attrs[key]
      if (value !== undefined && value !== null && key !== without) out += ` ${key}='${escapeAttr(value)}'`
    }
    for (const [uri, prefix] of this.#ofElements) out += ` xmlns:${prefix}='${escapeAttr(uri)}'`
    for (const [prefix, uri] of this.#ofAttributes) out += ` xmlns:${prefix}='${escapeAttr(uri)}'`
    out += '>'
    for (const child of children) out += this.#node(child, '', this.#ofAttributes)
    return `${out}</${name}>`
  }

  #node(node: Element | string, inherited: string, declared: ReadonlyMap<string, string>): string {
    if (typeof node === 'object' && node !== null) return this.#element(node, inherited, declared)
    return node === undefined || node === null ? '' : escapeText(String(node))
  }

  /** @param inherited the prefix of the namespace that the element around is in, with its colon, or nothing */
  #element(el: Element, inherited: string, around: ReadonlyMap<string, string>): string {
    const { attrs, children } = el
    const own = attrs['xmlns']
    const prefix = own === undefined || own === null ? undefined : this.#ofElements.get(own)
    const before = own === undefined || own === null ? inherited : prefix === undefined ? '' : `${prefix}:`
    const name = before + el.name
    let out = `<${name}`
    let declared = around
    let changed: Map<string, string> | undefined
    for (const key in attrs) {
      const value = attrs[key]
      if (value === undefined || value === null || (key === 'xmlns' && prefix !== undefined)) continue
      if (key.startsWith('xmlns:')) {
        const of = key.slice(6)
        if (declared.get(of) === value) continue
        changed ??= new Map(around)
        declared = changed.set(of, value)
      }
      out += ` ${key}='${escapeAttr(value)}'`
    }
    if (children.length === 0) return `${out}/>`
    out += '>'
    for (const child of children) out += this.#node(child, before, declared)
    return `${out}</${name}>`
  }
}
