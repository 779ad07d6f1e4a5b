import { isIP } from 'node:net'
import { Limit } from '../util/limit.ts'
import { PeerError } from './peererror.ts'

/** Attempts at a time to reach other servers, and how many more wait for a turn: each is a socket, or more. */
const MAX_ALL = 500
const MAX_WAITING = 1000
/** The same of domains that may be of one owner: whoever writes one zone keeps nobody waiting but those within it. */
const MAX_OF_ZONE = 12
const MAX_WAITING_OF_ZONE = 50

interface Zone {
  readonly limit: Limit
  users: number
}

/** Attempts to reach other servers: so few at a time that nobody, writing to very many domains, uses up sockets or DNS. */
export class Attempts {
  readonly #all = limitOf(MAX_ALL, MAX_WAITING)
  readonly #zones = new Map<string, Zone>()

  /** Rejects as `work` does, and with a PeerError where too many wait. */
  async run<T>(domain: string, work: () => Promise<T>): Promise<T> {
    const name = zoneOf(domain)
    let zone = this.#zones.get(name)
    if (zone === undefined)
      this.#zones.set(name, (zone = { limit: limitOf(MAX_OF_ZONE, MAX_WAITING_OF_ZONE), users: 0 }))
    zone.users++
    try {
      return await zone.limit.run(() => this.#all.run(work))
    } finally {
      if (--zone.users === 0) this.#zones.delete(name)
    }
  }
}

function limitOf(parallel: number, waiting: number): Limit {
  const busy = (): PeerError =>
    new PeerError('remote-server-timeout', 'too many servers are being tried at the moment; it is tried again')
  return new Limit(parallel, waiting, busy)
}

/** The last two labels of a name. Addresses are all of one. */
function zoneOf(domain: string): string {
  if (domain.startsWith('[') || isIP(domain) !== 0) return 'addresses'
  return domain.split('.').slice(-2).join('.')
}
