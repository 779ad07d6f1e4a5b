import { createHash, type X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { signatureHash } from './x509.ts'

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
  if (hash === undefined || hash === 'none') return undefined
  return createHash(hash === 'md5' || hash === 'sha1' ? 'sha256' : hash)
    .update(der)
    .digest()
}
