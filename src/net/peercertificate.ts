import { isIP } from 'node:net'
import { domainToASCII } from 'node:url'
import { type Link, linkOf, show } from './chain.ts'
import type { AlternativeNames } from './x509.ts'

/** Whether what a peer has shown says that it is a domain; `reason`, for the operator, where not, else empty. */
export interface Verdict {
  readonly valid: boolean
  readonly reason: string
}

/** What a peer has shown, read once. */
export interface PeerCertificate {
  readonly leaf: Link
  readonly shown: readonly Link[]
}

/**
 * Undefined where the first is no certificate; what else is none is passed over. Never throws.
 *
 * @param shown the peer's certificate, which its handshake has proven to be its own, and what it sent besides; DER
 */
export function readPeerCertificate(shown: readonly Buffer[]): PeerCertificate | undefined {
  const [first, ...rest] = shown
  const leaf = first && linkOf(first)
  return leaf && { leaf, shown: rest.flatMap(der => linkOf(der) ?? []) }
}

/**
 * What is wrong with a certificate for a domain, but for who vouches for it (RFC 6120 13.7.1.2, RFC 9525); undefined: nothing. A
 * domain stands in the subjectAltName, as DNS name or SRV-ID. Elsewhere it does not count: not in the common name, whatever is
 * written there; not as `xmppAddr`, which RFC 6120 13.7.1.4 keeps for old certificates only and no authority checks.
 */
export function nameFault(names: AlternativeNames, domain: string): string | undefined {
  const ascii = asciiOf(domain)
  if (ascii === undefined) return 'its certificate cannot be for what is no domain'
  if (names.srv.includes(ascii) || names.dns.some(pattern => matches(pattern, ascii))) return undefined
  if (names.xmppAddr.includes(ascii)) {
    return `its certificate has ${ascii} as xmppAddr only, which is taken no longer; a DNS name is needed in its subjectAltName`
  }
  return `its certificate is for ${list(names)}`
}

function asciiOf(domain: string): string | undefined {
  if (isIP(domain.replace(/^\[(.*)\]$/, '$1')) !== 0) return undefined
  return domainToASCII(domain).replace(/\.$/, '') || undefined
}

/** A wildcard is the whole first label, stands for one, and not right below the top (RFC 9525 6.3). */
function matches(pattern: string, domain: string): boolean {
  if (!pattern.startsWith('*.')) return pattern === domain
  const dot = domain.indexOf('.')
  const parent = domain.slice(dot + 1)
  return dot > 0 && parent.includes('.') && pattern.slice(2) === parent
}

const MOST_LISTED = 5

function list({ dns, srv }: AlternativeNames): string {
  const names = [...dns, ...srv.map(name => `_xmpp-server.${name}`)]
  if (names.length === 0) return 'no domain (it has no DNS name in its subjectAltName)'
  const listed = names.slice(0, MOST_LISTED).map(name => show(name).slice(1, -1))
  return `${listed.join(', ')}${names.length > MOST_LISTED ? ` and ${names.length - MOST_LISTED} more` : ''}`
}
