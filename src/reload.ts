import type { AuthMethod } from './auth/chain.ts'
import { C2SListener } from './c2s/listener.ts'
import type { C2SHost, C2SServer } from './c2s/server.ts'
import type { Components } from './component/components.ts'
import { ComponentListener } from './component/listener.ts'
import type { ComponentServer } from './component/server.ts'
import { addressOf, type Config, type ListenConfig, type ModuleConfigs, resolveHost } from './config/core.ts'
import { blaming } from './config/diagnostics.ts'
import { sameValue } from './config/same.ts'
import { inOrder } from './core/context.ts'
import { type Logger, setLogFormat, setLogLevel } from './core/log.ts'
import type { Federating } from './federating.ts'
import type { HttpListener } from './http/listener.ts'
import type { ConnectionCounter } from './net/connections.ts'
import { type Definitions, type HostSurroundings, RunningHost } from './runninghost.ts'
import { S2SListener } from './s2s/listener.ts'
import {
  certificatesOf,
  componentListenerSettings,
  componentSettings,
  failureLimits,
  httpSettings,
  listenerSettings,
  methodsOf,
  mostConnections,
  s2sListenerSettings,
  s2sListeners,
  tlsSettings,
} from './settings.ts'
import { StreamError } from './xmpp/errors.ts'

/** A change that was prepared, and may be made or not. */
export interface Prepared {
  /** Makes it. Cannot fail. */
  apply(): void
  /** Takes back what its preparation has done. */
  undo(): void | Promise<void>
}

/** What a reload works on: the parts of a running server. */
export interface ServerParts {
  readonly log: Logger
  readonly c2s: C2SServer
  readonly c2sHosts: Map<string, C2SHost>
  readonly hosts: Map<string, RunningHost>
  readonly listeners: readonly C2SListener[]
  readonly componentServer: ComponentServer
  readonly components: Components
  readonly componentListeners: readonly ComponentListener[]
  readonly federating: Federating
  readonly http: readonly HttpListener[]
  /** Connections of clients by address. */
  readonly counter: ConnectionCounter
  readonly around: HostSurroundings
  readonly now: (() => number) | undefined
  /** What lies outside of the server and follows the configuration too. */
  readonly outside: ((config: Config) => Promise<Prepared>) | undefined
  /** What runs: of options that are read at a start only, what they were then. */
  config: Config
  definitions: Definitions
}

/** Options that are read at a start and never again. */
const AT_START = ['data', 'storage', 'blobs'] as const satisfies (keyof Config)[]

/** The longest that clients are held while modules change places (ms): one that does not start must not stop everybody. */
const LONGEST_HOLD = 10_000

type Undo = () => unknown

/**
 * Goes over to another configuration without dropping sessions, wholly or not at all: what may fail comes first, and is taken
 * back where something does. Resolves with the options that differ from what runs and need a restart; rejects with what is
 * wrong, and then everything is as it was.
 */
export async function reload(server: ServerParts, wanted: Config, definitions: Definitions): Promise<string[]> {
  const { pairs, complete } = listening(server, wanted)
  const left = [...needsRestart(server.config, wanted), ...(complete ? [] : ['listen (ports)'])]
  // What waits for a restart is as it runs, for whoever asks.
  const config = { ...wanted }
  for (const name of AT_START) Object.assign(config, { [name]: server.config[name] })
  const before = server.config
  const undo: Undo[] = []
  let release = (): void => {}
  try {
    const apply = await prepare(server, config, definitions, undo)
    const changes = changesOf(server, config, definitions)
    if (changes.length > 0) release = hold([...server.hosts.values()])
    await changeModules(server, changes, definitions, undo)
    const components = await server.components.prepare(componentSettings(config))
    undo.push(() => components.undo())
    // From here on nothing can fail, and nobody sees a part of it: it is one turn.
    apply()
    components.apply()
    for (const { listener, listen } of pairs) {
      const { port } = listener.settings // it stays
      if (listener instanceof ComponentListener) {
        listener.update({ ...componentListenerSettings(config, listen), port })
      } else if (listener instanceof S2SListener) {
        listener.update({ ...s2sListenerSettings(config, listen), port })
      } else if (listener instanceof C2SListener) listener.update({ ...listenerSettings(config, listen), port })
      else listener.update({ ...httpSettings(config, listen), port })
    }
  } catch (error) {
    for (const step of undo.reverse()) await step()
    arrange(server)
    throw error
  } finally {
    release()
  }
  await removeHosts(server)
  server.federating.changed(before)
  return left
}

/** All that may fail but for the modules of the hosts there are. It resolves with what makes the change. */
async function prepare(
  server: ServerParts,
  config: Config,
  definitions: Definitions,
  undo: Undo[],
): Promise<() => void> {
  const { c2s, log, counter } = server
  const methods = await methodsOf(config, server.now)
  const useTls = await blaming(['certfiles'], async () =>
    c2s.tls.prepare(await certificatesOf(config), tlsSettings(config)),
  )
  const federate = await server.federating.prepare(config)
  const outside = await server.outside?.(config)
  if (outside !== undefined) undo.push(() => outside.undo())
  const { config: configBefore, definitions: definitionsBefore } = server
  undo.push(() => Object.assign(server, { config: configBefore, definitions: definitionsBefore }))
  Object.assign(server, { config, definitions }) // modules ask for access rules while they start
  const added: RunningHost[] = []
  for (const name of config.hosts.filter(name => !server.hosts.has(name))) {
    const host = await addHost(server, name, methods.get(name)!, undo)
    await host.host.finishRemovals()
    added.push(host)
  }
  return () => {
    useTls()
    federate()
    outside?.apply()
    setLogFormat(log, config.log_format)
    setLogLevel(log, config.loglevel)
    c2s.failures.limits = failureLimits(config)
    server.componentServer.failures.limits = failureLimits(config)
    c2s.prelogin.limit = config.pre_auth_memory
    counter.limit = mostConnections(config)
    for (const host of added) server.hosts.set(host.host.name, host)
    for (const name of config.hosts) {
      server.hosts.get(name)!.configure(resolveHost(config, name), methods.get(name)!)
      if (!c2s.tls.covers(name)) warnUncovered(log, name)
    }
    arrange(server)
  }
}

/** A host whose modules run and that stanzas reach, but no clients before it is among `server.hosts` and {@link arrange}d. */
export async function addHost(
  server: ServerParts,
  name: string,
  methods: readonly AuthMethod[],
  undo: Undo[] = [],
): Promise<RunningHost> {
  const config = resolveHost(server.config, name)
  const { router } = server.around
  const host = await RunningHost.create(config, methods, server.around)
  undo.push(() => host.stopAll())
  host.rank(Object.keys(config.modules))
  for (const [module, options] of Object.entries(config.modules)) {
    await host.start(server.definitions.get(module), module, options)
  }
  router.addHost(host.host)
  undo.push(() => router.removeHost(host.host))
  return host
}

export function warnUncovered(log: Logger, host: string): void {
  log.warn({ host }, 'no certificate is for this host: its clients will refuse to connect. Add one to certfiles')
}

interface Change {
  host: RunningHost
  wanted: ModuleConfigs
  stop: readonly string[]
  start: readonly string[]
}

/** What modules are to be stopped and started on the hosts that stay. */
function changesOf(server: ServerParts, config: Config, definitions: Definitions): Change[] {
  return [...server.hosts.values()].flatMap(host => {
    const wanted = config.perHost.get(host.host.name)?.modules
    if (wanted === undefined) return []
    const { stop, start } = host.difference(wanted, definitions)
    return stop.length + start.length === 0 ? [] : [{ host, wanted, stop, start }]
  })
}

/**
 * A module stops before its successor starts: what it holds back for the disk is then there for the other to read. Where one
 * does not start, the others are started again as they were.
 */
async function changeModules(
  server: ServerParts,
  changes: readonly Change[],
  definitions: Definitions,
  undo: Undo[],
): Promise<void> {
  for (const { host, wanted, stop, start } of changes) {
    for (const name of stop.toReversed()) {
      const { definition, options } = await host.stop(name)
      undo.push(() =>
        host.start(definition, name, options).catch((err: unknown) => {
          server.log.error({ err, host: host.host.name }, 'a module that was stopped for a reload is gone')
        }),
      )
    }
    for (const name of start) {
      await host.start(definitions.get(name), name, wanted[name])
      undo.push(() => host.stop(name))
    }
  }
}

/** Clients' stanzas wait: in between, a block list is not asked and an archive misses what comes. Ended by what it returns. */
function hold(hosts: readonly RunningHost[]): () => void {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, LONGEST_HOLD)
  for (const { host } of hosts) host.hooks.hold('user_send_packet', promise)
  return () => {
    clearTimeout(timer)
    resolve()
  }
}

/** Hosts and modules in the order of the configuration, as after a start with it. In one turn. */
export function arrange(server: ServerParts): void {
  const { hosts, c2sHosts, config, around } = server
  const names = [...config.hosts, ...[...hosts.keys()].filter(name => !config.hosts.includes(name))]
  const ordered = names.flatMap(name => hosts.get(name) ?? [])
  hosts.clear()
  c2sHosts.clear()
  for (const host of ordered) around.router.removeHost(host.host)
  for (const host of ordered) {
    const { name } = host.host
    around.router.addHost(host.host)
    hosts.set(name, host)
    c2sHosts.set(name, host.c2s)
    const modules = config.perHost.get(name)?.modules
    if (modules !== undefined) host.rank(Object.keys(modules))
  }
  inOrder(ordered.flatMap(host => host.modules))
}

/** Hosts that are no longer configured. */
async function removeHosts({ hosts, c2sHosts, config, around }: ServerParts): Promise<void> {
  const gone = [...hosts].filter(([name]) => !config.hosts.includes(name))
  for (const [name, { host }] of gone) {
    hosts.delete(name)
    c2sHosts.delete(name)
    around.router.removeHost(host)
    for (const session of [...host.sessions()]) session.end(new StreamError('host-gone'))
  }
  for (const [, host] of gone) await host.stopAll()
}

type Listener = C2SListener | S2SListener | ComponentListener | HttpListener

function moduleOf(listener: Listener): ListenConfig['module'] {
  if (listener instanceof C2SListener) return 'c2s'
  if (listener instanceof S2SListener) return 's2s'
  return listener instanceof ComponentListener ? 'component' : 'http'
}

/** The listeners with their entries in another configuration; `complete`: none is left over on either side. */
function listening(
  { listeners, federating, componentListeners, http }: ServerParts,
  wanted: Config,
): { pairs: { listener: Listener; listen: ListenConfig }[]; complete: boolean } {
  const free = [...wanted.listen.filter(l => l.module !== 's2s'), ...s2sListeners(wanted)]
  const there: Listener[] = [...listeners, ...federating.listeners, ...componentListeners, ...http]
  const pairs = there.flatMap(listener => {
    const module = moduleOf(listener)
    const { ip, port } = listener.settings
    const at = free.findIndex(
      l => l.module === module && addressOf(l) === ip && (l.port === port || l.port === listener.port),
    )
    return at < 0 ? [] : [{ listener, listen: free.splice(at, 1)[0]! }]
  })
  return { pairs, complete: free.length === 0 && pairs.length === there.length }
}

/** The options that are read at a start only, and differ from what runs; of groups, those within. */
function needsRestart(running: Config, wanted: Config): string[] {
  return AT_START.flatMap(name => {
    const [is, was] = [wanted[name], running[name]]
    if (sameValue(is, was)) return []
    if (typeof is !== 'object' || typeof was !== 'object') return [name]
    const inner = { ...was, ...is } as Record<string, unknown>
    const values = [is, was] as unknown as [Record<string, unknown>, Record<string, unknown>]
    return Object.keys(inner).flatMap(key => (sameValue(values[0][key], values[1][key]) ? [] : [`${name}.${key}`]))
  })
}
