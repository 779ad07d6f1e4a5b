import type { Logger } from '../log.ts'
import type { Entry } from './entry.ts'
import type { MessageQueue } from './queue.ts'

/** Messages that wait for a failing store while somebody may have them, and bytes of them. */
const MAX_REWRITES = 10_000
const MAX_REWRITE_BYTES = 64 * 1024 * 1024
/** Ms until such a message is written again. */
const REWRITE = 1000

/**
 * What becomes of messages that the disk did not take. Who was given one may have it, though they did not say so: then it is
 * not bounced but kept and written again, and its sender waits. At the bound of memory it is bounced after all.
 */
export class Rewrites {
  readonly #log: Logger
  readonly #wait: number
  readonly #entries = new Set<Entry>()
  #bytes = 0

  constructor(log: Logger, wait = REWRITE) {
    this.#log = log
    this.#wait = wait
  }

  failed(queue: MessageQueue, entry: Entry, error: unknown): void {
    const fields = { err: error, user: queue.key[0], message: entry.id }
    if (entry.done) {
      if (entry.rows.length > 0)
        this.#log.error(fields, 'a message is delivered, its copies in archives could not be stored')
      return
    }
    this.#log.error(fields, 'a message could not be stored')
    const tooMuch = this.#entries.size >= MAX_REWRITES || this.#bytes >= MAX_REWRITE_BYTES
    if (!entry.sent || tooMuch) return queue.bounce(entry)
    entry.failed = true
    this.#entries.add(entry)
    const size = entry.rows.reduce((sum, op) => sum + op.size, entry.bytes.length)
    this.#bytes += size
    setTimeout(() => {
      this.#entries.delete(entry)
      this.#bytes -= size
      queue.rewrite(entry)
    }, this.#wait).unref()
  }

  /** What is written again is written alone. */
  dropRows(): void {
    for (const entry of this.#entries) entry.dropRows()
  }
}
