import type { Failures } from '../auth/failures.ts'
import type { Router } from '../core/router.ts'
import type { TlsContexts } from '../net/tls.ts'
import type { ListeningServer } from '../stream/listener.ts'
import type { IdGenerator } from '../util/ids.ts'

/** What components and their streams share. */
export interface ComponentServer extends ListeningServer {
  readonly router: Router
  readonly ids: IdGenerator
  readonly tls: TlsContexts
  /** Of components alone: one with a wrong password keeps no client out that comes from the same machine. */
  readonly failures: Failures
  readonly counters: Readonly<Record<'logins' | 'failures' | 'received' | 'sent', { value: number }>>
  /** Resolves when everything that is queued by now, for whomever, is durable. */
  readonly settled: () => Promise<void>
  /** Ms since 1970. */
  readonly now: () => number
}
