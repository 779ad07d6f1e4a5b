import type { Table } from '../storage/store.ts'
import { Changes } from './changes.ts'
import type { Logger } from './log.ts'

/** All in one partition: they are few, and looked through at each start. */
const ALL = 'begun'

/** Ms that who removes an account waits for requests of it that go on. */
const PATIENCE = 10_000

/**
 * Removals of accounts, which take a while: until all of an account is gone it is noted that it goes. Whoever takes the name
 * next finds nothing of it, also where the server was stopped or killed halfway: what was begun is finished at the next start.
 * What goes on for it when it is removed may write once more, so it is waited for before anything is deleted.
 */
export class Removals {
  /** `['begun']` x `[user]` */
  readonly #begun: Table<true>
  readonly #turns = new Changes()
  /** Begun, and not finished: also those that failed halfway, until they are removed again or the server is started again. */
  readonly #unfinished = new Set<string>()
  readonly #work = new Map<string, Set<Promise<unknown>>>()
  readonly #log: Logger
  readonly #patience: number

  readonly #remove: (user: string) => Promise<boolean>
  readonly #forget: (user: string) => Promise<void>

  /**
   * @param remove takes the login away and ends the sessions; false where there is none. Nothing of it begins from then on
   * @param forget all the rest
   */
  constructor(
    begun: Table<true>,
    log: Logger,
    remove: (user: string) => Promise<boolean>,
    forget: (user: string) => Promise<void>,
    patience = PATIENCE,
  ) {
    this.#begun = begun
    this.#remove = remove
    this.#forget = forget
    this.#log = log
    this.#patience = patience
  }

  /** This goes on for an account, and may write what is kept of it. Gives it back. */
  during<T>(user: string, work: Promise<T>): Promise<T> {
    const all = this.#work.get(user) ?? new Set()
    this.#work.set(user, all.add(work))
    const over = (): void => {
      if (all.delete(work) && all.size === 0) this.#work.delete(user)
    }
    work.then(over, over)
    return work
  }

  /** Nobody may have the name now. */
  has(user: string): boolean {
    return this.#unfinished.has(user) || this.#turns.busy(user)
  }

  /**
   * False where there is no such account. Rejects where something hangs that goes on for it; when that ends, so does the
   * removal, or at the next start, and until then nobody has the name.
   */
  run(user: string): Promise<boolean> {
    const hanging = Promise.withResolvers<never>()
    const removal = this.#turns.run(user, async () => {
      const halfway = this.#unfinished.has(user)
      await this.#begun.put([ALL], [user], true)
      this.#unfinished.add(user)
      const there = await this.#remove(user)
      if (there || halfway) {
        await this.#quiet(user, hanging.reject)
        await this.#forget(user)
      }
      await this.#begun.del([ALL], [user])
      this.#unfinished.delete(user)
      return there
    })
    return Promise.race([removal, hanging.promise])
  }

  async #quiet(user: string, hanging: (error: Error) => void): Promise<void> {
    const timer = setTimeout(() => {
      this.#log.warn({ user }, 'a request hangs of an account that is removed: the removal waits for it')
      hanging(new Error(`a request of ${user} hangs: what is kept of it is deleted after that, or at the next start`))
    }, this.#patience)
    for (let work = this.#work.get(user); work !== undefined; work = this.#work.get(user))
      await Promise.allSettled(work)
    clearTimeout(timer)
  }

  /** Finishes what was begun before the server ended. */
  async finish(): Promise<void> {
    for (const { ck } of await this.#begun.scan([ALL])) {
      const user = String(ck[0])
      this.#log.info({ user }, 'finishing the removal of an account')
      await this.#turns.must(user, async () => {
        if ((await this.#begun.get([ALL], [user])) === undefined) return // meanwhile it was
        await this.#remove(user)
        await this.#forget(user)
        await this.#begun.del([ALL], [user])
      })
    }
  }
}
