import type { Host } from '../host.ts'
import { QUEUE } from './store.ts'

/** Rows that are counted before others have their turn. */
const PAGE = 1000
/** The least time between two counts (ms), and how many times the time that one takes. */
const PAUSE = 30_000
const SHARE = 100
/** Who asks waits so long for a count; after that they get the one before (ms). */
const PATIENCE = 1000

/**
 * How many messages wait in the stores of all hosts. Nobody keeps that number, so it is counted when it is asked for, with at
 * most a hundredth of the time.
 */
export class QueueCount {
  readonly #hosts: () => readonly Host[]
  #last = 0
  #running: Promise<void> | undefined
  #next = Number.NEGATIVE_INFINITY

  constructor(hosts: () => readonly Host[]) {
    this.#hosts = hosts
  }

  async value(): Promise<number> {
    if (this.#running === undefined && performance.now() >= this.#next) {
      this.#running = this.#count().finally(() => (this.#running = undefined))
    }
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, PATIENCE)
    await Promise.race([this.#running, late])
    clearTimeout(timer)
    return this.#last
  }

  async #count(): Promise<void> {
    const begun = performance.now()
    let count = 0
    try {
      for (const host of this.#hosts()) {
        for await (const user of usersOf(host)) count += await host.queued(user)
      }
      this.#last = count
    } catch {
      // The store cannot be read now; what it can and cannot is said elsewhere.
    }
    this.#next = performance.now() + Math.max(PAUSE, SHARE * (performance.now() - begun))
  }
}

/** The accounts for which something waits. */
async function* usersOf(host: Host): AsyncGenerator<string> {
  const queue = host.store.table(host.name, QUEUE)
  for (let after: readonly (string | number)[] | undefined; ; ) {
    const keys = await queue.partitions(after, PAGE)
    for (const [user] of keys) yield String(user)
    after = keys.at(-1)
    if (keys.length < PAGE) return
  }
}
