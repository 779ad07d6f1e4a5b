import type { Failures } from '../auth/failures.ts'
import type { Logger } from '../core/log.ts'
import type { Router } from '../core/router.ts'
import type { PreLoginBudget } from '../net/prelogin.ts'
import type { TlsContexts } from '../net/tls.ts'
import type { Flusher } from '../net/transport.ts'
import type { Rounds } from '../stream/rounds.ts'
import type { IdGenerator } from '../util/ids.ts'

/** What components and their streams share. */
export interface ComponentServer {
  readonly router: Router
  readonly ids: IdGenerator
  readonly log: Logger
  readonly flusher: Flusher
  readonly rounds: Rounds
  readonly tls: TlsContexts
  /** Of components alone: one with a wrong password keeps no client out that comes from the same machine. */
  readonly failures: Failures
  /** What the connections hold that are not logged in. */
  readonly prelogin: PreLoginBudget
  readonly counters: Readonly<Record<'logins' | 'failures' | 'received' | 'sent', { value: number }>>
  /** Resolves when everything that is queued by now, for whomever, is durable. */
  readonly settled: () => Promise<void>
  /** Ms since 1970. */
  readonly now: () => number
}
