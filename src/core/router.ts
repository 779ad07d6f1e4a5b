import { StanzaError } from '../xmpp/errors.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import { STOP } from './hooks.ts'
import type { Host } from './host.ts'
import { asStanzaError } from './iq.ts'
import type { Logger } from './log.ts'
import type { Origin } from './queue.ts'
import type { Session } from './session.ts'

declare module './hooks.ts' {
  interface HookMap {
    /** Every stanza on its way, at the host it goes to. STOP drops it; throw StanzaError to refuse it. */
    filter_packet: { stanza: Stanza }
  }
}

/** Where a stanza came from, for those who need more than its address. */
export interface Source {
  session?: Session
  /** Who is told when a queued message is safe. */
  origin?: Origin
}

/** Takes stanzas for a domain that is no virtual host here: components, other servers. */
export type Gateway = (stanza: Stanza, source: Source) => void | Promise<void>

/** Chooses where a stanza goes, by the domain it is addressed to (RFC 6120 10). */
export class Router {
  readonly #hosts = new Map<string, Host>()
  readonly #log: Logger
  readonly #gateways: Gateway[] = []

  constructor(log: Logger) {
    this.#log = log
  }

  get hosts(): ReadonlyMap<string, Host> {
    return this.#hosts
  }

  add(host: Host): void {
    this.#hosts.set(host.name, host)
  }

  remove(host: Host): void {
    this.#hosts.delete(host.name)
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
    const host = this.#hosts.get(stanza.to!.domain)
    if (host === undefined) {
      const gateway = this.#gateways[0]
      if (gateway !== undefined) return gateway(stanza, source)
      throw new StanzaError('remote-server-not-found')
    }
    if (host.hooks.has('filter_packet')) {
      const verdict = host.hooks.run('filter_packet', { stanza })
      if (verdict === STOP) return
      if (verdict instanceof Promise) {
        return verdict.then(answer => (answer === STOP ? undefined : host.deliver(stanza, source)))
      }
    }
    return host.deliver(stanza, source)
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
