import type { OptionPath } from '../config/diagnostics.ts'
import type { DestinationLimits } from '../core/queue/destinationqueue.ts'
import type { Jid } from '../xmpp/jid.ts'

/** How one component is served. */
export interface ComponentSettings {
  /** Its domain. */
  readonly name: string
  /** Where it stands in the configuration. */
  readonly path: OptionPath
  readonly password: string
  /** What it is called (XEP-0030). */
  readonly label: string | undefined
  /** Hosts among whose items it is. */
  readonly itemsOf: readonly string[]
  /** The host in whose name the server asks it something. */
  readonly by: string
  /** What becomes of a connection when the component logs in once more. */
  readonly conflict: 'closeold' | 'closenew' | 'balance'
  /** What may wait for it while it is away; undefined: nothing does. */
  readonly queue: DestinationLimits | undefined
  /** Ms that it has to confirm what it got. */
  readonly ackTimeout: number
  /** Whether this sender may reach it. */
  readonly allowed: (from: Jid) => boolean
}
