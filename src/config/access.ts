import { BlockList, isIP } from 'node:net'
import { domainToASCII } from 'node:url'
import type { AccessLine, AclConfig, Config } from './core.ts'

/** Who asks: the parts that are known of them. */
export interface Subject {
  readonly jid?: { readonly local?: string; readonly domain: string }
  readonly ip?: string
  /** Administrators have made them one (XEP-0133 4.29): they are in the acl `admin`, whatever the configuration says. */
  readonly appointed?: boolean
}

/** `admin` is nobody until it is declared. */
export const BUILTIN_ACLS: readonly string[] = ['all', 'none', 'local', 'loopback', 'admin']

/** Rules that need no declaring; a declared one of the same name takes its place. */
const BUILTIN_RULES: { readonly [name: string]: readonly AccessLine[] } = {
  all: [{ allow: 'all', deny: undefined }],
  none: [],
  local: [{ allow: 'local', deny: undefined }],
  loopback: [{ allow: 'loopback', deny: undefined }],
  /** Administration from a client: who is in the acl `admin`. */
  configure: [{ allow: 'admin', deny: undefined }],
}
export const BUILTIN_RULE_NAMES: readonly string[] = Object.keys(BUILTIN_RULES)

/**
 * Whether the access rule allows it. The first line whose acl matches decides; none: no. Rules and acls are those of
 * `host`, which is the subject's own domain unless given; of a domain that is not served here, only the built-in ones.
 */
export function evaluateAccess(config: Config, rule: string, who: Subject, host = who.jid?.domain): boolean {
  const scope = host === undefined ? undefined : config.perHost.get(host)
  const lines = own(scope?.access_rules, rule) ?? own(BUILTIN_RULES, rule) ?? []
  for (const { allow, deny } of lines) {
    const name = allow ?? deny
    if (name !== undefined && matches(config, own(scope?.acl, name), name, who)) return allow !== undefined
  }
  return false
}

function matches(config: Config, acl: AclConfig | undefined, name: string, who: Subject): boolean {
  if (name === 'admin' && who.appointed === true) return true
  if (acl) return matchesAcl(acl, who)
  switch (name) {
    case 'all':
      return true
    case 'local':
      return who.jid?.local !== undefined && config.hosts.includes(who.jid.domain)
    case 'loopback':
      return who.ip !== undefined && inNetworks(['127.0.0.0/8', '::1'], who.ip)
    default:
      return false
  }
}

function matchesAcl(acl: AclConfig, { jid, ip }: Subject): boolean {
  // It may be written as in DNS, too (RFC 5890).
  if (jid && (acl.server.includes(jid.domain) || acl.server.includes(domainToASCII(jid.domain)))) return true
  if (jid?.local !== undefined) {
    const bare = `${jid.local}@${jid.domain}`.toLowerCase()
    if (acl.user.some(user => user.toLowerCase() === bare)) return true
  }
  return ip !== undefined && inNetworks(acl.ip, ip)
}

/** Whether the address is one of these addresses or in one of these networks; IPv4 within IPv6 counts as IPv4. */
export function inNetworks(networks: readonly string[], ip: string): boolean {
  if (networks.length === 0) return false
  const plain = ip.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '')
  const family = isIP(plain)
  if (family === 0) return false
  const list = new BlockList()
  for (const network of networks) {
    const [address, bits] = network.split('/')
    const type = isIP(address!) === 6 ? 'ipv6' : 'ipv4'
    if (bits === undefined) list.addAddress(address!, type)
    else list.addSubnet(address!, Number(bits), type)
  }
  return list.check(plain, family === 6 ? 'ipv6' : 'ipv4')
}

/** Whether a text is an address, or an address with a prefix length that fits it. */
export function isNetwork(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/')
  const family = isIP(address)
  return (
    family !== 0 &&
    more.length === 0 &&
    (bits === undefined || (/^\d+$/.test(bits) && +bits <= (family === 6 ? 128 : 32)))
  )
}

function own<T>(map: { readonly [name: string]: T } | undefined, name: string): T | undefined {
  return map && Object.hasOwn(map, name) ? map[name] : undefined
}
