import type { Waiting } from '../core/queue/queue.ts'
import type { Destination, Source } from '../core/router.ts'
import { StanzaError } from '../xmpp/errors.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { Link } from './link.ts'
import type { Links } from './links.ts'

/** Where stanzas for other servers go: what the router knows no destination for. */
export class Federation implements Destination {
  readonly name = ''
  readonly filter = undefined
  readonly #links: Links
  readonly #allows: (remote: string) => boolean

  /** @param allows whether there may be anything between us and a domain; asked each time */
  constructor(links: Links, allows: (remote: string) => boolean) {
    this.#links = links
    this.#allows = allows
  }

  deliver(stanza: Stanza, { origin }: Source): void | Promise<void> {
    const { from, to } = stanza
    const pair = { local: from.domain, remote: to!.domain }
    // We speak for the domains that are served here, and for nobody else.
    if (!this.#links.router.destinations.has(pair.local)) return
    if (!this.#allows(pair.remote)) {
      throw new StanzaError('forbidden', `this server does not talk with ${pair.remote}`)
    }
    const link = this.#links.need(pair)
    if (link instanceof Promise) return link.then((loaded: Link) => loaded.deliver(stanza, origin))
    link.deliver(stanza, origin)
  }

  async waiting(local: string, remote: string, limit: number): Promise<Waiting[]> {
    const link = await this.#links.need({ local, remote })
    return link.queue.peek(limit)
  }
}
