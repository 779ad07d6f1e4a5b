import { escapeAttr, NS, serialize } from '../xml/index.ts'
import type { StreamError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'

/**
 * How our side of a stream begins (RFC 6120 4.7).
 *
 * @param to to whom the client says that it is, if it does
 */
export function streamHeader(id: string, from: string, to: Jid | undefined): string {
  const addressed = to === undefined ? '' : ` to='${escapeAttr(to.bare.toString())}'`
  return `<?xml version='1.0'?><stream:stream xmlns='${NS.CLIENT}' xmlns:stream='${NS.STREAM}' id='${id}' from='${from}'${addressed} version='1.0' xml:lang='en'>`
}

export const STREAM_END = '</stream:stream>'

/** How it ends with an error (RFC 6120 4.9). Never throws: of what cannot be written the condition is left. */
export function streamErrorText(error: StreamError): string {
  let text: string
  try {
    text = serialize(error.toElement())
  } catch {
    text = `<stream:error><${error.condition} xmlns='${NS.STREAM_ERRORS}'/></stream:error>`
  }
  return text + STREAM_END
}
