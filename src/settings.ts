import { mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { AuthMethod } from './auth/chain.ts'
import type { DeviceSettings } from './auth/devices.ts'
import type { FailureLimits } from './auth/failures.ts'
import { HttpSource } from './auth/http.ts'
import { JwtSource, readJwtKeys } from './auth/jwt.ts'
import type { ListenerSettings } from './c2s/listener.ts'
import type { HostSettings } from './c2s/server.ts'
import type { ComponentListenerSettings } from './component/listener.ts'
import type { ComponentSettings } from './component/settings.ts'
import { evaluateAccess } from './config/access.ts'
import {
  addressOf,
  BUILTIN_SHAPERS,
  type ComponentConfig,
  type Config,
  type HostConfig,
  type ListenConfig,
  resolveHost,
} from './config/core.ts'
import { OptionError } from './config/diagnostics.ts'
import type { Pace } from './core/http.ts'
import type { DestinationLimits } from './core/queue/destinationqueue.ts'
import type { HttpListenerSettings } from './http/listener.ts'
import type { CertificateSource } from './net/certificates.ts'
import { selfSigned } from './net/selfsigned.ts'
import { Shaper } from './net/shaper.ts'
import type { TlsPolicy } from './net/tls.ts'
import type { S2SListenerSettings } from './s2s/listener.ts'
import type { S2SSettings } from './s2s/server.ts'
import { Jid } from './xmpp/jid.ts'

const MIB = 1024 * 1024
const HEADER_BYTES = 10_000
/** Where `max_stanza_size` is left out; of other servers twice that. */
const STANZA_BYTES = 256 * 1024

/** Where `shaper` is left out. */
const SHAPERS = { c2s: 'normal', s2s: 'fast', component: 'none', http: 'none' } as const

/** What a listener goes by, from its entry in the configuration. */
export function listenerSettings(config: Config, listen: ListenConfig): ListenerSettings {
  const stanzaBytes = listen.max_stanza_size ?? (listen.module === 's2s' ? 2 : 1) * STANZA_BYTES
  const named = listen.shaper ?? SHAPERS[listen.module]
  const shaper = config.shaper[named] ?? BUILTIN_SHAPERS[named]
  const limited = shaper !== undefined && (Number.isFinite(shaper.rate) || Number.isFinite(shaper.stanza_rate))
  return {
    port: listen.port,
    ip: addressOf(listen),
    tls: tlsOf(listen),
    proxyProtocol: listen.use_proxy_protocol,
    limits: {
      stanzaBytes,
      depth: listen.max_depth,
      attributes: listen.max_attributes,
      children: listen.max_elements,
      treeBytes: Math.max(MIB, 8 * stanzaBytes),
      headerBytes: HEADER_BYTES,
    },
    preAuthLimits: {
      stanzaBytes: Math.min(stanzaBytes, listen.pre_auth_bytes),
      depth: Math.min(listen.max_depth, 16),
      attributes: Math.min(listen.max_attributes, 32),
      children: Math.min(listen.max_elements, 250),
      treeBytes: 128 * 1024,
      headerBytes: HEADER_BYTES,
    },
    preAuthTimeout: listen.pre_auth_timeout,
    preAuthBytes: listen.pre_auth_bytes,
    keepalive: listen.keepalive_interval,
    access: ({ user, host, ip }) => evaluateAccess(config, listen.access, { jid: { local: user, domain: host }, ip }),
    shaper: limited ? shaper : undefined,
  }
}

function tlsOf({ tls, starttls, starttls_required: required, module }: ListenConfig): ListenerSettings['tls'] {
  if (tls) return 'direct'
  if (!(starttls ?? module === 'c2s')) return 'off'
  return (required ?? true) ? 'required' : 'starttls'
}

/** The ports for other servers; none where there are none. */
export function s2sListeners({ s2s, listen }: Config): ListenConfig[] {
  return s2s.enabled ? listen.filter(l => l.module === 's2s' && l.port !== 0) : []
}

/** The same for a port of other servers. */
export function s2sListenerSettings(config: Config, listen: ListenConfig): S2SListenerSettings {
  const { access, ...settings } = listenerSettings(config, listen)
  return { ...settings, tls: listen.tls ? 'direct' : 'required' }
}

/** Connections of other servers from one address: all ports count together, by the most generous. */
export function mostPeerConnections(config: Config): number {
  return Math.max(0, ...s2sListeners(config).map(l => l.max_connections_per_ip))
}

/** What is said of other servers, as the configuration has it whenever it is asked. */
export function s2sSettings(config: () => Config): S2SSettings {
  return {
    policyFor: domain => {
      const { policy, domains } = config().s2s
      const [, own] = Object.entries(domains).find(([name]) => domainOf(name) === domain) ?? []
      return own?.policy ?? policy
    },
    allows: domain => {
      const { s2s, hosts } = config()
      return s2s.enabled && evaluateAccess(config(), s2s.access, { jid: { domain } }, hosts[0])
    },
    get connectTimeout() {
      return config().s2s.connect_timeout
    },
    get idleTimeout() {
      return config().s2s.idle_timeout
    },
    outgoing: () => {
      const [listen] = s2sListeners(config())
      if (listen === undefined) throw new Error('there is no port for other servers')
      const { shaper, ...settings } = s2sListenerSettings(config(), listen)
      return { ...settings, shaper: shaper && new Shaper(shaper) }
    },
  }
}

/** `s2s.resolver`, as address and port. */
export function dnsServer(text: string): { ip: string; port: number } {
  const [, bracketed, ipv4, port = '53'] = /^(?:\[([^\]]+)\]|([\d.]+))(?::(\d+))?$/.exec(text) ?? []
  return { ip: bracketed ?? ipv4 ?? text, port: Number(port) }
}

/** The same for a port of components. */
export function componentListenerSettings(config: Config, listen: ListenConfig): ComponentListenerSettings {
  const { access, ...settings } = listenerSettings(config, listen)
  return {
    ...settings,
    hosts: new Set(Object.keys(listen.hosts).map(domainOf)),
    from: ip => evaluateAccess(config, listen.access, { ip }, config.hosts[0]),
  }
}

/** The components of all ports. */
export function componentSettings(config: Config): ComponentSettings[] {
  return config.listen.flatMap(({ hosts }, index) =>
    Object.entries(hosts).map(([name, component]) => {
      const domain = domainOf(name)
      const below = config.hosts.filter(host => domain.endsWith(`.${host}`)).sort((a, b) => b.length - a.length)[0]
      const by = below ?? config.hosts[0]!
      return {
        name: domain,
        path: ['listen', index, 'hosts', name],
        password: component.password.reveal(),
        label: component.name,
        itemsOf: component.items_of.length > 0 ? component.items_of : below === undefined ? [] : [below],
        by,
        conflict: component.conflict,
        queue: component.queue ? limitsOf(component) : undefined,
        ackTimeout: resolveHost(config, by).ack_timeout,
        allowed: ({ local, domain }) =>
          evaluateAccess(config, component.access, { jid: local === '' ? { domain } : { local, domain } }, by),
      }
    }),
  )
}

function limitsOf(component: ComponentConfig): DestinationLimits {
  return {
    messages: component.max_queue_messages,
    bytes: component.max_queue_bytes,
    senderMessages: component.max_sender_messages,
    senderBytes: component.max_sender_bytes,
    lifetime: component.queue_lifetime,
  }
}

/** A domain as the router knows it (RFC 7622 3.2). */
function domainOf(name: string): string {
  return Jid.parse(name)?.domain ?? name.toLowerCase()
}

export function failureLimits(config: Config): FailureLimits {
  return {
    perAddress: config.max_failures_per_ip,
    perAccount: config.max_failures_per_account,
    total: config.max_failures_per_account_total,
    window: config.failure_window,
  }
}

/** Connections of clients from one address: all ports count together, by the most generous. */
export function mostConnections({ listen }: Config): number {
  return Math.max(...listen.filter(l => l.module === 'c2s').map(l => l.max_connections_per_ip))
}

const HTTP_IDLE = 60_000
const HTTP_CONNECTIONS = 10_000
const HTTP_DOWNLOADS = 1000
const DOWNLOAD_PACE: Pace = { rate: 1024, grace: 120_000 }

/** The same for a port that speaks HTTP. */
export function httpSettings(config: Config, listen: ListenConfig): HttpListenerSettings {
  return {
    port: listen.port,
    ip: addressOf(listen),
    tls: listen.tls ? 'direct' : 'off',
    proxyProtocol: false,
    preAuthTimeout: listen.pre_auth_timeout,
    maxConnectionsPerIp: listen.max_connections_per_ip,
    operations:
      listen.metrics === 'none' ? undefined : ip => evaluateAccess(config, listen.metrics, { ip }, config.hosts[0]),
    idleTimeout: HTTP_IDLE,
    maxConnections: HTTP_CONNECTIONS,
    maxDownloads: HTTP_DOWNLOADS,
    downloadPace: DOWNLOAD_PACE,
  }
}

export function deviceSettings({ auth }: HostConfig): DeviceSettings {
  return { maxDevices: auth.max_devices, tokenLifetime: auth.token_lifetime, tokenRefreshAge: auth.token_refresh_age }
}

export function hostSettings(config: HostConfig): HostSettings {
  return {
    plainWithoutTls: config.auth.plain_without_tls,
    uniqueOnTls13: config.auth.tls_unique_on_tls13,
    maxUserSessions: config.max_user_sessions,
    resourceConflict: config.resource_conflict,
    maxAckQueue: config.max_ack_queue,
    resumeTimeout: config.resume_timeout,
    ackTimeout: config.ack_timeout,
  }
}

export function hashesOf(config: HostConfig): ('SHA-1' | 'SHA-256' | 'SHA-512')[] {
  const hashes = (['SHA-512', 'SHA-256', 'SHA-1'] as const).filter(h => config.auth.mechanisms.includes(`SCRAM-${h}`))
  return hashes.length > 0 ? hashes : ['SHA-256']
}

/**
 * Where the passwords of each host are looked up, in order.
 *
 * @throws OptionError
 */
export async function methodsOf(
  config: Config,
  now: (() => number) | undefined,
): Promise<ReadonlyMap<string, AuthMethod[]>> {
  const methods = new Map<string, AuthMethod[]>()
  for (const name of config.hosts) {
    const host = resolveHost(config, name)
    const list: AuthMethod[] = []
    for (const method of new Set(host.auth_method)) list.push(await authMethod(method, host, now))
    methods.set(name, list)
  }
  return methods
}

async function authMethod(method: string, config: HostConfig, now: (() => number) | undefined): Promise<AuthMethod> {
  const { host: domain, jwt_key: file, jwt_jid_field: claim, auth_http: http } = config
  if (method === 'jwt') {
    if (file === undefined) {
      throw new OptionError(['auth_method'], `jwt_key: auth_method jwt of ${domain} needs the file with the key`)
    }
    try {
      return new JwtSource({ keys: readJwtKeys(await readFile(file, 'utf8')), claim, domain, now })
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      throw new OptionError(['jwt_key'], `jwt_key: ${file} cannot be used: ${why}`, error)
    }
  }
  if (method === 'http') {
    const { url, timeout, max_requests: maxRequests } = http
    if (url === undefined) {
      throw new OptionError(['auth_method'], `auth_http.url: auth_method http of ${domain} needs the address to ask`)
    }
    return new HttpSource({ url, domain, basicAuth: http.basic_auth?.reveal(), timeout, maxRequests })
  }
  return 'internal'
}

export function tlsSettings(config: Config): TlsPolicy {
  return { minVersion: config.tls_min_version, ciphers: config.tls_ciphers }
}

/** The certificates that the configuration names, of all hosts, each once. */
export function configuredCertificates(config: Config): CertificateSource[] {
  const named = [...config.perHost.values()].flatMap(host => host.certfiles)
  return [...new Map(named.map(({ cert, key }) => [`${cert}\n${key ?? cert}`, { cert, key: key ?? cert }])).values()]
}

/** The configured certificates of all hosts; where there are none, a self-signed one in the data folder, made if absent. */
export async function certificatesOf(config: Config): Promise<CertificateSource[]> {
  const configured = configuredCertificates(config)
  if (configured.length > 0) return configured
  if (config.storage.driver === 'memory') {
    const { cert, key } = await selfSigned(config.hosts)
    return [{ cert, key }]
  }
  return [await selfSignedFiles(config)]
}

async function selfSignedFiles(config: Config): Promise<CertificateSource> {
  const cert = path.join(config.data, 'selfsigned.crt')
  const key = path.join(config.data, 'selfsigned.key')
  const there = await readFile(key).catch(() => undefined)
  if (there === undefined) {
    const made = await selfSigned(config.hosts)
    await mkdir(config.data, { recursive: true, mode: 0o700 })
    await writeFile(cert, made.cert)
    await writeFile(key, made.key, { mode: 0o600 })
  }
  return { cert, key }
}
