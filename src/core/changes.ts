import { Turns } from '../util/turns.ts'
import { StanzaError } from '../xmpp/errors.ts'

/** A client makes one change after the other: so many wait only where many clients make them. */
const MAX_CHANGES = 100

/** Changes of the same thing, one after the other. Who makes one too many gets the StanzaError `resource-constraint`. */
export class Changes extends Turns {
  /** @param max that wait, or are being made */
  constructor(max = MAX_CHANGES) {
    super(max, () => new StanzaError('resource-constraint', 'too many changes at once: try again later'))
  }
}
