import { partitionsOf } from '../../storage/store.ts'
import { within } from '../../util/within.ts'
import type { Host } from '../host.ts'
import { QUEUE } from './store.ts'

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
    await within(PATIENCE, this.#running)
    return this.#last
  }

  async #count(): Promise<void> {
    const begun = performance.now()
    let count = 0
    try {
      for (const host of this.#hosts()) {
        const queue = host.store.table(host.name, QUEUE)
        for await (const [user] of partitionsOf(queue)) count += await host.queues.count(String(user))
      }
      this.#last = count
    } catch {
      // The store cannot be read now; what it can and cannot is said elsewhere.
    }
    this.#next = performance.now() + Math.max(PAUSE, SHARE * (performance.now() - begun))
  }
}
