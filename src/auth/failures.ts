import { isIP } from 'node:net'
import { networkOf } from '../util/address.ts'
import { Lru } from '../util/lru.ts'

export interface FailureLimits {
  /** Failures from one address within the window; then it has to wait. `Infinity`: never. */
  perAddress: number
  /** Failures to one account from one address. */
  perAccount: number
  /** Failures to one account from everywhere. */
  total: number
  /** Ms that a failure counts. */
  window: number
}

export interface FailuresOptions extends Partial<FailureLimits> {
  /** Addresses, accounts, and pairs of both, that are remembered; beyond, those that were quiet longest go first. */
  max?: number
  now?: () => number
}

/** `delay`: ms to wait before the answer. `retryAfter`: ms until the next attempt is heard. */
export type Verdict = { allowed: true; delay: number } | { allowed: false; retryAfter: number }

/** A sliding window in two counters: the window before fades out as the current one goes on. */
interface Count {
  start: number
  current: number
  previous: number
}

/** Wrong passwords that cost nothing; then each costs twice the time of the one before. */
const FREE = 3
const FIRST_DELAY = 250
const LAST_DELAY = 4000

/**
 * Counts failed logins (XEP-0205 section 4; RFC 6120 6.4.5). Accounts are counted together with the address that tried
 * them, so that nobody can lock an owner out from elsewhere; and alone, for who guesses from many addresses: what follows
 * from that must not touch those from where the owner comes (see familiar.ts). IPv6 addresses count by their /64, since a
 * host has one to choose from freely.
 */
export class Failures {
  /** May be others from now on; what has been counted stays counted. */
  limits: FailureLimits
  readonly #now: () => number
  readonly #addresses: Lru<string, Count>
  readonly #pairs: Lru<string, Count>
  readonly #accounts: Lru<string, Count>

  constructor(options: FailuresOptions = {}) {
    this.limits = { perAddress: 50, perAccount: 20, total: 200, window: 600_000, ...options }
    this.#now = options.now ?? Date.now
    this.#addresses = new Lru(options.max ?? 20_000)
    this.#pairs = new Lru(options.max ?? 20_000)
    this.#accounts = new Lru(options.max ?? 20_000)
  }

  /** What to do with an attempt. Without an account only the address counts. */
  check(address: string, account?: string): Verdict {
    const prefix = addressPrefix(address)
    const now = this.#now()
    const byAddress = this.#roll(this.#addresses.get(prefix), now)
    const byAccount = account === undefined ? undefined : this.#roll(this.#pairs.get(pair(prefix, account)), now)
    const wait = Math.max(
      this.#wait(byAddress, this.limits.perAddress, now),
      this.#wait(byAccount, this.limits.perAccount, now),
    )
    if (wait > 0) return { allowed: false, retryAfter: wait }
    // Who asks for no limits gets no delays either.
    const limit = account === undefined ? this.limits.perAddress : this.limits.perAccount
    if (limit === Number.POSITIVE_INFINITY) return { allowed: true, delay: 0 }
    const excess = Math.floor(this.#estimate(account === undefined ? byAddress : byAccount, now)) - FREE
    return { allowed: true, delay: excess < 0 ? 0 : Math.min(FIRST_DELAY * 2 ** excess, LAST_DELAY) }
  }

  failed(address: string, account?: string): void {
    const prefix = addressPrefix(address)
    this.#count(this.#addresses, prefix)
    if (account === undefined) return
    this.#count(this.#pairs, pair(prefix, account))
    this.#count(this.#accounts, account)
  }

  /** Ms until an account is heard again by addresses that nobody has logged in from; 0: it is. */
  attacked(account: string): number {
    const now = this.#now()
    return this.#wait(this.#roll(this.#accounts.get(account), now), this.limits.total, now)
  }

  /** Forgives the pair, not the address: who guesses must not wash it clean with an account of his own. */
  succeeded(address: string, account: string): void {
    this.#pairs.delete(pair(addressPrefix(address), account))
  }

  /** Addresses, pairs and accounts held now. */
  get size(): number {
    return this.#addresses.size + this.#pairs.size + this.#accounts.size
  }

  #count(counts: Lru<string, Count>, key: string): void {
    const now = this.#now()
    const count = this.#roll(counts.get(key), now)
    if (count === undefined) counts.set(key, { start: now, current: 1, previous: 0 })
    else count.current++
  }

  /** Moves the window to where `now` lies in it. */
  #roll(count: Count | undefined, now: number): Count | undefined {
    if (count === undefined) return undefined
    const passed = Math.floor((now - count.start) / this.limits.window)
    if (passed > 0) {
      count.previous = passed === 1 ? count.current : 0
      count.current = 0
      count.start += passed * this.limits.window
    }
    return count
  }

  #estimate(count: Count | undefined, now: number): number {
    if (count === undefined) return 0
    return count.current + count.previous * (1 - (now - count.start) / this.limits.window)
  }

  /** Ms until the estimate falls below the limit. */
  #wait(count: Count | undefined, limit: number, now: number): number {
    if (count === undefined || this.#estimate(count, now) < limit) return 0
    const { current, previous, start } = count
    // Either the window before fades enough within this one, or this one has to fade in the next.
    const windows = current < limit ? 1 - (limit - current) / previous : 2 - limit / current
    return Math.floor(start + windows * this.limits.window - now) + 1
  }
}

function pair(prefix: string, account: string): string {
  return `${prefix} ${account}`
}

/** The part of an address that belongs to one host or site: all of IPv4, the /64 of IPv6. What is no address is itself. */
export function addressPrefix(address: string): string {
  return isIP(address) === 0 ? address : networkOf(address)
}
