import { createHash } from 'node:crypto'
import { domainToASCII } from 'node:url'

/** Characters of one segment of a blob's key. */
const MAX_SEGMENT = 200
const MAX_EXTENSION = 40
/** Longest name that a client may give (XEP-0363 3: the length is in bytes; file systems have 255). */
const MAX_NAME = 1024

/**
 * A file's name as a segment of a path, in a URL as in the store: percent-encoded, without what could lead elsewhere, shortened
 * before its extension. Undefined for what is no name.
 */
export function safeName(name: string): string | undefined {
  if (name.length > MAX_NAME) return undefined
  const plain = name
    .toWellFormed()
    .normalize('NFC')
    .replace(/[/\\\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]/g, '_')
  const visible = plain.trim().replace(/^\.+/, '')
  if (!/[\p{L}\p{N}\p{S}\p{P}]/u.test(visible) || /^[_.\s]*$/.test(visible)) return undefined
  const dot = visible.lastIndexOf('.')
  const extension = dot > 0 ? encode(visible.slice(dot)) : ''
  if (extension === '' || extension.length > MAX_EXTENSION) return shortened(visible, MAX_SEGMENT)
  return shortened(visible.slice(0, dot), MAX_SEGMENT - extension.length) + extension
}

/** The encoding that {@link safeName} uses, of a segment that came back in whatever encoding; undefined if it is none. */
export function sameName(segment: string): string | undefined {
  try {
    return encode(decodeURIComponent(segment))
  } catch {
    return undefined
  }
}

/** A domain as a segment of a path. */
export function domainSegment(domain: string): string {
  const segment = encode(domainToASCII(domain) || domain)
  return segment.length <= MAX_SEGMENT ? segment : createHash('sha256').update(domain).digest('hex')
}

function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, c => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

function shortened(text: string, most: number): string {
  let short = ''
  for (const char of text) {
    const next = encode(char)
    if (short.length + next.length > most) break
    short += next
  }
  return short
}
