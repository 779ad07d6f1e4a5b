import { performance } from 'node:perf_hooks'
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Logger } from '../core/log.ts'

/** What {@link Shrinker} looks at. Sizes in bytes. */
interface Process {
  /** Share of the time since the last call that the event loop was busy, 0 to 1. */
  busy(): number
  heap(): { readonly used: number; readonly total: number }
  collect(): void
}

const SECOND = 1000
/** Seconds of quiet after which memory is given back, and what counts as quiet. */
const QUIET_SECONDS = 2
const QUIET = 0.05
/** Less growth than this is not worth a collection. */
const WORTH = 8 * 1024 * 1024
/** A larger heap would take too long to collect, should somebody come just then. */
const MAX_USED = 256 * 1024 * 1024

/**
 * Gives memory back once a burst of work is over. V8 keeps the nursery and the pages that the burst needed, and its own
 * memory reducer does not run here: it goes by an allocation rate that it measures only when it collects.
 */
export class Shrinker {
  readonly #process: Process
  #quiet = 0
  /** After the last collection. */
  #total = 0

  constructor(process: Process) {
    this.#process = process
  }

  /** To be called each second. True: it collected. */
  tick(): boolean {
    this.#quiet = this.#process.busy() < QUIET ? this.#quiet + 1 : 0
    if (this.#quiet < QUIET_SECONDS) return false
    const { used, total } = this.#process.heap()
    if (used > MAX_USED || total < this.#total + WORTH) return false
    this.#process.collect()
    this.#total = this.#process.heap().total
    return true
  }
}

/** From now on this process gives memory back when it is quiet; stopped by what it returns. */
export function shrinkWhenQuiet(log: Logger): () => void {
  const collect = collector()
  if (collect === undefined) return () => {}
  let before = performance.eventLoopUtilization()
  const shrinker = new Shrinker({
    busy() {
      const now = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(now, before)
      before = now
      return utilization
    },
    heap() {
      const { used_heap_size: used, total_heap_size: total } = getHeapStatistics()
      return { used, total }
    },
    collect,
  })
  const timer = setInterval(() => {
    const started = performance.now()
    if (shrinker.tick()) log.debug({ ms: Math.round(performance.now() - started) }, 'memory was given back')
  }, SECOND).unref()
  return () => clearInterval(timer)
}

/** V8's garbage collection in the way that returns most; undefined where this V8 does not let itself be asked. */
function collector(): (() => void) | undefined {
  setFlagsFromString('--expose-gc')
  const gc: unknown = runInNewContext('globalThis.gc')
  if (typeof gc !== 'function') return undefined
  return () => gc({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}
