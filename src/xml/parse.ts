import type { Element } from './element.ts'
import { XmlError } from './errors.ts'
import { NS } from './ns.ts'
import { StreamParser } from './parser.ts'

const LIMITS = { stanzaBytes: 16 * 1024 * 1024, depth: 1024, attributes: 10_000 }

/**
 * One whole element from text or bytes that this server wrote itself, or that an administrator gave, by the same strict
 * parser that clients meet. It is read as if inside a stream: what declares no namespace is a stanza, so that what
 * {@link ./serialize.ts} wrote comes back as the same tree. Throws {@link XmlError}.
 */
export function parseElement(source: string | Uint8Array): Element {
  let found: Element | undefined
  let error: Error | undefined
  const parser = new StreamParser(
    {
      onOpen() {},
      onElement(el) {
        found = el
      },
      onClose() {},
      onError(e) {
        error = e
      },
    },
    LIMITS,
    { framed: true, defaultNs: NS.CLIENT },
  )
  parser.write(typeof source === 'string' ? Buffer.from(source) : source)
  if (error !== undefined) throw new XmlError(error.message)
  if (found === undefined) throw new XmlError('an element is not complete')
  return found
}
