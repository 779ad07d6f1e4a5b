import { createRequire } from 'node:module'
import { Element, xml } from 'hermod/engine'

interface Ltx {
  Element: typeof Element
  Parser: new (...args: unknown[]) => unknown
  parse(text: string): Element
  createElement(name: string, attrs?: Record<string, unknown> | null, ...children: unknown[]): Element
  escapeXML(text: string): string
  escapeXMLText(text: string): string
}

/** ltx as `require` finds it: the engine's elements are of that copy, the one for `import` is another. */
export const ltx = createRequire(import.meta.url)('ltx') as Ltx
export const { Parser, createElement, escapeXML, escapeXMLText } = ltx
export { Element }

/** Attributes as applications write them: whatever has a text form (a JID), nothing where there is no value. */
export type Attributes = Record<string, unknown>

/** A stanza: an Element whose addresses, type and id are its properties too. */
export class Stanza extends Element {
  constructor(name: string, attrs?: Attributes) {
    super(name, attrs as Record<string, string>)
  }

  get from(): string | undefined {
    return this.attrs['from']
  }

  set from(from: string | undefined) {
    this.attrs['from'] = from
  }

  get to(): string | undefined {
    return this.attrs['to']
  }

  set to(to: string | undefined) {
    this.attrs['to'] = to
  }

  get id(): string | undefined {
    return this.attrs['id']
  }

  set id(id: string | undefined) {
    this.attrs['id'] = id
  }

  get type(): string | undefined {
    return this.attrs['type']
  }

  set type(type: string | undefined) {
    this.attrs['type'] = type
  }
}

export class Message extends Stanza {
  constructor(attrs?: Attributes) {
    super('message', attrs)
  }
}

export class Presence extends Stanza {
  constructor(attrs?: Attributes) {
    super('presence', attrs)
  }
}

export class IQ extends Stanza {
  constructor(attrs?: Attributes) {
    super('iq', attrs)
  }
}

/** A Stanza where the name is that of one, else an Element: `createStanza('iq', { type: 'get' }, child)`. */
export function createStanza(name: string, attrs?: Attributes, ...children: Element[]): Element {
  const isStanza = name === 'message' || name === 'presence' || name === 'iq'
  const el = isStanza ? new Stanza(name, attrs) : new Element(name, attrs as Record<string, string>)
  for (const child of children) el.cnode(child)
  return el
}

/** What was parsed; stanzas are of class Stanza. Throws on what is not well-formed. */
export function parse(text: string): Element {
  const el = ltx.parse(text)
  return el.name === 'message' || el.name === 'presence' || el.name === 'iq' ? stanzaOf(el) : el
}

/** An element of the engine as a Stanza. It is taken over. */
export function stanzaOf(el: Element): Stanza {
  const stanza = new Stanza(el.name)
  stanza.attrs = el.attrs
  stanza.children = el.children
  for (const child of stanza.children) if (typeof child !== 'string') child.parent = stanza
  return stanza
}

/** What applications build trees of: an Element of whatever copy of ltx, with values that need not be texts. */
export interface ElementLike {
  name: string
  attrs: Attributes
  children: unknown[]
  root?(): unknown
}

/** Levels that are looked at; the engine refuses what is deeper than it writes. */
const DEEP = 1100

/**
 * The whole tree that an element is part of, as one that the engine writes: a copy.
 *
 * @param contentNs the namespace of the stream, which is not said again
 */
export function treeOf(element: ElementLike, contentNs: string): Element {
  const el = copy((element.root?.() ?? element) as ElementLike, 0)
  if (el.attrs['xmlns'] === contentNs) delete el.attrs['xmlns']
  return el
}

function copy(from: ElementLike, depth: number): Element {
  if (depth > DEEP) throw new RangeError('the tree is too deep')
  const el = xml(from.name)
  for (const name of Object.keys(from.attrs ?? {})) {
    const value = from.attrs[name]
    if (value !== undefined && value !== null) el.attrs[name] = String(value)
  }
  for (const child of from.children ?? []) {
    if (isElement(child)) el.cnode(copy(child, depth + 1))
    else if (child !== undefined && child !== null) el.children.push(String(child))
  }
  return el
}

function isElement(child: unknown): child is ElementLike {
  return typeof child === 'object' && child !== null && 'name' in child
}
