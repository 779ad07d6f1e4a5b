import { Failures } from './auth/failures.ts'
import { Backups } from './backups.ts'
import { SessionKeeper } from './c2s/keeper.ts'
import { C2SListener } from './c2s/listener.ts'
import { ResumableSessions } from './c2s/resumable.ts'
import type { C2SServer } from './c2s/server.ts'
import { Components } from './component/components.ts'
import { ComponentListener } from './component/listener.ts'
import type { ComponentServer } from './component/server.ts'
import { evaluateAccess } from './config/access.ts'
import { type Config, type ListenConfig, resolveHost } from './config/core.ts'
import { blaming, OptionError } from './config/diagnostics.ts'
import { Commands } from './core/commands/commands.ts'
import { adminCommands } from './core/commands/server/all.ts'
import type { BackupReport, OpenPort, RestoreReport, ServerControl } from './core/commands/server/control.ts'
import type { Host } from './core/host.ts'
import { HttpRoutes } from './core/http.ts'
import { createLog, type Logger } from './core/log.ts'
import { Metrics } from './core/metrics.ts'
import type { ModuleDefinition } from './core/module.ts'
import { Router } from './core/router.ts'
import { type Credentials, federate, peerCredentials } from './federating.ts'
import { addGauges, commitMetrics } from './gauges.ts'
import { blobHandler, blobPath } from './http/blobs.ts'
import { HttpListener } from './http/listener.ts'
import { ConnectionCounter } from './net/connections.ts'
import { PreLoginBudget } from './net/prelogin.ts'
import { TlsContexts } from './net/tls.ts'
import { Flusher } from './net/transport.ts'
import { operationRoutes } from './operations.ts'
import { addHost, arrange, type Prepared, reload, type ServerParts, warnUncovered } from './reload.ts'
import type { Definitions, HostSurroundings } from './runninghost.ts'
import { LinksControl } from './s2s/control.ts'
import { Federation } from './s2s/federation.ts'
import type { Links } from './s2s/links.ts'
import {
  certificatesOf,
  componentListenerSettings,
  componentSettings,
  failureLimits,
  httpSettings,
  listenerSettings,
  methodsOf,
  mostConnections,
  s2sListeners,
  tlsSettings,
} from './settings.ts'
import type { BlobStore } from './storage/blob.ts'
import { HeldBlobs } from './storage/blob-held.ts'
import { openBlobs } from './storage/blobs.ts'
import { openStoreFolder } from './storage/folder.ts'
import type { LevelOptions } from './storage/level.ts'
import { openMemoryStore } from './storage/memory.ts'
import type { Store } from './storage/store.ts'
import { Rounds } from './stream/rounds.ts'
import { IdGenerator } from './util/ids.ts'
import { VERSION } from './version.ts'
import { StreamError } from './xmpp/errors.ts'

export interface ServerOptions {
  config: Config
  /** The definitions of the modules that the configuration names. */
  modules: ReadonlyMap<string, ModuleDefinition>
  log?: Logger
  /**
   * Reads the configuration again, for `reload`. Rejects with ConfigError. `located` says of what was found wrong later where
   * in it that stands.
   */
  reread?: () => Promise<{ config: Config; modules: Definitions; located?: (error: OptionError) => Error }>
  /** Prepares what lies outside of the server for another configuration. */
  outside?: (config: Config) => Promise<Prepared>
  /** Who runs the server ends it (`stop`), or ends it and starts another (a backup was restored). */
  leave?: (how: 'stop' | 'restart') => void
  /** For tests: a store to use instead of the configured one. */
  store?: Store
  blobs?: BlobStore
  now?: () => number
}

/**
 * A whole server. The composition root: everything is built here, in order, and nothing is found by magic.
 * Several may run in one process.
 */
export class Server implements ServerControl {
  readonly version = VERSION
  state: ServerControl['state'] = 'starting'
  federation: ServerControl['federation'] = undefined
  readonly log: Logger
  readonly metrics: Metrics
  readonly commands: Commands
  readonly ids: IdGenerator
  readonly router: Router
  readonly store: Store
  readonly blobs: BlobStore
  readonly #backups: Backups
  readonly #options: ServerOptions
  readonly #now: () => number
  readonly #started: number
  readonly #listeners: C2SListener[] = []
  readonly #componentListeners: ComponentListener[] = []
  readonly #http: HttpListener[] = []
  readonly #routes = new HttpRoutes()
  /** For who works on a server from the inside: a reload, tests. */
  readonly parts: ServerParts
  /** What is said with other servers. */
  readonly links: Links
  readonly #keeper: SessionKeeper
  #reloading: Promise<unknown> = Promise.resolve()
  #stopping: Promise<void> | undefined
  #unwatch: () => void = () => {}

  static async start(options: ServerOptions): Promise<Server> {
    const { config } = options
    const log = options.log ?? createLog({ level: config.loglevel, format: config.log_format })
    const metrics = new Metrics({ process: true })
    const store = options.store ?? (await openStore(config, log, commitMetrics(metrics)))
    const blobs = options.blobs ?? (await openBlobs(config, log))
    const tls = await blaming(['certfiles'], async () => {
      return TlsContexts.load({ ...tlsSettings(config), certificates: await certificatesOf(config), log })
    })
    const peers = await peerCredentials(config, store, log)
    const server = new Server(options, log, metrics, store, blobs, tls, peers)
    try {
      await server.#open()
    } catch (error) {
      await server.stop()
      throw error
    }
    return server
  }

  private constructor(
    options: ServerOptions,
    log: Logger,
    metrics: Metrics,
    store: Store,
    blobs: BlobStore,
    tls: TlsContexts,
    peers: Credentials,
  ) {
    const { config, modules: definitions, now } = options
    this.#options = options
    this.#now = now ?? Date.now
    this.#started = this.#now()
    this.log = log
    this.metrics = metrics
    this.store = store
    const held = new HeldBlobs(blobs)
    this.blobs = held
    this.#backups = new Backups({ store, blobs: held, log, config })
    this.ids = new IdGenerator(now)
    this.router = new Router(log)
    this.commands = new Commands(this.router.hosts)
    const c2sHosts: ServerParts['c2sHosts'] = new Map()
    const c2s: C2SServer = {
      hosts: c2sHosts,
      ids: this.ids,
      log,
      flusher: new Flusher(),
      rounds: new Rounds(),
      tls,
      failures: new Failures(failureLimits(config)),
      prelogin: new PreLoginBudget(config.pre_auth_memory),
      sessions: new ResumableSessions(),
      counters: {
        logins: this.metrics.counter('logins_total', 'Logins that succeeded'),
        failures: this.metrics.counter('login_failures_total', 'Logins that failed'),
        received: this.metrics.counter('messages_received_total', 'Messages that clients have sent'),
        sent: this.metrics.counter('messages_sent_total', 'Messages sent to clients, to each of their sessions'),
      },
    }
    const componentServer: ComponentServer = {
      router: this.router,
      ids: this.ids,
      log,
      flusher: c2s.flusher,
      rounds: c2s.rounds,
      tls,
      failures: new Failures(failureLimits(config)),
      prelogin: c2s.prelogin,
      counters: {
        logins: this.metrics.counter('component_logins_total', 'Logins of components that succeeded'),
        failures: this.metrics.counter('component_login_failures_total', 'Logins of components that failed'),
        received: this.metrics.counter('component_stanzas_received_total', 'Stanzas that components have sent'),
        sent: this.metrics.counter('component_stanzas_sent_total', 'Stanzas sent to components'),
      },
      settled: async () => {
        const queues = this.hosts.map(({ queues }) => queues.flush())
        await Promise.all([...queues, this.components.flush(), this.links.flush()])
      },
      now: now ?? Date.now,
    }
    const { flusher, rounds, prelogin } = c2s
    const { federating, links } = federate(
      {
        ...{ store, router: this.router, ids: this.ids, log, metrics, flusher, rounds, prelogin, tls, now },
        config: () => this.config,
      },
      peers,
    )
    this.links = links
    this.parts = {
      log,
      federating,
      c2s,
      componentServer,
      components: new Components(componentServer, store),
      componentListeners: this.#componentListeners,
      c2sHosts,
      hosts: new Map(),
      listeners: this.#listeners,
      http: this.#http,
      counter: new ConnectionCounter(mostConnections(config)),
      around: this.#surroundings(),
      now,
      outside: options.outside,
      config,
      definitions,
    }
    this.#keeper = new SessionKeeper(c2s)
    addGauges(this)
  }

  async #open(): Promise<void> {
    const parts = this.parts
    const { config, hosts, c2s } = parts
    for (const command of adminCommands(this)) this.commands.add('server', command)
    const hasPeers = s2sListeners(config).length > 0
    // What is sent from here on, by removals that were begun and sessions that are restored, is for other servers too.
    if (hasPeers) this.#federate()
    const methods = await methodsOf(config, parts.now)
    this.#prepareHttp()
    // Who watches over the server is to see that it starts.
    for (const http of this.#http) if (http.settings.operations !== undefined) await this.#listenHttp(http)
    for (const name of config.hosts) {
      if (!this.tls.covers(name)) warnUncovered(this.log, name)
      hosts.set(name, await addHost(parts, name, methods.get(name)!))
    }
    arrange(parts)
    for (const { host } of hosts.values()) await host.finishRemovals()
    await parts.components.open()
    const prepared = await parts.components.prepare(componentSettings(config))
    prepared.apply()
    await this.#keeper.restore()
    if (hasPeers) {
      await parts.federating.listen()
      void this.links.start()
    }
    for (const listen of config.listen.filter(l => l.module === 'c2s')) {
      const listener = new C2SListener(c2s, listenerSettings(config, listen), parts.counter)
      await listener.listen()
      this.#listeners.push(listener)
      this.log.info(
        { port: listener.port, ip: listener.settings.ip, tls: listener.settings.tls },
        'listening for clients',
      )
    }
    for (const listen of config.listen.filter(l => l.module === 'component')) await this.#listenComponents(listen)
    for (const http of this.#http) if (http.settings.operations === undefined) await this.#listenHttp(http)
    this.#unwatch = this.tls.watch()
    if (this.state === 'starting') this.state = 'running'
  }

  #federate(): void {
    const { allows } = this.parts.federating.server.settings
    this.router.fallback = new Federation(this.links, allows)
    this.federation = new LinksControl(this.links)
  }

  async #listenComponents(listen: ListenConfig): Promise<void> {
    const { componentServer, components } = this.parts
    const counter = new ConnectionCounter(listen.max_connections_per_ip)
    const settings = componentListenerSettings(this.config, listen)
    const listener = new ComponentListener(componentServer, components, settings, counter)
    await listener.listen()
    this.#componentListeners.push(listener)
    const { ip, tls } = settings
    this.log.info({ port: listener.port, ip, tls }, 'listening for components')
  }

  async #listenHttp(http: HttpListener): Promise<void> {
    await http.listen()
    const { ip, tls } = http.settings
    this.log.info({ port: http.port, ip, tls }, 'listening for HTTP')
  }

  /** The ports where the server is watched stay to the end. */
  #closePorts(): void {
    for (const listener of [...this.#listeners, ...this.#componentListeners]) listener.close()
    this.parts.federating.close()
    for (const http of this.#http) if (http.settings.operations === undefined) http.close()
  }

  /** Before the modules start: they ask where they will be reached. */
  #prepareHttp(): void {
    this.#routes.add('server', 'GET', blobPath(this.config.blobs.url), blobHandler(this.blobs))
    // As for XMPP with direct TLS, but for the protocol's name.
    const secure = () => ({ ...this.tls.options(false), ALPNProtocols: ['http/1.1'] })
    const operations = operationRoutes(this)
    const serving = (): boolean => this.state === 'running'
    const { prelogin } = this.parts.c2s
    for (const listen of this.config.listen.filter(l => l.module === 'http')) {
      const counter = new ConnectionCounter(listen.max_connections_per_ip)
      const around = { routes: this.#routes, operations, serving, log: this.log, counter, prelogin, secure }
      this.#http.push(new HttpListener(around, httpSettings(this.config, listen)))
    }
    // A port of its own for those who watch over the server is not where files are to be had.
    const open = this.#http.filter(http => http.settings.operations === undefined)
    const reached = open.find(http => http.settings.tls === 'direct') ?? open[0] ?? this.#http[0]
    this.#routes.origin = () => reached && { secured: reached.settings.tls === 'direct', port: reached.port }
  }

  #surroundings(): HostSurroundings {
    const { commands, metrics, log, blobs, store, router, ids } = this
    return {
      commands,
      metrics,
      log,
      blobs,
      store,
      router,
      ids,
      now: this.#options.now,
      routes: this.#routes,
      uptime: () => this.uptime,
      allowed: (rule, jid, host) => {
        const appointed = this.host(host)?.services.use('admins')?.has(jid) === true
        const { local, domain } = jid
        return evaluateAccess(
          this.config,
          rule,
          { jid: local === '' ? { domain } : { local, domain }, appointed },
          host,
        )
      },
      optionsAt: (module, host) =>
        this.parts.hosts.get(host)?.modules.find(({ definition }) => definition.name === module)?.options,
      named: (acl, host) => resolveHost(this.config, host).acl[acl]?.user ?? [],
    }
  }

  // ---- state

  /** What runs: where an option waits for a restart, what it was at the start. */
  get config(): Config {
    return this.parts.config
  }

  /** Ms since the start. */
  get uptime(): number {
    return this.#now() - this.#started
  }

  get hosts(): readonly Host[] {
    return [...this.parts.hosts.values()].map(({ host }) => host)
  }

  host(name: string): Host | undefined {
    return this.parts.hosts.get(name)?.host
  }

  get listeners(): readonly C2SListener[] {
    return this.#listeners
  }

  get componentListeners(): readonly ComponentListener[] {
    return this.#componentListeners
  }

  get components(): Components {
    return this.parts.components
  }

  get httpListeners(): readonly HttpListener[] {
    return this.#http
  }

  get tls(): TlsContexts {
    return this.parts.c2s.tls
  }

  get sessionCount(): number {
    let count = 0
    for (const host of this.hosts) for (const account of host.accounts.values()) count += account.sessions.size
    return count
  }

  streams(): { fail(error: StreamError): void }[] {
    return this.#listeners.flatMap(l => [...l.streams])
  }

  /** The modules that run on each host. */
  modules(): { host: string; module: string; xep: string }[] {
    return [...this.parts.hosts].flatMap(([host, { modules }]) =>
      modules.map(({ definition }) => ({ host, module: definition.name, xep: xepNumbers(definition) })),
    )
  }

  ports(): OpenPort[] {
    const { federating } = this.parts
    const all = {
      c2s: this.#listeners,
      s2s: federating.listeners,
      component: this.#componentListeners,
      http: this.#http,
    }
    return Object.entries(all).flatMap(([module, listeners]) =>
      listeners.map(({ port, settings: { ip, tls } }) => ({ module, port, ip, tls })),
    )
  }

  certificates() {
    return this.tls.expiry()
  }

  // ---- changes

  async reloadConfig(): Promise<string[]> {
    if (this.#options.reread === undefined) throw new Error('this server was started without a configuration file')
    const { config, modules, located } = await this.#options.reread()
    try {
      return await this.reload(config, modules)
    } catch (error) {
      throw error instanceof OptionError && located !== undefined ? located(error) : error
    }
  }

  /**
   * Goes over to another configuration without dropping sessions, wholly or not at all: one after the other, see reload.ts.
   * What needs a restart is named in the answer.
   */
  reload(config: Config, modules: Definitions): Promise<string[]> {
    const done = this.#reloading.then(async () => {
      if (this.state !== 'running') throw new Error(`the server is ${this.state}: nothing is reloaded`)
      const left = await reload(this.parts, config, modules)
      this.log.info({ left }, 'configuration reloaded')
      return left
    })
    this.#reloading = done.catch(() => {})
    return done
  }

  /** Sends clients elsewhere: no more connections are taken, those there are told where to go. Sessions can be resumed. */
  drain(): void {
    this.state = 'draining'
    const { see_other_host: other } = this.config.drain
    this.#closePorts()
    const error = () =>
      other === undefined
        ? new StreamError('system-shutdown')
        : new StreamError('see-other-host', undefined, { value: other })
    for (const { streams } of this.#listeners) for (const stream of streams) stream.sendAway(error())
  }

  /** Rejects with what is wrong with the configuration as it is in the file now. */
  async checkConfig(): Promise<void> {
    await this.#options.reread?.()
  }

  /** After the answer to the command has been written. */
  leaveSoon(how: 'stop' | 'restart'): void {
    const { leave } = this.#options
    setTimeout(() => {
      if (leave !== undefined) leave(how)
      else void this.stop()
    }, 100)
  }

  backup(file: string, rowsOnly: boolean, progress: (text: string) => void): Promise<BackupReport> {
    return this.#backups.write(file, rowsOnly, progress)
  }

  async restore(file: string, progress: (text: string) => void): Promise<RestoreReport> {
    const report = await this.#backups.restore(file, progress)
    this.leaveSoon('restart')
    return report
  }

  /** Stops in order: nothing that was acknowledged is lost, and sessions can be resumed after the next start. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    const begun = performance.now()
    this.state = 'stopping'
    this.#unwatch()
    await this.#reloading
    this.#closePorts()
    const { timeout } = this.config.drain
    const left = this.#http.filter(http => http.settings.operations === undefined)
    await Promise.all([this.#keeper.suspend(timeout), ...left.map(http => http.drained(timeout))])
    for (const stream of this.streams()) stream.fail(new StreamError('system-shutdown'))
    for (const { streams } of this.#componentListeners) {
      for (const stream of streams) stream.fail(new StreamError('system-shutdown'))
    }
    await this.links.stop(PEERS_LATE)
    await this.parts.federating.stop()
    this.parts.c2s.flusher.flush()
    for (const host of [...this.parts.hosts.values()].reverse()) await host.stopAll()
    for (const http of this.#http) http.close()
    await Promise.all(this.#http.map(http => http.drained(WATCHED_LATE)))
    await this.parts.components.close()
    await this.store.close()
    await this.blobs.close()
    const up = Math.round(this.uptime / 1000)
    this.log.info({ pid: process.pid, up, ms: Math.round(performance.now() - begun) }, 'stopped')
  }
}

/** How long a stop waits for other servers to acknowledge what they were sent (ms). */
const PEERS_LATE = 2000

/** How long a stop waits for answers to those who watch over the server (ms). */
const WATCHED_LATE = 1000

async function openStore(config: Config, log: Logger, onCommit: LevelOptions['onCommit']): Promise<Store> {
  if (config.storage.driver === 'memory') return openMemoryStore()
  const { commit_delay: commitDelay, cache_size: cacheSize } = config.storage
  return openStoreFolder(config.data, { commitDelay, cacheSize, log, onCommit })
}

function xepNumbers(definition: ModuleDefinition): string {
  const list = definition.xep === undefined ? [] : [definition.xep].flat()
  return list.map(x => `XEP-${String(x.number).padStart(4, '0')}`).join(', ')
}
