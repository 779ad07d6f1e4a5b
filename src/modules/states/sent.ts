import type { Chunks } from '../../core/chunks.ts'
import type { MessageAbout } from '../../core/queue/entry.ts'
import type { Waiting } from '../../core/queue/queue.ts'
import { partitionsOf, type Table } from '../../storage/store.ts'
import { firstIdAt, type IdGenerator } from '../../util/ids.ts'
import { Weighed } from '../../util/weighed.ts'
import type { Jid } from '../../xmpp/jid.ts'
import { Conversations } from './conversations.ts'
import { Found, isBefore } from './found.ts'
import type { Mark, MessageState, Wanted } from './states.ts'

/**
 * A message that has left for another server: the id that it had in its queue and the one that its sender gave it; since when
 * (ms since 1970) its server has it, or a client of the recipient's (which), or it never will.
 */
export type Sent = readonly [
  id: string,
  messageId: string,
  at: number,
  state: 'accepted' | 'delivered' | 'failed',
  resource: string,
]

/** What a recipient has said of a message before its server had acknowledged it. */
interface Early {
  readonly received: { readonly at: number; readonly resource: string } | undefined
  readonly displayed: number | undefined
}

/** Of all accounts of a host, and characters of the ids; of further ones, what was said first is forgotten. */
const MAX_EARLY = 2000
const MAX_EARLY_TEXT = 512 * 1024

/** Tables by local part of the sender. */
interface SentParts {
  readonly chunks: Chunks<Sent>
  /** x `[recipient]` */
  readonly marks: Table<Mark>
  /** x `[]`; not to be cleared with the account. */
  readonly removed: Table<string>
  readonly ids: IdGenerator
  readonly now: () => number
}

/**
 * What became of the messages that users of one host have sent to people elsewhere. What waits for their servers is in the
 * queues of those; from there on it is known what they and their clients have said: that they have it, receipts, markers.
 */
export class SentElsewhere {
  /** By local part of the sender, then bare address of the recipient. */
  readonly #sent: Conversations<Sent>
  readonly #marks: Table<Mark>
  /** Of removed accounts: what was sent before this id is not of who has the name now. */
  readonly #removed: Table<string>
  readonly #ids: IdGenerator
  readonly #now: () => number
  readonly #early = new Weighed<string, Early>(MAX_EARLY, MAX_EARLY_TEXT)

  constructor({ chunks, marks, removed, ids, now }: SentParts) {
    this.#sent = new Conversations(chunks, now)
    this.#marks = marks
    this.#removed = removed
    this.#ids = ids
    this.#now = now
  }

  /** Its server has acknowledged a message of `user`, or it will never get there. */
  ended(user: string, { to = '', messageId }: MessageAbout, id: string, state: 'accepted' | 'failed'): void {
    const early = this.#takeEarly(user, to, messageId)
    const received = early?.received
    this.#sent.add(
      user,
      to,
      received === undefined
        ? [id, messageId, this.#now(), state, '']
        : [id, messageId, received.at, 'delivered', received.resource],
    )
    if (early?.displayed !== undefined) void this.#read(user, to, id, early.displayed).catch(() => {}) // as if it had not come
  }

  #takeEarly(user: string, to: string, messageId: string): Early | undefined {
    if (this.#early.size === 0) return undefined
    const key = keyOf(user, to, messageId)
    const early = this.#early.get(key)
    this.#early.delete(key)
    return early
  }

  /** A client of `reader` says that it has got the message to which `user` gave this id (XEP-0184). */
  async received(reader: Jid, user: string, messageId: string): Promise<void> {
    const to = reader.bare.toString()
    const row = await this.#sent.find(user, to, messageId)
    const received = { at: this.#now(), resource: reader.resource }
    if (row === undefined) return this.#keep(keyOf(user, to, messageId), { received })
    // What its client has got has arrived, whatever was heard of it before.
    if (row[3] !== 'delivered') {
      await this.#sent.replace(user, to, [row[0], messageId, received.at, 'delivered', received.resource])
    }
  }

  /** It says that it has read it (XEP-0333). */
  async displayed(reader: Jid, user: string, messageId: string): Promise<void> {
    const to = reader.bare.toString()
    const row = await this.#sent.find(user, to, messageId)
    if (row === undefined) return this.#keep(keyOf(user, to, messageId), { displayed: this.#now() })
    await this.#read(user, to, row[0], this.#now())
  }

  #keep(key: string, said: Partial<Early>): void {
    this.#early.set(key, { received: undefined, displayed: undefined, ...this.#early.get(key), ...said }, key.length)
  }

  async #read(user: string, to: string, id: string, at: number): Promise<void> {
    const before = await this.#marks.get([user], [to])
    if (before === undefined || before.id < id) await this.#marks.put([user], [to], { id, at })
  }

  /** What `wanted.from`, which is `user`, has sent to `wanted.to`; `waiting` is what waits for the server of that one. */
  async list(user: string, wanted: Wanted, waiting: readonly Waiting[]): Promise<MessageState[]> {
    const { from = '', to, until, since, lookAt = Number.POSITIVE_INFINITY } = wanted
    const found = new Found(wanted, async () => [await this.#marks.get([user], [to])])
    const first = (await this.#removed.get([user], [])) ?? ''
    for (const { id, about } of waiting.toReversed()) {
      if (id > first && about?.from === from && about.to === to && about.messageId !== '')
        await found.add(id, about, undefined)
    }
    found.begin()
    let looked = 0
    for await (const page of this.#sent.backwards(user, to, until === undefined ? undefined : firstIdAt(until + 1))) {
      for (const [id, messageId, at, state, resource] of page) {
        if (id < first) continue
        const delivered = state === 'delivered' ? { at, resource } : undefined
        await found.add(id, { from, messageId }, delivered, state === 'delivered' ? undefined : { state, since: at })
      }
      looked += page.length
      if (found.enough || looked >= lookAt || (page.length > 0 && page.every(([id]) => isBefore(id, since)))) break
    }
    return found.newest()
  }

  /** See {@link Conversations.flush}. */
  flush(): Promise<void> {
    return this.#sent.flush()
  }

  /** See {@link Conversations.purge}. */
  async purge(id: string): Promise<number> {
    for await (const key of partitionsOf(this.#removed)) {
      if (((await this.#removed.get(key, [])) ?? '') < id) await this.#removed.del(key, [])
    }
    return this.#sent.purge(id)
  }

  /** An account is removed; what it has sent may still be on its way. */
  async forget(user: string): Promise<void> {
    await this.#removed.put([user], [], this.#ids.ordered())
    await this.#sent.forget(user)
    await this.#marks.clear([user])
  }
}

function keyOf(user: string, to: string, messageId: string): string {
  return JSON.stringify([user, to, messageId])
}
