import { Element as XmppElement } from '@xmpp/xml'
import { XmlError } from './errors.ts'
import { NS } from './ns.ts'

/** Attributes by name as written (`to`, `xml:lang`). Those that are undefined do not exist. */
export type Attrs = Record<string, string | undefined>

/** What {@link xml} takes as a child; null, undefined and false are left out, numbers become text. */
export type Child = Element | string | number | null | undefined | false | readonly Child[]

/**
 * An XML element: the Element of ltx as @xmpp/xml exports it, so that trees can be handed to xmpp.js code and back.
 *
 * Trees that come from a parser have no prefixes in element names, and carry `attrs.xmlns` only where the namespace
 * differs from the parent's. A stanza has none: its namespace is that of the stream it came from or will leave by.
 */
export interface Element {
  name: string
  attrs: Attrs
  children: (Element | string)[]
  parent: Element | null

  is(name: string, xmlns?: string): boolean
  getName(): string
  getNS(): string | undefined
  getAttr(name: string, xmlns?: string): string | undefined | null
  /** The first child element so named; without `xmlns`, in any namespace. See {@link findChild} for the strict one. */
  getChild(name: string, xmlns?: string): Element | undefined
  getChildren(name: string, xmlns?: string): Element[]
  getChildText(name: string, xmlns?: string): string | null
  getChildElements(): Element[]
  getText(): string
  text(): string
  root(): Element
  up(): Element
  /** Adds a child element and returns it. */
  c(name: string, attrs?: Attrs | string): Element
  cnode(child: Element): Element
  append(...nodes: (Element | string)[]): void
  prepend(...nodes: (Element | string)[]): void
  /** Adds text and returns this element. */
  t(text: string): Element
  remove(child: Element | string, xmlns?: string): Element
  attr(name: string, value?: string): unknown
  /** ltx's own serializer: lenient, recursive. Use {@link ./serialize.ts} for anything that leaves the process. */
  toString(): string
}

/** The one Element class. `import 'ltx'` from an ES module is another copy of it: never use that. */
export const Element = XmppElement as {
  new (name: string, attrs?: Attrs | string): Element
  readonly prototype: Element
}

/** No tree is deeper than this: not what is serialized, not what is cloned (a cycle is caught by it too). */
export const MAX_DEPTH = 1024

/**
 * Builds an element: `xml('iq', { type: 'get', id }, xml('ping', { xmlns: NS.PING }))`.
 *
 * A child element becomes this element's own (its `parent` changes): clone one that already has a place elsewhere.
 */
export function xml(name: string, attrs?: Attrs | null, ...children: readonly Child[]): Element {
  const el = new Element(name)
  if (attrs) {
    for (const key in attrs) {
      const value = attrs[key]
      if (value !== undefined && value !== null) el.attrs[key] = value
    }
  }
  for (const child of children) add(el, child)
  return el
}

function add(el: Element, child: Child): void {
  if (child === null || child === undefined || child === false) return
  if (typeof child === 'string') el.children.push(child)
  else if (typeof child === 'number') el.children.push(String(child))
  else if (isList(child)) for (const one of child) add(el, one)
  else {
    child.parent = el
    el.children.push(child)
  }
}

function isList(child: Element | readonly Child[]): child is readonly Child[] {
  return Array.isArray(child)
}

/** The child elements, without the text between them. */
export function childElements(el: Element): Element[] {
  const found: Element[] = []
  for (const child of el.children) if (typeof child !== 'string') found.push(child)
  return found
}

/** The first child element, whatever it is: the payload of an iq, the condition of an error. */
export function firstChild(el: Element): Element | undefined {
  for (const child of el.children) if (typeof child !== 'string') return child
  return undefined
}

/**
 * The first child element with this name and namespace. Without `xmlns`: in the same namespace as `el` itself, so that
 * `findChild(message, 'body')` never takes an XHTML body for the message's.
 */
export function findChild(el: Element, name: string, xmlns?: string): Element | undefined {
  const inherited = elementNs(el)
  const wanted = xmlns ?? inherited
  for (const child of el.children) {
    if (typeof child !== 'string' && child.name === name && (child.attrs['xmlns'] ?? inherited) === wanted) return child
  }
  return undefined
}

/** All child elements with this name and namespace, by the rules of {@link findChild}. */
export function findChildren(el: Element, name: string, xmlns?: string): Element[] {
  const inherited = elementNs(el)
  const wanted = xmlns ?? inherited
  const found: Element[] = []
  for (const child of el.children) {
    if (typeof child !== 'string' && child.name === name && (child.attrs['xmlns'] ?? inherited) === wanted) {
      found.push(child)
    }
  }
  return found
}

/** The text of the child {@link findChild} finds; undefined when there is none. */
export function childText(el: Element, name: string, xmlns?: string): string | undefined {
  const child = findChild(el, name, xmlns)
  return child && textOf(child)
}

/** The text directly inside an element, without that of its children. */
export function textOf(el: Element): string {
  let text = ''
  for (const child of el.children) if (typeof child === 'string') text += child
  return text
}

/** Whether there is a child element in this namespace, whatever its name. */
export function hasChild(el: Element, xmlns: string): boolean {
  return childIn(el, xmlns) !== undefined
}

/** The first child element in this namespace, whatever its name: a chat state, a marker. */
export function childIn(el: Element, xmlns: string): Element | undefined {
  const inherited = elementNs(el)
  for (const child of el.children) {
    if (typeof child !== 'string' && (child.attrs['xmlns'] ?? inherited) === xmlns) return child
  }
  return undefined
}

/**
 * The namespace an element is in, its own or its parents'. A tree that declares none is a stanza's: the content
 * namespace, read as `jabber:client` whatever kind of stream it came by.
 */
export function elementNs(el: Element): string {
  let at: Element | null = el
  while (at) {
    const own: string | undefined = at.attrs['xmlns']
    if (own !== undefined) return own
    at = at.parent
  }
  return NS.CLIENT
}

/** A deep copy without a parent. An element taken out of a larger tree keeps its namespace. */
export function clone(el: Element): Element {
  const copy = copyOf(el, 0)
  if (el.parent && copy.attrs['xmlns'] === undefined) {
    const inherited = elementNs(el)
    if (inherited !== NS.CLIENT) copy.attrs['xmlns'] = inherited
  }
  return copy
}

function copyOf(el: Element, depth: number): Element {
  if (depth > MAX_DEPTH) throw new XmlError('the tree is too deep')
  const copy = new Element(el.name)
  const attrs = copy.attrs
  for (const key in el.attrs) setAttr(attrs, key, el.attrs[key])
  for (const child of el.children) {
    if (typeof child === 'string') copy.children.push(child)
    else {
      const own = copyOf(child, depth + 1)
      own.parent = copy
      copy.children.push(own)
    }
  }
  return copy
}

/** Sets an attribute whose name a stranger chose: `__proto__` is a valid XML name, and must become an ordinary key. */
export function setAttr(attrs: Attrs, name: string, value: string | undefined): void {
  if (name === '__proto__') {
    Object.defineProperty(attrs, name, { value, enumerable: true, configurable: true, writable: true })
  } else attrs[name] = value
}
