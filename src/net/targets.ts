import { randomInt } from 'node:crypto'
import { isIP } from 'node:net'
import { plainAddress } from '../util/address.ts'
import type { Srv } from './dns/message.ts'
import { asciiName, specialName } from './dns/names.ts'
import { DnsError, type Resolver } from './dns/resolver.ts'

/**
 * There is nobody to talk to. The message is for the operator: which names were asked for, what was tried, why it failed.
 * `remote-server-not-found`: there is none, and asking again is of little use. `remote-server-timeout`: perhaps later.
 */
export class DialError extends Error {
  override name = 'DialError'
  readonly condition: 'remote-server-not-found' | 'remote-server-timeout'

  constructor(condition: DialError['condition'], message: string) {
    super(message)
    this.condition = condition
  }
}

/** Where the server of a domain may be. */
export interface Target {
  /** A name as `asciiName` writes it, or an IP address. */
  readonly host: string
  readonly port: number
  /** TLS is to be spoken from the first byte (XEP-0368). */
  readonly direct: boolean
}

/** RFC 6120 14.7. */
const PORT = 5269
/** Most places that are tried for one domain: whoever writes the zone does not say how long we are busy. */
const MAX_TARGETS = 8

export interface Targets {
  /** In the order in which they are to be tried. */
  readonly targets: readonly Target[]
  /** Its SRV records name them. */
  readonly srv: boolean
  /** What DNS was asked and did not tell, in words: there may be others, or none. */
  readonly unknown: readonly string[]
}

/** A host and a port, as somebody else has named them. */
export interface Place {
  /** A name, or an IP address (IPv6 in brackets). */
  readonly host: string
  readonly port: number
}

/** The one place. Throws a DialError where it is none. */
export function oneTarget({ host, port }: Place): Targets {
  const literal = host.startsWith('[') ? host.slice(1, -1) : host
  const name = isIP(literal) ? plainAddress(literal) : asciiName(host)
  if (name === undefined || specialName(name) === 'nowhere') {
    throw new DialError('remote-server-not-found', `${host} is no name that DNS can have`)
  }
  return { targets: [{ host: name, port, direct: false }], srv: false, unknown: [] }
}

/**
 * Where the server of a domain is to be looked for (RFC 6120 3.2, XEP-0368 3). Rejects with a DialError.
 *
 * @param domain a domainpart: a name in any form, or an IP address (IPv6 in brackets)
 */
export async function findTargets(resolver: Resolver, domain: string): Promise<Targets> {
  const literal = domain.startsWith('[') ? domain.slice(1, -1) : domain
  if (isIP(literal)) return alone(plainAddress(literal))
  const name = asciiName(domain)
  if (name === undefined) throw new DialError('remote-server-not-found', `${domain} is no name that DNS can have`)
  if (specialName(name) === 'nowhere') {
    const end = name.slice(name.lastIndexOf('.') + 1)
    throw new DialError('remote-server-not-found', `${domain}: there are no servers below .${end}`)
  }
  const starttls = asciiName(`_xmpp-server._tcp.${name}`)
  const direct = asciiName(`_xmpps-server._tcp.${name}`)
  // Longer than a name may be with the service before it.
  if (starttls === undefined || direct === undefined) return alone(name)
  const unknown: string[] = []
  const [one, other] = await Promise.all([srv(resolver, starttls, unknown), srv(resolver, direct, unknown)])
  const records = [
    ...one.map(record => ({ ...record, direct: false })),
    ...other.map(record => ({ ...record, direct: true })),
  ]
  // Only where there is no record of either kind (RFC 6120 3.2.2), or DNS does not tell: who does not answer for SRV may well
  // do so for addresses.
  if (records.length === 0) return alone(name, unknown)
  const offered = records.filter(({ target, port }) => target !== '.' && port !== 0)
  if (offered.length > 0) return { targets: distinct(inOrder(offered)).slice(0, MAX_TARGETS), srv: true, unknown }
  if (unknown.length > 0) throw new DialError('remote-server-timeout', `${domain}: ${unknown.join('; ')}`)
  throw new DialError('remote-server-not-found', `${domain}: its SRV records say that it takes no servers (target ".")`)
}

function alone(host: string, unknown: readonly string[] = []): Targets {
  return { targets: [{ host, port: PORT, direct: false }], srv: false, unknown }
}

async function srv(resolver: Resolver, name: string, unknown: string[]): Promise<readonly Srv[]> {
  try {
    return await resolver.srv(name)
  } catch (error) {
    if (!(error instanceof DnsError)) throw error
    unknown.push(error.message)
    return []
  }
}

type Offered = Srv & { readonly direct: boolean }

/** By priority; those of one priority by chance, each as often as its weight says (RFC 2782). */
function inOrder(records: readonly Offered[]): Target[] {
  const left = records.toSorted((a, b) => a.priority - b.priority || a.weight - b.weight)
  const ordered: Target[] = []
  while (left.length > 0) {
    const same = left.filter(({ priority }) => priority === left[0]!.priority)
    let chance = randomInt(same.reduce((sum, { weight }) => sum + weight, 0) + 1)
    let at = 0
    while (chance > same[at]!.weight) chance -= same[at++]!.weight
    const [{ target, port, direct }] = left.splice(at, 1) as [Offered]
    ordered.push({ host: target, port, direct })
  }
  return ordered
}

function distinct(targets: readonly Target[]): Target[] {
  const seen = new Map(targets.map(target => [`${target.host} ${target.port} ${target.direct}`, target]))
  return [...seen.values()]
}
