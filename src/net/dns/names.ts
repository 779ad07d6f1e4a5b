import { domainToASCII } from 'node:url'

/** Longest name as text (RFC 1035 2.3.4: 255 bytes with the lengths of its labels). */
const MAX_NAME = 253
/** Letters, digits, hyphens within, and the underscore of service names. */
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/

/** Names that are never looked up (RFC 6761 6.4, RFC 7686, RFC 9476). */
const NOWHERE = /(?:^|\.)(?:invalid|onion|alt)$/
const LOOPBACK = /(?:^|\.)localhost$/

/** A name as DNS has it: A-labels (RFC 5890) in lower case, without a final dot; undefined where it can have none. */
export function asciiName(name: string): string | undefined {
  // What is ASCII is taken as it is: in a URL, `1.2` were an address.
  const ascii = isAscii(name) ? name.toLowerCase() : domainToASCII(name)
  const plain = ascii.endsWith('.') ? ascii.slice(0, -1) : ascii
  return plain.length <= MAX_NAME && plain.split('.').every(label => LABEL.test(label)) ? plain : undefined
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false
  return true
}

/** Names with a meaning of their own (RFC 6761): DNS is not asked for them. */
export function specialName(name: string): 'nowhere' | 'loopback' | undefined {
  if (NOWHERE.test(name)) return 'nowhere'
  return LOOPBACK.test(name) ? 'loopback' : undefined
}
