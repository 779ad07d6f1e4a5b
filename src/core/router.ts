import { StanzaError } from '../xmpp/errors.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { Domain } from './domains.ts'
import { STOP } from './hooks.ts'
import type { Host } from './host.ts'
import { asStanzaError } from './iq.ts'
import type { Logger } from './log.ts'
import type { Origin } from './queue/entry.ts'
import type { Session } from './session.ts'

declare module './hooks.ts' {
  interface HookMap {
    /**
     * Every stanza on its way, at the host it goes to, or whose domain it goes to (see domains.ts): an address is one of the
     * host's accounts only where its domain is the host's. STOP drops it; throw StanzaError to refuse it. `hidden`: a handler has
     * found that to its sender the account is none at all; it is answered as such.
     */
    filter_packet: { stanza: Stanza; hidden: boolean }
  }
}

/** Where a stanza came from, for those who need more than its address. */
export interface Source {
  /** The client that sent it, where it is one of the host that the stanza is delivered to. */
  session?: Session | undefined
  /** Who is told when a queued message is safe. */
  origin?: Origin
  /** To who sent it there is no such account, whether there is one or not. */
  hidden?: boolean
}

/** Takes stanzas for a domain that is no virtual host here: components, other servers. */
export type Gateway = (stanza: Stanza, source: Source) => void | Promise<void>

/** Chooses where a stanza goes, by the domain it is addressed to (RFC 6120 10). */
export class Router {
  readonly #hosts = new Map<string, Host>()
  readonly #domains = new Map<string, Domain>()
  readonly #log: Logger
  readonly #gateways: Gateway[] = []

  constructor(log: Logger) {
    this.#log = log
  }

  get hosts(): ReadonlyMap<string, Host> {
    return this.#hosts
  }

  /** Those below the hosts, by name. */
  get domains(): ReadonlyMap<string, Domain> {
    return this.#domains
  }

  add(host: Host): void {
    if (this.#domains.has(host.name)) throw new Error(`${host.name} is served by a module of another host already`)
    this.#hosts.set(host.name, host)
  }

  remove(host: Host): void {
    this.#hosts.delete(host.name)
  }

  /** A domain below a host. Throws an Error where there is one of that name already. */
  addDomain(domain: Domain): void {
    const { name } = domain
    if (this.#hosts.has(name) || name === domain.host.name) throw new Error(`${name} is a virtual host`)
    if (this.#domains.has(name)) throw new Error(`${name} is served by another module, or for another host, already`)
    this.#domains.set(name, domain)
  }

  removeDomain(domain: Domain): void {
    if (this.#domains.get(domain.name) === domain) this.#domains.delete(domain.name)
  }

  /** Who takes what is for no host of ours; the last one added is asked first. */
  addGateway(gateway: Gateway): void {
    this.#gateways.unshift(gateway)
  }

  /**
   * Hands a stanza to whom it is for. It resolves (or returns) when the stanza is accepted: delivered, queued or answered
   * with an error. Never throws.
   */
  route(stanza: Stanza, source: Source = {}): void | Promise<void> {
    let done: void | Promise<void>
    try {
      done = this.#route(stanza, source)
    } catch (error) {
      return this.bounce(stanza, error)
    }
    if (done instanceof Promise) return done.catch((error: unknown) => this.bounce(stanza, error))
  }

  #route(stanza: Stanza, source: Source): void | Promise<void> {
    const { domain } = stanza.to!
    const target = this.#hosts.get(domain) ?? this.#domains.get(domain)
    if (target === undefined) {
      const gateway = this.#gateways[0]
      if (gateway !== undefined) return gateway(stanza, source)
      throw new StanzaError('remote-server-not-found')
    }
    const host = 'host' in target ? target.host : target
    // To other hosts of this server a client is an address, as one of another server.
    if (source.session !== undefined && source.session.account.host !== host) source = { ...source, session: undefined }
    const { hooks } = host
    if (hooks.has('filter_packet')) {
      const event = { stanza, hidden: false }
      const deliver = () => target.deliver(stanza, event.hidden ? { ...source, hidden: true } : source)
      const verdict = hooks.run('filter_packet', event)
      if (verdict === STOP) return
      if (verdict instanceof Promise) return verdict.then(answer => (answer === STOP ? undefined : deliver()))
      if (event.hidden) return deliver()
    }
    return target.deliver(stanza, source)
  }

  /** Tells the sender that a stanza was not delivered. */
  bounce(stanza: Stanza, reason: unknown): void | Promise<void> {
    const error = asStanzaError(reason, this.#log, 'core')
    const answer = stanza.error(error, { echo: stanza.kind === 'message' })
    // RFC 6121 8.5.1 and 8.5.3.2.2: presence that reaches nobody is ignored, except a refused subscription.
    if (answer === undefined || (stanza.kind === 'presence' && error.condition === 'service-unavailable')) return
    return this.route(answer)
  }
}
