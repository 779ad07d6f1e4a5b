import type { Socket } from 'node:net'
import { isIP } from 'node:net'
import { endpoint, plainAddress } from '../util/address.ts'
import { cut } from '../util/text.ts'
import type { Resolver } from './dns/resolver.ts'
import { Race } from './race.ts'
import { isOwn, isPublic } from './reach.ts'
import { DialError, findTargets, oneTarget, type Place, type Target, type Targets } from './targets.ts'
import type { Peer } from './transport.ts'

/** A connection to a server of a domain; nothing was said on it. Whoever is given it has to close it. */
export interface Dialled {
  readonly socket: Socket
  /** TLS is to be spoken from the first byte (XEP-0368). */
  readonly direct: boolean
  /** Which of its servers: a name, or an address. */
  readonly host: string
  readonly peer: Peer
}

export interface DialSettings {
  /** Addresses that are not of the public Internet may be connected to. */
  readonly privateAddresses: boolean
  /** Where we listen: no connection is made to there. */
  readonly listeners: () => Iterable<Peer>
}

/** Most addresses of one host and family, and of a domain, that are connected to. */
const MAX_OF_HOST = 4
const MAX_ADDRESSES = 20
/** Characters of what is said of a domain. */
const MAX_MESSAGE = 2000

/** Connects to the servers of domains. */
export class Dialler {
  readonly #resolver: Resolver
  #settings: DialSettings

  constructor(resolver: Resolver, settings: DialSettings) {
    this.#resolver = resolver
    this.#settings = settings
  }

  update(settings: DialSettings): void {
    this.#settings = settings
  }

  /**
   * One connection after the other, as far as they are asked for: the next where nothing comes of the last. Each is to be
   * taken, or closed, at once. It does not end by itself: where none is left it throws a DialError that tells of each that
   * failed; on abort it throws the signal's reason, and nothing is open that was not given.
   *
   * @param domain a domainpart: a name in any form, or an IP address
   */
  async *connect(domain: string, { signal }: { signal: AbortSignal }): AsyncGenerator<Dialled, never, void> {
    return yield* this.#each(domain, await unlessAborted(findTargets(this.#resolver, domain), signal), signal)
  }

  /** The same at one place, where a server has sent us (RFC 6120 4.9.3.19). */
  async *at(place: Place, { signal }: { signal: AbortSignal }): AsyncGenerator<Dialled, never, void> {
    return yield* this.#each(place.host, oneTarget(place), signal)
  }

  async *#each(domain: string, found: Targets, signal: AbortSignal): AsyncGenerator<Dialled, never, void> {
    const attempt = new Attempt(this.#resolver, this.#settings, found)
    for (const target of found.targets) {
      const race = attempt.race(target)
      for (;;) {
        const socket = await race.next(signal)
        if (socket === undefined) break
        const peer = { ip: plainAddress(socket.remoteAddress), port: target.port }
        yield { socket, direct: target.direct, host: target.host, peer }
        attempt.failed(target, 'was connected to, and nothing came of it', peer.ip)
      }
      attempt.over(target)
    }
    throw attempt.error(domain)
  }
}

/** What comes of one try to connect to a domain. */
class Attempt {
  readonly #resolver: Resolver
  readonly #settings: DialSettings
  readonly #srv: boolean
  /** What failed, and may not fail at another time. */
  readonly #failures: string[]
  /** Why there is nobody at all. */
  readonly #reasons: string[] = []
  readonly #seen = new Set<string>()
  /** Places of which it is known what came of them. */
  readonly #told = new Set<Target>()

  constructor(resolver: Resolver, settings: DialSettings, { srv, unknown }: Targets) {
    this.#resolver = resolver
    this.#settings = settings
    this.#srv = srv
    this.#failures = [...unknown]
  }

  race(target: Target): Race {
    const failed = (reason: string, ip?: string): void => this.failed(target, reason, ip)
    return new Race({ port: target.port, lookup: family => this.#lookup(target, family), failed })
  }

  failed(target: Target, reason: string, ip?: string): void {
    this.#told.add(target)
    this.#failures.push(ip === undefined ? reason : `${placeOf(target, ip)} ${reason}`)
  }

  /** Nothing is left to be tried there. */
  over(target: Target): void {
    if (this.#told.has(target)) return
    const why = this.#srv ? 'which its SRV records name, has no address' : 'has neither SRV records nor an address'
    this.#reasons.push(`${target.host}${this.#srv ? ',' : ''} ${why}`)
  }

  error(domain: string): DialError {
    const condition = this.#failures.length > 0 ? 'remote-server-timeout' : 'remote-server-not-found'
    const message = `${domain}: ${[...this.#failures, ...this.#reasons].join('; ')}`
    return new DialError(condition, cut(message, MAX_MESSAGE))
  }

  async #lookup(target: Target, family: 4 | 6): Promise<string[]> {
    const { host, port, direct } = target
    const found = isIP(host) ? [host].filter(ip => isIP(ip) === family) : await this.#resolver.addresses(host, family)
    if (found.length > 0) this.#told.add(target)
    const addresses: string[] = []
    for (const ip of found.map(plainAddress).slice(0, MAX_OF_HOST)) {
      const key = `${ip} ${port} ${direct}`
      if (this.#seen.has(key) || this.#seen.size === MAX_ADDRESSES) continue
      this.#seen.add(key)
      const refused = this.#refuses(ip, port)
      if (refused === undefined) addresses.push(ip)
      else this.#reasons.push(`${placeOf(target, ip)} is ${refused}`)
    }
    return addresses
  }

  #refuses(ip: string, port: number): string | undefined {
    if (isOwn(ip, port, this.#settings.listeners())) {
      return 'where this server itself listens (a domain of its own that is missing in its configuration?)'
    }
    if (this.#settings.privateAddresses || isPublic(ip)) return undefined
    return 'no public address (s2s.private_addresses would allow it)'
  }
}

/** A place in words. */
function placeOf({ host, port }: Target, ip: string): string {
  const place = endpoint({ ip, port })
  return host === ip ? place : `${host} (${place})`
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(signal.reason)
    if (signal.aborted) aborted()
    else signal.addEventListener('abort', aborted)
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted))
  })
}
