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

const VALID: Verdict = { valid: true, reason: '' }

interface Judged {
  /** State of the authorities. */
  readonly by: object
  readonly names: AlternativeNames
  /** ms since 1970 */
  readonly expires: number
  /** By who vouches for it. */
  readonly fault: string | undefined
}

/**
 * TLS with other servers, in both roles, by the certificates of {@link TlsContexts}, whose reloads and renewals it follows.
 * Either side shows its certificate; neither handshake fails for it: whom it is valid for is asked afterwards, by domain.
 */
export class PeerTls {
  readonly #tls: TlsContexts
  /** By certificate, or by policy for the one without any. */
  readonly #contexts = new WeakMap<object, SecureContext>()

  /** What has been found out about what peers have shown. */
  readonly #judged = new WeakMap<readonly Buffer[], Judged>()
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
   * domains: the chain is followed once.
   */
  certificate(transport: Pick<Transport, 'peerCertificates'>, domain: string): Verdict {
    const { peerCertificates } = transport
    if (peerCertificates.length === 0) return { valid: false, reason: 'no certificate was shown' }
    const { names, expires, fault } = this.#judge(peerCertificates)
    const wrong = fault ?? nameFault(names, domain) ?? (this.#now() < expires ? undefined : 'has expired')
    return wrong === undefined ? VALID : { valid: false, reason: `its certificate ${wrong}` }
  }

  #judge(shown: readonly Buffer[]): Judged {
    const { state } = this.#authorities
    const before = this.#judged.get(shown)
    if (before?.by === state) return before
    const read = readPeerCertificate(shown)
    const judged: Judged = {
      by: state,
      names: read?.leaf.details.names ?? NO_NAMES,
      expires: read?.leaf.certificate.validToDate.getTime() ?? 0,
      fault: read ? chainFault(read.leaf, read.shown, this.#authorities, this.#now()) : 'is broken',
    }
    this.#judged.set(shown, judged)
    return judged
  }

  #context(pair: TlsPair | undefined): SecureContext {
    const { policy } = this.#tls
    const key = pair ?? policy
    let context = this.#contexts.get(key)
    if (context === undefined) {
      context = contextOf(pair ?? {}, policy, { secureOptions: PEER_OPTIONS })
      this.#contexts.set(key, context)
    }
    return context
  }
}

function serverName(domain: string): string | undefined {
  if (isIP(domain.replace(/^\[(.*)\]$/, '$1')) !== 0) return undefined
  return domainToASCII(domain).replace(/\.$/, '') || undefined
}
