import { type Op, pages } from '../../storage/store.ts'
import type { Account } from '../account.ts'
import { asSent } from '../delivery.ts'
import type { HookEvent } from '../hooks.ts'
import type { Host } from '../host.ts'
import type { Session } from '../session.ts'
import { type Entry, NO_ROWS } from './entry.ts'
import { MessageQueue } from './queue.ts'
import { Rewrites } from './rewrites.ts'
import { QUEUE, QueueStore, sizeOfRow } from './store.ts'
import { SENT_WINDOW, SenderWindow } from './window.ts'

declare module '../hooks.ts' {
  interface HookMap {
    /**
     * A session has acknowledged a message of its account: it is delivered. What a handler adds to `rows` is written as it
     * leaves the queue, or not at all.
     */
    message_acknowledged: Sync<{ account: Account; entry: Entry; session: Session; readonly rows: Op[] }>
    /** A further session has acknowledged a message that was delivered already. */
    message_acknowledged_again: Told<{ entry: Entry; session: Session }>
  }
}

const EVERYTHING = { messages: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY }

/** The messages that wait for the accounts of a host, and what recognises those that its clients send again. */
export class Queues {
  readonly window: SenderWindow
  readonly #host: Host
  readonly #store: QueueStore
  readonly #rewrites: Rewrites

  constructor(host: Host, retryWrites?: number) {
    const { store, name, log, hooks } = host
    this.#host = host
    this.#rewrites = new Rewrites(log, retryWrites)
    this.window = new SenderWindow(store.table(name, SENT_WINDOW), host.now)
    this.#store = new QueueStore(store, store.table(name, QUEUE), {
      failed: (queue, entry, error) => this.#rewrites.failed(queue, entry, error),
      trouble: (what, user, error) => log.error({ err: error, user }, what),
      confirmed: (queue, entry, holder) => this.#confirmed(queue, entry, holder as Session),
      confirmedAgain: (_queue, entry, holder) => {
        if (!hooks.has('message_acknowledged_again')) return
        hooks.notify('message_acknowledged_again', { entry, session: holder as Session })
      },
      archived: async (key, id) => {
        const bytes = await host.archive.get(key, [id])
        if (bytes === undefined) log.error({ user: key[0], id }, 'a queued message is missing in the archive')
        return bytes
      },
    })
  }

  /** The queue of an account that comes into memory. */
  async open(user: string): Promise<MessageQueue> {
    const { ids, router } = this.#host
    const [last] = await this.#store.table.keys([user], { reverse: true, limit: 1 })
    const lastId = last === undefined ? '' : String(last[0])
    ids.after(lastId)
    const queue = new MessageQueue(this.#store, user, lastId)
    queue.onBounce = (entry, reason) => void router.bounce(asSent(entry), reason)
    return queue
  }

  /** Has everything written that is queued; resolves when it is durable. */
  flush(): Promise<void> {
    return this.#store.flush()
  }

  /** An account is being removed: nothing that is on its way to the store gets there any more. */
  end(account: Account | undefined): void {
    // So too the copies in its archive of what it sent, which go with messages that are not written yet.
    this.#store.dropRows()
    this.#rewrites.dropRows()
    if (account === undefined) return
    account.queue.ended = true
    this.window.end(account)
  }

  /** Nothing is kept of an account that was ended. */
  async clear(user: string): Promise<void> {
    await this.#store.table.clear([user])
    await this.window.clear(user)
  }

  /** Messages that wait for an account, in flight or in the store. */
  async count(user: string): Promise<number> {
    return (await this.waiting(user)).messages
  }

  /** As {@link count}, with their bytes; counted up to `most` only, of either. */
  async waiting(user: string, most = EVERYTHING): Promise<{ messages: number; bytes: number }> {
    let messages = 0
    let bytes = 0
    for await (const rows of pages(this.#store.table, [user])) {
      messages += rows.length
      for (const { value } of rows) bytes += sizeOfRow(value)
      if (messages >= most.messages || bytes >= most.bytes) break
    }
    return { messages, bytes }
  }

  /** The id of the oldest message that waits for an account, in flight or in the store; undefined if none does. */
  async oldest(user: string): Promise<string | undefined> {
    const stored = this.#store.table.keys([user], { limit: 1 })
    // In the same turn: what is written afterwards is still here now.
    const inFlight = this.#host.accounts.get(user)?.queue.oldest
    const [key] = await stored
    const waiting = key && String(key[0])
    return waiting === undefined || (inFlight !== undefined && inFlight < waiting) ? inFlight : waiting
  }

  #confirmed(queue: MessageQueue, entry: Entry, session: Session): readonly Op[] {
    const { accounts, hooks } = this.#host
    const account = accounts.get(queue.key[0])
    if (account === undefined || !hooks.has('message_acknowledged')) return NO_ROWS
    const event: HookEvent<'message_acknowledged'> = { account, entry, session, rows: [] }
    hooks.notify('message_acknowledged', event)
    return event.rows
  }
}
