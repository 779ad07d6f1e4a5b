import type { OptionShape, Options } from '../config/schema.ts'
import type { BlobStore } from '../storage/blob.ts'
import type { Jid } from '../xmpp/jid.ts'
import { type Commands, defineCommand } from './commands.ts'
import { Domain } from './domains.ts'
import type { Host } from './host.ts'
import type { HttpRoutes } from './http.ts'
import type { Logger } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { ModuleContext, ModuleDefinition } from './module.ts'

declare module './services.ts' {
  interface ServiceMap {
    /** Whom administrators have made administrators of this host, beyond the configuration (XEP-0133 4.29). */
    admins: { has(account: Jid): boolean; appoint(user: string): Promise<void> }
  }
}

/** What the server lends to every module. */
export interface Surroundings {
  commands: Commands
  /** Whether an access rule, as it stands for `host`, allows it to who has this address. */
  allowed: (rule: string, jid: Jid, host: string) => boolean
  /** The accounts that an acl names, as the configuration has it for `host`. */
  named: (acl: string, host: string) => readonly string[]
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
  stop(): Promise<void>
}

/** Starts a module on a host. What it has registered is undone when it stops, and at once if its start fails. */
export async function startModule(
  definition: ModuleDefinition,
  options: unknown,
  host: Host,
  around: Surroundings,
): Promise<RunningModule> {
  const undo: (() => unknown)[] = []
  const stop = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step()
  }
  try {
    await definition.start(createContext(definition.name, options as Options<OptionShape>, host, around, undo))
  } catch (error) {
    await stop()
    throw error
  }
  return { definition, options, stop }
}

function createContext(
  name: string,
  options: Options<OptionShape>,
  host: Host,
  around: Surroundings,
  undo: (() => unknown)[],
): ModuleContext {
  const log = around.log.child({ module: name, host: host.name })
  return {
    host,
    options,
    log,
    uptime: around.uptime,
    blobs: around.blobs,
    now: host.now,
    table: spec => host.store.table(host.name, spec),
    hook: (hook, handler, settings) => undo.push(host.hooks.add(name, hook, handler, settings)),
    iq: (scope, type, ns, payload, handler, more) => {
      undo.push(host.iq.add(name, scope, type, ns, payload, handler, more))
    },
    nonza: (ns, element, handler) => undo.push(host.nonzas.add(ns, element, handler)),
    domain: (domain, handler) => {
      const served = new Domain(name, domain.replaceAll('@HOST@', host.name), host, handler)
      host.router.addDomain(served)
      undo.push(() => host.router.removeDomain(served))
      const { name: called } = handler
      undo.push(host.disco.addItem({ jid: served.name, ...(called === undefined ? {} : { name: called }) }))
      return served
    },
    feature: (ns, ...scopes) => {
      for (const scope of scopes.length === 0 ? (['server'] as const) : scopes)
        undo.push(host.disco.addFeature(scope, ns))
    },
    identity: (identity, scope = 'server') => undo.push(host.disco.addIdentity(scope, identity)),
    streamFeature: make => undo.push(host.disco.addStreamFeature(make)),
    http: (method, path, handler) =>
      undo.push(around.routes.add(name, method, path.replaceAll('@HOST@', host.name), handler)),
    httpOrigin: () => around.routes.origin(),
    command: command => undo.push(around.commands.add(name, defineCommand(command))),
    commands: around.commands,
    adhoc: command =>
      undo.push(typeof command === 'function' ? host.adhoc.addSource(command) : host.adhoc.add(name, command)),
    allowed: (rule, jid, of = host.name) => around.allowed(rule, jid, of),
    named: acl => around.named(acl, host.name),
    provide: (service, implementation) => undo.push(host.services.provide(name, service, implementation)),
    use: service => host.services.use(service),
    route: stanza => void host.router.route(stanza),
    request: (to, type, payload, timeout) => host.request(to, type, payload, timeout),
    account: user => host.account(user),
    counter: (metric, help) => around.metrics.counter(metric, help),
    every: (ms, fn) => {
      const timer = setInterval(() => {
        const failed = (error: unknown) => log.error({ err: error }, 'a periodic task failed')
        try {
          const done = fn()
          if (done instanceof Promise) done.catch(failed)
        } catch (error) {
          failed(error)
        }
      }, ms)
      timer.unref()
      undo.push(() => clearInterval(timer))
    },
    onStop: fn => undo.push(fn),
  }
}
