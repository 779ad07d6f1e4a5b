import type { Credentials } from '../auth/credentials.ts'
import type { Devices } from '../auth/devices.ts'
import type { Failures } from '../auth/failures.ts'
import type { Familiar } from '../auth/familiar.ts'
import type { Sasl } from '../auth/sasl.ts'
import type { Host } from '../core/host.ts'
import type { Logger } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import type { Router } from '../core/router.ts'
import type { PreLoginBudget } from '../net/prelogin.ts'
import type { TlsContexts } from '../net/tls.ts'
import type { Flusher } from '../net/transport.ts'
import type { Rounds } from '../stream/rounds.ts'
import type { IdGenerator } from '../util/ids.ts'
import type { Ended } from './inbound.ts'
import type { C2SSession, SessionSettings } from './session.ts'
import type { C2SStream } from './stream.ts'

/** How clients of one host log in and what their sessions may do. */
export interface C2SHost {
  readonly host: Host
  readonly credentials: Credentials
  readonly devices: Devices
  /** Streams whose client has shown who it is, with the localpart, until they have a session or end. */
  readonly entering: Map<C2SStream, string>
  /** From where accounts were logged in to. */
  readonly familiar: Familiar
  /** Stays with the host; what nobody shall be able to guess is derived from it. */
  readonly secret: Buffer
  sasl: Sasl
  settings: HostSettings
}

export interface HostSettings extends SessionSettings {
  plainWithoutTls: boolean
  uniqueOnTls13: boolean
  maxUserSessions: number
  resourceConflict: 'closeold' | 'closenew' | 'acceptnew' | 'setresource'
}

/** Whether somebody may log in through a listener. */
export type AccessCheck = (who: { user: string; host: string; ip: string }) => boolean

/** What all streams of a server share. */
export interface C2SServer {
  readonly hosts: ReadonlyMap<string, C2SHost>
  readonly router: Router
  readonly ids: IdGenerator
  readonly log: Logger
  readonly metrics: Metrics
  readonly flusher: Flusher
  readonly rounds: Rounds
  readonly tls: TlsContexts
  readonly failures: Failures
  /** What the connections hold that are not logged in. */
  readonly prelogin: PreLoginBudget
  readonly sessions: ResumableSessions
  readonly counters: Readonly<Record<'logins' | 'failures' | 'received' | 'sent', { value: number }>>
}

/** The sessions that can be resumed, by resumption id, and where those that ended had got to. */
export class ResumableSessions {
  readonly #live = new Map<string, C2SSession>()
  /** For a true `<failed h/>` (XEP-0198 5): the newest of what ended. */
  readonly #ended = new Map<string, { user: string; end: Ended }>()
  readonly #bound: number

  constructor(bound = 50_000) {
    this.#bound = bound
  }

  add(session: C2SSession): void {
    if (session.resumption !== undefined) this.#live.set(session.resumption, session)
  }

  /** The session of an id: at once, or when it was brought back from before a restart. */
  find(id: string): C2SSession | undefined | Promise<C2SSession | undefined> {
    return this.#live.get(id)
  }

  get size(): number {
    return this.#live.size
  }

  ended(session: C2SSession): void {
    const id = session.resumption
    if (id === undefined || !this.#live.delete(id)) return
    if (this.#ended.size >= this.#bound) this.#ended.delete(this.#ended.keys().next().value!)
    const { lastWord } = session
    if (lastWord !== undefined) this.#ended.set(id, { user: session.account.jid.toString(), end: lastWord })
  }

  /** Where an ended session of this user had got to, if that is still known. */
  endOf(id: string, user: string): Ended | undefined {
    const ended = this.#ended.get(id)
    return ended?.user === user ? ended.end : undefined
  }
}
