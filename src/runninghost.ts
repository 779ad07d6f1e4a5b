import { randomBytes } from 'node:crypto'
import { AccountChain, type AuthMethod } from './auth/chain.ts'
import { Credentials } from './auth/credentials.ts'
import { Devices } from './auth/devices.ts'
import { Familiar } from './auth/familiar.ts'
import { PASSWD, shapesIn } from './auth/record.ts'
import { createSasl, type Mechanism, type Sasl } from './auth/sasl.ts'
import { Shapes } from './auth/shapes.ts'
import { grantSessions } from './c2s/bind.ts'
import { expel } from './c2s/expel.ts'
import type { C2SHost } from './c2s/server.ts'
import type { HostConfig, ModuleConfigs } from './config/core.ts'
import { OptionError } from './config/diagnostics.ts'
import { sameValue } from './config/same.ts'
import { type RunningModule, type Surroundings, startModule } from './core/context.ts'
import { Host } from './core/host.ts'
import type { ModuleDefinition } from './core/module.ts'
import type { Router } from './core/router.ts'
import { logSessions } from './core/sessionlog.ts'
import { deviceSettings, hashesOf, hostSettings } from './settings.ts'
import type { Store } from './storage/store.ts'
import type { IdGenerator } from './util/ids.ts'
import { Jid } from './xmpp/jid.ts'

/** What every host gets of its server. */
export interface HostSurroundings extends Surroundings {
  store: Store
  router: Router
  ids: IdGenerator
  now: (() => number) | undefined
}

export type Definitions = ReadonlyMap<string, ModuleDefinition>

/** A host of a server with all that makes it work: accounts, ways to log in, modules. */
export class RunningHost {
  readonly c2s: C2SHost
  readonly accounts: AccountChain
  readonly #modules = new Map<string, RunningModule>()
  readonly #around: HostSurroundings

  /** A host without modules yet, and not yet among those of the router. */
  static async create(
    config: HostConfig,
    methods: readonly AuthMethod[],
    around: HostSurroundings,
  ): Promise<RunningHost> {
    const { store, router, ids, log, now } = around
    const name = config.host
    const secret = await hostSecret(store, name)
    const passwords = store.table(name, PASSWD)
    const shapes = new Shapes(secret, store.table(name, { name: 'password_shapes' }))
    await shapes.open(limit => shapesIn(passwords, limit))
    const credentials = new Credentials({
      table: passwords,
      secret,
      shapes,
      iterations: config.auth.scram_iterations,
      hashes: hashesOf(config),
    })
    const accounts: AccountChain = new AccountChain({
      credentials,
      methods,
      failed: (err, method) => log.warn({ err, host: name, method }, 'a source of accounts could not tell'),
      changed: (user, change, but) => expel(c2s, user, change, but),
      adopted: async user => void (await host.hooks.run('register_user', { user: Jid.of(user, name) })),
      now,
    })
    const host: Host = new Host({ name, store, users: accounts, router, ids, log, now })
    logSessions(host)
    grantSessions(host)
    const devices = new Devices(host, deviceSettings(config))
    host.services.provide('server', 'devices', devices)
    const familiar = new Familiar({
      table: store.table(name, { name: 'login_networks' }),
      secret,
      failed: (err, user) => log.warn({ err, user }, 'it could not be noted from where somebody logged in'),
      now,
    })
    host.hooks.add('familiar', 'remove_user', ({ user }) => familiar.forget(user.local))
    const sasl = saslOf(credentials, accounts, devices, config)
    const c2s: C2SHost = {
      host,
      credentials,
      devices,
      entering: new Map(),
      familiar,
      secret,
      sasl,
      settings: hostSettings(config),
    }
    return new RunningHost(c2s, accounts, around)
  }

  private constructor(c2s: C2SHost, accounts: AccountChain, around: HostSurroundings) {
    this.c2s = c2s
    this.accounts = accounts
    this.#around = around
  }

  get host(): Host {
    return this.c2s.host
  }

  /** Those that run, in the order of {@link rank}. */
  get modules(): readonly RunningModule[] {
    return [...this.#modules.values()]
  }

  /** From now on modules count in this order, whenever each was started. */
  rank(names: readonly string[]): void {
    this.host.hooks.rank(names)
    const running = [...this.#modules]
    this.#modules.clear()
    const place = (name: string): number => (names.includes(name) ? names.indexOf(name) : names.length)
    for (const [name, module] of running.sort(([a], [b]) => place(a) - place(b))) this.#modules.set(name, module)
  }

  /** Those that are to be started or stopped so that `configs` is true. */
  difference(configs: ModuleConfigs, definitions: Definitions): { stop: string[]; start: string[] } {
    const same = (name: string): boolean => {
      const running = this.#modules.get(name)
      return running?.definition === definitions.get(name) && sameValue(running?.options, configs[name])
    }
    return {
      stop: [...this.#modules.keys()].filter(name => !Object.hasOwn(configs, name) || !same(name)),
      start: Object.keys(configs).filter(name => !this.#modules.has(name) || !same(name)),
    }
  }

  /** Throws an {@link OptionError} where it does not start: then nothing is left of it. */
  async start(definition: ModuleDefinition | undefined, name: string, options: unknown): Promise<void> {
    if (definition === undefined) throw new Error(`no definition of the module ${name} was given`)
    try {
      this.#modules.set(name, await startModule(definition, options, this.host, this.#around))
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      throw new OptionError(['modules', name], `${name} did not start on ${this.host.name}: ${why}`, error)
    }
  }

  /** Never rejects: what a module leaves undone goes to the log. */
  async stop(name: string): Promise<RunningModule> {
    const running = this.#modules.get(name)!
    this.#modules.delete(name)
    await running.stop().catch((err: unknown) => {
      this.#around.log.error({ err, module: name, host: this.host.name }, 'a module did not stop')
    })
    return running
  }

  async stopAll(): Promise<void> {
    for (const name of [...this.#modules.keys()].reverse()) await this.stop(name)
  }

  /** All but the modules goes by another configuration from now on. */
  configure(config: HostConfig, methods: readonly AuthMethod[]): void {
    const { c2s, accounts } = this
    Object.assign(c2s.settings, hostSettings(config))
    c2s.devices.settings = deviceSettings(config)
    accounts.methods = methods
    c2s.credentials.iterations = config.auth.scram_iterations
    c2s.credentials.hashes = hashesOf(config)
    c2s.sasl = saslOf(c2s.credentials, accounts, c2s.devices, config)
  }
}

/** A secret that stays with the host: the salts of unknown users follow from it. */
async function hostSecret(store: Store, host: string): Promise<Buffer> {
  const table = store.table<string>(host, { name: 'secret' })
  const made = randomBytes(32).toString('hex')
  await table.putIfAbsent(['sasl'], [], made)
  return Buffer.from((await table.get(['sasl'])) ?? made, 'hex')
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
