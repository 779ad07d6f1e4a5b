import type { Element } from './element.ts'
import { parseElement } from './parse.ts'

/** A start tag as the serializer writes it. */
const START = /^<([^ />=]+)(?: [^ =>]+='[^']*')*/

/**
 * The root of what {@link serialize} wrote, with its attributes and nothing in it, whatever there is: for who only wants the
 * addresses of a stanza. @throws {XmlError} on what is not well-formed
 */
export function parseHead(xml: string | Buffer): Element {
  const start = START.exec(xml.toString())?.[0]
  return parseElement(start === undefined ? xml : `${start}/>`)
}
