import type { Account } from '../../core/account.ts'
import { type Session, takesMessages } from '../../core/session.ts'
import type { Notice } from './notice.ts'
import type { Target } from './target.ts'

/** Messages of one account that are watched; beyond, the oldest is no longer counted. */
export const MAX_WAITING = 1000

/** A message that no client has acknowledged. */
interface Waiting {
  readonly notice: Notice
  /** When all are told that were not yet (ms of a clock that never steps); undefined once that is done. */
  due: number | undefined
  /** Who has been told before that. */
  told: Set<Target> | undefined
}

interface WatchSettings {
  /** ms that a connected client has to acknowledge a message. */
  readonly ackTimeout: number
  /** A device that is away is told though other clients take the message. */
  readonly notifyAbsent: boolean
}

/** What waits for one account that has devices to wake, and when they are to be told of it. */
export class Watch {
  readonly account: Account
  /** By service and node, in the order in which they were first enabled. */
  readonly targets = new Map<string, Target>()
  readonly #settings: WatchSettings
  /** By id, oldest first. */
  readonly #waiting = new Map<string, Waiting>()
  #timer: NodeJS.Timeout | undefined

  constructor(account: Account, settings: WatchSettings) {
    this.account = account
    this.#settings = settings
  }

  /** Messages that nobody has acknowledged. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** A message from before the account came into memory; who was told of it then is not told again. */
  remember(id: string, notice: Notice): void {
    const told = new Set([...this.targets.values()].filter(target => target.registration.told >= id))
    this.#add(id, { notice, due: told.size === this.targets.size ? undefined : this.#deadline(), told })
  }

  /** A message was queued and handed to `sessions`. */
  delivered(id: string, notice: Notice, sessions: readonly Session[]): void {
    const entry: Waiting = { notice, due: this.#deadline(), told: undefined }
    this.#add(id, entry)
    if (notice.kind === 'call' || !sessions.some(session => session.connected)) this.#tell(entry)
    else if (this.#settings.notifyAbsent) this.#tellAbsent(entry)
  }

  /** Somebody asks to be a contact. */
  requested(sender: string): void {
    if (this.#attended()) return
    for (const target of this.targets.values()) target.tell({ kind: 'request', id: undefined, sender, body: '' })
  }

  /** Something was said in a room that this session is in: for its devices. */
  passed(notice: Notice, session: Session): void {
    for (const target of this.targets.values()) {
      if (target.registration.resource === session.jid.resource) target.tell(notice)
    }
  }

  acknowledged(id: string): void {
    this.#waiting.delete(id)
  }

  /** A session is gone, or its connection: where no other can take what waits, it is told now. */
  lost(): void {
    if (this.#attended()) return
    for (const entry of this.#waiting.values()) this.#tell(entry)
  }

  outstanding(target: Target, notice: Notice): Notice | undefined {
    if (notice.id === undefined) {
      const there = notice.kind === 'room' ? this.#isThere(target) : this.#attended()
      return there ? undefined : notice
    }
    if (this.#waiting.has(notice.id)) return notice
    return [...this.#waiting.values()].findLast(entry => entry.due === undefined)?.notice
  }

  stop(): void {
    clearTimeout(this.#timer)
    for (const target of this.targets.values()) target.stop()
  }

  /** A connected client takes messages for the account. */
  #attended(): boolean {
    for (const session of this.account.sessions.values()) if (session.connected && takesMessages(session)) return true
    return false
  }

  #isThere({ registration }: Target): boolean {
    return this.account.sessions.get(registration.resource)?.connected === true
  }

  #deadline(): number {
    return performance.now() + this.#settings.ackTimeout
  }

  #add(id: string, entry: Waiting): void {
    this.#waiting.set(id, entry)
    if (this.#waiting.size > MAX_WAITING) this.#waiting.delete(this.#waiting.keys().next().value!)
    if (entry.due !== undefined) this.#arm(entry.due)
  }

  #tell(entry: Waiting): void {
    if (entry.due === undefined) return
    entry.due = undefined
    const { told } = entry
    entry.told = undefined
    for (const target of this.targets.values()) if (told === undefined || !told.has(target)) target.tell(entry.notice)
  }

  #tellAbsent(entry: Waiting): void {
    for (const target of this.targets.values()) {
      if (this.#isThere(target)) continue
      entry.told ??= new Set()
      entry.told.add(target)
      target.tell(entry.notice)
    }
  }

  /** One timer for all: they fall due in the order in which they came. */
  #arm(due: number): void {
    this.#timer ??= setTimeout(() => this.#overdue(), Math.max(0, due - performance.now()) + 1).unref()
  }

  #overdue(): void {
    this.#timer = undefined
    const now = performance.now()
    for (const entry of this.#waiting.values()) {
      if (entry.due === undefined) continue
      if (entry.due > now) return this.#arm(entry.due)
      this.#tell(entry)
    }
  }
}
