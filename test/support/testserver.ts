import { type Config, type HostConfig, hostOptions, listenOptions, serverOptions } from '../../src/config/core.ts'
import { parseOptions } from '../../src/config/validate.ts'
import type { Given } from '../../src/core/commands/read.ts'
import { createLog } from '../../src/core/log.ts'
import { defineModule, type ModuleContext, type ModuleDefinition } from '../../src/core/module.ts'
import { builtinModules } from '../../src/modules.ts'
import { Server } from '../../src/server.ts'
import type { BlobStore } from '../../src/storage/blob.ts'
import { openMemoryStore } from '../../src/storage/memory.ts'
import type { Store } from '../../src/storage/store.ts'
import { RawClient } from './rawclient.ts'

type Raw = Record<string, unknown>

export interface TestOptions {
  hosts?: string[]
  /** Options of the server and of its hosts, as in the configuration file. */
  config?: Raw
  listen?: Raw
  /** A port that speaks HTTP; options of its entry in `listen`. */
  http?: Raw
  /** A port of components; options of its entry in `listen`. */
  component?: Raw
  /** The address at which other servers find it, on 5269 and 5270; without, there are none. */
  s2s?: { ip?: string; listen?: Raw }
  /** Options of modules by name; `false` leaves one out. All others run with their defaults. */
  modules?: Record<string, Raw | false>
  /** The same for one of the hosts, in place of those of all. */
  hostModules?: Record<string, Record<string, Raw | false>>
  /** Definitions beyond the built-in ones. */
  extra?: ModuleDefinition[]
  store?: Store
  blobs?: BlobStore
  now?: () => number
  log?: boolean
  /** Where lines of the log go; without, to standard output. */
  logTo?: { write(line: string): void }
}

const PASSWORD = 'secret'

/** The modules of src/modules, by name. */
export async function builtins(): Promise<Map<string, ModuleDefinition>> {
  return new Map((await builtinModules()).map(definition => [definition.name, definition]))
}

/** A module without options, that does this when it starts. */
export function testModule(name: string, start: (ctx: ModuleContext) => void | Promise<void>): ModuleDefinition {
  return defineModule({ name, summary: 'For tests.', options: {}, start })
}

/** A whole server in this process, on a free port of loopback, with a store in memory. Several may run at once. */
export class TestServer {
  readonly server: Server
  readonly host: string
  readonly #clients = new Set<RawClient>()

  private constructor(server: Server) {
    this.server = server
    this.host = server.config.hosts[0]!
  }

  static async start(options: TestOptions = {}): Promise<TestServer> {
    const definitions = await definitionsOf(options)
    const config = testConfig(options, definitions)
    const server = await Server.start({
      config,
      modules: definitions,
      log: createLog({
        level: config.loglevel,
        format: config.log_format === 'auto' ? 'json' : config.log_format,
        ...(options.logTo === undefined ? {} : { destination: options.logTo }),
      }),
      store: options.store ?? openMemoryStore(),
      ...(options.blobs === undefined ? {} : { blobs: options.blobs }),
      ...(options.now === undefined ? {} : { now: options.now }),
    })
    return new TestServer(server)
  }

  get port(): number {
    return this.server.listeners[0]!.port
  }

  /** Of the port that speaks HTTP. */
  get httpPort(): number {
    return this.server.httpListeners[0]!.port
  }

  /** Of the port of components. */
  get componentPort(): number {
    return this.server.componentListeners[0]!.port
  }

  jid(user: string): string {
    return `${user}@${this.host}`
  }

  async register(...users: string[]): Promise<void> {
    for (const user of users) await this.server.host(this.host)!.users.create(user, PASSWORD)
  }

  /** A connection of which nothing is known yet. */
  async connect(options: { host?: string } = {}): Promise<RawClient> {
    const client = await RawClient.connect({ host: '127.0.0.1', port: this.port, domain: options.host ?? this.host })
    this.#clients.add(client)
    return client
  }

  /** A client of this user, logged in and bound; the account is made if it is not there. No presence is sent. */
  async client(user: string, options: { resource?: string; host?: string } = {}): Promise<RawClient> {
    const host = options.host ?? this.host
    await this.server.host(host)!.users.create(user, PASSWORD)
    const client = await this.connect({ host })
    await client.login({ user, password: PASSWORD })
    await client.bind(options.resource)
    return client
  }

  /** Runs a declared command, as hermodctl does; `args` by name. */
  async command<T>(name: string, args: Given = {}): Promise<T> {
    return (await this.server.commands.run(name, args)) as T
  }

  /** One of each of these users, in this order. */
  async clients<U extends string[]>(...users: U): Promise<{ [I in keyof U]: RawClient }> {
    const clients: RawClient[] = []
    for (const user of users) clients.push(await this.client(user))
    return clients as { [I in keyof U]: RawClient }
  }

  /** Another configuration for the running server; resolves with what could not change. */
  async reload(options: TestOptions): Promise<string[]> {
    const definitions = await definitionsOf(options)
    return this.server.reload(testConfig(options, definitions), definitions)
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) if (!client.closed) client.cut()
    await this.server.stop()
  }
}

async function definitionsOf(options: TestOptions): Promise<Map<string, ModuleDefinition>> {
  const definitions = await builtins()
  for (const definition of options.extra ?? []) definitions.set(definition.name, definition)
  return definitions
}

function testConfig(options: TestOptions, definitions: ReadonlyMap<string, ModuleDefinition>): Config {
  const hosts = options.hosts ?? ['localhost']
  const raw = options.config ?? {}
  const unknown = [
    ...Object.keys(raw).filter(key => !(key in serverOptions || key in hostOptions)),
    ...Object.keys(options.modules ?? {}).filter(name => !definitions.has(name)),
  ]
  if (unknown.length > 0) throw new Error(`there is no such option or module: ${unknown.join(', ')}`)
  const pick = (shape: object) => Object.fromEntries(Object.entries(raw).filter(([key]) => key in shape))
  const listen = parseOptions(listenOptions, {
    port: 0,
    ip: '127.0.0.1',
    starttls_required: false,
    shaper: 'none',
    ...options.listen,
  })
  const http =
    options.http === undefined
      ? []
      : [parseOptions(listenOptions, { port: 0, ip: '127.0.0.1', module: 'http', ...options.http })]
  const component =
    options.component === undefined
      ? []
      : [parseOptions(listenOptions, { port: 0, module: 'component', ...options.component })]
  const s2s = [
    { port: 5269, tls: false },
    { port: 5270, tls: true },
  ].flatMap(port =>
    options.s2s === undefined
      ? []
      : parseOptions(listenOptions, { ...port, ip: options.s2s.ip, module: 's2s', ...options.s2s.listen }),
  )
  const server = parseOptions(serverOptions, {
    hosts,
    loglevel: options.log === true ? 'debug' : 'silent',
    storage: { driver: 'memory' },
    ...pick(serverOptions),
    s2s: { enabled: options.s2s !== undefined, ...(raw['s2s'] as Raw | undefined) },
  })
  const modulesOf = (host: string): Record<string, Raw> => {
    const modules: Record<string, Raw> = {}
    for (const [name, definition] of definitions) {
      const wanted = options.hostModules?.[host]?.[name] ?? options.modules?.[name]
      if (wanted === false || (wanted === undefined && definition.optional === true)) continue
      modules[name] = parseOptions(definition.options, wanted ?? {})
    }
    return modules
  }
  const perHost = new Map<string, HostConfig>()
  for (const host of hosts) {
    const given = { auth: { plain_without_tls: true, scram_iterations: 4096 }, ...pick(hostOptions) }
    perHost.set(host, { ...parseOptions(hostOptions, given), host, modules: modulesOf(host) })
  }
  return { ...server, listen: [listen, ...http, ...component, ...s2s], perHost }
}
