import { mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { CertificateSource } from './c2s/certificates.ts'
import type { ListenerSettings } from './c2s/listener.ts'
import { selfSigned } from './c2s/selfsigned.ts'
import { evaluateAccess } from './config/access.ts'
import { BUILTIN_SHAPERS, type Config, type ListenConfig } from './config/core.ts'

/** What a listener goes by, from its entry in the configuration. */
export function listenerSettings(config: Config, listen: ListenConfig): ListenerSettings {
  const shaper = config.shaper[listen.shaper] ?? BUILTIN_SHAPERS[listen.shaper]
  const limited = shaper !== undefined && (Number.isFinite(shaper.rate) || Number.isFinite(shaper.stanza_rate))
  return {
    port: listen.port,
    ip: listen.ip,
    tls: listen.tls ? 'direct' : !listen.starttls ? 'off' : listen.starttls_required ? 'required' : 'starttls',
    proxyProtocol: listen.use_proxy_protocol,
    limits: {
      stanzaBytes: listen.max_stanza_size,
      depth: listen.max_depth,
      attributes: listen.max_attributes,
      headerBytes: 10_000,
    },
    preAuthTimeout: listen.pre_auth_timeout,
    preAuthBytes: listen.pre_auth_bytes,
    keepalive: listen.keepalive_interval,
    access: ({ user, host, ip }) => evaluateAccess(config, listen.access, { jid: { local: user, domain: host }, ip }),
    shaper: limited ? shaper : undefined,
  }
}

/** The configured certificates of all hosts; where there are none, a self-signed one in the data folder, made if absent. */
export async function certificatesOf(config: Config): Promise<CertificateSource[]> {
  const configured = [...config.perHost.values()].flatMap(host => host.certfiles)
  const unique = new Map(configured.map(({ cert, key }) => [`${cert}\n${key ?? cert}`, { cert, key: key ?? cert }]))
  if (unique.size > 0) return [...unique.values()]
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
