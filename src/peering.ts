import { type Config, hostOptions, listenOptions, serverOptions } from './config/core.ts'
import { parseOptions } from './config/validate.ts'
import type { Logger } from './core/log.ts'
import { Metrics } from './core/metrics.ts'
import { type Destination, Router } from './core/router.ts'
import { type Federating, federate, peerCredentials } from './federating.ts'
import type { Authorities } from './net/authorities.ts'
import type { CertificateSource } from './net/certificates.ts'
import { PreLoginBudget } from './net/prelogin.ts'
import { selfSigned } from './net/selfsigned.ts'
import { TlsContexts } from './net/tls.ts'
import { Flusher } from './net/transport.ts'
import { Federation } from './s2s/federation.ts'
import type { Links } from './s2s/links.ts'
import { openMemoryStore } from './storage/memory.ts'
import type { Store } from './storage/store.ts'
import { Rounds } from './stream/rounds.ts'
import { IdGenerator } from './util/ids.ts'
import { StanzaError, StreamError } from './xmpp/errors.ts'
import { Jid } from './xmpp/jid.ts'
import type { Stanza } from './xmpp/stanza.ts'

/** How long it is waited, at the end, for what is on its way (ms). */
const LATE = 2000

export interface PeeringOptions {
  /** The port that other servers connect to; 1 to 65535. */
  port: number
  /** Address to listen on. */
  ip: string
  log: Logger
  /** As `s2s` in the configuration of a server (docs/reference/config.md); but for `ca_file`, see {@link Peering.trust}. */
  s2s?: Record<string, unknown>
  /** As the entry of `listen`. */
  listen?: Record<string, unknown>
}

/** A domain that is spoken for here. */
export interface PeeringDomain {
  /** Takes what is said to it, which it may change: the stanza is its own. What it throws goes back to who said it, as an error. */
  deliver(stanza: Stanza): void | Promise<void>
}

/**
 * Federation without the rest of a server (`hermod/engine`): whose domains are whatever the program says. What waits for other
 * servers is in memory only. All domains speak TLS, those without a certificate of their own by one that is self-signed, as
 * whom other servers may take them by dialback.
 */
export class Peering {
  readonly #router: Router
  readonly #store: Store
  readonly #tls: TlsContexts
  readonly #authorities: Authorities
  readonly #federating: Federating
  readonly #links: Links
  readonly #config: Config
  readonly #certificates = new Map<string, CertificateSource>()
  #trusted: string[] = []
  /** Certificates are read one after the other. */
  #changes: Promise<unknown> = Promise.resolve()

  /** Opens the port. @throws RangeError for options that are wrong; what is wrong with the port */
  static async start(options: PeeringOptions): Promise<Peering> {
    const { log } = options
    const config = configOf(options)
    const store = openMemoryStore()
    // Shown to who asks for a domain that is not there: there has to be one.
    const tls = await TlsContexts.load({ certificates: [await selfSigned(['localhost'])], log })
    const credentials = await peerCredentials(config, store, log)
    const peering = new Peering(config, log, store, tls, credentials)
    await peering.#federating.listen()
    return peering
  }

  private constructor(
    config: Config,
    log: Logger,
    store: Store,
    tls: TlsContexts,
    credentials: Awaited<ReturnType<typeof peerCredentials>>,
  ) {
    this.#config = config
    this.#store = store
    this.#tls = tls
    this.#authorities = credentials.authorities
    this.#router = new Router(log)
    const around = {
      ...{ log, store, tls, router: this.#router, metrics: new Metrics(), ids: new IdGenerator() },
      ...{ flusher: new Flusher(), rounds: new Rounds(), prelogin: new PreLoginBudget(config.pre_auth_memory) },
      ...{ config: () => this.#config, now: undefined },
    }
    const { federating, links } = federate(around, credentials)
    this.#federating = federating
    this.#links = links
    this.#router.fallback = new Federation(links, federating.server.settings.allows)
  }

  get port(): number {
    return this.#federating.listeners[0]!.port
  }

  /**
   * From here on a domain is spoken for here.
   *
   * @param certificate PEM; left out, one that is self-signed
   * @throws RangeError for what is no domain, Error where it is served already, TlsError (then it is not served)
   */
  async serve(domain: string, served: PeeringDomain, certificate?: CertificateSource): Promise<void> {
    const name = domainOf(domain)
    await this.certify(name, certificate ?? this.#certificates.get(name) ?? (await selfSigned([name])))
    this.#router.add({ name, filter: undefined, deliver: stanza => served.deliver(stanza) } satisfies Destination)
  }

  /** Another certificate for a domain. @throws TlsError */
  certify(domain: string, certificate: CertificateSource): Promise<void> {
    return this.#change(async () => {
      const name = domainOf(domain)
      const wanted = new Map(this.#certificates).set(name, certificate)
      const use = await this.#tls.prepare([...wanted.values()], {})
      use()
      this.#certificates.set(name, certificate)
    })
  }

  /** Trusts authorities, PEM, beside those of the system. @throws TlsError */
  trust(authorities: string): Promise<void> {
    return this.#change(async () => {
      const wanted = [...this.#trusted, authorities]
      const use = await this.#authorities.prepare(wanted.join('\n'))
      use()
      this.#trusted = wanted
    })
  }

  #change<T>(change: () => Promise<T>): Promise<T> {
    const done = this.#changes.then(change)
    this.#changes = done.catch(() => {})
    return done
  }

  /** A domain is spoken for no more: its streams end, what waits in its name is given up. */
  async leave(domain: string): Promise<void> {
    const name = domainOf(domain)
    const destination = this.#router.destinations.get(name)
    if (destination === undefined) return
    this.#router.remove(destination)
    const own = [...this.#links.links()].filter(link => link.pair.local === name)
    await Promise.all(own.map(link => link.drop(new StanzaError('remote-server-not-found'))))
    const { streams } = this.#federating.server
    await Promise.all([...streams].filter(s => s.local === name).map(s => s.leave(new StreamError('host-gone'))))
  }

  serves(domain: string): boolean {
    return this.#router.destinations.has(domain)
  }

  /**
   * Sends a stanza on its way. It resolves (or returns) when it is delivered here, or is queued for another server; where that
   * cannot be, the error comes to the domain that it is from. Never throws.
   */
  send(stanza: Stanza): void | Promise<void> {
    return this.#router.route(stanza)
  }

  /** Ends all streams, and closes the port. */
  async stop(): Promise<void> {
    await this.#links.stop(LATE)
    await this.#federating.stop()
    await this.#store.close()
  }
}

function configOf({ port, ip, s2s, listen }: PeeringOptions): Config {
  const own = parseOptions(listenOptions, { port, ip, module: 's2s', ...listen } as never)
  const server = parseOptions(serverOptions, { hosts: ['localhost'], s2s: { enabled: true, ...s2s } } as never)
  const host = { ...parseOptions(hostOptions), host: 'localhost', modules: {} }
  return { ...server, listen: [own], perHost: new Map([['localhost', host]]) }
}

function domainOf(text: string): string {
  const jid = Jid.parse(text)
  if (jid === undefined || jid.local !== '' || jid.resource !== '') throw new RangeError(`not a domain: ${text}`)
  return jid.domain
}
