import { BlockList, isIPv4 } from 'node:net'
import { networkInterfaces } from 'node:os'
import { ipv6Groups, plainAddress } from '../util/address.ts'

/** What IANA's registry of special addresses does not call globally reachable (RFC 6890), and multicast. */
const V4 = list('ipv4', [
  ['0.0.0.0', 8], // this network
  ['10.0.0.0', 8], // private
  ['100.64.0.0', 10], // carrier-grade NAT
  ['127.0.0.0', 8], // loopback
  ['169.254.0.0', 16], // link-local, where clouds keep their metadata
  ['172.16.0.0', 12], // private
  ['192.0.0.0', 24], // protocols
  ['192.0.2.0', 24], // documentation
  ['192.88.99.0', 24], // relays of 6to4
  ['192.168.0.0', 16], // private
  ['198.18.0.0', 15], // measurements
  ['198.51.100.0', 24], // documentation
  ['203.0.113.0', 24], // documentation
  ['224.0.0.0', 4], // multicast
  ['240.0.0.0', 4], // reserved, broadcast
])

/** Global unicast; all else of IPv6 is loopback, link-local, unique local, site-local, multicast or not given out. */
const V6 = list('ipv6', [['2000::', 3]])
const V6_SPECIAL = list('ipv6', [
  ['2001::', 23], // protocols, tunnels (Teredo)
  ['2001:db8::', 32], // documentation
  ['2002::', 16], // 6to4: any IPv4 address
  ['3fff::', 20], // documentation
])
/** IPv4 behind a translator (RFC 6052): as good as the address within. */
const NAT64 = list('ipv6', [['64:ff9b::', 96]])

function list(family: 'ipv4' | 'ipv6', networks: readonly (readonly [string, number])[]): BlockList {
  const found = new BlockList()
  for (const [network, bits] of networks) found.addSubnet(network, bits, family)
  return found
}

/** Whether an address is one of the public Internet, rather than of a network that only we can reach. */
export function isPublic(ip: string): boolean {
  const plain = plainAddress(ip)
  if (plain === 'unknown') return false
  if (isIPv4(plain)) return !V4.check(plain, 'ipv4')
  if (!NAT64.check(plain, 'ipv6')) return V6.check(plain, 'ipv6') && !V6_SPECIAL.check(plain, 'ipv6')
  const [high = 0, low = 0] = ipv6Groups(plain).slice(6)
  return isPublic(`${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`)
}

/**
 * Whether a connection to there would come to one of our own listeners: it would talk to itself.
 *
 * @param listeners where they listen, all addresses (`::`, `0.0.0.0`) among them
 */
export function isOwn(
  ip: string,
  port: number,
  listeners: Iterable<{ readonly ip: string; readonly port: number }>,
): boolean {
  const plain = plainAddress(ip)
  for (const listener of listeners) {
    if (listener.port !== port) continue
    if (plainAddress(listener.ip) === plain) return true
    const any = listener.ip === '::' || (listener.ip === '0.0.0.0' && isIPv4(plain))
    if (any && isOfThisMachine(plain)) return true
  }
  return false
}

function isOfThisMachine(ip: string): boolean {
  if (ip === '::' || ip === '0.0.0.0' || ip.startsWith('127.')) return true
  return Object.values(networkInterfaces()).some(found => found?.some(({ address }) => plainAddress(address) === ip))
}
