import { isIPv4, isIPv6, SocketAddress } from 'node:net'

/**
 * An address in the one form it is compared, counted and logged in: IPv4 as it is (also where a dual-stack socket calls it
 * `::ffff:192.0.2.1`), IPv6 as RFC 5952 writes it, without a zone. What is no address comes back as `unknown`.
 */
export function plainAddress(ip: string | undefined): string {
  if (ip === undefined) return 'unknown'
  if (isIPv4(ip)) return ip
  // How a dual-stack socket writes IPv4; other spellings of it take the long way.
  if (ip.startsWith('::ffff:') && isIPv4(ip.slice(7))) return ip.slice(7)
  if (!isIPv6(ip)) return 'unknown'
  const zone = ip.indexOf('%')
  const plain = new SocketAddress({ family: 'ipv6', address: zone < 0 ? ip : ip.slice(0, zone) }).address
  return plain.startsWith('::ffff:') && plain.includes('.') ? plain.slice(7) : plain
}

/** Address and port as one writes them: IPv6 in brackets. */
export function endpoint({ ip, port }: { readonly ip: string; readonly port: number }): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`
}

/** The eight 16-bit groups of an IPv6 address without a zone (RFC 4291 2.2); the caller has checked that it is one. */
export function ipv6Groups(ip: string): number[] {
  const [head = '', tail] = ip.split('::')
  const front = groups(head)
  if (tail === undefined) return front
  const back = groups(tail)
  return [...front, ...new Array<number>(8 - front.length - back.length).fill(0), ...back]
}

function groups(part: string): number[] {
  const result: number[] = []
  if (part === '') return result
  for (const group of part.split(':')) {
    if (group.includes('.')) {
      const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number)
      result.push(a * 256 + b, c * 256 + d)
    } else {
      result.push(Number.parseInt(group, 16))
    }
  }
  return result
}

/** Whom an address belongs to, as far as limits go: an IPv4 address, or an IPv6 /64, which is what one customer has. */
export function networkOf(ip: string | undefined): string {
  const plain = plainAddress(ip)
  if (!plain.includes(':')) return plain
  const [a = 0, b = 0, c = 0, d = 0] = ipv6Groups(plain)
  return `${a.toString(16)}:${b.toString(16)}:${c.toString(16)}:${d.toString(16)}::/64`
}
