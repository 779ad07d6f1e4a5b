import type { Op } from '../../storage/store.ts'
import { StanzaError } from '../../xmpp/errors.ts'

/** Who sent a message and waits for it to be safe before acknowledging it (XEP-0198 `<a h/>`). */
export interface Origin {
  /** The message was queued; it is not safe yet. */
  accepted(entry: Entry): void
  /** Who waits is in no hurry, and sends it again if it is never told: it may be written with what comes soon after. */
  readonly patient?: boolean
  /** What recognises a copy of the message: a row that is written with it, asked for when that is. */
  row?(): Op | undefined
  /** The entry is durable, delivered, or answered with an error: the sender may be told. Called once. */
  safe(entry: Entry): void
}

/** What a session gets beside the queue of its account, in its place among what waits there. */
export interface Besides {
  /** Whether there is something up to this id, or anything at all, that it was not given. Without waiting. */
  waits(upTo?: string): boolean
  /** Gives it some of that, the oldest first; it is not full. Rejects where that cannot be read now. */
  give(upTo?: string): Promise<void>
}

/** A session that queued messages are delivered to. */
export interface Holder {
  readonly besides?: Besides | undefined
  /** Delivers an entry; later the session calls {@link MessageQueue.confirm} or {@link MessageQueue.release} for it. */
  take(entry: Entry, late: boolean): void
  /** It has so much unacknowledged that it should get no more for now. */
  readonly full: boolean
  /** Resolves when the session can take more of its backlog; false when it ended. */
  room(): Promise<boolean>
  /** The entry became durable: the session may now ask for an acknowledgement. */
  committed(entry: Entry): void
  /** It has been given everything there was, and gets from now on at once what comes. */
  caughtUp?(): void
}

/** Sender (bare) and the id that it gave the message; and for whom it is (bare), where the queue does not say so. */
export interface MessageAbout {
  readonly from: string
  readonly to?: string
  readonly messageId: string
}

/** What its sender is told of a message that the disk did not take. */
export const notStored = (): StanzaError =>
  new StanzaError('resource-constraint', 'the server could not store this message')

export const NO_ROWS: readonly Op[] = []

/** One message on its way to one account: safe once durable, done once a session of the account acknowledged it. */
export class Entry {
  readonly id: string
  /** As delivered, with its stanza-id. */
  readonly bytes: Buffer
  /** The sessions it is in flight to. */
  readonly holders: Holder[] = []
  origin: Origin | undefined
  /** Who sent the same message again, and waits too. */
  #others: Origin[] | undefined
  committed = false
  done = false
  /** It ended with an error to its sender. */
  bounced = false
  /** It is in flight, and nobody waits for it to be safe, or not impatiently: it is written if it is still here in a while. */
  lazy = false
  /** Its write failed; it is written again if a client may have it, else bounced. */
  failed = false
  /** Rows that are written with it, or not at all; none once they are. */
  rows: readonly Op[] = NO_ROWS
  /** Its bytes are in the archive under the same id, or will be by its rows: the queue keeps only that. */
  archived = false
  /** Whose message it is, and what its sender calls it; null: nothing that is noted. Undefined: its bytes say. */
  about: MessageAbout | null | undefined
  /** It was given to a session at some time: an error to its sender could be a lie. */
  sent = false

  constructor(id: string, bytes: Buffer, origin: Origin | undefined) {
    this.id = id
    this.bytes = bytes
    this.origin = origin
  }

  /** A message that another session has acknowledged, on its way to one that has not had it. */
  static delivered(id: string, bytes: Buffer): Entry {
    const entry = new Entry(id, bytes, undefined)
    entry.committed = true
    entry.done = true
    return entry
  }

  /** It is written alone. */
  dropRows(): void {
    if (this.rows.length === 0) return
    this.rows = NO_ROWS
    this.archived = false
  }

  /** One more who waits for it to be safe. */
  join(origin: Origin): void {
    if (this.origin === undefined) this.origin = origin
    else if (this.#others === undefined) this.#others = [origin]
    else this.#others.push(origin)
  }

  settle(): void {
    const origin = this.origin
    if (origin === undefined) return
    const others = this.#others
    this.origin = undefined
    this.#others = undefined
    origin.safe(this)
    if (others !== undefined) for (const other of others) other.safe(this)
  }
}
