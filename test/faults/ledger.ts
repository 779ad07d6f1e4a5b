/**
 * The ledger: what was sent, what the server took over, what arrived where, and what that says about the promise.
 *
 * Per message (one sender account, one recipient account, one running number for the pair):
 * - lost: acknowledged to the sender (`<a>`, `<resumed>` or `<failed>` covered it), no error came back, and no session of
 *   the recipient's account ever received it.
 * - refused: an error came back and it was never received. No loss, but right only while the disk is full.
 * - false bounce: an error came back, and it was received.
 * - disorder: its first copy arrived after the first copy of a later message of the same pair.
 * - never acked: the sender is connected, asked, and the server never counted it.
 * - duplicates: every copy after the first. See `unavoidable` below.
 */

/** One session of a recipient: one bound resource, through all its resumptions. */
export interface Session {
  readonly account: string
  readonly name: string
  /** The domain of the server. */
  readonly home: string
  /**
   * What the recipient told the server it has, and the server is known to have read: `h` stanzas, known since `at`.
   * With stream management, told is `<a h>` or `<resume h>`, and known when the server answered something sent after it
   * (a ping; `<resumed>`; its own `</stream:stream>` to ours). Without, told is the answer to a ping of the server (it
   * tells that all before the ping was read), or our `</stream:stream>`, known in the same way.
   */
  readonly confirmed: { h: number; at: number }[]
  /** When its last connection broke or closed, once the recipient gave it up: it is not resumed any more. */
  endedAt: number | undefined
}

export interface Copy {
  session: Session
  /** Which stanza of the session it was, from 1: the h that covers it. */
  n: number
  at: number
  stanzaId: string | undefined
}

export interface Message {
  readonly id: string
  readonly sender: string
  readonly recipient: string
  /** The domain of the sender's server. */
  readonly home: string
  /** Running number for the pair, from 1. */
  readonly serial: number
  /** When the server first told the sender that it took the message over. */
  ackedAt: number | undefined
  disorder: boolean
  readonly copies: Copy[]
  readonly errors: string[]
  readonly history: { at: number; what: string }[]
}

/** Messages of one pair that cannot be told apart: only their number counts. */
interface Repeated {
  sent: number
  acked: number
  refused: number
  /** Stanza-ids under which the recipient got them. */
  readonly copies: Set<string>
}

export interface Counts {
  messages: number
  acked: number
  delivered: number
  refused: number
  lost: number
  /** Of those that all look the same: acknowledged to their sender, and not received. */
  lostRepeats: number
  falseBounces: number
  disorder: number
  neverAcked: number
  avoidable: number
  unavoidable: number
  /** Of the unavoidable ones: those only a crash within `CRASH_WINDOW` excuses. */
  inCrash: number
}

/**
 * A crash may undo an acknowledgement the server has read but not yet written down. That excuses a copy only if the
 * acknowledgement was known to be read less than this many ms before the crash.
 */
export const CRASH_WINDOW = 200

/** What a server sent before it was killed may be read so long (ms) after: no server starts again as fast. */
export const ON_ITS_WAY = 50

/** Where all are who say nothing else. */
const HOME = 'here'

export type Fault = 'lost' | 'false bounce' | 'disorder' | 'never acked' | 'avoidable duplicate' | 'other stanza-id'

export class Ledger {
  readonly messages = new Map<string, Message>()
  /** Session and server events, for a timeline. */
  readonly events: { at: number; who: string; what: string }[] = []
  /** Breaches of the protocol itself, as the clients saw them. */
  readonly violations: string[] = []
  /** By sender and recipient. */
  private readonly repeats = new Map<string, Repeated>()
  private readonly crashes: { at: number; home: string }[] = []
  private readonly highest = new Map<string, number>()
  private readonly serials = new Map<string, number>()
  private readonly now: () => number
  private firsts = 0

  /** `now` gives ms, monotonic. */
  constructor(now: () => number = () => performance.now()) {
    this.now = now
  }

  event(who: string, what: string): void {
    this.events.push({ at: this.now(), who, what })
  }

  violation(who: string, what: string): void {
    this.violations.push(`${who}: ${what}`)
    this.event(who, `VIOLATION ${what}`)
  }

  /** The server of this domain was killed without warning. */
  crash(home = HOME): void {
    this.crashes.push({ at: this.now(), home })
  }

  session(account: string, name: string, home = HOME): Session {
    return { account, name, home, confirmed: [], endedAt: undefined }
  }

  confirm(session: Session, h: number): void {
    const last = session.confirmed.at(-1)
    if (!last || h > last.h) session.confirmed.push({ h, at: this.now() })
  }

  end(session: Session): void {
    session.endedAt ??= this.now()
  }

  /** A new message of the pair, about to be sent. */
  open(id: string, sender: string, recipient: string, home = HOME): Message {
    const pair = `${sender} ${recipient}`
    const serial = (this.serials.get(pair) ?? 0) + 1
    this.serials.set(pair, serial)
    const message: Message = {
      ...{ id, sender, recipient, home, serial, ackedAt: undefined, disorder: false },
      ...{ copies: [], errors: [], history: [] },
    }
    this.messages.set(id, message)
    return message
  }

  repeated(pair: string): Repeated {
    let found = this.repeats.get(pair)
    if (!found) this.repeats.set(pair, (found = { sent: 0, acked: 0, refused: 0, copies: new Set() }))
    return found
  }

  /** How many of the messages that look the same are acknowledged and missing. */
  missingRepeats(): number {
    return [...this.repeats.values()].reduce(
      (sum, { acked, refused, copies }) => sum + Math.max(0, acked - refused - copies.size),
      0,
    )
  }

  note(id: string, what: string): void {
    this.messages.get(id)?.history.push({ at: this.now(), what })
  }

  acked(id: string, how: string): void {
    const message = this.messages.get(id)
    if (!message) return
    message.ackedAt ??= this.now()
    this.note(id, `acknowledged to the sender by <${how}>`)
  }

  bounced(id: string, condition: string): void {
    this.messages.get(id)?.errors.push(condition)
    this.note(id, `error to the sender: ${condition}`)
  }

  received(id: string, session: Session, n: number, stanzaId: string | undefined): void {
    const message = this.messages.get(id)
    if (message?.recipient !== session.account) {
      const what = message ? 'a message for another' : 'a message nobody sent'
      this.violation(session.name, `received ${what}: ${id}`)
      return
    }
    if (message.copies.length === 0) {
      this.firsts++
      const pair = `${message.sender} ${message.recipient}`
      const highest = this.highest.get(pair) ?? 0
      message.disorder = message.serial < highest
      this.highest.set(pair, Math.max(highest, message.serial))
    }
    message.copies.push({ session, n, at: this.now(), stanzaId })
    this.note(id, `received by ${session.name} as stanza ${n}${stanzaId ? `, stanza-id ${stanzaId}` : ''}`)
  }

  /** Messages received at least once. */
  get delivered(): number {
    return this.firsts
  }

  /** Messages the sender need not care about any more and the recipient has not got. */
  missing(): Message[] {
    return [...this.messages.values()].filter(
      m => m.ackedAt !== undefined && m.copies.length === 0 && m.errors.length === 0,
    )
  }

  counts(): Counts {
    const counts: Counts = {
      ...{ messages: 0, acked: 0, delivered: 0, refused: 0, lost: 0, falseBounces: 0, disorder: 0, neverAcked: 0 },
      ...{ avoidable: 0, unavoidable: 0, inCrash: 0, lostRepeats: this.missingRepeats() },
    }
    for (const message of this.messages.values()) {
      counts.messages++
      const faults = this.faults(message)
      if (message.ackedAt !== undefined) counts.acked++
      else counts.neverAcked++
      if (message.copies.length > 0) counts.delivered++
      else if (message.errors.length > 0) counts.refused++
      if (faults.includes('lost')) counts.lost++
      if (faults.includes('false bounce')) counts.falseBounces++
      if (message.disorder) counts.disorder++
      for (const kind of this.duplicates(message)) {
        if (kind === 'avoidable') counts.avoidable++
        else counts.unavoidable++
        if (kind === 'in crash') counts.inCrash++
      }
    }
    return counts
  }

  faults(message: Message): Fault[] {
    const { copies, errors } = message
    const acked = message.ackedAt !== undefined
    const faults: Fault[] = []
    if (acked && copies.length === 0 && errors.length === 0) faults.push('lost')
    if (copies.length > 0 && errors.length > 0) faults.push('false bounce')
    if (message.disorder) faults.push('disorder')
    if (!acked) faults.push('never acked')
    if (this.duplicates(message).includes('avoidable')) faults.push('avoidable duplicate')
    if (this.changedId(message)) faults.push('other stanza-id')
    return faults
  }

  /**
   * Two copies must carry the same stanza-id where the recipient's server had stored the message: always, unless it was killed
   * between them before it had told of that (whose re-send is then a new message to it). It tells the sender, or the sender's
   * server, which it has told as soon as that server could have asked. A sender's server that was killed before it told the
   * sender of it gets the message as a new one, too.
   */
  private changedId({ copies, home, ackedAt = Number.POSITIVE_INFINITY }: Message): boolean {
    const named = copies.filter(c => c.stanzaId !== undefined)
    return named.some((copy, i) => {
      const earlier = named[i - 1]
      if (!earlier || earlier.stanzaId === copy.stanzaId) return false
      const elsewhere = home !== earlier.session.home
      return !this.crashes.some(crash => {
        if (crash.at < earlier.at - ON_ITS_WAY || crash.at > copy.at) return false
        if (crash.at < ackedAt && (crash.home === home || crash.home === earlier.session.home)) return true
        return elsewhere && crash.home === earlier.session.home && crash.at - earlier.at < CRASH_WINDOW
      })
    })
  }

  /** What each copy after the first is. Each earlier copy excuses one later copy at most. */
  private duplicates(message: Message): ('avoidable' | 'unavoidable' | 'in crash')[] {
    const excuses = [...message.copies]
    return message.copies.slice(1).map(copy => {
      const excused = excuses.findIndex(
        earlier => earlier.at <= copy.at && this.unavoidable(message, earlier, copy) !== undefined,
      )
      if (excused < 0) return 'avoidable'
      return this.unavoidable(message, excuses.splice(excused, 1)[0]!, copy)!
    })
  }

  /**
   * A copy is unavoidable only if an earlier copy was received in another session, which the recipient had given up when
   * this copy came, and which never was known to have acknowledged the earlier copy to a server that then lived on.
   * So these are avoidable: a copy in the same session (resumed: h says it all), in a session beside one still in use,
   * after an acknowledgement the server has read, and one that comes of a sender's re-send alone (the server sees sender
   * and id). The sender's side excuses nothing, but where it has a server of its own: if that is killed before it has written
   * the message down and told the sender, what the sender says again is a new message, which the other cannot recognise.
   */
  private unavoidable(message: Message, earlier: Copy, copy: Copy): 'unavoidable' | 'in crash' | undefined {
    const { session, n } = earlier
    if (this.forgotten(message, earlier, copy)) return 'in crash'
    if (session === copy.session || session.endedAt === undefined || session.endedAt > copy.at) return undefined
    const known = session.confirmed.find(c => c.h >= n)
    if (!known) return 'unavoidable'
    const undone = this.crashes.some(
      ({ at, home }) => home === session.home && at >= known.at && at <= copy.at && at - known.at < CRASH_WINDOW,
    )
    return undone ? 'in crash' : undefined
  }

  private forgotten({ home, ackedAt = Number.POSITIVE_INFINITY }: Message, earlier: Copy, copy: Copy): boolean {
    if (earlier === copy || home === earlier.session.home) return false
    return this.crashes.some(
      crash =>
        crash.home === home &&
        crash.at >= earlier.at - ON_ITS_WAY &&
        crash.at < Math.min(copy.at, ackedAt, earlier.at + CRASH_WINDOW),
    )
  }
}
