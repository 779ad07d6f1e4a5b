import type { StreamError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { Account } from './account.ts'
import type { Besides, Entry, Holder } from './queue/entry.ts'

/** A key under which a module keeps state of its own on a session or an account: typed, and private to who has the key. */
export class Slot<T> {
  readonly name: string
  declare readonly type: T
  /** Of a slot that survives a restart, where what is in it is no JSON by itself. */
  readonly json: { write(value: T): unknown; read(kept: unknown): T } | undefined
  constructor(name: string, json?: Slot<T>['json']) {
    this.name = name
    this.json = json
  }
}

/** Values by slot. */
export class Slots {
  #values: Map<Slot<unknown>, unknown> | undefined

  get<T>(slot: Slot<T>): T | undefined {
    return this.#values?.get(slot) as T | undefined
  }

  /** Made, and put there, where nothing is. */
  ensure<T>(slot: Slot<T>, make: () => T): T {
    const there = this.get(slot)
    if (there !== undefined) return there
    const made = make()
    this.set(slot, made)
    return made
  }

  set<T>(slot: Slot<T>, value: T): void {
    this.#values ??= new Map()
    this.#values.set(slot, value)
  }

  delete(slot: Slot<unknown>): void {
    this.#values?.delete(slot)
  }
}

/** The slots that sessions keep over an orderly restart, each under its name. */
export class SurvivingSlots {
  readonly #slots = new Set<Slot<unknown>>()

  add(slot: Slot<unknown>): () => void {
    this.#slots.add(slot)
    return () => this.#slots.delete(slot)
  }

  /** What is in them, as JSON. */
  write(slots: Slots): Record<string, unknown> {
    const state: Record<string, unknown> = {}
    for (const slot of this.#slots) {
      const value = slots.get(slot)
      if (value !== undefined) state[slot.name] = slot.json === undefined ? value : slot.json.write(value)
    }
    return state
  }

  read(slots: Slots, state: Readonly<Record<string, unknown>>): void {
    for (const slot of this.#slots) {
      const kept = state[slot.name]
      if (kept !== undefined) slots.set(slot, slot.json === undefined ? kept : slot.json.read(kept))
    }
  }
}

/** What a session tells an administrator about its connection. */
export interface ConnectionInfo {
  ip: string
  port: number
  tls: string | undefined
  mechanism: string | undefined
  /** When the session was bound, ms since 1970. */
  since: number
}

/**
 * A bound resource (RFC 6120 7): what the rest of the server knows of a connected client. It lives on through a broken
 * connection while it can be resumed (XEP-0198).
 */
export interface Session extends Holder {
  readonly jid: Jid
  readonly account: Account
  readonly slots: Slots
  /** Set by a module before the session takes messages. */
  besides: Besides | undefined
  /** The last presence that the client broadcast, while it is available (RFC 6121 4.2, 4.4). */
  presence: Stanza | undefined
  /** Of that presence; -128 to 127 (RFC 6121 4.7.2.3). */
  priority: number
  /** It asked for the roster (RFC 6121 2.2): it gets pushes. */
  interested: boolean
  readonly info: ConnectionInfo
  /** False while it waits for its client to come back. */
  readonly connected: boolean
  readonly resumable: boolean
  /** Hands over a stanza: it is sent, or kept while the session can be resumed. Never waits. */
  deliver(stanza: Stanza, entry?: Entry): void
  /** Hands over a queued message in another form (an archive's answer): its acknowledgement counts for the entry. */
  deliverAs(stanza: Stanza, entry: Entry): void
  /** A nonza or other text straight to the stream, outside stream management; nothing if there is no connection. */
  sendRaw(xml: string): void
  /** Ends the session and its stream with an error; it cannot be resumed. */
  end(error: StreamError): void
  /** What it was sent beyond queued messages and has not acknowledged, oldest first; with stream management only. */
  unacknowledged(): Iterable<string>
  /** While it waits for its client: how long (ms) from now, rather than the host's `resume_timeout`. */
  keepFor(ms: number): void
  /** Runs `fn` after `ms` unless the session ends before; the returned function cancels it. */
  timer(ms: number, fn: () => void): () => void
}

/** Available with a priority that takes messages for the account (RFC 6121 8.5.2.1.1). */
export function takesMessages(session: Session): boolean {
  return session.presence !== undefined && session.priority >= 0
}
