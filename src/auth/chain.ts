import type { Session } from '../core/session.ts'
import type { Users } from '../core/users.ts'
import { Lru } from '../util/lru.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { CredentialError, type Credentials, type PasswordCheck } from './credentials.ts'
import { BusyError } from './derive.ts'

/** A place beside our own store that knows accounts and their passwords. */
export interface PasswordSource {
  /** As `auth_method` names it. */
  readonly name: string
  /** @throws what kept it from telling; that is never the client's fault */
  check(user: string, password: string): Promise<boolean>
  /** Where it can tell without a password. */
  exists?(user: string): Promise<boolean>
}

export type AuthMethod = 'internal' | PasswordSource

export type AccountChange = 'password' | 'disabled' | 'removed'

interface ChainOptions {
  credentials: Credentials
  /** Asked in this order (option `auth_method`). */
  methods: readonly AuthMethod[]
  /** An account has become known here by the word of another source. */
  adopted: (user: string) => void | Promise<void>
  /** Who got in by what was right until now is out: the password is another one, or the account is disabled or gone. */
  changed?: (user: string, change: AccountChange, but: Session | undefined) => void
  /** A method could not tell. */
  failed?: (error: unknown, method: string) => void
  now?: () => number
}

/** Names of which a source said that they are nobody's are not asked again for so long (ms). */
const UNKNOWN_FOR = 60_000
const MAX_UNKNOWN = 10_000

/**
 * The accounts of a host, from everywhere. Passwords that come in the clear are tried with one method after the other; an
 * account that another source vouches for gets a record of our own without a password, so that it exists from then on: it
 * has a roster and a queue, can be listed, disabled and removed.
 */
export class AccountChain implements Users {
  methods: readonly AuthMethod[]
  readonly #credentials: Credentials
  readonly #adopted: ChainOptions['adopted']
  readonly #changed: NonNullable<ChainOptions['changed']>
  readonly #failed: (error: unknown, method: string) => void
  readonly #now: () => number
  readonly #unknown = new Lru<string, number>(MAX_UNKNOWN)
  readonly #asking = new Map<string, Promise<boolean>>()

  constructor({ credentials, methods, adopted, changed = () => {}, failed = () => {}, now = Date.now }: ChainOptions) {
    this.#credentials = credentials
    this.methods = methods
    this.#adopted = adopted
    this.#changed = changed
    this.#failed = failed
    this.#now = now
  }

  /** Whether mechanisms that need keys of ours are of use: only if they are what is asked first. */
  get keysFirst(): boolean {
    return this.methods[0] === 'internal'
  }

  get #internal(): boolean {
    return this.methods.includes('internal')
  }

  /** Rejects with a StanzaError where a source cannot tell: whoever writes to that name is to try again. */
  exists(user: string): boolean | Promise<boolean> {
    const here = this.#credentials.exists(user)
    if (here === true) return true
    const sources = this.methods.filter(method => method !== 'internal' && method.exists !== undefined)
    if (sources.length === 0) return here
    const asked = this.#unknown.get(user)
    if (here === false && asked !== undefined && this.#now() - asked < UNKNOWN_FOR) return false
    const asking = this.#asking.get(user)
    if (asking !== undefined) return asking
    const answer = this.#ask(user, sources as PasswordSource[]).finally(() => this.#asking.delete(user))
    this.#asking.set(user, answer)
    return answer
  }

  async #ask(user: string, sources: readonly PasswordSource[]): Promise<boolean> {
    if (await this.#credentials.exists(user)) return true
    const asked = this.#unknown.get(user)
    if (asked !== undefined && this.#now() - asked < UNKNOWN_FOR) return false
    for (const source of sources) {
      const there = await source.exists!(user).catch((error: unknown) => {
        this.#failed(error, source.name)
        throw new StanzaError('internal-server-error', 'the account cannot be looked up now', { type: 'wait' })
      })
      if (!there) continue
      await this.#adopt(user, source)
      return true
    }
    this.#unknown.set(user, this.#now())
    return false
  }

  async #adopt(user: string, source: PasswordSource): Promise<void> {
    if (await this.#credentials.exists(user)) return
    if (!(await this.#credentials.adopt(user, source.name))) return
    this.#unknown.delete(user)
    await this.#adopted(user)
  }

  /**
   * Tries a password with every method until one says that it is right. One that cannot tell does not keep the others from
   * being asked; but where none says yes, the answer is not known.
   *
   * @throws the error of a method that could not tell
   */
  async check(user: string, password: string): Promise<PasswordCheck> {
    let trouble: unknown
    for (const method of this.methods) {
      try {
        const answer =
          method === 'internal' ? await this.#credentials.check(user, password) : await vouch(method, user, password)
        if (answer === 'wrong') continue
        if (answer !== 'vouched') return answer
        if (await this.#credentials.isDisabled(user)) return 'disabled'
        await this.#adopt(user, method as PasswordSource)
        return answer
      } catch (error) {
        this.#failed(error, method === 'internal' ? method : method.name)
        // That we are busy is the better thing to say: it passes by itself.
        if (!(trouble instanceof BusyError)) trouble = error
      }
    }
    if (trouble !== undefined) throw trouble
    return 'wrong'
  }

  async verify(user: string, password: string): Promise<boolean> {
    const answer = await this.check(user, password)
    return answer === 'right' || answer === 'vouched'
  }

  async create(user: string, password: string): Promise<boolean> {
    if (!this.#internal) throw elsewhere()
    if (await this.exists(user)) return false
    return this.#credentials.create(user, password)
  }

  async setPassword(user: string, password: string, but?: Session): Promise<boolean> {
    const source = (await this.#credentials.get(user))?.source
    // One of ours beside it would outlive what the source says, and leave the old one good.
    const foreign = this.methods.some(method => method !== 'internal' && method.name === source)
    if (!this.#internal || foreign) throw elsewhere()
    return this.#change(user, 'password', this.#credentials.setPassword(user, password), but)
  }

  async remove(user: string): Promise<boolean> {
    // In two steps: what the sessions leave is written before all that is kept of the account is deleted.
    if (!(await this.#change(user, 'removed', this.#credentials.disable(user, 'is being removed')))) return false
    return this.#change(user, 'removed', this.#credentials.remove(user))
  }

  disable(user: string, reason?: string, but?: Session): Promise<boolean> {
    return this.#change(user, 'disabled', this.#credentials.disable(user, reason), but)
  }

  async #change(user: string, change: AccountChange, done: Promise<boolean>, but?: Session): Promise<boolean> {
    if (!(await done)) return false
    this.#changed(user, change, but)
    return true
  }

  enable(user: string): Promise<boolean> {
    return this.#credentials.enable(user)
  }

  isDisabled(user: string): boolean | Promise<boolean> {
    return this.#credentials.isDisabled(user)
  }

  list(after?: string, limit?: number): Promise<string[]> {
    return this.#credentials.list(after, limit)
  }
}

async function vouch(source: PasswordSource, user: string, password: string): Promise<'vouched' | 'wrong'> {
  return (await source.check(user, password)) ? 'vouched' : 'wrong'
}

function elsewhere(): CredentialError {
  return new CredentialError('password', 'accounts and passwords are kept elsewhere (auth_method)')
}
