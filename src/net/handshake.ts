import type { Socket } from 'node:net'
import { type ConnectionOptions, connect, TLSSocket, type TLSSocketOptions } from 'node:tls'

/** How TLS is spoken on a connection that there is: as its server, or, without `isServer`, as its client. */
export type TlsOptions = (TLSSocketOptions & { isServer: true }) | (ConnectionOptions & { isServer?: false })

/**
 * Begins the handshake on a socket whose next bytes are TLS, put-back ones (`unshift`) included. It is done at the event
 * `secure`, has failed at `error`. What is written before it is done waits for it. One that is larger than anybody needs fails.
 */
export function beginTls(socket: Socket, options: TlsOptions): TLSSocket {
  const before = socket.bytesRead
  // Node has two ways for the two roles: the constructor begins no handshake of a client.
  const secure = options.isServer ? new TLSSocket(socket, options) : connect({ ...options, socket })
  const look = (): void => {
    if (socket.bytesRead - before <= MOST_BYTES) return
    clearInterval(timer)
    secure.on('error', () => {}) // whoever waits for the end of the handshake may have left by then
    secure.destroy(Object.assign(new Error('too many bytes'), { code: TOO_LONG }))
  }
  const timer = setInterval(look, LOOK_EVERY).unref()
  const over = (): void => clearInterval(timer)
  secure.once('close', over)
  secure.once('secure', () => {
    over()
    secure.off('close', over)
    look()
  })
  return secure
}

/**
 * Most bytes of a handshake that are taken. OpenSSL takes 100 KiB of certificates, of which it makes a megabyte that it keeps
 * as long as the connection lasts, or as the peer leaves the handshake unfinished.
 */
const MOST_BYTES = 32 * 1024
/** How often it is looked how far it has come (ms). */
const LOOK_EVERY = 250
const TOO_LONG = 'ERR_SSL_HANDSHAKE_TOO_LONG'

export const CLOSED_EARLY = 'the peer closed the connection during the TLS handshake'

export function tooSlow(timeout: number): string {
  return `the TLS handshake was not done within ${timeout / 1000} s`
}

/** Codes of Node and OpenSSL that say what the peer did, or did not like. */
const WORDS: Readonly<Record<string, string>> = {
  ECONNRESET: CLOSED_EARLY,
  EPIPE: CLOSED_EARLY,
  [TOO_LONG]: 'the peer shows more certificates than are taken (its handshake has more than 32 KiB)',
  ERR_SSL_WRONG_VERSION_NUMBER: 'the peer does not speak TLS there',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'the peer does not speak TLS there',
  ERR_SSL_HTTP_REQUEST: 'the peer speaks HTTP',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'the peer has no version of TLS that is taken here (see tls_min_version)',
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: 'the peer takes no version of TLS that is spoken here (see tls_min_version)',
  ERR_SSL_NO_SHARED_CIPHER: 'the peer has no cipher in common with us (see tls_ciphers)',
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: 'the peer has no cipher in common with us, or no certificate for that name',
  ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: 'the peer does not speak XMPP with servers there (by its ALPN)',
  ERR_SSL_NO_APPLICATION_PROTOCOL: 'the peer wants to speak another protocol (by its ALPN)',
  ERR_SSL_TLSV1_UNRECOGNIZED_NAME: 'the peer does not know the domain (by SNI)',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'the peer does not know the authority that issued our certificate',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: 'the peer refuses our certificate',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'the peer refuses our certificate as broken',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'the peer refuses our certificate as expired',
  ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE: 'the peer refuses the kind of our certificate',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'the peer wants a certificate of ours, and we have none for that domain',
}

/** Whether TLS broke a connection that it had been established on. */
export function isOfTls(error: Error & { code?: unknown }): boolean {
  return /^ERR_SSL_|^EPROTO$/.test(String(error.code))
}

/** What broke a TLS connection, in words. */
export function tlsFailure(error: Error & { code?: unknown; reason?: unknown }): string {
  // Where a write failed, what OpenSSL says is in the message only: error:NUMBER:LIBRARY:FUNCTION:REASON:FILE:LINE.
  const within = /error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):/.exec(error.message)?.[1]
  const reason = typeof error.reason === 'string' ? error.reason : within
  const code = reason === undefined ? String(error.code) : `ERR_SSL_${reason.toUpperCase().replaceAll(' ', '_')}`
  return WORDS[code] ?? WORDS[String(error.code)] ?? `TLS failed: ${reason ?? error.message}`
}
