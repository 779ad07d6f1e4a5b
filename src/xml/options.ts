import type { Element } from './element.ts'
import type { XmlStreamError } from './errors.ts'

/** What a parser tells its owner. Nothing is called after `onError`, nor after `stop()`. */
export interface ParserHandler {
  /** The stream's start tag: an element without children, its prefix dropped, `attrs.xmlns` always set. */
  onOpen(root: Element): void
  /** A complete first-level element. It has no `attrs.xmlns` if it is in the content namespace, and no parent. */
  onElement(el: Element): void
  /** The stream's end tag. */
  onClose(): void
  /** The first thing that is wrong; the parser is dead from here on. */
  onError(error: XmlStreamError): void
  /** White space between first-level elements: a keepalive. Once per run of it. */
  onWhitespace?(): void
}

/** Enforced while parsing: an unfinished element, tag or token counts. Going over is `policy-violation`. */
export interface ParserLimits {
  /** Bytes of one first-level element, from its `<` to its last `>`. */
  stanzaBytes: number
  /** Levels of elements; a first-level element without children has 1. */
  depth: number
  /** Attributes of one element, namespace declarations included; also how many prefixes may be in scope. */
  attributes: number
  /** Nodes (elements and texts) below one first-level element. Default: only what the bytes allow. */
  children?: number
  /** Bytes of memory, by estimate, that the tree of one first-level element takes. Default: only what the bytes allow. */
  treeBytes?: number
  /** Bytes before the first-level elements: XML declaration and start tag. Default: `stanzaBytes`. */
  headerBytes?: number
}

export interface ParserOptions {
  /** RFC 7395: each write is one complete document, its root a first-level element. No `onOpen`, no `onClose`. */
  framed?: boolean
  /** The content namespace when `framed`. Default: `jabber:client`. */
  contentNs?: string
  /**
   * The namespace, when `framed`, of names without a prefix where the document declares none. Default: none, as in any
   * document. Given the content namespace, a stanza is read as it would be inside a stream.
   */
  defaultNs?: string
}
