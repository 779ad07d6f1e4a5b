import { randomBytes } from 'node:crypto'
import type { Config } from './config/core.ts'
import { blaming } from './config/diagnostics.ts'
import type { Logger } from './core/log.ts'
import type { Metrics } from './core/metrics.ts'
import type { Router } from './core/router.ts'
import { Authorities } from './net/authorities.ts'
import { ConnectionCounter } from './net/connections.ts'
import { Dialler } from './net/dial.ts'
import { Resolver } from './net/dns/resolver.ts'
import { PeerTls } from './net/peertls.ts'
import type { PreLoginBudget } from './net/prelogin.ts'
import type { TlsContexts } from './net/tls.ts'
import type { Flusher } from './net/transport.ts'
import { Connector } from './s2s/connector.ts'
import { Dial } from './s2s/dial.ts'
import { DialbackKeys } from './s2s/dialback.ts'
import { type LinkSettings, Links } from './s2s/links.ts'
import { S2SListener } from './s2s/listener.ts'
import { Notices } from './s2s/notices.ts'
import type { S2SServer, Talks } from './s2s/server.ts'
import type { S2SStream } from './s2s/stream.ts'
import { Verifier } from './s2s/verifier.ts'
import { dnsServer, mostPeerConnections, s2sListenerSettings, s2sListeners, s2sSettings } from './settings.ts'
import type { Store } from './storage/store.ts'
import type { Rounds } from './stream/rounds.ts'
import type { IdGenerator } from './util/ids.ts'
import { StreamError } from './xmpp/errors.ts'

/** What of a server is for other servers too. */
export interface Surroundings {
  readonly log: Logger
  readonly ids: IdGenerator
  readonly router: Router
  readonly store: Store
  readonly flusher: Flusher
  readonly rounds: Rounds
  readonly prelogin: PreLoginBudget
  readonly tls: TlsContexts
  readonly config: () => Config
  readonly now: (() => number) | undefined
}

/** How long nothing may have gone between two domains (ms) until what users were shown of each other is no longer true. */
const GONE_AFTER = 5 * 60_000

/** What is read before there can be streams with other servers. */
export interface Credentials {
  readonly authorities: Authorities
  /** Of keys for dialback. */
  readonly secret: string
}

/** @throws OptionError */
export async function peerCredentials(config: Config, store: Store, log: Logger): Promise<Credentials> {
  const authorities = await blaming(['s2s', 'ca_file'], () => Authorities.load(config.s2s.ca_file, log))
  return { authorities, secret: await dialbackSecret(store) }
}

/** What is said with other servers, and the streams that it is said on. */
export function federate(
  around: Surroundings & { readonly metrics: Metrics },
  credentials: Credentials,
): { federating: Federating; links: Links } {
  const { store, router, ids, log, metrics, config, now } = around
  const links = new Links({ store, router, ids, log, metrics, settings: linkSettings(config), ...(now && { now }) })
  const federating = new Federating(around, credentials, links.talks)
  links.connector = federating.connector
  return { federating, links }
}

function linkSettings(config: () => Config): LinkSettings {
  return {
    get limits() {
      const { s2s } = config()
      return {
        messages: s2s.max_queue_messages,
        bytes: s2s.max_queue_bytes,
        senderMessages: s2s.max_sender_messages,
        senderBytes: s2s.max_sender_bytes,
        lifetime: s2s.queue_lifetime,
      }
    },
    get retryMax() {
      return config().s2s.retry_max
    },
    goneAfter: GONE_AFTER,
  }
}

/** How often it is looked for streams that carry nothing, in a time of idleness. */
const LOOKS = 4

/** What talks with other servers, as the configuration has it. */
export class Federating {
  readonly listeners: S2SListener[] = []
  readonly server: S2SServer
  readonly connector: Connector
  readonly #around: Surroundings
  readonly #authorities: Authorities
  readonly #counter = new ConnectionCounter(0)
  /** From when there are other servers. */
  #resolver!: Resolver
  #dialler!: Dialler
  #looking: NodeJS.Timeout | undefined
  #unwatch = (): void => {}

  constructor(around: Surroundings, { authorities, secret }: Credentials, talks: Talks) {
    const { log, ids, flusher, rounds, prelogin, router, config } = around
    this.#around = around
    this.#authorities = authorities
    const dial = new Dial(() => this.#dialler, flusher)
    this.server = {
      ids,
      log,
      flusher,
      rounds,
      prelogin,
      talks,
      tls: new PeerTls(around.tls, authorities, around.now),
      settings: s2sSettings(config),
      keys: new DialbackKeys(secret),
      verifier: new Verifier(dial, () => this.server),
      notices: new Notices(),
      streams: new Set(),
      get name() {
        return config().hosts[0]!
      },
      serves: domain => router.destinations.has(domain),
      covers: domain => around.tls.covers(domain),
      answer: stanza => router.route(stanza),
    }
    this.connector = new Connector(dial, this.server)
  }

  get #config(): Config {
    return this.#around.config()
  }

  #dial(): void {
    this.#dialler = new Dialler(this.#resolver, {
      privateAddresses: this.#config.s2s.private_addresses,
      listeners: () => this.listeners.map(({ port, settings }) => ({ ip: settings.ip, port })),
    })
  }

  /** From here on there are other servers. */
  async listen(): Promise<void> {
    this.#counter.limit = mostPeerConnections(this.#config)
    this.#resolver = resolverOf(this.#config)
    this.#dial()
    for (const listen of s2sListeners(this.#config)) {
      const listener = new S2SListener(this.server, s2sListenerSettings(this.#config, listen), this.#counter)
      await listener.listen()
      this.listeners.push(listener)
      const { ip, tls } = listener.settings
      this.#around.log.info({ port: listener.port, ip, tls }, 'listening for other servers')
    }
    this.#look()
    this.#unwatch = this.#authorities.watch()
    this.#warnUncovered()
  }

  /** Of the domains below the hosts. Of those the log tells by themselves: clients, too, want a certificate of them. */
  #warnUncovered(): void {
    const { hosts } = this.#config
    const { log, router } = this.#around
    const domains = [...router.destinations.keys()].filter(name => !hosts.includes(name) && !this.server.covers(name))
    if (domains.length === 0) return
    log.warn(
      { domains },
      'no certificate is for these domains: servers that insist on one will not talk with them. Have their names put into one of certfiles',
    )
  }

  /** Closes streams that carried nothing for long. */
  #look(): void {
    const { idleTimeout } = this.server.settings
    const wait = Number.isFinite(idleTimeout) ? idleTimeout / LOOKS : 60_000
    this.#looking = setTimeout(() => {
      if (Number.isFinite(idleTimeout)) {
        for (const stream of this.server.streams) if (stream.isIdle(LOOKS)) void stream.leave()
      }
      this.#look()
    }, wait)
    this.#looking.unref()
  }

  /** Reads what a changed configuration names; what it resolves with makes the change, and cannot fail. */
  async prepare(config: Config): Promise<() => void> {
    const trust = await blaming(['s2s', 'ca_file'], () => this.#authorities.prepare(config.s2s.ca_file))
    return () => {
      trust()
      this.#counter.limit = mostPeerConnections(config)
    }
  }

  /** Another configuration runs. */
  changed(before: Config): void {
    if (this.listeners.length === 0) return
    const { s2s } = this.#config
    if (s2s.resolver !== before.s2s.resolver) {
      this.#resolver.close()
      this.#resolver = resolverOf(this.#config)
    }
    this.#dial()
    clearTimeout(this.#looking)
    this.#look()
    this.#warnUncovered()
    const { settings, serves } = this.server
    for (const stream of this.server.streams) {
      const { local, remote } = stream
      if (local !== undefined && !serves(local)) void stream.leave(new StreamError('host-gone'))
      else if (remote !== undefined && !settings.allows(remote)) void stream.leave(new StreamError('policy-violation'))
    }
  }

  close(): void {
    for (const listener of this.listeners) listener.close()
  }

  /** Ends all streams, in order. */
  async stop(): Promise<void> {
    clearTimeout(this.#looking)
    this.#unwatch()
    this.close()
    const streams: S2SStream[] = [...this.server.streams]
    await Promise.all(streams.map(stream => stream.leave(new StreamError('system-shutdown'))))
    if (this.listeners.length > 0) this.#resolver.close()
  }
}

function resolverOf({ s2s }: Config): Resolver {
  return new Resolver({ server: s2s.resolver === undefined ? undefined : dnsServer(s2s.resolver) })
}

/** Stays with the store, so that whichever process is asked vouches for the keys of the others. */
async function dialbackSecret(store: Store): Promise<string> {
  const table = store.table<string>('', { name: 'secret' })
  const made = randomBytes(32).toString('hex')
  await table.putIfAbsent(['dialback'], [], made)
  return (await table.get(['dialback'])) ?? made
}
