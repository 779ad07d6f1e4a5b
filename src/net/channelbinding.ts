import { createHash, type X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { content, type DerElement, readElement } from './der.ts'

/** Channel bindings that hermod can do, by their registered names (RFC 9266, RFC 5929). */
export type BindingType = 'tls-exporter' | 'tls-server-end-point'

/** What a connection can be bound to: the types to announce, and the data of one, computed when a client has chosen it. */
export interface ChannelBindings {
  /** The recommended one first (XEP-0440). */
  readonly types: readonly BindingType[]
  /** Of an announced type, or where it is taken of `tls-unique`, which is not announced; undefined for any other. */
  data(type: string): Buffer | undefined
}

export const NO_BINDINGS: ChannelBindings = { types: [], data: () => undefined }

/**
 * Bindings of a TLS connection on which we are the server. `tls-exporter` comes only with TLS 1.3: on older versions it is
 * safe only with an extension that Node does not report. `tls-unique` (RFC 5929 3) is for older clients that know no other
 * and use it wherever -PLUS is offered: it is never announced, and not defined for TLS 1.3 (RFC 9266 3), where it is
 * refused (see docs/decisions/006).
 *
 * @param endPoint whether the certificates in use have a `tls-server-end-point`
 * @param uniqueOnTls13 whether the operator wants `tls-unique` taken on TLS 1.3 all the same
 */
export function tlsBindings(socket: TLSSocket, endPoint: boolean, uniqueOnTls13: boolean): ChannelBindings {
  const isTls13 = socket.getProtocol() === 'TLSv1.3'
  const types: BindingType[] = isTls13 ? ['tls-exporter'] : []
  if (endPoint) types.push('tls-server-end-point')
  return {
    types,
    data(type) {
      if (type === 'tls-unique') return isTls13 && !uniqueOnTls13 ? undefined : tlsUnique(socket)
      if (!types.includes(type as BindingType)) return undefined
      if (type === 'tls-exporter') return socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0))
      const certificate = socket.getX509Certificate()
      return certificate === undefined ? undefined : serverEndPoint(certificate)
    },
  }
}

/** The first Finished message, which is the client's unless an earlier session was resumed. */
function tlsUnique(socket: TLSSocket): Buffer | undefined {
  return (socket.isSessionReused() ? socket.getFinished() : socket.getPeerFinished()) ?? undefined
}

/**
 * `tls-server-end-point` of a certificate (or its DER): the hash of the certificate by the hash function of its signature,
 * SHA-256 in place of MD5 and SHA-1 (RFC 5929 4.1).
 * @returns undefined where the binding is not defined: for signatures without one hash function, such as Ed25519
 */
export function serverEndPoint(certificate: Buffer | X509Certificate): Buffer | undefined {
  const der = Buffer.isBuffer(certificate) ? certificate : certificate.raw
  const hash = signatureHash(der)
  return hash === undefined ? undefined : createHash(hash).update(der).digest()
}

/** Object identifiers in DER, in hex, of signature algorithms with the hash to use. */
const BY_SIGNATURE: Readonly<Record<string, string>> = {
  '2a864886f70d010104': 'sha256', // md5WithRSAEncryption
  '2a864886f70d010105': 'sha256', // sha1WithRSAEncryption
  '2a864886f70d01010e': 'sha224',
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2a8648ce3d0401': 'sha256', // ecdsa-with-SHA1
  '2a8648ce3d040301': 'sha224',
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
}

const RSA_PSS = '2a864886f70d01010a'
/** Hash functions that the parameters of RSASSA-PSS can name; none named means SHA-1 (RFC 4055 3.1). */
const BY_HASH: Readonly<Record<string, string>> = {
  '2b0e03021a': 'sha256', // sha1
  '608648016503040204': 'sha224',
  '608648016503040201': 'sha256',
  '608648016503040202': 'sha384',
  '608648016503040203': 'sha512',
}

/** `Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, parameters }, signature }` (RFC 5280). */
function signatureHash(der: Buffer): string | undefined {
  const certificate = readElement(der, 0)
  const tbs = certificate && readElement(der, certificate.start)
  const algorithm = tbs && readElement(der, tbs.end)
  const oid = algorithm && readElement(der, algorithm.start)
  if (oid === undefined) return undefined
  const name = hex(der, oid)
  if (name !== RSA_PSS) return BY_SIGNATURE[name]

  const parameters = readElement(der, oid.end)
  const tagged = parameters && readElement(der, parameters.start)
  if (parameters === undefined || tagged === undefined || tagged.start > parameters.end) return undefined
  if (tagged.tag !== 0xa0) return 'sha256'
  const hash = readElement(der, tagged.start)
  const hashOid = hash && readElement(der, hash.start)
  return hashOid && BY_HASH[hex(der, hashOid)]
}

function hex(der: Buffer, element: DerElement): string {
  return content(der, element).toString('hex')
}
