import type { Table } from '../storage/store.ts'
import { Changes } from './changes.ts'

/** All in one partition: they are few, and looked through at each start. */
const ALL = 'begun'

/**
 * Removals of accounts, which take a while: until all of an account is gone it is noted that it goes. Whoever takes the name
 * next finds nothing of it, also where the server was stopped or killed halfway: what was begun is finished at the next start.
 */
export class Removals {
  /** `['begun']` x `[user]` */
  readonly #begun: Table<true>
  readonly #turns = new Changes()
  /** Begun, and not finished: also those that failed halfway, until they are removed again or the server is started again. */
  readonly #unfinished = new Set<string>()

  readonly #remove: (user: string) => Promise<boolean>
  readonly #forget: (user: string) => Promise<void>

  /**
   * @param remove takes the login away; false where there is none
   * @param forget all the rest
   */
  constructor(begun: Table<true>, remove: (user: string) => Promise<boolean>, forget: (user: string) => Promise<void>) {
    this.#begun = begun
    this.#remove = remove
    this.#forget = forget
  }

  /** Nobody may have the name now. */
  has(user: string): boolean {
    return this.#unfinished.has(user) || this.#turns.busy(user)
  }

  /** False where there is no such account. */
  run(user: string): Promise<boolean> {
    return this.#turns.run(user, async () => {
      const halfway = this.#unfinished.has(user)
      await this.#begun.put([ALL], [user], true)
      this.#unfinished.add(user)
      const there = await this.#remove(user)
      if (there || halfway) await this.#forget(user)
      await this.#begun.del([ALL], [user])
      this.#unfinished.delete(user)
      return there
    })
  }

  /** Finishes what was begun before the server ended; `told` of each. */
  async finish(told: (user: string) => void): Promise<void> {
    for (const { ck } of await this.#begun.scan([ALL])) {
      const user = String(ck[0])
      told(user)
      await this.#turns.must(user, async () => {
        if ((await this.#begun.get([ALL], [user])) === undefined) return // meanwhile it was
        await this.#remove(user)
        await this.#forget(user)
        await this.#begun.del([ALL], [user])
      })
    }
  }
}
