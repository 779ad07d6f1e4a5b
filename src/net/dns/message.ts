import { isIP } from 'node:net'
import { type Answer, type DecodedPacket, decode, encode, RECURSION_DESIRED } from 'dns-packet'
import { asciiName } from './names.ts'

export type RecordType = 'A' | 'AAAA' | 'SRV'

/** RFC 2782. */
export interface Srv {
  readonly priority: number
  readonly weight: number
  readonly port: number
  /** As {@link asciiName} writes it; `.`: there is no such service. */
  readonly target: string
}

export interface Question {
  readonly type: RecordType
  /** As {@link asciiName} writes it. */
  readonly name: string
}

/** What a server says to a question, its aliases followed as far as it tells them. */
export interface Reply {
  /** To be asked for again, by TCP; nothing else counts then. */
  readonly truncated: boolean
  /** As IANA names it: NOERROR, NXDOMAIN, SERVFAIL... */
  readonly code: string
  /** Addresses as text, or SRV records. */
  readonly records: readonly (string | Srv)[]
  /** The name is an alias of this one, of which the server says nothing: it is to be asked. */
  readonly alias: string | undefined
  /** Seconds for which this may be kept; undefined: nobody said. */
  readonly ttl: number | undefined
}

/** It is the answer, and cannot be understood. */
export class DnsMessageError extends Error {
  override name = 'DnsMessageError'
}

const HEADER = 12
const RESPONSE = 0x80
const OPCODE = 0x78
const TRUNCATED = 0x02
/** Most records of an answer that are used; and aliases of one name. */
const MAX_RECORDS = 64
export const MAX_ALIASES = 8
/** Lifetimes with the first bit set count as none (RFC 2181 8). */
const MAX_TTL = 0x7fffffff

export function writeQuery(id: number, question: Question): Buffer {
  return encode({ type: 'query', id, flags: RECURSION_DESIRED, questions: [question] })
}

/**
 * Reads what came in answer to a query; undefined where it is the answer to something else, or no answer at all (RFC 5452 9.1:
 * id and question have to match). Throws a DnsMessageError where it is, and is broken.
 */
export function readReply(data: Buffer, query: Buffer, question: Question): Reply | undefined {
  if (data.length < query.length || data.readUInt16BE(0) !== query.readUInt16BE(0)) return undefined
  if (!(data[2]! & RESPONSE) || data[2]! & OPCODE || data.readUInt16BE(4) !== 1) return undefined
  if (questionOf(data, query.length) !== questionOf(query, query.length)) return undefined
  if (data[2]! & TRUNCATED) return { truncated: true, code: 'NOERROR', records: [], alias: undefined, ttl: undefined }
  return follow(decoded(data), question)
}

/** The question as it lies in the message, without regard to case: it comes first, so no name in it is compressed. */
function questionOf(message: Buffer, end: number): string {
  return message.toString('latin1', HEADER, end).toLowerCase()
}

function decoded(data: Buffer): DecodedPacket & { rcode?: string } {
  try {
    const message = decode(data)
    // It reads addresses beyond the end.
    if (decode.bytes <= data.length) return message
  } catch (cause) {
    throw new DnsMessageError('an answer that cannot be read', { cause })
  }
  throw new DnsMessageError('an answer that cannot be read')
}

function follow(
  { rcode = 'NOERROR', answers = [], authorities = [] }: DecodedPacket & { rcode?: string },
  asked: Question,
): Reply {
  let { name } = asked
  let ttl: number | undefined
  const owners = answers.map(answer => asciiName(answer.name))
  const passed = new Set<string>()
  for (;;) {
    const own = answers.filter((_, i) => owners[i] === name)
    const found = own.filter(({ type }) => type === asked.type).slice(0, MAX_RECORDS)
    if (found.length > 0) {
      for (const answer of found) ttl = shorter(ttl, ttlOf(answer))
      return { truncated: false, code: rcode, records: found.flatMap(recordOf), alias: undefined, ttl }
    }
    const alias = own.find(answer => answer.type === 'CNAME')
    if (alias?.type !== 'CNAME') break
    ttl = shorter(ttl, ttlOf(alias))
    passed.add(name)
    const next = asciiName(alias.data)
    if (next === undefined) throw new DnsMessageError(`${name} is an alias of what is no name`)
    if (passed.has(next) || passed.size > MAX_ALIASES)
      throw new DnsMessageError(`aliases of ${asked.name} lead nowhere`)
    name = next
  }
  // RFC 2308 5: the SOA of the zone says how long it may be kept that there is nothing.
  const soa = authorities.find(({ type }) => type === 'SOA')
  if (soa?.type === 'SOA') ttl = shorter(ttl, Math.min(ttlOf(soa), soa.data.minimum ?? 0))
  const askOn = name !== asked.name && soa === undefined && rcode === 'NOERROR'
  const known = soa !== undefined || askOn
  return { truncated: false, code: rcode, records: [], alias: askOn ? name : undefined, ttl: known ? ttl : undefined }
}

function recordOf(answer: Answer): (string | Srv)[] {
  if (answer.type === 'A' || answer.type === 'AAAA') return isIP(answer.data) ? [answer.data] : []
  if (answer.type !== 'SRV') return []
  const { priority = 0, weight = 0, port, target } = answer.data
  const name = target === '.' ? '.' : asciiName(target)
  return name === undefined ? [] : [{ priority, weight, port, target: name }]
}

function ttlOf(answer: Answer): number {
  const ttl = 'ttl' in answer ? (answer.ttl ?? 0) : 0
  return ttl > MAX_TTL ? 0 : ttl
}

function shorter(a: number | undefined, b: number): number {
  return a === undefined ? b : Math.min(a, b)
}
