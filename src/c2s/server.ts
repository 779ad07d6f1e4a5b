import type { Credentials } from '../auth/credentials.ts'
import type { Devices } from '../auth/devices.ts'
import type { Failures } from '../auth/failures.ts'
import type { Familiar } from '../auth/familiar.ts'
import type { Sasl } from '../auth/sasl.ts'
import type { Host } from '../core/host.ts'
import type { TlsContexts } from '../net/tls.ts'
import type { ListeningServer } from '../stream/listener.ts'
import type { IdGenerator } from '../util/ids.ts'
import type { StreamError } from '../xmpp/errors.ts'
import type { ResumableSessions } from './resumable.ts'
import type { SessionSettings } from './session.ts'

/** RFC 6120 4.3: where a stream is on its way to a session; negotiation.ts says what may happen in each. */
export type StreamState = 'unauthenticated' | 'authenticated' | 'bound' | 'closing'

/** How clients of one host log in and what their sessions may do. */
export interface C2SHost {
  readonly host: Host
  readonly credentials: Credentials
  readonly devices: Devices
  /** Streams whose client has shown who it is, with the localpart, until they have a session or end. */
  readonly entering: Map<{ fail(error: StreamError): void }, string>
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
export interface C2SServer extends ListeningServer {
  readonly hosts: ReadonlyMap<string, C2SHost>
  readonly ids: IdGenerator
  readonly tls: TlsContexts
  readonly failures: Failures
  readonly sessions: ResumableSessions
  readonly counters: Readonly<Record<'logins' | 'failures' | 'received' | 'sent', { value: number }>>
}
