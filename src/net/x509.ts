import { content, type DerElement, readChildren, readElement, readOid, TAG } from './der.ts'
import { OID } from './issue.ts'

/** What RFC 5280 has a certificate say, as far as a chain of them is judged by it. */
export interface CertificateDetails {
  /** Hash function of its signature: md5, sha1, sha256 ..., `none` for Ed25519 and Ed448; undefined: not known. */
  readonly hash: string | undefined
  /** Names in DER. */
  readonly issuer: Buffer
  readonly subject: Buffer
  readonly ca: boolean
  /** Most authorities between it and a leaf. */
  readonly pathLength: number | undefined
  /** Its key may sign certificates. */
  readonly certifies: boolean
  /** Purposes, as object identifiers in dots; undefined: any. */
  readonly usages: readonly string[] | undefined
  readonly names: AlternativeNames
  readonly constraints: NameConstraints | undefined
  /** It says something that must be understood (critical), and is not. */
  readonly unknown: string | undefined
}

/** Of the subjectAltName, in lower case. What no domain can be called is left out. */
export interface AlternativeNames {
  /** With wildcards in the place of the first label. */
  readonly dns: readonly string[]
  /** Domains that an SRV-ID `_xmpp-server.DOMAIN` names (RFC 4985, RFC 6120 13.7.1.2.1). */
  readonly srv: readonly string[]
  /** Domains that an `xmppAddr` names (RFC 6120 13.7.1.4). */
  readonly xmppAddr: readonly string[]
}

/** RFC 5280 4.2.1.10, per kind of name. */
export interface NameConstraints {
  readonly permitted: Subtrees
  readonly excluded: Subtrees
}

export interface Subtrees {
  readonly dns: readonly string[]
  /** In DER. */
  readonly directory: readonly Buffer[]
  /** There are some of a kind that is not known, and that a certificate could be called by here. */
  readonly other: boolean
}

/** More than any authority puts into one certificate; who shows more is not read. */
const MOST_NAMES = 1000
const MOST_EXTENSIONS = 50
export const NO_NAMES: AlternativeNames = { dns: [], srv: [], xmppAddr: [] }

/**
 * Reads a certificate: strictly, and no more of it than its own bytes. Undefined where it is not one in DER, or has an
 * extension that is known and malformed, or twice. Never throws.
 */
export function readCertificate(der: Buffer): CertificateDetails | undefined {
  const whole = readElement(der, 0)
  if (whole?.tag !== TAG.sequence || whole.end !== der.length) return undefined
  const parts = readChildren(der, whole, 3)
  const [tbs, algorithm, signature] = parts ?? []
  if (tbs?.tag !== TAG.sequence || algorithm?.tag !== TAG.sequence || signature?.tag !== TAG.bitString) return undefined
  const fields = readChildren(der, tbs, 10)
  if (fields === undefined) return undefined
  const hasVersion = fields[0]?.tag === 0xa0
  const [serial, signed, issuer, validity, subject, key, ...optional] = hasVersion ? fields.slice(1) : fields
  const sequences = [signed, issuer, validity, subject, key]
  if (serial?.tag !== TAG.integer || sequences.some(field => field?.tag !== TAG.sequence)) return undefined
  // RFC 5280 4.1.1.2: what is signed says by what.
  if (!content(der, signed!).equals(content(der, algorithm))) return undefined
  const extensions = optional.find(field => field.tag === 0xa3)
  const read = extensions === undefined ? new Map<string, Extension>() : readExtensions(der, extensions)
  if (read === undefined) return undefined
  const details = detailsOf(read)
  if (details === undefined) return undefined
  return { hash: hashOf(der, algorithm), issuer: content(der, issuer!), subject: content(der, subject!), ...details }
}

interface Extension {
  readonly critical: boolean
  readonly value: Buffer
}

function readExtensions(der: Buffer, explicit: DerElement): Map<string, Extension> | undefined {
  const [list, more] = readChildren(der, explicit, 2) ?? []
  const entries =
    list?.tag === TAG.sequence && more === undefined ? readChildren(der, list, MOST_EXTENSIONS) : undefined
  if (entries === undefined) return undefined
  const found = new Map<string, Extension>()
  for (const entry of entries) {
    const parts = entry.tag === TAG.sequence ? readChildren(der, entry, 3) : undefined
    const [id, ...rest] = parts ?? []
    const name = id && readOid(der, id)
    const value = rest.pop()
    if (name === undefined || found.has(name) || value?.tag !== TAG.octets) return undefined
    const critical = rest[0] === undefined ? false : readTrue(der, rest[0])
    if (critical === undefined) return undefined
    found.set(name, { critical, value: content(der, value) })
  }
  return found
}

/** A BOOLEAN whose default is FALSE: in DER it is there only if it is TRUE; FALSE is written by some all the same. */
function readTrue(der: Buffer, { tag, start, end }: DerElement): boolean | undefined {
  if (tag !== TAG.boolean || end - start !== 1) return undefined
  return der[start] === 0xff ? true : der[start] === 0 ? false : undefined
}

type OfExtensions = Omit<CertificateDetails, 'hash' | 'issuer' | 'subject'>

function detailsOf(extensions: ReadonlyMap<string, Extension>): OfExtensions | undefined {
  const value = (id: string): Buffer | undefined => extensions.get(id)?.value
  const basic = ifThere(value(OID.basicConstraints), { ca: false, pathLength: undefined }, readBasicConstraints)
  const certifies = ifThere(value(OID.keyUsage), true, readCertifies)
  const usages = ifThere(value(OID.extKeyUsage), NONE, readUsages)
  const names = ifThere(value(OID.subjectAltName), NO_NAMES, readNames)
  const constraints = ifThere(value(OID.nameConstraints), NONE, readConstraints)
  if (!basic || certifies === undefined || !usages || !names || !constraints) return undefined
  const unknown = [...extensions].find(([id, { critical }]) => critical && !UNDERSTOOD.has(id))?.[0]
  return {
    ...basic,
    certifies,
    usages: usages === NONE ? undefined : usages,
    names,
    constraints: constraints === NONE ? undefined : constraints,
    unknown,
  }
}

const NONE = Symbol('none')

function ifThere<T, A>(
  value: Buffer | undefined,
  absent: A,
  read: (value: Buffer) => T | undefined,
): T | A | undefined {
  return value === undefined ? absent : read(value)
}

/** Of certificatePolicies nothing is asked: any will do (RFC 5280 6.1.1). */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  OID.basicConstraints,
  OID.keyUsage,
  OID.extKeyUsage,
  OID.subjectAltName,
  OID.nameConstraints,
  OID.certificatePolicies,
])

/** The elements of the one sequence that some bytes are. */
function listOf(der: Buffer, most: number): DerElement[] | undefined {
  const list = readElement(der, 0)
  return list?.tag === TAG.sequence && list.end === der.length ? readChildren(der, list, most) : undefined
}

function readBasicConstraints(der: Buffer): { ca: boolean; pathLength: number | undefined } | undefined {
  const parts = listOf(der, 2)
  if (parts === undefined) return undefined
  const ca = parts[0]?.tag === TAG.boolean ? readTrue(der, parts.shift()!) : false
  const [length, more] = parts
  if (ca === undefined || more !== undefined) return undefined
  if (length === undefined) return { ca, pathLength: undefined }
  if (length.tag !== TAG.integer || length.end - length.start !== 1 || der[length.start]! > 127) return undefined
  return { ca, pathLength: der[length.start]! }
}

/** KeyUsage is a BIT STRING; keyCertSign is bit 5. */
function readCertifies(der: Buffer): boolean | undefined {
  const bits = readElement(der, 0)
  if (bits?.tag !== TAG.bitString || bits.end !== der.length || bits.end - bits.start < 2) return undefined
  return (der[bits.start + 1]! & 0x04) !== 0
}

function readUsages(der: Buffer): string[] | undefined {
  const usages = listOf(der, 50)?.map(part => readOid(der, part))
  return usages !== undefined && usages.length > 0 && usages.every(usage => usage !== undefined) ? usages : undefined
}

function readNames(der: Buffer): AlternativeNames | undefined {
  const parts = listOf(der, MOST_NAMES)
  if (parts === undefined) return undefined
  const names = { dns: [] as string[], srv: [] as string[], xmppAddr: [] as string[] }
  for (const part of parts) {
    if (part.tag === DNS_NAME) add(names.dns, text(der, part), /^(\*\.)?/)
    if (part.tag !== OTHER_NAME) continue
    const other = readOtherName(der, part)
    if (other === undefined) return undefined
    if (other.kind === OID.dnsSRV && other.tag === TAG.ia5) add(names.srv, other.text, /^_xmpp-server\./, true)
    if (other.kind === OID.xmppAddr && other.tag === TAG.utf8) add(names.xmppAddr, other.text, /^/)
  }
  return names
}

const OTHER_NAME = 0xa0
const DNS_NAME = 0x82
const DIRECTORY_NAME = 0xa4
/** By which nobody is known here: mail addresses, X.400, EDI, URIs, IP addresses, registered identifiers. */
const UNUSED_NAMES: ReadonlySet<number> = new Set([0x81, 0xa3, 0xa5, 0x86, 0x87, 0x88])

const DOMAIN = /^(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/

/** @param cut what comes before the domain is not kept */
function add(list: string[], name: string, before: RegExp, cut = false): void {
  const lower = name.toLowerCase()
  const start = before.exec(lower)?.[0]
  if (start === undefined || !DOMAIN.test(lower.slice(start.length))) return
  list.push(cut ? lower.slice(start.length) : lower)
}

function text(der: Buffer, element: DerElement): string {
  return content(der, element).toString('latin1')
}

function readOtherName(der: Buffer, part: DerElement): { kind: string; tag: number; text: string } | undefined {
  const [id, explicit, more] = readChildren(der, part, 3) ?? []
  const kind = id && readOid(der, id)
  if (kind === undefined || explicit?.tag !== 0xa0 || more !== undefined) return undefined
  const value = readElement(der, explicit.start, explicit.end)
  if (value === undefined || value.end !== explicit.end) return undefined
  return { kind, tag: value.tag, text: text(der, value) }
}

function readConstraints(der: Buffer): NameConstraints | undefined {
  const parts = listOf(der, 2)
  if (parts === undefined || parts.length === 0) return undefined
  const permitted = parts[0]!.tag === 0xa0 ? readSubtrees(der, parts.shift()!) : NOWHERE
  const excluded = parts[0]?.tag === 0xa1 ? readSubtrees(der, parts.shift()!) : NOWHERE
  if (permitted === undefined || excluded === undefined || parts.length > 0) return undefined
  return { permitted, excluded }
}

const NOWHERE: Subtrees = { dns: [], directory: [], other: false }

function readSubtrees(der: Buffer, list: DerElement): Subtrees | undefined {
  const parts = readChildren(der, list, MOST_NAMES)
  if (parts === undefined || parts.length === 0) return undefined
  const dns: string[] = []
  const directory: Buffer[] = []
  let other = false
  for (const part of parts) {
    // Minimum and maximum are not used (RFC 5280 4.2.1.10).
    const [base, more] = readChildren(der, part, 2) ?? []
    if (part.tag !== TAG.sequence || base === undefined || more !== undefined) return undefined
    if (base.tag === DNS_NAME) dns.push(text(der, base).toLowerCase())
    else if (base.tag === DIRECTORY_NAME) {
      const name = readElement(der, base.start, base.end)
      if (name?.tag !== TAG.sequence) return undefined
      directory.push(content(der, name))
    } else other ||= !UNUSED_NAMES.has(base.tag)
  }
  return { dns, directory, other }
}

/** The hash function that a certificate is signed with; undefined: not known, or the bytes are no certificate. */
export function signatureHash(der: Buffer): string | undefined {
  const certificate = readElement(der, 0)
  const tbs = certificate && readElement(der, certificate.start)
  const algorithm = tbs && readElement(der, tbs.end)
  return algorithm && hashOf(der, algorithm)
}

/** By the object identifier of the signature algorithm (RFC 4055, RFC 5758, RFC 8410). */
const BY_SIGNATURE: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.1.4': 'md5',
  '1.2.840.113549.1.1.5': 'sha1',
  '1.2.840.113549.1.1.14': 'sha224',
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
  '1.2.840.10045.4.1': 'sha1',
  '1.2.840.10045.4.3.1': 'sha224',
  '1.2.840.10045.4.3.2': 'sha256',
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
  '1.3.101.112': 'none',
  '1.3.101.113': 'none',
}

const RSA_PSS = '1.2.840.113549.1.1.10'
/** Hash functions that the parameters of RSASSA-PSS can name; none named means SHA-1 (RFC 4055 3.1). */
const BY_HASH: Readonly<Record<string, string>> = {
  '1.3.14.3.2.26': 'sha1',
  '2.16.840.1.101.3.4.2.4': 'sha224',
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
}

function hashOf(der: Buffer, algorithm: DerElement): string | undefined {
  const [id, parameters] = readChildren(der, algorithm, 2) ?? []
  const name = id && readOid(der, id)
  if (name === undefined) return undefined
  if (name !== RSA_PSS) return BY_SIGNATURE[name]
  const tagged = parameters && readChildren(der, parameters, 4)?.[0]
  if (parameters === undefined) return undefined
  if (tagged?.tag !== 0xa0) return 'sha1'
  const hash = readElement(der, tagged.start, tagged.end)
  const hashId = hash && readElement(der, hash.start, hash.end)
  const hashName = hashId && readOid(der, hashId)
  return hashName === undefined ? undefined : BY_HASH[hashName]
}
