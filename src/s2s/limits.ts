import { childText, type Element, findChild, NS, xml } from '../xml/index.ts'

/** What we take of a peer (XEP-0478). @param idle ms without a stanza after which the stream is closed */
export function limitsElement(bytes: number, idle: number): Element {
  const limits = xml('limits', { xmlns: NS.STREAM_LIMITS }, xml('max-bytes', {}, String(bytes)))
  if (Number.isFinite(idle)) limits.append(xml('idle-seconds', {}, String(Math.ceil(idle / 1000))))
  return limits
}

/** Bytes of the largest stanza that a peer takes, from what it offers. Undefined where it does not say. */
export function readMaxBytes(within: Element): number | undefined {
  const limits = findChild(within, 'limits', NS.STREAM_LIMITS)
  const text = limits && childText(limits, 'max-bytes')
  // RFC 6120 13.12: less than that nobody may ask for.
  return text !== undefined && /^\d{1,15}$/.test(text) ? Math.max(10_000, Number(text)) : undefined
}
