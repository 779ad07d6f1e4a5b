import { StanzaError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import { type Hooks, STOP } from './hooks.ts'
import type { Host } from './host.ts'
import { asStanzaError } from './iq.ts'
import type { Logger } from './log.ts'
import type { Origin } from './queue/entry.ts'
import type { Waiting } from './queue/queue.ts'
import type { Session } from './session.ts'

declare module './hooks.ts' {
  interface HookMap {
    /**
     * Every stanza on its way from one address to another, at each host that it leaves or comes to, once: on its way out at
     * that of its sender, on its way in at that of whom it is for; where both are one, as one. Domains below a host count as
     * the host: an address is one of its accounts only where its domain is the host's. STOP drops the stanza; throw
     * StanzaError to refuse it. `hidden`: a handler has found that to its sender the account is none at all; it is answered
     * as such.
     */
    filter_packet: Async<{ stanza: Stanza; hidden: boolean }>
  }
}

/** Where a stanza came from, for those who need more than its address. */
export interface Source {
  /** The client that sent it, where it is one of the host that the stanza is delivered to. */
  readonly session?: Session | undefined
  /** Who is told when a queued message is safe. */
  readonly origin?: Origin | undefined
  /** To who sent it there is no such account, whether there is one or not. */
  readonly hidden?: boolean
  /** What this server itself has to say to its user of a message that it had acknowledged: it waits as messages do. */
  readonly lasting?: boolean
  /** Presence for a bare address: clients there that do not get it. */
  readonly except?: ((client: Jid) => boolean) | undefined
}

/** Where stanzas go for the addresses of one domain: a virtual host, what a module serves below it, or what is elsewhere. */
export interface Destination {
  /** The domain. */
  readonly name: string
  /** Whose `filter_packet` sees what comes here and what leaves from here; undefined where it is no host of this server. */
  readonly filter: Hooks | undefined
  /** False while nobody takes what comes here, as of a component that is away; undefined where that is no question. */
  readonly connected?: boolean
  /**
   * Takes a stanza; it returns, or resolves, when the stanza is delivered, queued or on its way to where that is done. Throws,
   * or rejects, with the StanzaError for its sender.
   */
  deliver(stanza: Stanza, source: Source): void | Promise<void>
  /** What one of our domains has sent to `remote` and waits here, oldest first, up to so many; undefined where nothing can. */
  waiting?(local: string, remote: string, limit: number): Promise<readonly Waiting[]>
}

const NOWHERE: Destination = {
  name: '',
  filter: undefined,
  deliver() {
    throw new StanzaError('remote-server-not-found')
  },
}

const UNKNOWN: Source = {}

/** Chooses where a stanza goes, by the domain it is addressed to (RFC 6120 10). */
export class Router {
  readonly #destinations = new Map<string, Destination>()
  readonly #hosts = new Map<string, Host>()
  readonly #log: Logger
  /** Takes what is for a domain that no destination is for. */
  fallback = NOWHERE

  constructor(log: Logger) {
    this.#log = log
  }

  /** The virtual hosts in the order of the configuration, for who administers them or asks a module of another one. */
  get hosts(): ReadonlyMap<string, Host> {
    return this.#hosts
  }

  /** All that are known, by name. */
  get destinations(): ReadonlyMap<string, Destination> {
    return this.#destinations
  }

  /** Throws an Error where there is a destination of that name already. */
  add(destination: Destination): void {
    const { name } = destination
    if (this.#hosts.has(name)) throw new Error(`${name} is a virtual host`)
    if (this.#destinations.has(name))
      throw new Error(`${name} is served by another module, or for another host, already`)
    this.#destinations.set(name, destination)
  }

  remove(destination: Destination): void {
    const { name } = destination
    if (this.#destinations.get(name) === destination) this.#destinations.delete(name)
  }

  addHost(host: Host): void {
    this.add(host.destination)
    this.#hosts.set(host.name, host)
  }

  removeHost(host: Host): void {
    this.remove(host.destination)
    this.#hosts.delete(host.name)
  }

  /**
   * Hands a stanza to whom it is for. It resolves (or returns) when the stanza is accepted: delivered, queued or answered
   * with an error. Never throws.
   */
  route(stanza: Stanza, source: Source = UNKNOWN): void | Promise<void> {
    let done: void | Promise<void>
    try {
      done = this.#route(stanza, source)
    } catch (error) {
      return this.bounce(stanza, error)
    }
    if (done instanceof Promise) return done.catch((error: unknown) => this.bounce(stanza, error))
  }

  #route(stanza: Stanza, source: Source): void | Promise<void> {
    const there = this.#destinations.get(stanza.to!.domain) ?? this.fallback
    const { domain } = stanza.from
    if (domain === there.name) return arrive(there, stanza, source)
    const filter = this.#destinations.get(domain)?.filter
    if (filter === there.filter) return arrive(there, stanza, source)
    const event = { stanza, hidden: false }
    // To other hosts of this server a client is an address, as one of another server.
    const leave = () => arrive(there, stanza, { ...source, session: undefined, hidden: event.hidden })
    const verdict = filter?.run('filter_packet', event)
    if (verdict === undefined) return leave()
    if (verdict !== STOP) return verdict.then(late => (late === STOP ? undefined : leave()))
  }

  /** Tells the sender that a stanza was not delivered; `source` is that of the answer. */
  bounce(stanza: Stanza, reason: unknown, source?: Source): void | Promise<void> {
    const error = asStanzaError(reason, this.#log, 'core')
    const answer = stanza.error(error, { echo: stanza.kind === 'message' })
    // RFC 6121 8.5.1 and 8.5.3.2.2: presence that reaches nobody is ignored, except a refused subscription.
    if (answer === undefined || (stanza.kind === 'presence' && error.condition === 'service-unavailable')) return
    return this.route(answer, source)
  }
}

function arrive(there: Destination, stanza: Stanza, source: Source): void | Promise<void> {
  const { filter } = there
  if (filter?.has('filter_packet') !== true) return there.deliver(stanza, source)
  const event = { stanza, hidden: source.hidden === true }
  const verdict = filter.run('filter_packet', event)
  if (verdict === STOP) return
  if (verdict !== undefined) {
    return verdict.then(late => (late === STOP ? undefined : there.deliver(stanza, seen(source, event.hidden))))
  }
  return there.deliver(stanza, seen(source, event.hidden))
}

function seen(source: Source, hidden: boolean): Source {
  return hidden ? { ...source, hidden } : source
}
