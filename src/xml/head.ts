import type { Element } from './element.ts'
import { parseElement } from './parse.ts'

/** A start tag as the serializer writes it. */
const START = /^<([^ />=]+)((?: [^ =>]+='[^']*')*)\/?>/
/** Bytes in which nearly every start tag ends. */
const USUAL = 2048

/**
 * The root of what {@link serialize} wrote, with its attributes and nothing in it, whatever there is: for who only wants the
 * addresses of a stanza. @throws {XmlError} on what is not well-formed
 */
export function parseHead(xml: Buffer): Element {
  const start = START.exec(xml.toString('utf8', 0, USUAL)) ?? START.exec(xml.toString())
  return parseElement(start === null ? xml : `<${start[1]}${start[2]}/>`)
}
