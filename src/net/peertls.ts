import { constants } from 'node:crypto'
import { isIP } from 'node:net'
import type { SecureContext } from 'node:tls'
import { domainToASCII } from 'node:url'
import type { TlsOptions } from './handshake.ts'
import { contextOf, SECURE_OPTIONS, type TlsContexts, type TlsPair } from './tls.ts'

/** XEP-0368 3. */
const ALPN = ['xmpp-server']
/**
 * Nobody resumes a session: the chain of a certificate is not in a ticket, and Node says of a session of TLS 1.3 that was
 * resumed without any certificate that all is well.
 */
const PEER_OPTIONS = SECURE_OPTIONS | constants.SSL_OP_NO_TICKET

/**
 * TLS with other servers, in both roles, by the certificates of {@link TlsContexts}, whose reloads and renewals it follows.
 * Either side shows its certificate; neither handshake fails for it: whom it is valid for is asked afterwards, by domain.
 */
export class PeerTls {
  readonly #tls: TlsContexts
  /** By certificate, or by policy for the one without any. */
  readonly #contexts = new WeakMap<object, SecureContext>()

  constructor(tls: TlsContexts) {
    this.#tls = tls
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
