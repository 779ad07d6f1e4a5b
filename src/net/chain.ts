import { X509Certificate } from 'node:crypto'
import { OID } from './issue.ts'
import { type CertificateDetails, readCertificate, type Subtrees } from './x509.ts'

/** A certificate, read twice: by OpenSSL, and for what Node does not tell of it. */
export interface Link {
  readonly certificate: X509Certificate
  readonly details: CertificateDetails
}

/** Who is trusted to say who somebody is. */
export interface Anchors {
  /** Authorities by their name, as Node writes it. */
  named(name: string): readonly Link[]
  /** This very certificate is trusted, whoever issued it. */
  has(certificate: Buffer): boolean
}

/** Undefined where the bytes are no certificate. Never throws. */
export function linkOf(der: Buffer): Link | undefined {
  const details = readCertificate(der)
  if (details === undefined) return undefined
  try {
    return { certificate: new X509Certificate(der), details }
  } catch {
    return undefined
  }
}

/** Signatures that are looked at for one chain: who shows many certificates of one name has us try no more. */
const MOST_SIGNATURES = 20
const HASHES: ReadonlySet<string | undefined> = new Set(['sha256', 'sha384', 'sha512', 'none'])
const CURVES: ReadonlySet<string | undefined> = new Set(['prime256v1', 'secp384r1', 'secp521r1'])
const LEAST_RSA = 2048

/**
 * What is wrong with a certificate by those who vouch for it, up to an authority that is trusted (RFC 5280 6.1), as what
 * follows on "the certificate"; undefined: nothing. Anything unusual is wrong: extensions that are critical and not known, constraints on kinds of names that are
 * not known. Of revocation nothing is asked.
 *
 * OpenSSL would do the same in the handshake, but not as it is needed: as a server it wants the purpose clientAuth in the
 * certificate of its peer, which public authorities no longer give, and says so in place of whatever else is wrong.
 *
 * @param leaf that the peer has the key of
 * @param shown what it sent besides, in any order
 * @param now ms since 1970
 */
export function chainFault(leaf: Link, shown: readonly Link[], anchors: Anchors, now: number): string | undefined {
  const fault = ownFault(leaf, now)
  if (fault !== undefined) return fault
  if (anchors.has(leaf.certificate.raw)) return undefined
  return new Search(shown, anchors, now).from([leaf])
}

class Search {
  readonly #shown: readonly Link[]
  readonly #anchors: Anchors
  readonly #now: number
  #signatures = 0

  constructor(shown: readonly Link[], anchors: Anchors, now: number) {
    this.#shown = shown
    this.#anchors = anchors
    this.#now = now
  }

  /** The first way up that holds; else what is wrong with the one that got furthest. */
  from(path: readonly Link[]): string | undefined {
    const { certificate } = path.at(-1)!
    let fault: string | undefined
    for (const anchor of this.#anchors.named(certificate.issuer)) {
      const wrong = this.#step(path, anchor)
      if (wrong === undefined) return undefined
      fault ??= wrong
    }
    for (const next of this.#shown) {
      const { certificate: other } = next
      if (other.subject !== certificate.issuer || path.some(link => link.certificate.raw.equals(other.raw))) continue
      const wrong = this.#step(path, next) ?? this.from([...path, next])
      if (wrong === undefined) return undefined
      fault = wrong
    }
    return fault ?? unknownIssuer(path)
  }

  /** What is wrong with one certificate as the issuer of the last of a path. */
  #step(path: readonly Link[], issuer: Link): string | undefined {
    if (this.#signatures++ >= MOST_SIGNATURES) return 'has a chain of too many certificates'
    return stepFault(path, issuer, this.#now)
  }
}

function unknownIssuer(path: readonly Link[]): string {
  const { certificate } = path.at(-1)!
  if (certificate.issuer !== certificate.subject) {
    return `${who(path)}is by ${show(certificate.issuer)}, which is not known and whose certificate was not shown`
  }
  return path.length === 1 ? 'is self-signed' : `is by an authority that is not trusted, ${show(certificate.issuer)}`
}

function stepFault(path: readonly Link[], issuer: Link, now: number): string | undefined {
  const { certificate, details } = path.at(-1)!
  const name = show(issuer.certificate.subject)
  if (!certificate.checkIssued(issuer.certificate) || !signed(certificate, issuer.certificate)) {
    return `${who(path)}is not signed by ${name}, which it names`
  }
  if (!HASHES.has(details.hash))
    return `${who(path)}is signed by a method too weak or not known (${details.hash ?? '?'})`
  const by = `${who(path)}is by ${name}, which`
  if (!issuer.details.ca || !issuer.details.certifies) return `${by} is no authority`
  const own = ownFault(issuer, now)
  if (own !== undefined) return `${by} ${own}`
  // Those that name themselves as issuer do not count (RFC 5280 4.2.1.9).
  const between = path.slice(1).filter(({ certificate: one }) => one.issuer !== one.subject).length
  if (between > (issuer.details.pathLength ?? Number.POSITIVE_INFINITY)) {
    return `${by} may have no authorities below it`
  }
  if (!path.every((link, index) => within(issuer.details, link, index === 0))) {
    return `${by} may not vouch for such a name`
  }
  return undefined
}

/** Whose fault it is, of a path. */
function who(path: readonly Link[]): string {
  return path.length === 1 ? '' : `has an authority ${show(path.at(-1)!.certificate.subject)} that `
}

function signed(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.verify(issuer.publicKey)
  } catch {
    return false // a key of a kind that OpenSSL does not know
  }
}

/** What is wrong with one certificate by itself. */
function ownFault({ certificate, details }: Link, now: number): string | undefined {
  const { validFromDate, validToDate } = certificate
  // Dates that are none are of no use either.
  if (!(now < validToDate.getTime())) return `expired on ${day(validToDate)}`
  if (!(now >= validFromDate.getTime())) return `is not valid before ${day(validFromDate)}`
  if (details.unknown !== undefined) return `has a critical extension that is not known (${details.unknown})`
  if (!forTls(details.usages)) return 'is for other purposes than TLS (extendedKeyUsage)'
  return strong(certificate) ? undefined : 'has a key that is too weak'
}

/**
 * Either role will do for both: a server is the client of others with the certificate that it has, and public authorities
 * issue them for serverAuth alone. What is asked of a certificate here is whose it is.
 */
function forTls(usages: readonly string[] | undefined): boolean {
  if (usages === undefined) return true
  return usages.some(usage => usage === OID.serverAuth || usage === OID.clientAuth || usage === OID.anyExtendedKeyUsage)
}

function strong(certificate: X509Certificate): boolean {
  try {
    const { asymmetricKeyType: type, asymmetricKeyDetails: key } = certificate.publicKey
    if (type === 'rsa' || type === 'rsa-pss') return (key?.modulusLength ?? 0) >= LEAST_RSA
    if (type === 'ec') return CURVES.has(key?.namedCurve)
    return type === 'ed25519' || type === 'ed448'
  } catch {
    return false
  }
}

/** Whether the names of a certificate below are among those that an authority may vouch for (RFC 5280 4.2.1.10). */
function within({ constraints }: CertificateDetails, { certificate, details }: Link, isLeaf: boolean): boolean {
  if (constraints === undefined || (!isLeaf && certificate.issuer === certificate.subject)) return true
  const { permitted, excluded } = constraints
  if (permitted.other || excluded.other) return false
  const { dns, srv, xmppAddr } = details.names
  // Of SRV-IDs and their like only the domain counts, as if it stood there as a DNS name: else a constraint could be got round.
  const domains = [...dns, ...srv, ...xmppAddr]
  if (permitted.dns.length > 0 && !domains.every(name => isBelow(name, permitted))) return false
  if (domains.some(name => isBelow(name, excluded) || isAbove(name, excluded))) return false
  if (permitted.directory.length > 0 && !permitted.directory.some(base => startsWith(details.subject, base)))
    return false
  // Names in DER may be equal and differ in bytes: nothing can be told to be outside.
  return excluded.directory.length === 0
}

/** `example.org` allows it and all below it; the empty name everything. A wildcard stands for names below. */
function isBelow(name: string, { dns }: Subtrees): boolean {
  const plain = name.replace(/^\*\./, 'x.')
  return dns.some(base => {
    const plainBase = base.replace(/^\./, '')
    return plainBase === '' || plain === plainBase || plain.endsWith(`.${plainBase}`)
  })
}

/** Whether a wildcard could stand for one of the names. */
function isAbove(name: string, { dns }: Subtrees): boolean {
  return name.startsWith('*.') && dns.some(base => base.replace(/^\./, '').endsWith(name.slice(1)))
}

/** Whether a name begins with the parts of another (DER: the content of its sequence). */
function startsWith(name: Buffer, base: Buffer): boolean {
  return name.subarray(0, base.length).equals(base)
}

function day(date: Date): string {
  return Number.isNaN(date.getTime()) ? 'a date that is none' : date.toISOString().slice(0, 10)
}

/** What a peer calls itself or others, for the log: one line, not long. */
export function show(name: string): string {
  const line = name.replace(/\s*\n\s*/g, ', ').replace(/[^\x20-\x7e]/g, '?')
  return `"${line.length > 100 ? `${line.slice(0, 100)}...` : line}"`
}
