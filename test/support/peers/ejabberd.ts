/** ejabberd (https://www.ejabberd.im), as Debian has it: an Erlang node without distribution, so that several run side by side. */
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Program } from '../../../scripts/peers.ts'
import { COMPONENT, type PeerSetup, PORTS } from './peer.ts'

/** One scheduler of each kind, and none that waits busily: that would be charged as work. */
const ONE_CORE = '+S 1:1 +SDcpu 1:1 +SDio 1 +sbwt none +sbwtdcpu none +sbwtdio none'.split(' ')

/** Writes its configuration. */
export async function ejabberd(setup: PeerSetup, { command, args, env }: Program): Promise<Program> {
  const { folder, resolver } = setup
  await mkdir(path.join(folder, 'data'))
  const file = path.join(folder, 'ejabberd.yml')
  await writeFile(file, configuration(setup))
  const inetrc = path.join(folder, 'inetrc')
  await writeFile(inetrc, names(resolver))
  return {
    command,
    args: [
      ...args,
      '-noinput',
      ...(setup.measured ? ONE_CORE : ['+sbwt', 'none']),
      '-mnesia',
      'dir',
      `"${folder}/data"`,
      '-s',
      'ejabberd',
    ],
    env: {
      ...env,
      HOME: folder,
      ERL_INETRC: inetrc,
      NSS_WRAPPER_HOSTS: setup.hosts,
      ERL_CRASH_DUMP: path.join(folder, 'crash'),
      EJABBERD_CONFIG_PATH: file,
      EJABBERD_LOG_PATH: path.join(folder, 'log'),
    },
  }
}

/** Erlang's own resolver, which finds SRV records, and keeps nothing. Addresses are found by the C library, from `hosts`. */
function names({ ip, port }: PeerSetup['resolver']): string {
  return `{lookup, [dns]}.
{resolv_conf, ""}.
{hosts_file, ""}.
{nameserver, {${ip.replaceAll('.', ',')}}, ${port}}.
{cache_size, 0}.
`
}

function configuration({ domain, ip, folder, cert, key, authorities, strict, measured }: PeerSetup): string {
  return `
hosts: ["${domain}"]
loglevel: ${measured ? 'warning' : 'info'}
certfiles: ["${cert}", "${key}"]
ca_file: "${authorities}"
s2s_use_starttls: required
s2s_max_retry_delay: 1
s2s_timeout: ${measured ? 'infinity' : 10}
s2s_dns_timeout: 2
negotiation_timeout: 10
registration_timeout: infinity
auth_method: internal
disable_sasl_mechanisms: []
listen:
  - { port: ${PORTS.clients}, ip: "${ip}", module: ejabberd_c2s, starttls: true, shaper: none, access: all }
  - { port: ${PORTS.servers}, ip: "${ip}", module: ejabberd_s2s_in, shaper: none }
  - { port: ${PORTS.serversTls}, ip: "${ip}", module: ejabberd_s2s_in, tls: true, shaper: none }
  - port: ${PORTS.components}
    ip: "${ip}"
    module: ejabberd_service
    shaper_rule: none
    hosts: { "${COMPONENT.name}.${domain}": { password: "${COMPONENT.secret}" } }
  - { port: ${PORTS.http}, ip: "${ip}", module: ejabberd_http, request_handlers: { /upload: mod_http_upload } }
access_rules:
  everyone: [allow]
shaper_rules:
  max_user_offline_messages: infinity
modules:
  mod_blocking: {}
  mod_caps: {}
  mod_carboncopy: {}
  mod_disco: {}
  mod_http_upload:
    host: "upload.${domain}"
    put_url: "http://${ip}:${PORTS.http}/upload"
    docroot: "${folder}/upload"
    access: all
  mod_last: {}
  mod_muc: { host: "rooms.${domain}" }
  mod_offline: { access_max_user_messages: max_user_offline_messages }
  mod_ping: {}
  mod_privacy: {}
  mod_pubsub: { plugins: [flat, pep] }
  mod_register: { ip_access: all, access: everyone, access_from: all, password_strength: 0 }
  mod_roster: {}
${strict ? '' : '  mod_s2s_dialback: {}'}
  mod_stream_mgmt: {}
  mod_time: {}
  mod_vcard: { search: false }
  mod_version: {}
`
}
