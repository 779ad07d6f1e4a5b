import type { OptionPath } from '../config/diagnostics.ts'
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
  /** Whether this sender may reach it. */
  readonly allowed: (from: Jid) => boolean
}
