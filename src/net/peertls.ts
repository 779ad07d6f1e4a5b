import { constants } from 'node:crypto'
import { isIP } from 'node:net'
import type { SecureContext } from 'node:tls'
import { domainToASCII } from 'node:url'
import type { Authorities } from './authorities.ts'
import { chainFault } from './chain.ts'
import type { TlsOptions } from './handshake.ts'
import { nameFault, readPeerCertificate, type Verdict } from './peercertificate.ts'
import { contextOf, SECURE_OPTIONS, type TlsContexts, type TlsPair } from './tls.ts'
import type { Transport } from './transport.ts'
import { type AlternativeNames, NO_NAMES } from './x509.ts'

/** XEP-0368 3. */
const ALPN = ['xmpp-server']
/**
 * Nobody resumes a session: the chain of a certificate is not in a ticket, and Node says of a session of TLS 1.3 that was
 * resumed without any certificate that all is well.
 */
const PEER_OPTIONS = SECURE_OPTIONS | constants.SSL_OP_NO_TICKET

/**
 * Of key exchange. OpenSSL keeps what it was done with as long as a connection lasts, which of ML-KEM is 10 KB: with thousands
 * of peers, that are silent most of the time, it is most of what differs.
 */
const GROUPS = 'X25519:P-256:P-384:P-521'

const VALID: Verdict = { valid: true, reason: '' }

/** What is kept of what a peer has shown. */
interface Shown {
  readonly names: AlternativeNames
  /** ms since 1970 */
  readonly expires: number
  /** By who vouches for it. */
  readonly fault: string | undefined
}

const BROKEN: Shown = { names: NO_NAMES, expires: 0, fault: 'its certificate is broken' }

/**
 * TLS with other servers, in both roles, by the certificates of {@link TlsContexts}, whose reloads and renewals it follows.
 * Either side shows its certificate; neither handshake fails for it: whom it is valid for is asked afterwards, by domain.
 */
export class PeerTls {
  readonly #tls: TlsContexts
  /** By certificate, or by policy for the one without any. */
  readonly #contexts = new WeakMap<object, SecureContext>()
  readonly #shown = new WeakMap<object, Shown>()
  readonly #authorities: Authorities
  readonly #now: () => number

  /** @param now ms since 1970; for tests */
  constructor(tls: TlsContexts, authorities: Authorities, now: () => number = Date.now) {
    this.#tls = tls
    this.#authorities = authorities
    this.#now = now
  }

  /**
   * As the server of another server, which is asked for a certificate, by an empty list of authorities: with a list some send
   * none that another has issued.
   *
   * @param direct answers ALPN with `xmpp-server` and refuses who offers only other protocols (XEP-0368)
   * @param host the stream's `to`: decides where no name is asked for by SNI
   */
  accept(direct: boolean, host?: string): TlsOptions {
    const otherwise = (host === undefined ? undefined : this.#tls.pairFor(host)) ?? this.#tls.defaultPair
    return {
      isServer: true,
      secureContext: this.#context(otherwise),
      requestCert: true,
      rejectUnauthorized: false,
      ...(direct && { ALPNProtocols: ALPN }),
      ...(this.#tls.choice && {
        SNICallback: (name, done) => {
          const pair = this.#tls.pairFor(name)
          done(null, pair && this.#context(pair))
        },
      }),
    }
  }

  /**
   * As the client of another server.
   *
   * @param local domain of ours that speaks: the certificate that has its name is shown, or none
   * @param remote whom to speak to: asked for by SNI, unless it is an address (RFC 6066 3)
   * @param direct TLS from the first byte, with ALPN (XEP-0368)
   */
  connect(local: string, remote: string, direct: boolean): TlsOptions {
    const pair = this.#tls.pairFor(local)
    const servername = serverName(remote)
    return {
      secureContext: this.#context(pair),
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      ...(servername !== undefined && { servername }),
      ...(direct && { ALPNProtocols: ALPN }),
    }
  }

  /**
   * Whether what the peer of a connection has shown says that it is `domain` (RFC 6120 13.7). May be asked again, for other
   * domains: who vouches for it is found out once, by those who are trusted then.
   */
  certificate(transport: Pick<Transport, 'takePeerCertificates'>, domain: string): Verdict {
    let shown = this.#shown.get(transport)
    if (shown === undefined) {
      const certificates = transport.takePeerCertificates()
      // Perhaps not yet: TLS may be still to come.
      if (certificates.length === 0) return { valid: false, reason: 'no certificate was shown' }
      shown = this.#judge(certificates)
      this.#shown.set(transport, shown)
    }
    const { names, expires, fault } = shown
    const wrong =
      fault ?? nameFault(names, domain) ?? (this.#now() < expires ? undefined : 'its certificate has expired')
    return wrong === undefined ? VALID : { valid: false, reason: wrong }
  }

  #judge(certificates: readonly Buffer[]): Shown {
    const read = readPeerCertificate(certificates)
    if (read === undefined) return BROKEN
    const { details, certificate } = read.leaf
    const fault = chainFault(read.leaf, read.shown, this.#authorities, this.#now())
    return {
      names: details.names,
      expires: certificate.validToDate.getTime(),
      fault: fault && `its certificate ${fault}`,
    }
  }

  #context(pair: TlsPair | undefined): SecureContext {
    const { policy } = this.#tls
    const key = pair ?? policy
    let context = this.#contexts.get(key)
    if (context === undefined) {
      context = contextOf(pair ?? {}, policy, { secureOptions: PEER_OPTIONS, ecdhCurve: GROUPS })
      this.#contexts.set(key, context)
    }
    return context
  }
}

function serverName(domain: string): string | undefined {
  if (isIP(domain.replace(/^\[(.*)\]$/, '$1')) !== 0) return undefined
  return domainToASCII(domain).replace(/\.$/, '') || undefined
}
