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

  constructor(begun: Table<true>) {
    this.#begun = begun
  }

  /** Nobody may have the name now. */
  has(user: string): boolean {
    return this.#turns.busy(user)
  }

  /** `remove` takes the login away, false where there is none; `forget` all the rest. */
  run(user: string, remove: () => Promise<boolean>, forget: () => Promise<void>): Promise<boolean> {
    return this.#turns.run(user, async () => {
      await this.#begun.put([ALL], [user], true)
      const there = await remove()
      if (there) await forget()
      await this.#begun.del([ALL], [user])
      return there
    })
  }

  /** Users whose removal was begun before the server ended. */
  async unfinished(): Promise<string[]> {
    return (await this.#begun.scan([ALL])).map(({ ck }) => String(ck[0]))
  }

  /** As {@link run}, of what was begun then; nothing where it has been finished meanwhile. */
  finish(user: string, remove: () => Promise<boolean>, forget: () => Promise<void>): Promise<void> {
    return this.#turns.must(user, async () => {
      if ((await this.#begun.get([ALL], [user])) === undefined) return
      await remove()
      await forget()
      await this.#begun.del([ALL], [user])
    })
  }
}
