import { CHARS, FORBIDDEN, SPACE, TEXT_STOP } from './chars.ts'
import { notUtf8, readDeclaration } from './declaration.ts'
import type { Element } from './element.ts'
import { XmlStreamError } from './errors.ts'
import { Input } from './input.ts'
import { NS } from './ns.ts'
import type { ParserHandler, ParserLimits, ParserOptions } from './options.ts'
import { type Reference, readReference } from './reference.ts'
import { type Open, openElement } from './scope.ts'
import { decode, malformed, TagReader } from './tag.ts'
import { TextCollector } from './text.ts'

const AMP = 38
const SLASH = 47
const LT = 60
const GT = 62
const BRACKET = 93
const CDATA = '<![CDATA['
/** What a text takes beside its characters. */
const TEXT_SIZE = 32

/**
 * The strict, bounded, one-pass parser of XMPP streams (RFC 6120 section 11): bytes in, elements out.
 *
 * What the callbacks are told does not depend on how the bytes were cut into chunks. It refuses everything that is not
 * well-formed and namespace-well-formed UTF-8, and what XMPP restricts: comments, processing instructions, DTDs, entities.
 * A byte costs the same however it comes.
 */
export class StreamParser {
  readonly #handler: ParserHandler
  readonly #framed: boolean
  readonly #outerNs: string
  readonly #input = new Input()
  readonly #tag = new TagReader()
  readonly #text = new TextCollector()
  readonly #reference: Reference = { end: 0, text: '' }
  #limits: ParserLimits
  #contentNs: string

  #running = false
  #paused = false
  #ended = false
  /** Where in the input's text the next token begins. */
  #at = 0
  /** Where it has to end for now: at the end of the input, or where the limit is reached. */
  #end = 0
  /** Where the first-level element (or the header) began that the limit counts from; below 0 if in an earlier chunk. */
  #from = 0

  #root: Open | undefined
  #top: Open | undefined
  #depth = 0
  #children = 0
  #repeated = 0
  /** Bytes of memory of the unfinished first-level element. */
  #tree = 0
  #inCdata = false
  /** Nothing has been parsed yet: the only place for an XML declaration. */
  #fresh = true
  #closed = false
  /** Framed: whether this document's element has been seen. */
  #complete = false

  constructor(handler: ParserHandler, limits: ParserLimits, options: ParserOptions = {}) {
    this.#handler = handler
    this.#limits = { ...limits }
    this.#framed = options.framed === true
    this.#outerNs = this.#framed ? (options.defaultNs ?? '') : ''
    this.#contentNs = this.#framed ? (options.contentNs ?? NS.CLIENT) : ''
  }

  /** The default namespace of the stream's start tag: that of its stanzas. Empty before `onOpen`. */
  get contentNs(): string {
    return this.#contentNs
  }

  /** Whether it takes no more input: after an error or `stop()`. */
  get ended(): boolean {
    return this.#ended
  }

  /** Takes the next bytes, and calls the handler for all that they complete. The parser keeps no reference to `chunk`
   * beyond what is paused or unfinished, but may read it later: it must not change. Ignored once ended. */
  write(chunk: Uint8Array): void {
    if (this.#ended) return
    this.#input.push(chunk)
    this.#run()
  }

  /** Other limits, from the next first-level element on. */
  setLimits(limits: ParserLimits): void {
    this.#limits = { ...limits }
  }

  /** Delivers nothing more until {@link resume}; what is written meanwhile is kept. May be called in a callback. */
  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#run()
  }

  /** Ends parsing: no further callback, not even for what the chunk in work still holds. See {@link rest}. */
  stop(): void {
    this.#finish()
  }

  /** Lets go of what is unfinished: its owner may stay for a while. */
  #finish(): void {
    this.#ended = true
    this.#top = undefined
    this.#tree = 0
    this.#tag.forget()
    if (!this.#text.empty) this.#text.take()
  }

  /** Bytes of memory, by estimate, that what was written and is not delivered takes: input, texts, the unfinished tree. */
  get held(): number {
    return this.#ended ? 0 : this.#input.size + this.#text.size + this.#tree
  }

  /** The bytes written and not parsed, for the owner to discard or to give to the next parser. */
  rest(): Buffer {
    return this.#input.rest(this.#at)
  }

  #run(): void {
    if (this.#running) return
    this.#running = true
    try {
      while (!this.#paused && !this.#ended) {
        if (this.#input.active) this.#parse()
        else if (!this.#advance()) break
      }
    } catch (error) {
      if (!(error instanceof XmlStreamError) || this.#ended) throw error
      this.#finish()
      this.#handler.onError(error)
    } finally {
      this.#running = false
    }
  }

  /** Goes on to the next chunk; returns whether there was one. */
  #advance(): boolean {
    const input = this.#input
    if (!input.waiting) return false
    if (input.next()) {
      this.#at = 0
      this.#setEnd()
    } else {
      if (input.held - this.#from > this.#limit()) throw tooLarge()
      if (input.broken) throw notUtf8()
      if (this.#framed) throw malformed('an unfinished document')
    }
    return true
  }

  #limit(): number {
    const { stanzaBytes, headerBytes = stanzaBytes } = this.#limits
    return this.#root === undefined && !this.#framed ? headerBytes : stanzaBytes
  }

  #setEnd(): void {
    const size = this.#input.text.length
    const between = this.#depth === 0 && (this.#framed || this.#root !== undefined)
    this.#end = between ? size : Math.min(size, this.#from + this.#limit())
  }

  #parse(): void {
    const { bytes, text } = this.#input
    while (!this.#paused && !this.#ended) {
      const at = this.#at
      if (at >= this.#end) break
      let unfinished: boolean
      if (this.#inCdata) unfinished = !this.#readCdata(text, bytes, at)
      else if (bytes[at] === LT) unfinished = !this.#readMarkup(text, bytes, at)
      else if (this.#depth === 0) unfinished = !this.#readSpace(bytes, at)
      else unfinished = !this.#readText(text, bytes, at)
      if (unfinished) break
    }
    if (!this.#paused && !this.#ended) this.#suspend()
  }

  /** What is left of the input is the beginning of a token, or nothing. */
  #suspend(): void {
    const input = this.#input
    if (this.#end < input.text.length) throw tooLarge()
    if (input.broken) throw notUtf8()
    this.#text.settle()
    if (!input.suspend(this.#at)) throw malformed('a broken tag')
    this.#from -= this.#at
    this.#at = 0
    if (this.#depth === 0) this.#tag.forget()
    if (this.#framed) this.#endDocument()
  }

  #endDocument(): void {
    if (!this.#complete || this.#input.unfinished) throw malformed('an unfinished document')
    this.#complete = false
    this.#fresh = true
  }

  #readMarkup(text: string, bytes: Buffer, at: number): boolean {
    if (this.#depth === 0 && (this.#root !== undefined || this.#framed)) {
      this.#from = at
      this.#end = Math.min(text.length, at + this.#limit())
    }
    if (at + 1 >= this.#end) return false
    const second = bytes[at + 1]!
    if (second === SLASH) return this.#readEndTag(text, bytes, at)
    if (second === 0x21) return this.#readDeclared(text, bytes, at)
    if (second === 0x3f) return this.#readXmlDeclaration(text, at)
    if (this.#closed || this.#complete) throw malformed('an element after the end')
    return this.#readStartTag(text, at)
  }

  #readStartTag(text: string, at: number): boolean {
    const { attributes, depth } = this.#limits
    let next: number
    try {
      next = this.#tag.read(text, this.#input.bytes, at + 1, this.#end, attributes)
    } catch (error) {
      // What is wrong with a tag is told when it is whole: sooner, the answer would depend on how it was cut.
      if (!this.#input.isWholeTag(at, this.#end)) return false
      throw error
    }
    if (next < 0) return false
    this.#fresh = false
    this.#at = next
    if (!this.#framed && this.#root === undefined) this.#openStream()
    else {
      if (this.#depth >= depth) throw new XmlStreamError('policy-violation', 'elements nested too deep')
      this.#openChild()
    }
    return true
  }

  #openStream(): void {
    const root = openElement(this.#tag, undefined, undefined, this.#limits.attributes)
    this.#root = this.#top = root
    this.#contentNs = root.defaultNs
    const { empty } = this.#tag
    this.#end = this.#input.text.length
    this.#handler.onOpen(root.el)
    if (empty && !this.#ended) this.#close()
  }

  #openChild(): void {
    const { empty } = this.#tag
    const up = this.#top
    const first = this.#depth === 0
    if (!first) this.#endText()
    const inherited = first ? this.#contentNs : up!.ns
    const open = openElement(this.#tag, first ? this.#root : up, inherited, this.#limits.attributes, this.#outerNs)
    if (open.repeated > 0) {
      // Or a stranger could make a stanza much larger than the one that was sent: one long namespace, many prefixes.
      this.#repeated += open.repeated
      if (this.#repeated > this.#limits.stanzaBytes) throw tooLarge()
    }
    if (!first) this.#append(up!.el, open.el)
    this.#grow(open.size)
    if (!empty) {
      this.#top = open
      this.#depth++
    } else if (first) this.#deliver(open.el)
  }

  #append(parent: Element, child: Element | string): void {
    const { children: most } = this.#limits
    if (most !== undefined && this.#children >= most) throw new XmlStreamError('policy-violation', 'too many nodes')
    this.#children++
    if (typeof child !== 'string') child.parent = parent
    else this.#grow(TEXT_SIZE + child.length)
    // A list made with its first member is as small as it can be; most elements have one child.
    if (parent.children.length === 0) parent.children = [child]
    else parent.children.push(child)
  }

  #grow(bytes: number): void {
    this.#tree += bytes
    const { treeBytes } = this.#limits
    if (treeBytes !== undefined && this.#tree > treeBytes) {
      throw new XmlStreamError('policy-violation', 'too many elements and attributes')
    }
  }

  #endText(): void {
    if (!this.#text.empty) this.#append(this.#top!.el, this.#text.take())
  }

  #readEndTag(text: string, bytes: Buffer, at: number): boolean {
    const top = this.#top
    if (top === undefined) throw malformed('an end tag that ends nothing')
    const { wire } = top
    const end = this.#end
    let p = at + 2 + wire.length
    if (p >= end || !text.startsWith(wire, at + 2)) return this.#wrongEndTag(at)
    while (p < end && (CHARS[bytes[p]!]! & SPACE) !== 0) p++
    if (p >= end || bytes[p] !== GT) return this.#wrongEndTag(at)
    this.#at = p + 1
    if (this.#depth === 0) this.#close()
    else {
      this.#endText()
      this.#top = top.up
      if (--this.#depth === 0) this.#deliver(top.el)
    }
    return true
  }

  #wrongEndTag(at: number): boolean {
    if (this.#input.isWholeTag(at, this.#end)) throw malformed('an end tag that does not match')
    return false
  }

  #deliver(el: Element): void {
    this.#children = 0
    this.#repeated = 0
    this.#tree = 0
    this.#end = this.#input.text.length
    this.#complete = this.#framed
    this.#handler.onElement(el)
  }

  #close(): void {
    this.#closed = true
    this.#top = undefined
    this.#end = this.#input.text.length
    this.#handler.onClose()
  }

  /** `<!`: a CDATA section, or something that XMPP does not have. */
  #readDeclared(text: string, bytes: Buffer, at: number): boolean {
    const end = Math.min(this.#end, at + CDATA.length)
    if (at + 2 >= end) return false
    const third = bytes[at + 2]!
    if (third !== 0x5b) throw new XmlStreamError('restricted-xml', 'a comment or a document type declaration')
    if (!CDATA.startsWith(text.slice(at, end))) throw malformed('not a CDATA section')
    if (end < at + CDATA.length) return false
    if (this.#depth === 0) throw this.#stray()
    this.#at = end
    this.#inCdata = true
    return true
  }

  /** `<?`: the XML declaration if it is the first thing, else forbidden (RFC 6120 11.1). */
  #readXmlDeclaration(text: string, at: number): boolean {
    if (!this.#fresh) throw new XmlStreamError('restricted-xml', 'a processing instruction')
    const next = readDeclaration(text, at, this.#end)
    if (next < 0) return false
    this.#fresh = false
    this.#at = next
    return true
  }

  /** Between first-level elements. */
  #readSpace(bytes: Buffer, at: number): boolean {
    let p = at
    while (p < this.#end && (CHARS[bytes[p]!]! & SPACE) !== 0) p++
    if (p === at) throw this.#stray(bytes[p]!)
    this.#fresh = false
    this.#at = p
    if (this.#root !== undefined && !this.#closed) this.#handler.onWhitespace?.()
    return true
  }

  #stray(code = LT): XmlStreamError {
    const open = this.#root !== undefined && !this.#closed
    if (!open || (CHARS[code]! & FORBIDDEN) !== 0) return malformed('text outside the root element')
    return new XmlStreamError('bad-format', 'text between stanzas')
  }

  #readText(text: string, bytes: Buffer, at: number): boolean {
    const end = this.#end
    let high = 0
    let p = at
    for (; p < end; p++) {
      const code = bytes[p]!
      if ((CHARS[code]! & TEXT_STOP) !== 0) break
      high |= code
    }
    this.#at = p
    if (p > at) this.#text.add(high < 128 ? text.slice(at, p) : decode(bytes, at, p))
    if (p >= end) return true
    const code = bytes[p]!
    if (code === LT) return true
    if (code === AMP) {
      if (!readReference(text, p, end, this.#reference)) return false
      this.#text.add(this.#reference.text)
      this.#at = this.#reference.end
      return true
    }
    if (code === BRACKET) return this.#readBracket(text, p, false)
    return this.#readLineEnd(bytes, p)
  }

  #readCdata(text: string, bytes: Buffer, at: number): boolean {
    const end = this.#end
    let p = at
    for (; p < end; p++) {
      const code = bytes[p]!
      if ((CHARS[code]! & TEXT_STOP) !== 0 && code !== LT && code !== AMP) break
    }
    this.#at = p
    if (p > at) this.#text.add(decode(bytes, at, p))
    if (p >= end) return true
    if (bytes[p] === BRACKET) return this.#readBracket(text, p, true)
    return this.#readLineEnd(bytes, p)
  }

  /** `]]>` ends a CDATA section, and may not stand in other text. */
  #readBracket(text: string, at: number, ends: boolean): boolean {
    const three = text.slice(at, Math.min(this.#end, at + 3))
    if (three === ']]>') {
      if (!ends) throw malformed(']]> in text')
      this.#inCdata = false
      this.#at = at + 3
      return true
    }
    if (']]>'.startsWith(three)) return false
    this.#text.add(']')
    this.#at = at + 1
    return true
  }

  /** A carriage return, with or without a line feed, is a line feed: XML 1.0, 2.11. Other control characters are none. */
  #readLineEnd(bytes: Buffer, at: number): boolean {
    if (bytes[at] !== 13) throw malformed('a character that XML forbids')
    if (at + 1 >= this.#end) return false
    if (bytes[at + 1] !== 10) this.#text.add('\n')
    this.#at = at + 1
    return true
  }
}

function tooLarge(): XmlStreamError {
  return new XmlStreamError('policy-violation', 'too large')
}
