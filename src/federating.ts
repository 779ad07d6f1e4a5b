import { randomBytes } from 'node:crypto'
import { evaluateAccess } from './config/access.ts'
import type { Config } from './config/core.ts'
import { blaming } from './config/diagnostics.ts'
import type { Logger } from './core/log.ts'
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

/** How often it is looked for streams that carry nothing, in a time of idleness. */
const LOOKS = 4

/** What talks with other servers, as the configuration has it. */
export class Federating {
  readonly listeners: S2SListener[] = []
  readonly server: S2SServer
  readonly connector: Connector
  readonly #around: Surroundings
  readonly #authorities: Authorities
  readonly #counter: ConnectionCounter
  #resolver: Resolver
  #dialler: Dialler
  #looking: NodeJS.Timeout | undefined
  #unwatch = (): void => {}

  static async create(around: Surroundings, talks: Talks): Promise<Federating> {
    const { store, log, config } = around
    const authorities = await blaming(['s2s', 'ca_file'], () => Authorities.load(config().s2s.ca_file, log))
    return new Federating(around, talks, authorities, await dialbackSecret(store))
  }

  private constructor(around: Surroundings, talks: Talks, authorities: Authorities, secret: string) {
    const { log, ids, flusher, rounds, prelogin, router, config } = around
    this.#around = around
    this.#authorities = authorities
    this.#counter = new ConnectionCounter(mostPeerConnections(config()))
    this.#resolver = resolverOf(config())
    this.#dialler = this.#makeDialler()
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

  #makeDialler(): Dialler {
    return new Dialler(this.#resolver, {
      privateAddresses: this.#config.s2s.private_addresses,
      listeners: () => this.listeners.map(({ port, settings }) => ({ ip: settings.ip, port })),
    })
  }

  async listen(): Promise<void> {
    for (const listen of s2sListeners(this.#config)) {
      const listener = new S2SListener(this.server, s2sListenerSettings(this.#config, listen), this.#counter)
      await listener.listen()
      this.listeners.push(listener)
      const { ip, tls } = listener.settings
      this.#around.log.info({ port: listener.port, ip, tls }, 'listening for other servers')
    }
    this.#look()
    this.#unwatch = this.#authorities.watch()
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
    const { s2s } = this.#config
    if (s2s.resolver !== before.s2s.resolver) {
      this.#resolver.close()
      this.#resolver = resolverOf(this.#config)
    }
    this.#dialler = this.#makeDialler()
    clearTimeout(this.#looking)
    this.#look()
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
    this.#resolver.close()
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
