import { constants, randomBytes, type X509Certificate } from 'node:crypto'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import { domainToASCII } from 'node:url'
import {
  type CertificateSource,
  isPem,
  label,
  namesOf,
  pemBlocks,
  readPair,
  reason,
  repeat,
  stampOf,
  TlsError,
} from './certificates.ts'
import { serverEndPoint } from './channelbinding.ts'
import type { TlsOptions } from './handshake.ts'

/** What is needed of a logger (pino's is one). */
export interface TlsLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** What is taken of clients. */
export interface TlsPolicy {
  /** Default TLSv1.2. */
  minVersion?: 'TLSv1.2' | 'TLSv1.3' | undefined
  /** Ciphers of TLS 1.2 in OpenSSL's notation; those of TLS 1.3 stay on unless it names some of them too. */
  ciphers?: string | undefined
}

export interface TlsSettings extends TlsPolicy {
  /** At least one. The first serves clients that ask for no name, or for one that no certificate has. */
  certificates: readonly CertificateSource[]
  log: TlsLog
  /** ms since 1970; for tests. */
  now?: (() => number) | undefined
}

export interface CertificateExpiry {
  names: readonly string[]
  /** Path of the certificate; absent where it was given as PEM. */
  file: string | undefined
  notAfter: Date
}

/** A certificate with its chain, and its key, as PEM. */
export interface TlsPair {
  readonly cert: string
  readonly key: string
}

interface Loaded extends TlsPair {
  readonly source: CertificateSource
  /** Says which state of the files this is. */
  readonly stamp: string
  readonly leaf: X509Certificate
  readonly names: readonly string[]
  readonly context: SecureContext
  /** The last failure to load what took this one's place, so that it is logged once. */
  failure?: string
}

const DAY = 86_400_000
/** From here on an expiry is warned of: ACME clients renew a month before. */
const SOON = 14 * DAY
const TLS13_CIPHERS = 'TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256'
/** XEP-0368. */
const ALPN = ['xmpp-client']
export const SECURE_OPTIONS =
  constants.SSL_OP_NO_RENEGOTIATION |
  constants.SSL_OP_NO_COMPRESSION |
  constants.SSL_OP_CIPHER_SERVER_PREFERENCE |
  constants.SSL_OP_PRIORITIZE_CHACHA

/**
 * The TLS side of the server: one context per certificate, shared by all connections, chosen by the name that the client
 * asks for. Connections keep the context they began with; a reload is for those that come after it.
 */
export class TlsContexts {
  readonly #log: TlsLog
  readonly #now: () => number
  #policy: TlsPolicy
  #loaded: readonly Loaded[] = []
  #exact: ReadonlyMap<string, Loaded> = new Map()
  /** By what stands after `*.`. */
  #wildcard: ReadonlyMap<string, Loaded> = new Map()
  /** Whether every certificate has a `tls-server-end-point` (RFC 5929 4.1). */
  endPoints = false
  /** Shared, so that a session may be resumed whatever context it began with. */
  #ticketKeys = randomBytes(48)
  #ticketKeysSince: number

  /** @throws TlsError */
  static async load(settings: TlsSettings): Promise<TlsContexts> {
    const contexts = new TlsContexts(settings)
    const use = await contexts.prepare(settings.certificates, settings)
    use()
    return contexts
  }

  private constructor(settings: TlsSettings) {
    this.#log = settings.log
    this.#now = settings.now ?? Date.now
    this.#policy = settings
    this.#ticketKeysSince = this.#now()
  }

  /**
   * As the server of clients; see {@link beginTls}. Time is the caller's to watch.
   *
   * Not for tls.createServer: that keeps a context of its own for clients without SNI, which no reload would reach.
   *
   * @param direct TLS from the first byte: answers ALPN with `xmpp-client` and refuses who offers only other protocols
   *   (XEP-0368). STARTTLS ignores ALPN.
   * @param host the stream's `to`: decides where the client asks for no name by SNI
   */
  options(direct: boolean, host?: string): TlsOptions {
    const otherwise = (host === undefined ? undefined : this.#find(host)) ?? this.#default
    const options: TlsOptions = { isServer: true, secureContext: otherwise.context }
    if (direct) options.ALPNProtocols = ALPN
    // With one certificate there is no choice, and a handshake without the callback is cheaper.
    if (this.#loaded.length > 1) options.SNICallback = (name, done) => done(null, this.#find(name)?.context)
    return options
  }

  /**
   * The certificate that serves a name. For channel binding (tls-server-end-point) ask the connection itself,
   * `socket.getX509Certificate()`: it may have begun before a reload.
   */
  certificateFor(name: string): X509Certificate {
    return (this.#find(name) ?? this.#default).leaf
  }

  /**
   * The certificate that has this name, and the one that serves where none has. Another object as soon as it, or the policy, is
   * read again.
   */
  pairFor(name: string): TlsPair | undefined {
    return this.#find(name)
  }

  get defaultPair(): TlsPair {
    return this.#default
  }

  /** What is taken of peers; another object after a reload. */
  get policy(): TlsPolicy {
    return this.#policy
  }

  get choice(): boolean {
    return this.#loaded.length > 1
  }

  /** Whether some certificate has this name; where not, clients of that host will refuse what they get. */
  covers(name: string): boolean {
    return this.#find(name) !== undefined
  }

  expiry(): CertificateExpiry[] {
    return this.#loaded.map(({ source, names, leaf }) => ({
      names,
      file: isPem(source.cert) ? undefined : source.cert,
      notAfter: leaf.validToDate,
    }))
  }

  /**
   * Puts these certificates, and another policy, in the place of those before, but for the last step: that is what it resolves
   * with, and it cannot fail.
   *
   * @throws TlsError naming everything that is wrong; then all stays as it was
   */
  async prepare(certificates: readonly CertificateSource[], policy: TlsPolicy): Promise<() => void> {
    const { minVersion, ciphers } = policy
    try {
      this.#context({}, { minVersion, ciphers })
    } catch (error) {
      throw new TlsError(`tls_ciphers: OpenSSL takes no cipher from '${ciphers}' (${reason(error)})`)
    }
    if (certificates.length === 0) throw new TlsError('certfiles: TLS needs a certificate, and there is none')
    const results = await Promise.allSettled(distinct(certificates).map(source => this.#load(source, policy)))
    const failures = results.flatMap(result => (result.status === 'rejected' ? [result.reason] : []))
    if (failures.length > 0) throw new TlsError(failures.map(reason).join('\n'))
    const loaded = results.flatMap(result => (result.status === 'fulfilled' ? [result.value] : []))
    return () => {
      this.#policy = { minVersion, ciphers }
      this.#use(loaded)
    }
  }

  /**
   * Looks for changed files, once, and takes what is new and good; where a new file is bad, its old certificate goes on, and
   * the log says why. Never throws.
   *
   * @returns how many certificates were replaced
   */
  async check(): Promise<number> {
    const replaced = new Map<Loaded, Loaded>()
    for (const old of this.#loaded) {
      const fresh = await this.#changed(old)
      if (fresh !== undefined) replaced.set(old, fresh)
    }
    const rotate = this.#now() - this.#ticketKeysSince >= DAY
    if (rotate) {
      // Who gets hold of a ticket key reads the TLS 1.2 sessions that were resumed with it.
      this.#ticketKeys = randomBytes(48)
      this.#ticketKeysSince = this.#now()
    }
    if (replaced.size === 0 && !rotate) return 0
    // A reload may have happened meanwhile: only what is still in use is replaced.
    const next = this.#loaded.map(old => replaced.get(old) ?? old)
    this.#use(rotate ? next.map(one => ({ ...one, context: this.#context(one, this.#policy) })) : next)
    for (const { source, names } of replaced.values()) {
      this.#log.info({ file: source.cert, names }, 'certificate read again: its file has changed')
    }
    return replaced.size
  }

  /**
   * Checks again and again. Files are asked for their state rather than watched: a certificate is renewed by replacing
   * files, or the links to them, which watching does not see on every system.
   *
   * @param interval ms
   * @returns what ends it
   */
  watch(interval = 30_000): () => void {
    return repeat(() => this.check(), interval)
  }

  get #default(): Loaded {
    return this.#loaded[0]!
  }

  /** RFC 6125 6.4: the name itself, else a wildcard in the place of its first label. */
  #find(name: string): Loaded | undefined {
    const plain = normalize(name)
    const exact = this.#exact.get(plain)
    if (exact !== undefined) return exact
    const dot = plain.indexOf('.')
    return dot > 0 ? this.#wildcard.get(plain.slice(dot + 1)) : undefined
  }

  #use(loaded: readonly Loaded[]): void {
    const exact = new Map<string, Loaded>()
    const wildcard = new Map<string, Loaded>()
    const now = this.#now()
    const expired = (one: Loaded): boolean => one.leaf.validToDate.getTime() <= now
    // Of two for the same name the first counts, but one that has expired only where there is no other.
    for (const one of [...loaded.filter(one => !expired(one)), ...loaded.filter(expired)]) {
      for (const name of one.names) {
        const map = name.startsWith('*.') ? wildcard : exact
        const key = name.startsWith('*.') ? name.slice(2) : name
        if (!map.has(key)) map.set(key, one)
      }
    }
    this.#loaded = loaded
    this.endPoints = loaded.every(one => serverEndPoint(one.leaf) !== undefined)
    this.#exact = exact
    this.#wildcard = wildcard
  }

  async #changed(old: Loaded): Promise<Loaded | undefined> {
    try {
      if ((await stampOf(old.source)) === old.stamp) return undefined
      return await this.#load(old.source, this.#policy)
    } catch (error) {
      const failure = reason(error)
      // The same failure comes again at every look.
      if (failure !== old.failure) {
        this.#log.error({ file: old.source.cert }, `${failure}; the certificate read before stays in use`)
      }
      old.failure = failure
      return undefined
    }
  }

  async #load(source: CertificateSource, policy: TlsPolicy): Promise<Loaded> {
    // First the stamp: what is written after it is noticed by the next look.
    const stamp = await stampOf(source)
    const { cert, key, leaf } = await readPair(source)
    let context: SecureContext
    try {
      context = this.#context({ cert, key }, policy)
    } catch (error) {
      throw new TlsError(`${label(source.cert)}: OpenSSL refuses the certificate (${reason(error)}). Have it made anew`)
    }
    const names = namesOf(leaf)
    this.#warn(source, leaf, names, cert)
    return { source, stamp, cert, key, leaf, names, context }
  }

  #warn(source: CertificateSource, leaf: X509Certificate, names: readonly string[], chain: string): void {
    const fields = { file: label(source.cert), names, notAfter: leaf.validToDate }
    const now = this.#now()
    const left = leaf.validToDate.getTime() - now
    if (left <= 0) this.#log.warn(fields, 'certificate has expired: clients will refuse it. Renew it')
    else if (left < SOON) this.#log.warn(fields, `certificate expires in ${Math.ceil(left / DAY)} days. Renew it`)
    if (leaf.validFromDate.getTime() > now) {
      this.#log.warn(fields, 'certificate is not valid yet. Look whether the clock of this machine is right')
    }
    if (names.length === 0) {
      this.#log.warn(fields, 'certificate has no DNS name (subjectAltName): clients will refuse it. Have it made anew')
    }
    if (leaf.issuer !== leaf.subject && pemBlocks(chain).length === 1) {
      this.#log.warn(
        fields,
        'certificate comes without the chain of its issuer: many clients will refuse it. Use the full chain (certbot: fullchain.pem)',
      )
    }
  }

  #context(pair: Partial<TlsPair>, policy: TlsPolicy): SecureContext {
    return contextOf(pair, policy, { secureOptions: SECURE_OPTIONS, ticketKeys: this.#ticketKeys })
  }
}

export function contextOf(
  pair: Partial<TlsPair>,
  { minVersion, ciphers }: TlsPolicy,
  more: SecureContextOptions,
): SecureContext {
  return createSecureContext({
    cert: pair.cert,
    key: pair.key,
    minVersion: minVersion ?? 'TLSv1.2',
    ciphers: withTls13(ciphers),
    // Node would have the authorities that it trusts looked up and sent along; who is asked for a certificate is judged by
    // peercertificate.ts.
    ca: [],
    ...more,
  })
}

/** A list without ciphers of TLS 1.3 would switch TLS 1.3 off in Node. */
function withTls13(ciphers: string | undefined): string | undefined {
  return ciphers === undefined || /(^|:)TLS_/.test(ciphers) ? ciphers : `${TLS13_CIPHERS}:${ciphers}`
}

function normalize(name: string): string {
  const plain = name.endsWith('.') ? name.slice(0, -1) : name
  return /^[a-z0-9.*_-]*$/.test(plain) ? plain : domainToASCII(plain)
}

function distinct(certificates: readonly CertificateSource[]): CertificateSource[] {
  return [...new Map(certificates.map(source => [`${source.cert}\0${source.key ?? ''}`, source])).values()]
}
