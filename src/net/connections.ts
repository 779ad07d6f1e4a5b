import { networkOf } from '../util/address.ts'

/**
 * Connections open at a time from one IPv4 address or one IPv6 /64. Every entry stands for a connection that was let in,
 * so there are never more entries than connections, and none when there are no connections.
 */
export class ConnectionCounter {
  /** Most connections of one network; may be changed at any time, and holds for those that come then. */
  limit: number
  readonly #open = new Map<string, number>()

  /** @param limit connections from one network at a time; `Infinity` for no limit */
  constructor(limit: number) {
    this.limit = limit
  }

  /** Networks that have connections open. */
  get size(): number {
    return this.#open.size
  }

  /** Counts one more connection; false, and nothing counted, if that is more than the limit. */
  enter(ip: string | undefined): boolean {
    const network = networkOf(ip)
    const open = this.#open.get(network) ?? 0
    if (open >= this.limit) return false
    this.#open.set(network, open + 1)
    return true
  }

  /** To be called once for every `enter` that said yes, with the same address. */
  leave(ip: string | undefined): void {
    const network = networkOf(ip)
    const open = this.#open.get(network)
    if (open === undefined) return
    if (open > 1) this.#open.set(network, open - 1)
    else this.#open.delete(network)
  }
}
