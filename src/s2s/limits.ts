import { type Element, NS, xml } from '../xml/index.ts'

/** What we take of a peer (XEP-0478). @param idle ms without a stanza after which the stream is closed */
export function limitsElement(bytes: number, idle: number): Element {
  const limits = xml('limits', { xmlns: NS.STREAM_LIMITS }, xml('max-bytes', {}, String(bytes)))
  if (Number.isFinite(idle)) limits.append(xml('idle-seconds', {}, String(Math.ceil(idle / 1000))))
  return limits
}
