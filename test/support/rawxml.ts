/** XML for the raw test client: elements as plain objects, and a strict reader of a server's stream. */
import { SaxesParser } from 'saxes'

const NS_STANZAS = 'urn:ietf:params:xml:ns:xmpp-stanzas'

/** A received element: local name, namespace, attributes by qualified name, child elements, own text joined. */
export interface XmlElement {
  name: string
  ns: string
  attrs: Record<string, string>
  children: XmlElement[]
  text: string
}

/** The first child of that local name (and namespace, when given). */
export function child(el: XmlElement | undefined, name: string, ns?: string): XmlElement | undefined {
  return el?.children.find(c => c.name === name && (ns === undefined || c.ns === ns))
}

/** Text as XML character data or attribute value. */
export function xmlText(text: string): string {
  return text.replace(/[&<>'"]/g, c => `&#${c.charCodeAt(0)};`)
}

/** The condition of an error stanza (`service-unavailable`), or '' when it has none. */
export function errorCondition(stanza: XmlElement): string {
  return child(stanza, 'error')?.children.find(c => c.ns === NS_STANZAS && c.name !== 'text')?.name ?? ''
}

/** Reads one stream: `onHeader` gets its start tag, `onElement` each element at depth one, `onEnd` its closing tag. */
export class StreamReader {
  private readonly parser = new SaxesParser({ xmlns: true })
  private readonly decoder = new TextDecoder('utf-8', { fatal: true })
  private readonly stack: XmlElement[] = []
  private fault: string | undefined

  constructor(onElement: (el: XmlElement) => void, onEnd: () => void, onHeader?: (header: XmlElement) => void) {
    this.parser.on('error', error => {
      this.fault ??= error.message
    })
    this.parser.on('opentag', tag => {
      const attrs: Record<string, string> = {}
      for (const [name, attribute] of Object.entries(tag.attributes)) attrs[name] = attribute.value
      this.stack.push({ name: tag.local, ns: tag.uri, attrs, children: [], text: '' })
      if (this.stack.length === 1) onHeader?.(this.stack[0]!)
    })
    this.parser.on('text', text => {
      const open = this.stack.at(-1)
      // The stream's own text is only whitespace between stanzas: not kept.
      if (open && this.stack.length > 1) open.text += text
    })
    this.parser.on('closetag', () => {
      const el = this.stack.pop()
      if (!el || this.fault !== undefined) return
      if (this.stack.length > 1) this.stack.at(-1)?.children.push(el)
      else if (this.stack.length === 1) onElement(el)
      else onEnd()
    })
  }

  /** Returns what is wrong with the XML (or its UTF-8), if anything. */
  write(data: Uint8Array): string | undefined {
    try {
      this.parser.write(this.decoder.decode(data, { stream: true }))
    } catch (error) {
      this.fault ??= String(error)
    }
    return this.fault
  }
}
