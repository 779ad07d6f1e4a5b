import { XmlStreamError } from './errors.ts'
import { malformed } from './tag.ts'

const DECLARATION =
  /^<\?xml[ \t\r\n]+version[ \t\r\n]*=[ \t\r\n]*(?:"1\.0"|'1\.0')(?:[ \t\r\n]+encoding[ \t\r\n]*=[ \t\r\n]*(["'])([A-Za-z][A-Za-z0-9._-]*)\1)?(?:[ \t\r\n]+standalone[ \t\r\n]*=[ \t\r\n]*(["'])(?:yes|no)\3)?[ \t\r\n]*\?>$/

/** An unfinished declaration is looked at again with each chunk: it may not be long. */
const MAX_BYTES = 256

/**
 * Reads the XML declaration that begins (with its `<?`) at `at`. Returns the index after it, or -1 when `end` comes
 * first.
 * @throws {XmlStreamError} `restricted-xml` if it is another processing instruction (RFC 6120 11.1),
 * `unsupported-encoding` if it names an encoding other than UTF-8 (RFC 6120 11.6)
 */
export function readDeclaration(text: string, at: number, end: number): number {
  const start = text.slice(at, Math.min(end, at + 6))
  const begins = '<?xml'.startsWith(start.slice(0, 5)) && (start.length < 6 || /[ \t\r\n]/.test(start[5]!))
  if (!begins) throw new XmlStreamError('restricted-xml', 'a processing instruction')
  const close = text.indexOf('?>', at)
  if (close < 0 || close + 2 > end) {
    if (end - at > MAX_BYTES) throw malformed('not an XML declaration')
    return -1
  }
  const match = close - at >= MAX_BYTES ? null : DECLARATION.exec(text.slice(at, close + 2))
  if (match === null) throw malformed('not an XML declaration')
  const encoding = match[2]
  if (encoding !== undefined && encoding.toLowerCase() !== 'utf-8') throw notUtf8()
  return close + 2
}

/** `unsupported-encoding`: also for bytes that are no UTF-8 (RFC 6120 4.9.3.22). */
export function notUtf8(): XmlStreamError {
  return new XmlStreamError('unsupported-encoding', 'not UTF-8')
}
