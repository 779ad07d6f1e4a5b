/** Prosody (https://prosody.im), as Debian has it. */
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Program } from '../../../scripts/peers.ts'
import { COMPONENT, type PeerSetup, PORTS } from './peer.ts'

/** Its garbage collector as it is shipped costs several times what that of Lua itself does. */
const MEASURED = `network_backend = "epoll"
network_settings = { tcp_backlog = 4096 }
gc = { mode = "incremental", threshold = 200, speed = 400 }`

/** Writes its configuration. */
export async function prosody(setup: PeerSetup, { command, args, env }: Program): Promise<Program> {
  const { folder } = setup
  await mkdir(path.join(folder, 'data'))
  const file = path.join(folder, 'prosody.cfg.lua')
  await writeFile(file, configuration(setup))
  return { command, args: [...args, '-F', '--config', file], env }
}

function configuration({
  domain,
  ip,
  folder,
  cert,
  key,
  authorities,
  resolver,
  strict,
  managed,
  measured,
}: PeerSetup): string {
  return `
run_as_root = true
pidfile = "${folder}/prosody.pid"
data_path = "${folder}/data"
log = { { levels = { min = "${measured ? 'warn' : 'info'}" }, to = "file", filename = "${folder}/log" } }
interfaces = { "${ip}" }
local_interfaces = { "${ip}" }
c2s_ports = { ${PORTS.clients} }
s2s_ports = { ${PORTS.servers} }
s2s_direct_tls_ports = { ${PORTS.serversTls} }
component_interfaces = { "${ip}" }
component_ports = { ${PORTS.components} }
http_interfaces = { "${ip}" }
http_ports = { ${PORTS.http} }
https_ports = {}
http_default_host = "upload.${domain}"
-- libunbound does not ask servers of this machine unless told to.
unbound = {
  resolvconf = false, hoststxt = false, forward = { "${resolver.ip}@${resolver.port}" },
  options = { ["do-not-query-localhost:"] = "no", ["cache-max-ttl:"] = "1", ["cache-max-negative-ttl:"] = "1" },
}
use_ipv6 = false
${measured ? MEASURED : ''}
ssl = { certificate = "${cert}", key = "${key}", cafile = "${authorities}" }
certificates = "${folder}"
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
s2s_require_encryption = true
s2s_secure_auth = ${strict}
s2s_timeout = 60
smacks_enabled_s2s = ${managed}
authentication = "internal_plain"
storage = "internal"
allow_registration = true
modules_disabled = { "limits" }
modules_enabled = {
  "tls", "saslauth", "dialback", "s2s_auth_certs", "s2s_bidi", "smacks", "disco", "roster", "presence", "message", "iq",
  "carbons", "blocklist", "pep", "vcard4", "vcard_legacy", "private", "ping", "time", "version", "lastactivity",
  "offline", "register", "posix",
}
VirtualHost "${domain}"
Component "rooms.${domain}" "muc"
  muc_room_locking = false
Component "${COMPONENT.name}.${domain}"
  component_secret = "${COMPONENT.secret}"
Component "upload.${domain}" "http_file_share"
  http_external_url = "http://${ip}:${PORTS.http}/"
`
}
