import { createRequire } from 'node:module'
import { isIPv6 } from 'node:net'
import { Lru } from '../util/lru.ts'
import { cut } from '../util/text.ts'
import { resourceString, usernameCaseMapped } from './precis.ts'

/** Bytes of UTF-8 that each part may have (RFC 7622 3.2 to 3.4). */
const MAX_PART = 1023
/** Longest text that can be an address: the parts, `@`, `/` and a final dot of the domain. */
const MAX_TEXT = 3 * MAX_PART + 3

// The one tolerated exception from "no mutable module-level state": a memo of a pure function. It has no effect but speed,
// and is bounded in entries and in the length of each (strangers feed it).
const MEMO_ENTRIES = 8192
const MEMO_TEXT = 160
const memo = new Lru<string, Jid>(MEMO_ENTRIES)

/** A copy: a slice would keep the chunk of the stream alive that it was cut from, for as long as the Jid lives. */
function detach(text: string): string {
  return ` ${text}`.slice(1)
}

/** A text that is no address where one was required. */
export class JidError extends Error {
  constructor(text: string) {
    super(`not an XMPP address: ${JSON.stringify(text.length > 80 ? `${cut(text, 80)}...` : text)}`)
    this.name = 'JidError'
  }
}

/**
 * An XMPP address (RFC 7622), prepared and immutable: two addresses are equal when their parts are. Absent parts are `''`.
 * Parts are always in the form in which they are compared, stored and sent.
 */
export class Jid {
  readonly local: string
  readonly domain: string
  readonly resource: string
  private bareJid: Jid | undefined
  private text: string | undefined

  private constructor(local: string, domain: string, resource: string, text: string | undefined) {
    this.local = local
    this.domain = domain
    this.resource = resource
    this.bareJid = undefined
    this.text = text
  }

  /** Parses and prepares; undefined when the text is no address. */
  static parse(text: string): Jid | undefined {
    const known = memo.get(text)
    if (known !== undefined) return known
    if (text.length > MAX_TEXT) return undefined
    const own = detach(text)
    const jid = Jid.read(own)
    if (jid !== undefined && own.length <= MEMO_TEXT) memo.set(own, jid)
    return jid
  }

  /** Parses and prepares; throws {@link JidError} when the text is no address. For texts of our own and of the configuration. */
  static from(text: string): Jid {
    const jid = Jid.parse(text)
    if (jid === undefined) throw new JidError(text)
    return jid
  }

  /** An address of parts that are prepared already (from a Jid, a store, or {@link prepLocal} and its like). No checks. */
  static of(local: string, domain: string, resource = ''): Jid {
    return new Jid(local, domain, resource, undefined)
  }

  private static read(text: string): Jid | undefined {
    const slash = text.indexOf('/')
    const end = slash < 0 ? text.length : slash
    const at = text.indexOf('@')
    const start = at >= 0 && at < end ? at + 1 : 0

    const rawLocal = start === 0 ? '' : text.slice(0, start - 1)
    const rawDomain = text.slice(start, end)
    const rawResource = slash < 0 ? '' : text.slice(slash + 1)

    const local = start === 0 ? '' : prepLocal(rawLocal)
    const domain = prepDomain(rawDomain)
    const resource = slash < 0 ? '' : prepResource(rawResource)
    if (local === undefined || domain === undefined || resource === undefined) return undefined

    const canonical = local === rawLocal && domain === rawDomain && resource === rawResource
    return new Jid(local, domain, resource, canonical ? text : undefined)
  }

  /** The address without its resource; itself when it has none. */
  get bare(): Jid {
    if (this.resource === '') return this
    return (this.bareJid ??= new Jid(this.local, this.domain, '', undefined))
  }

  get isBare(): boolean {
    return this.resource === ''
  }

  /** The same account at another resource, which must be prepared (see {@link prepResource}); `''` gives the bare address. */
  withResource(resource: string): Jid {
    return resource === '' ? this.bare : new Jid(this.local, this.domain, resource, undefined)
  }

  /** The address, its bare address or its domain is in the list (XEP-0191 6). */
  isIn(list: { has(jid: string): boolean }): boolean {
    return list.has(this.toString()) || list.has(this.bare.toString()) || list.has(this.domain)
  }

  equals(other: Jid | undefined): boolean {
    if (this === other) return true
    return (
      other !== undefined &&
      this.local === other.local &&
      this.domain === other.domain &&
      this.resource === other.resource
    )
  }

  toString(): string {
    if (this.text !== undefined) return this.text
    const bare = this.local === '' ? this.domain : `${this.local}@${this.domain}`
    return (this.text = this.resource === '' ? bare : `${bare}/${this.resource}`)
  }

  toJSON(): string {
    return this.toString()
  }
}

const ALLOWED = 1
const UPPER = 2
const DOT = 3
const HYPHEN = 4

/** The class of each ASCII character; 0 is forbidden. */
function table(classOf: (char: string, code: number) => number): Uint8Array {
  return Uint8Array.from({ length: 128 }, (_, code) => classOf(String.fromCharCode(code), code))
}

const LOCAL = table((char, code) => {
  if (code <= 0x20 || code === 0x7f || `"&'/:<>@`.includes(char)) return 0
  return char >= 'A' && char <= 'Z' ? UPPER : ALLOWED
})

const DOMAIN = table(char => {
  if (char === '.') return DOT
  if (char === '-') return HYPHEN
  if (char >= 'A' && char <= 'Z') return UPPER
  return (char >= 'a' && char <= 'z') || (char >= '0' && char <= '9') ? ALLOWED : 0
})

/**
 * Prepares a localpart (RFC 7622 3.3): UsernameCaseMapped, without `"&'/:<>@` and spaces, 1 to 1023 bytes.
 * @returns undefined when it cannot be one
 */
export function prepLocal(text: string): string | undefined {
  const length = text.length
  if (length === 0 || length > MAX_PART) return undefined
  let upper = false
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i)
    if (code > 0x7f) return prepWideLocal(text)
    const kind = LOCAL[code]
    if (kind === 0) return undefined
    if (kind === UPPER) upper = true
  }
  return upper ? text.toLowerCase() : text
}

function prepWideLocal(text: string): string | undefined {
  const local = usernameCaseMapped(text)
  if (local === undefined || Buffer.byteLength(local) > MAX_PART) return undefined
  for (let i = 0; i < local.length; i++) {
    // Checked after mapping: a full-width commercial at has become a real one.
    if (LOCAL[local.charCodeAt(i)] === 0) return undefined
  }
  return local
}

/**
 * Prepares a domainpart (RFC 7622 3.2): a domain name in lower case with A-labels turned into U-labels and a final dot
 * removed, or an IP address (IPv6 in brackets), 1 to 1023 bytes.
 * @returns undefined when it cannot be one
 */
export function prepDomain(text: string): string | undefined {
  if (text.length > MAX_PART + 1) return undefined
  const domain = text.endsWith('.') ? text.slice(0, -1) : text
  const length = domain.length
  if (length === 0 || length > MAX_PART) return undefined
  let upper = false
  let previous: number = DOT
  for (let i = 0; i < length; i++) {
    const code = domain.charCodeAt(i)
    if (code > 0x7f) return prepWideDomain(domain)
    const kind = DOMAIN[code]!
    if (kind === 0) return i === 0 && code === 0x5b ? prepIpLiteral(domain) : undefined
    // No empty label, none that begins or ends with a hyphen (RFC 5890 2.3.1).
    if (previous === DOT ? kind === DOT || kind === HYPHEN : previous === HYPHEN && kind === DOT) return undefined
    if (kind === UPPER) upper = true
    previous = kind
  }
  if (previous === DOT || previous === HYPHEN) return undefined
  const lower = upper ? domain.toLowerCase() : domain
  return lower.includes('xn--') ? prepWideDomain(lower) : lower
}

/** Loaded with the first domain that is not plain ASCII: its tables are 4 MB. */
const load = createRequire(import.meta.url)

function prepWideDomain(text: string): string | undefined {
  const { toUnicode } = load('tr46') as typeof import('tr46')
  const { domain, error } = toUnicode(text, { checkBidi: true, checkJoiners: true, useSTD3ASCIIRules: true })
  if (error || Buffer.byteLength(domain) > MAX_PART) return undefined
  const labels = domain.split('.')
  // A final dot may only now have become one (ideographic full stop).
  if (labels.at(-1) === '') labels.pop()
  if (labels.length === 0 || labels.some(label => label === '' || label.startsWith('-') || label.endsWith('-'))) {
    return undefined
  }
  return labels.join('.')
}

function prepIpLiteral(text: string): string | undefined {
  // One form for each address (RFC 5952); a zone has a meaning on one machine only.
  if (!text.endsWith(']') || text.includes('%') || !isIPv6(text.slice(1, -1))) return undefined
  return new URL(`http://${text}`).hostname
}

/**
 * Prepares a resourcepart (RFC 7622 3.4): OpaqueString, 1 to 1023 bytes.
 * @returns undefined when it cannot be one
 */
export function prepResource(text: string): string | undefined {
  const length = text.length
  if (length === 0 || length > MAX_PART) return undefined
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i)
    if (code > 0x7f) return prepWideResource(text)
    if (code < 0x20 || code === 0x7f) return undefined
  }
  return text
}

function prepWideResource(text: string): string | undefined {
  const resource = resourceString(text)
  return resource === undefined || Buffer.byteLength(resource) > MAX_PART ? undefined : resource
}
