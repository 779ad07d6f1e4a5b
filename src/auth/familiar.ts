import { createHmac } from 'node:crypto'
import type { Table } from '../storage/store.ts'
import { Lru } from '../util/lru.ts'
import { Turns } from '../util/turns.ts'
import { addressPrefix } from './failures.ts'

/** When somebody last logged in to an account from a network, ms since 1970. */
type Seen = { at: number }

/** Networks that are remembered of an account; the one goes from where nobody came for longest. */
const MAX_NETWORKS = 16
/** How long one counts, and how old a time may be before it is written anew (ms). */
const HOLDS = 90 * 86_400_000
const REFRESH = 86_400_000
const MAX_WAITING = 10

interface FamiliarOptions {
  /** `[user]` x `[network]` */
  table: Table<Seen>
  /** Networks are kept as what follows from them and this: the store does not say where people were. */
  secret: Buffer
  failed?: (error: unknown, user: string) => void
  now?: () => number
}

/**
 * From where accounts were logged in to, so that an owner is let in while others guess at the password from many addresses.
 * An address counts as what {@link addressPrefix} makes of it.
 */
export class Familiar {
  readonly #table: Table<Seen>
  readonly #secret: Buffer
  readonly #now: () => number
  readonly #recent = new Lru<string, number>(20_000)
  readonly #writing = new Turns(MAX_WAITING, () => new Error('too many at once'))
  readonly #failed: (error: unknown, user: string) => void

  constructor({ table, secret, failed = () => {}, now = Date.now }: FamiliarOptions) {
    this.#table = table
    this.#secret = secret
    this.#now = now
    this.#failed = failed
  }

  /** Somebody has logged in; `stamp` is that of the account (see Credentials.stamp). */
  seen(user: string, stamp: string, address: string): void {
    const network = this.#network(user, stamp, address)
    const now = this.#now()
    if (now - (this.#recent.get(network) ?? Number.NEGATIVE_INFINITY) < REFRESH) return
    this.#recent.set(network, now)
    if (this.#writing.full(user)) return
    this.#writing.run(user, () => this.#write(user, network, now)).catch(error => this.#failed(error, user))
  }

  /** Whether somebody has logged in to the account from there. Rejects with StoreError. */
  async knows(user: string, stamp: string, address: string): Promise<boolean> {
    const network = this.#network(user, stamp, address)
    const at = this.#recent.get(network) ?? (await this.#table.get([user], [network]))?.at
    return at !== undefined && this.#now() - at < HOLDS
  }

  /** The account is gone. What may come after it in the store says nothing of who takes the name next: see below. */
  forget(user: string): Promise<void> {
    return this.#table.clear([user])
  }

  async #write(user: string, network: string, at: number): Promise<void> {
    const rows = await this.#table.scan([user])
    const others = rows.filter(({ ck }) => ck[0] !== network).sort((a, b) => b.value.at - a.value.at)
    const excess = others.slice(MAX_NETWORKS - 1)
    const written = this.#table.put([user], [network], { at })
    await Promise.all([written, ...excess.map(({ ck }) => this.#table.del([user], ck))])
  }

  #network(user: string, stamp: string, address: string): string {
    const made = stamp.split('.')[0] // the account's making, not its password
    const hmac = createHmac('sha256', this.#secret).update(`network\0${user}\0${made}\0${addressPrefix(address)}`)
    return hmac.digest().subarray(0, 15).toString('base64url')
  }
}
