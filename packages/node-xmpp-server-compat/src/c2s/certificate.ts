import { StreamError } from 'hermod/engine'
import type { Session } from './session.ts'

/** What Node's TLSSocket knows of the peer's certificate, and tells tls.Server only. */
interface Verifying {
  ssl?: { verifyError?(): Error | null }
}

/** Where clients without a valid certificate are refused, they are: Node leaves that to who uses its TLS sockets. */
export function requireCertificate({ server, connection }: Session): void {
  const { requestCert, rejectUnauthorized } = server.options
  if (!connection.isSecure || !requestCert || !rejectUnauthorized) return
  const { ssl } = connection.socket as Verifying
  const error = ssl?.verifyError === undefined ? new Error('no certificate') : ssl.verifyError()
  if (error) throw new StreamError('not-authorized', `your certificate is not valid: ${error.message}`)
}
