import { randomInt } from 'node:crypto'
import { networkOf } from '../util/address.ts'

/** What a connection costs before anything came over it, in bytes: sockets, buffers, the stream. Measured, rounded up. */
export const PLAIN_CONNECTION = 16 * 1024
export const TLS_CONNECTION = 64 * 1024
/** Who has not logged in after so long (ms) is not one of those who are about to. */
const PATIENCE = 5000
/** A login holds this much for a moment; above it somebody is greedy. */
const MODEST = 16 * 1024

/** What one connection that is not logged in holds of the budget. */
export interface Share {
  readonly network: string
  readonly since: number
  /** Ends the connection; the share is no longer counted by then. */
  readonly refuse: () => void
  /** Bytes that the connection costs, and what it has sent and is not done with. */
  connection: number
  input: number
}

/**
 * The memory of all connections that are not logged in (RFC 6120 13.12). At the bound one is refused: first who holds more
 * than a login needs, the greediest before others; then who had time enough to log in; then who comes from where most come
 * from. Among equals chance decides: were it the newest, a crowd that comes again and again would keep everybody out; were it
 * the oldest, nobody would get to the end where all come at once. So who simply logs in is the last to suffer.
 */
export class PreLoginBudget {
  /** Bytes; may be changed at any time. */
  limit: number
  readonly #now: () => number
  readonly #draw: (below: number) => number
  readonly #shares = new Set<Share>()
  #held = 0

  /**
   * @param now a clock in ms that never goes back
   * @param draw a number below another, that nobody can guess
   */
  constructor(limit: number, now: () => number = () => performance.now(), draw: (below: number) => number = randomInt) {
    this.limit = limit
    this.#now = now
    this.#draw = draw
  }

  /** Bytes that are held. */
  get held(): number {
    return this.#held
  }

  get size(): number {
    return this.#shares.size
  }

  /** One more connection; it may be refused before this returns. */
  enter(ip: string, connection: number, refuse: () => void): Share {
    const share: Share = { network: networkOf(ip), since: this.#now(), refuse, connection, input: 0 }
    this.#shares.add(share)
    this.#held += connection
    this.#relieve()
    return share
  }

  /** A connection holds so much of what it sent; it, or another, may be refused before this returns. */
  hold(share: Share, input: number): void {
    if (!this.#shares.has(share)) return
    this.#held += input - share.input
    share.input = input
    this.#relieve()
  }

  /** The connection itself costs something else now: it went over to TLS. */
  connection(share: Share, connection: number): void {
    if (!this.#shares.has(share)) return
    this.#held += connection - share.connection
    share.connection = connection
    this.#relieve()
  }

  /** The connection is logged in, or gone. May be called again. */
  leave(share: Share): void {
    if (this.#shares.delete(share)) this.#held -= share.connection + share.input
  }

  #relieve(): void {
    while (this.#held > this.limit && this.#shares.size > 0) {
      const victim = this.#victim()
      this.leave(victim)
      victim.refuse()
    }
  }

  #victim(): Share {
    const crowds = new Map<string, number>()
    for (const { network } of this.#shares) crowds.set(network, (crowds.get(network) ?? 0) + 1)
    const late = this.#now() - PATIENCE
    const rank = (share: Share): [greed: number, late: number, crowd: number] => [
      share.input > MODEST ? share.input : 0,
      share.since <= late ? 1 : 0,
      crowds.get(share.network)!,
    ]
    let victims: Share[] = []
    let worst: readonly number[] = []
    for (const share of this.#shares) {
      const own = rank(share)
      if (victims.length > 0 && before(own, worst)) continue
      if (victims.length === 0 || before(worst, own)) {
        victims = []
        worst = own
      }
      victims.push(share)
    }
    return victims[this.#draw(victims.length)]!
  }
}

/** Whether the first of two ranks is the lower one. */
function before(one: readonly number[], other: readonly number[]): boolean {
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return one[i]! < other[i]!
  return false
}
