import type { Place } from '../net/targets.ts'
import type { StanzaCondition } from '../xmpp/errors.ts'

/** Another server could not be reached, or did not let us in. */
export class PeerError extends Error {
  override name = 'PeerError'
  /** For who has sent something there. */
  readonly condition: StanzaCondition
  /** For the operator: what was tried, why it failed, what to do. */
  readonly text: string

  constructor(condition: StanzaCondition, text: string, options?: ErrorOptions) {
    super(`${condition}: ${text}`, options)
    this.condition = condition
    this.text = text
  }
}

/** It sends us to another of its servers (RFC 6120 4.9.3.19). */
export class Redirection extends PeerError {
  override name = 'Redirection'
  readonly place: Place

  constructor(text: string, place: Place) {
    super('remote-server-timeout', text)
    this.place = place
  }
}
