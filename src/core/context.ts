import type { OptionShape, Options } from '../config/schema.ts'
import type { BlobStore } from '../storage/blob.ts'
import type { Table, TableSpec } from '../storage/store.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { Account } from './account.ts'
import { defineCommand } from './commands/command.ts'
import type { Commands } from './commands/commands.ts'
import { Domain } from './domains.ts'
import { type Handler, type HookName, type HookOptions, OBSERVE } from './hooks.ts'
import type { Host } from './host.ts'
import type { HttpRoutes } from './http.ts'
import type { Logger } from './log.ts'
import { Marks } from './marks.ts'
import type { Metrics } from './metrics.ts'
import type { ModuleContext, ModuleDefinition } from './module.ts'

/** What the server lends to every module. */
export interface Surroundings {
  commands: Commands
  /** Whether an access rule, as it stands for `host`, allows it to who has this address. */
  allowed: (rule: string, jid: Jid, host: string) => boolean
  /** The accounts that an acl names, as the configuration has it for `host`. */
  named: (acl: string, host: string) => readonly string[]
  /** Those of a module that runs on a host. */
  optionsAt: (module: string, host: string) => unknown
  metrics: Metrics
  log: Logger
  uptime: () => number
  blobs: BlobStore
  routes: HttpRoutes
}

/** A module that runs on a host. */
export interface RunningModule {
  readonly definition: ModuleDefinition
  readonly options: unknown
  /**
   * Takes away what it has registered and gives what registers it again. Done for all modules in one turn, it brings
   * everything into the order of a start (see {@link inOrder}).
   */
  withdraw(): () => void
  stop(): Promise<void>
}

/**
 * Registers all that these modules have registered anew, in their order: what depends on who came first does not depend on
 * who was restarted since.
 */
export function inOrder(modules: readonly RunningModule[]): void {
  const again = modules.toReversed().map(module => module.withdraw())
  for (const register of again.reverse()) register()
}

/** Starts a module on a host. What it has registered is undone when it stops, and at once if its start fails. */
export async function startModule(
  definition: ModuleDefinition,
  options: unknown,
  host: Host,
  around: Surroundings,
): Promise<RunningModule> {
  const marks = new Marks()
  try {
    await definition.start(createContext(definition.name, options as Options<OptionShape>, host, around, marks))
  } catch (error) {
    await marks.stop().catch(() => {}) // what went wrong first says more
    throw error
  }
  return { definition, options, withdraw: () => marks.withdraw(), stop: () => marks.stop() }
}

function createContext(
  name: string,
  options: Options<OptionShape>,
  host: Host,
  around: Surroundings,
  marks: Marks,
): ModuleContext {
  const log = around.log.child({ module: name, host: host.name })
  const hook = <N extends HookName>(hook: N, ...how: [Handler<N>] | [HookOptions, Handler<N>]): void => {
    const [settings, handler] = how.length === 1 ? [{}, how[0]] : how
    marks.add(() => host.hooks.add(name, hook, handler, settings))
  }
  const table: ModuleContext['table'] = spec => {
    marks.add(() => host.claim(spec.name, name))
    return host.store.table(host.name, spec)
  }
  const userTable = <V>(spec: TableSpec<V>): Table<V> => {
    const kept = table(spec)
    // After all handlers: some do something about what is in it. Where it fails the removal is not done.
    hook('remove_user', { order: OBSERVE + 1, failClosed: true }, ({ user }) => kept.clear([user.local]))
    return kept
  }
  const aside: ModuleContext['aside'] = async (work, failed, about) => {
    await work.catch((error: unknown) => log.error({ err: error, ...about }, failed))
  }
  const perAccount: ModuleContext['perAccount'] = async (
    slot,
    load,
    keep = ({ slots }, value) => slots.set(slot, value),
  ) => {
    const read = async (account: Account): Promise<void> => {
      if (account.slots.get(slot) !== undefined) return
      const value = await load(account)
      if (value !== undefined && account.slots.get(slot) === undefined) keep(account, value)
    }
    hook('account_load', ({ account }) => read(account))
    await Promise.all((await host.accounts.settled()).map(read))
    return read
  }
  return {
    host,
    options,
    optionsAt: host => around.optionsAt(name, host) as Options<OptionShape> | undefined,
    log,
    uptime: around.uptime,
    blobs: around.blobs,
    now: host.now,
    table,
    userTable,
    commit: ops => host.store.commit(ops),
    hook,
    iq: (scope, type, ns, payload, handler, more) => {
      marks.add(() => host.iq.add(name, scope, type, ns, payload, handler, more))
    },
    delegate: (ns, delegation) => marks.add(() => host.iq.delegate(name, ns, delegation)),
    nonza: (ns, element, handler) => marks.add(() => host.nonzas.add(ns, element, handler)),
    domain: (domain, handler) => {
      const served = new Domain(name, domain.replaceAll('@HOST@', host.name), host, handler)
      marks.add(() => {
        host.router.add(served)
        return () => host.router.remove(served)
      })
      const { name: called } = handler
      marks.add(() => host.disco.addItem({ jid: served.name, ...(called === undefined ? {} : { name: called }) }))
      return served
    },
    perAccount,
    survives: slot => marks.add(() => host.surviving.add(slot)),
    feature: (ns, ...scopes) => {
      for (const scope of scopes.length === 0 ? (['server'] as const) : scopes)
        marks.add(() => host.disco.addFeature(scope, ns))
    },
    identity: (identity, scope = 'server') => marks.add(() => host.disco.addIdentity(scope, identity)),
    form: (type, fields) => marks.add(() => host.disco.addForm(type, fields)),
    streamFeature: make => marks.add(() => host.disco.addStreamFeature(make)),
    http: (method, path, handler) =>
      marks.add(() => around.routes.add(name, method, path.replaceAll('@HOST@', host.name), handler)),
    httpOrigin: () => around.routes.origin(),
    command: command => {
      const declared = defineCommand(command)
      marks.add(() => around.commands.add(name, declared, host.name))
    },
    commands: around.commands,
    adhoc: command =>
      marks.add(() => (typeof command === 'function' ? host.adhoc.addSource(command) : host.adhoc.add(name, command))),
    allowed: (rule, jid, of = host.name) => around.allowed(rule, jid, of),
    named: acl => around.named(acl, host.name),
    provide: (service, implementation) => marks.add(() => host.services.provide(name, service, implementation)),
    use: service => host.services.use(service),
    route: stanza => void host.router.route(stanza),
    request: (to, type, payload, timeout) => host.requests.ask(host.jid, to, type, payload, timeout),
    account: user => host.account(user),
    counter: (metric, help) => around.metrics.counter(metric, help, name),
    aside,
    every: (ms, fn) => {
      if (!(ms >= 1)) throw new Error(`every ${ms} ms is no time`)
      const timer = setInterval(() => void aside((async () => fn())(), 'a periodic task failed'), ms)
      timer.unref()
      marks.onStop(() => clearInterval(timer))
    },
    onStop: fn => marks.onStop(fn),
  }
}
