import { randomBytes } from 'node:crypto'
import { AccountChain, type AuthMethod } from './auth/chain.ts'
import { type Credentials, createCredentials, PASSWD } from './auth/credentials.ts'
import { type DeviceSettings, Devices } from './auth/devices.ts'
import { Failures } from './auth/failures.ts'
import { createSasl, type Mechanism, type Sasl } from './auth/sasl.ts'
import { SessionKeeper } from './c2s/keeper.ts'
import { C2SListener } from './c2s/listener.ts'
import { type C2SHost, type C2SServer, type HostSettings, ResumableSessions } from './c2s/server.ts'
import { TlsContexts } from './c2s/tls.ts'
import { Flusher } from './c2s/transport.ts'
import { evaluateAccess } from './config/access.ts'
import { type Config, type HostConfig, resolveHost } from './config/core.ts'
import { sameValue } from './config/same.ts'
import { adminCommands, type BackupReport, type RestoreReport, type ServerControl } from './core/admin/index.ts'
import { Commands } from './core/commands.ts'
import { type RunningModule, startModule } from './core/context.ts'
import { Host } from './core/host.ts'
import { HttpRoutes } from './core/http.ts'
import { createLog, type Logger } from './core/log.ts'
import { Metrics } from './core/metrics.ts'
import type { ModuleDefinition } from './core/module.ts'
import { Router } from './core/router.ts'
import { blobHandler, blobPath } from './http/blobs.ts'
import { HttpListener } from './http/listener.ts'
import { authMethods, certificatesOf, httpSettings, listenerSettings } from './settings.ts'
import { backupToFile } from './storage/backup.ts'
import type { BackedUp } from './storage/backupformat.ts'
import type { BlobStore } from './storage/blob.ts'
import { HeldBlobs } from './storage/blob-held.ts'
import { openBlobs } from './storage/blobs.ts'
import { openStoreFolder, prepareRestore } from './storage/folder.ts'
import { openMemoryStore } from './storage/memory.ts'
import { type Store, StoreError } from './storage/store.ts'
import { ConnectionCounter } from './util/connections.ts'
import { IdGenerator } from './util/ids.ts'
import { VERSION } from './version.ts'
import { StreamError } from './xmpp/errors.ts'
import { Jid } from './xmpp/jid.ts'

export interface ServerOptions {
  config: Config
  /** The definitions of the modules that the configuration names. */
  modules: ReadonlyMap<string, ModuleDefinition>
  log?: Logger
  /** Reads the configuration again, for `reload`. Rejects with ConfigError. */
  reread?: () => Promise<{ config: Config; modules: ReadonlyMap<string, ModuleDefinition> }>
  /** Who runs the server ends it (`stop`), or ends it and starts another (a backup was restored). */
  leave?: (how: 'stop' | 'restart') => void
  /** For tests: a store to use instead of the configured one. */
  store?: Store
  blobs?: BlobStore
  now?: () => number
}

interface RunningHost {
  readonly c2s: C2SHost
  readonly accounts: AccountChain
  readonly modules: Map<string, RunningModule>
}

/**
 * A whole server. The composition root: everything is built here, in order, and nothing is found by magic.
 * Several may run in one process.
 */
export class Server implements ServerControl {
  readonly version = VERSION
  state: 'running' | 'draining' | 'stopping' = 'running'
  config: Config
  readonly log: Logger
  readonly metrics = new Metrics({ process: true })
  readonly commands = new Commands()
  readonly ids: IdGenerator
  readonly router: Router
  readonly store: Store
  readonly blobs: BlobStore
  readonly #held: HeldBlobs
  #restoring = false
  readonly #options: ServerOptions
  readonly #started = Date.now()
  readonly #hosts = new Map<string, RunningHost>()
  readonly #c2sHosts = new Map<string, C2SHost>()
  readonly #listeners: C2SListener[] = []
  readonly #http: HttpListener[] = []
  readonly #routes = new HttpRoutes()
  readonly #c2s: C2SServer
  readonly #keeper: SessionKeeper
  #modules: ReadonlyMap<string, ModuleDefinition>
  #stopping: Promise<void> | undefined
  #unwatch: () => void = () => {}

  static async start(options: ServerOptions): Promise<Server> {
    const { config } = options
    const log = options.log ?? createLog({ level: config.loglevel, format: config.log_format })
    const store = options.store ?? (await openStore(config, log))
    const blobs = options.blobs ?? (await openBlobs(config, log))
    const certificates = await certificatesOf(config)
    const tls = await TlsContexts.load({
      certificates,
      minVersion: config.tls_min_version,
      ciphers: config.tls_ciphers,
      log,
    })
    const server = new Server(options, log, store, blobs, tls)
    try {
      await server.#open()
    } catch (error) {
      await server.stop()
      throw error
    }
    return server
  }

  private constructor(options: ServerOptions, log: Logger, store: Store, blobs: BlobStore, tls: TlsContexts) {
    this.#options = options
    this.config = options.config
    this.#modules = options.modules
    this.log = log
    this.store = store
    this.#held = new HeldBlobs(blobs)
    this.blobs = this.#held
    this.ids = new IdGenerator(options.now)
    this.router = new Router(log)
    this.#c2s = {
      hosts: this.#c2sHosts,
      router: this.router,
      ids: this.ids,
      log,
      metrics: this.metrics,
      flusher: new Flusher(),
      tls,
      failures: new Failures({
        perAddress: this.config.max_failures_per_ip,
        perAccount: this.config.max_failures_per_account,
        window: this.config.failure_window,
      }),
      sessions: new ResumableSessions(),
      counters: {
        logins: this.metrics.counter('logins_total', 'Logins that succeeded'),
        failures: this.metrics.counter('login_failures_total', 'Logins that failed'),
      },
    }
    this.#keeper = new SessionKeeper(this.#c2s)
    this.metrics.gauge('sessions', 'Sessions, connected or waiting to be resumed', () => this.sessionCount)
    this.metrics.gauge('streams', 'Client connections', () => this.streams().length)
  }

  async #open(): Promise<void> {
    for (const command of adminCommands(this)) this.commands.add('server', command)
    const methods = await this.#authMethods(this.config)
    this.#prepareHttp()
    for (const name of this.config.hosts) await this.#addHost(name, methods.get(name)!)
    await this.#keeper.restore()
    const clients = this.config.listen.filter(l => l.module === 'c2s')
    const counter = new ConnectionCounter(Math.max(...clients.map(l => l.max_connections_per_ip)))
    for (const listen of clients) {
      const listener = new C2SListener(this.#c2s, listenerSettings(this.config, listen), counter)
      await listener.listen()
      this.#listeners.push(listener)
      this.log.info(
        { port: listener.port, ip: listen.ip, tls: listen.tls ? 'direct' : listen.starttls ? 'starttls' : 'off' },
        'listening for clients',
      )
    }
    for (const http of this.#http) {
      await http.listen()
      const { ip, tls } = http.settings
      this.log.info({ port: http.port, ip, tls: tls ? 'direct' : 'off' }, 'listening for HTTP')
    }
    this.#unwatch = this.#c2s.tls.watch()
  }

  /** Before the modules start: they ask where they will be reached. */
  #prepareHttp(): void {
    this.#routes.add('server', 'GET', blobPath(this.config.blobs.url), blobHandler(this.blobs))
    // As for XMPP with direct TLS, but for the protocol's name.
    const secure = () => ({ ...this.tls.options(false), ALPNProtocols: ['http/1.1'] })
    for (const listen of this.config.listen.filter(l => l.module === 'http')) {
      const counter = new ConnectionCounter(listen.max_connections_per_ip)
      const around = { routes: this.#routes, log: this.log, counter, secure }
      this.#http.push(new HttpListener(around, httpSettings(listen)))
    }
    const reached = this.#http.find(http => http.settings.tls) ?? this.#http[0]
    this.#routes.origin = () => reached && { secured: reached.settings.tls, port: reached.port }
  }

  async #addHost(name: string, methods: readonly AuthMethod[]): Promise<void> {
    const config = resolveHost(this.config, name)
    if (!this.tls.covers(name)) {
      this.log.warn(
        { host: name },
        'no certificate is for this host: its clients will refuse to connect. Add one to certfiles',
      )
    }
    const secret = await hostSecret(this.store, name)
    const credentials = createCredentials({
      table: this.store.table(name, PASSWD),
      secret,
      iterations: config.auth.scram_iterations,
      hashes: hashesOf(config),
    })
    const accounts = new AccountChain({
      credentials,
      methods,
      failed: (err, method) => this.log.warn({ err, host: name, method }, 'a source of accounts could not tell'),
      adopted: async user => void (await host.hooks.run('register_user', { user: Jid.of(user, name) })),
      now: this.#options.now,
    })
    const host = new Host({
      name,
      store: this.store,
      users: accounts,
      router: this.router,
      ids: this.ids,
      log: this.log,
      now: this.#options.now,
    })
    const devices = new Devices(host, deviceSettings(config))
    host.services.provide('server', 'devices', devices)
    const sasl = saslOf(credentials, accounts, devices, config)
    const c2s: C2SHost = { host, credentials, devices, secret, sasl, settings: settingsOf(config) }
    const running: RunningHost = { c2s, accounts, modules: new Map() }
    this.#hosts.set(name, running)
    for (const module of Object.keys(config.modules)) await this.#startModule(running, module, config)
    this.#c2sHosts.set(name, c2s)
    this.router.add(host)
  }

  async #startModule(host: RunningHost, name: string, config: HostConfig): Promise<void> {
    const definition = this.#modules.get(name)
    if (definition === undefined) throw new Error(`no definition of the module ${name} was given`)
    const around = {
      commands: this.commands,
      metrics: this.metrics,
      log: this.log,
      uptime: () => this.uptime,
      blobs: this.blobs,
      routes: this.#routes,
      allowed: (rule: string, jid: Jid, host: string) => this.#allowed(rule, jid, host),
      named: (acl: string, host: string) => resolveHost(this.config, host).acl[acl]?.user ?? [],
    }
    host.modules.set(name, await startModule(definition, config.modules[name], host.c2s.host, around))
  }

  #allowed(rule: string, jid: Jid, host: string): boolean {
    const appointed = this.host(host)?.services.use('admins')?.has(jid) === true
    const { local, domain } = jid
    return evaluateAccess(this.config, rule, { jid: local === '' ? { domain } : { local, domain }, appointed }, host)
  }

  // ---- state

  /** Ms since the start. */
  get uptime(): number {
    return Date.now() - this.#started
  }

  get hosts(): readonly Host[] {
    return [...this.#hosts.values()].map(h => h.c2s.host)
  }

  host(name: string): Host | undefined {
    return this.#hosts.get(name)?.c2s.host
  }

  get listeners(): readonly C2SListener[] {
    return this.#listeners
  }

  get httpListeners(): readonly HttpListener[] {
    return this.#http
  }

  get tls(): TlsContexts {
    return this.#c2s.tls
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
    return [...this.#hosts].flatMap(([host, { modules }]) =>
      [...modules.values()].map(({ definition }) => ({ host, module: definition.name, xep: xepNumbers(definition) })),
    )
  }

  ports(): { port: number; ip: string; tls: string; streams: number }[] {
    return this.#listeners.map(l => ({ port: l.port, ip: l.settings.ip, tls: l.settings.tls, streams: l.streams.size }))
  }

  certificates() {
    return this.tls.expiry()
  }

  // ---- changes

  async reloadConfig(): Promise<string[]> {
    if (this.#options.reread === undefined) throw new Error('this server was started without a configuration file')
    const { config, modules } = await this.#options.reread()
    return this.reload(config, modules)
  }

  /**
   * Goes over to another configuration without dropping sessions: hosts, modules, limits, certificates, log level.
   * What cannot change while the server runs (data folder, ports) is named in the answer.
   */
  async reload(config: Config, modules: ReadonlyMap<string, ModuleDefinition>): Promise<string[]> {
    const left = immutable(this.config, config)
    // First what may be wrong beyond the shape of the configuration: then all stays as it was.
    const methods = await this.#authMethods(config)
    await this.#c2s.tls.reload(await certificatesOf(config))
    this.config = config
    this.#modules = modules
    this.log.level = config.loglevel
    for (const name of config.hosts) if (!this.#hosts.has(name)) await this.#addHost(name, methods.get(name)!)
    for (const [name, host] of this.#hosts) {
      if (config.hosts.includes(name)) await this.#reloadHost(host, resolveHost(config, name), methods.get(name)!)
      else await this.#removeHost(name, host)
    }
    const entryOf = ({ port, settings }: C2SListener | HttpListener) =>
      config.listen.find(l => l.port === settings.port || l.port === port)
    for (const listener of this.#listeners) {
      const listen = entryOf(listener)
      if (listen?.module === 'c2s') listener.update(listenerSettings(config, listen))
    }
    for (const http of this.#http) {
      const listen = entryOf(http)
      if (listen?.module === 'http') http.update(httpSettings(listen))
    }
    this.log.info({ left }, 'configuration reloaded')
    return left
  }

  async #authMethods(config: Config): Promise<Map<string, AuthMethod[]>> {
    const methods = new Map<string, AuthMethod[]>()
    for (const name of config.hosts) methods.set(name, await authMethods(resolveHost(config, name), this.#options.now))
    return methods
  }

  async #reloadHost(host: RunningHost, config: HostConfig, methods: readonly AuthMethod[]): Promise<void> {
    Object.assign(host.c2s.settings, settingsOf(config))
    host.c2s.devices.settings = deviceSettings(config)
    host.accounts.methods = methods
    host.c2s.credentials.configure({ iterations: config.auth.scram_iterations, hashes: hashesOf(config) })
    host.c2s.sasl = saslOf(host.c2s.credentials, host.accounts, host.c2s.devices, config)
    for (const [name, running] of host.modules) {
      const same = running.definition === this.#modules.get(name) && sameValue(running.options, config.modules[name])
      if (same) continue
      await running.stop()
      host.modules.delete(name)
    }
    for (const name of Object.keys(config.modules)) {
      if (!host.modules.has(name)) await this.#startModule(host, name, config)
    }
  }

  async #removeHost(name: string, host: RunningHost): Promise<void> {
    this.#c2sHosts.delete(name)
    this.router.remove(host.c2s.host)
    for (const session of [...host.c2s.host.sessions()]) session.end(new StreamError('host-gone'))
    for (const running of [...host.modules.values()].reverse()) await running.stop()
    this.#hosts.delete(name)
  }

  /** Sends clients elsewhere: no more connections are taken, those there are told where to go. Sessions can be resumed. */
  drain(): void {
    this.state = 'draining'
    const { see_other_host: other } = this.config.drain
    for (const listener of this.#listeners) listener.close()
    for (const http of this.#http) http.close()
    const error = () =>
      other === undefined
        ? new StreamError('system-shutdown')
        : new StreamError('see-other-host', undefined, { value: other })
    for (const stream of this.streams()) stream.fail(error())
  }

  stopSoon(): void {
    this.#leaveSoon('stop')
  }

  restartSoon(): void {
    this.#leaveSoon('restart')
  }

  /** After the answer to the command has been written. */
  #leaveSoon(how: 'stop' | 'restart'): void {
    const { leave } = this.#options
    setTimeout(() => {
      if (leave !== undefined) leave(how)
      else void this.stop()
    }, 100)
  }

  async backup(file: string, rowsOnly: boolean, progress: (text: string) => void): Promise<BackupReport> {
    const release = await this.#held.hold()
    try {
      const contents = rowsOnly ? { store: this.store } : { store: this.store, blobs: this.blobs }
      const { bytes, blobs } = await backupToFile(contents, file, done => progress(`${done} bytes`))
      const report = { bytes, ...countOf(blobs) }
      this.log.info({ file, ...report }, 'a backup was written')
      return report
    } finally {
      release()
    }
  }

  async restore(file: string, progress: (text: string) => void): Promise<RestoreReport> {
    const { data, storage } = this.config
    if (storage.driver !== 'level') throw new StoreError('a store in memory cannot be restored into')
    if (this.#restoring) throw new StoreError('a backup is being restored already')
    this.#restoring = true
    // Held until the restart: what is there for the rows that come is not to go for those that leave.
    const release = await this.#held.hold()
    try {
      const found = await prepareRestore(data, this.blobs, file, done => progress(`${done} bytes`))
      const { bytes, rows, tables, blobs, kept } = found
      const messages = { waiting: tables.get('queue') ?? 0, archived: tables.get('archive') ?? 0 }
      const report = { bytes, rows, accounts: tables.get(PASSWD.name) ?? 0, ...messages, ...countOf(blobs), kept }
      this.log.warn({ file, ...report }, 'a backup was read, and takes the place of the store by a restart')
      this.#leaveSoon('restart')
      return report
    } catch (error) {
      this.#restoring = false
      release()
      throw error
    }
  }

  /** Stops in order: nothing that was acknowledged is lost, and sessions can be resumed after the next start. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    this.state = 'stopping'
    this.#unwatch()
    for (const listener of this.#listeners) listener.close()
    for (const http of this.#http) http.close()
    const { timeout } = this.config.drain
    await Promise.all([this.#keeper.suspend(timeout), ...this.#http.map(http => http.drained(timeout))])
    for (const stream of this.streams()) stream.fail(new StreamError('system-shutdown'))
    this.#c2s.flusher.flush()
    for (const { modules } of [...this.#hosts.values()].reverse()) {
      for (const running of [...modules.values()].reverse()) {
        await running.stop().catch((error: unknown) => this.log.error({ err: error }, 'a module did not stop'))
      }
    }
    await this.store.close()
    await this.blobs.close()
    this.log.info('stopped')
  }
}

function countOf({ count, pictures, missing }: BackedUp): { pictures: number; files: number; missing: number } {
  return { pictures, files: count - pictures, missing }
}

async function openStore(config: Config, log: Logger): Promise<Store> {
  if (config.storage.driver === 'memory') return openMemoryStore()
  const { commit_delay: commitDelay, cache_size: cacheSize } = config.storage
  return openStoreFolder(config.data, { commitDelay, cacheSize, log })
}

/** A secret that stays with the host: the salts of unknown users follow from it. */
async function hostSecret(store: Store, host: string): Promise<Buffer> {
  const table = store.table<string>(host, { name: 'secret' })
  const made = randomBytes(32).toString('hex')
  await table.putIfAbsent(['sasl'], [], made)
  return Buffer.from((await table.get(['sasl'])) ?? made, 'hex')
}

function hashesOf(config: HostConfig): ('SHA-1' | 'SHA-256' | 'SHA-512')[] {
  const hashes = (['SHA-512', 'SHA-256', 'SHA-1'] as const).filter(h => config.auth.mechanisms.includes(`SCRAM-${h}`))
  return hashes.length > 0 ? hashes : ['SHA-256']
}

function saslOf(credentials: Credentials, accounts: AccountChain, devices: Devices, config: HostConfig): Sasl {
  const mechanisms = config.auth.mechanisms as readonly Mechanism[]
  return createSasl({
    credentials,
    passwords: accounts,
    // Tokens are for accounts whose passwords are here: of the others nobody tells us when they are no longer to come in.
    devices: config.auth.fast && accounts.methods.includes('internal') ? devices : undefined,
    domain: config.host,
    mechanisms: accounts.keysFirst ? mechanisms : mechanisms.filter(name => name === 'PLAIN'),
  })
}

function deviceSettings({ auth }: HostConfig): DeviceSettings {
  return { maxDevices: auth.max_devices, tokenLifetime: auth.token_lifetime, tokenRefreshAge: auth.token_refresh_age }
}

function settingsOf(config: HostConfig): HostSettings {
  return {
    plainWithoutTls: config.auth.plain_without_tls,
    maxUserSessions: config.max_user_sessions,
    resourceConflict: config.resource_conflict,
    maxAckQueue: config.max_ack_queue,
    resumeTimeout: config.resume_timeout,
    ackTimeout: config.ack_timeout,
  }
}

function xepNumbers(definition: ModuleDefinition): string {
  const list = definition.xep === undefined ? [] : [definition.xep].flat()
  return list.map(x => `XEP-${String(x.number).padStart(4, '0')}`).join(', ')
}

/** Options that only a restart changes, where they differ. */
function immutable(before: Config, after: Config): string[] {
  const names: string[] = []
  if (before.data !== after.data) names.push('data')
  if (!sameValue(before.storage, after.storage)) names.push('storage')
  if (!sameValue(before.blobs, after.blobs)) names.push('blobs')
  const ports = (c: Config) => c.listen.map(l => ({ port: l.port, ip: l.ip, tls: l.tls, module: l.module }))
  if (!sameValue(ports(before), ports(after))) names.push('listen (ports)')
  return names
}
