import type { PeerTls } from '../net/peertls.ts'
import type { ListeningServer } from '../stream/listener.ts'
import type { StreamSettings } from '../stream/stream.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { DialbackKeys } from './dialback.ts'
import type { Notices } from './notices.ts'
import type { Pair } from './pair.ts'
import type { S2SStream } from './stream.ts'
import type { Verifier } from './verifier.ts'
import type { Talk } from './wire.ts'

/** `s2s.policy`: how another server has to show who it is. */
export type Policy = 'required' | 'require_valid_certificate'

/** What the configuration says of other servers; asked each time, as it may change. */
export interface S2SSettings {
  policyFor(domain: string): Policy
  /** Whether there may be anything between us and this domain. */
  allows(domain: string): boolean
  /** ms, for an attempt to reach a domain. */
  readonly connectTimeout: number
  /** ms without a stanza; `Infinity` for never. */
  readonly idleTimeout: number
  /** Of streams that we begin. */
  outgoing(): StreamSettings
}

/** Where conversations come from and go to. */
export interface Talks {
  begin(): Talk
  /**
   * One whose stream was lost, for whoever knows its id and is authenticated for one of its pairs: when what came in it is
   * safe. It is to be resumed, or over, in the same turn.
   */
  resume(id: string, pair: Pair): Promise<Talk | undefined>
  /** For a true `<failed h=''/>`: how far that one had got, as far as that is known. */
  endOf(id: string, pair: Pair): number | undefined
  /** Seconds for which one may be resumed, for `<enabled max=''/>`. */
  readonly resumable: number
  /** A stream that the peer began may carry what we send for this pair (XEP-0288). */
  offered(pair: Pair, talk: Talk): void
}

/** What all streams with other servers share. */
export interface S2SServer extends ListeningServer {
  readonly tls: PeerTls
  readonly settings: S2SSettings
  readonly keys: DialbackKeys
  readonly verifier: Verifier
  readonly talks: Talks
  readonly notices: Notices
  readonly streams: Set<S2SStream>
  /** Some domain of ours, for a header to who asks for none. */
  readonly name: string
  serves(domain: string): boolean
  /** Whether there is a certificate to show for a domain of ours. */
  covers(domain: string): boolean
  /** Sends an answer on its way. */
  answer(stanza: Stanza): void | Promise<void>
}
