import type { Host } from '../../core/host.ts'
import { Weighed } from '../../util/weighed.ts'
import type { Jid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'
import { type Entity, isConnected } from './entities.ts'

/** Contacts elsewhere whose last presence is kept for an entity that comes later, and characters of these. */
const MAX_KEPT = 20_000
const MAX_KEPT_TEXT = 16 * 1024 * 1024

/** What entities see of who comes and goes (XEP-0356 7). */
export class Watch {
  readonly #host: Host
  readonly #entities: () => Iterable<Entity>
  /** The last presence of clients of contacts elsewhere, while they are available. */
  readonly #contacts = new Weighed<string, Stanza>(MAX_KEPT, MAX_KEPT_TEXT)

  constructor(host: Host, entities: () => Iterable<Entity>) {
    this.#host = host
    this.#entities = entities
  }

  /** A user comes, or goes. Who sees the user's presence as a contact does, gets it in that way. */
  user(stanza: Stanza, isContact: (jid: Jid) => boolean): void {
    for (const entity of this.#entities()) {
      if (entity.seesUsers && !isContact(entity.jid)) this.#tell(entity, stanza)
    }
  }

  /**
   * Presence of a contact has come in for a user. Contacts of this host are users themselves, of whom is told anyway. It is
   * told once, however many it comes to.
   */
  contact(stanza: Stanza): void {
    const key = stanza.from.toString()
    const known = this.#contacts.get(key)
    if (stanza.type === 'unavailable') {
      if (known === undefined) return
      this.#contacts.delete(key)
    } else {
      if (known !== undefined && sameText(known, stanza)) return
      this.#contacts.set(key, stanza, stanza.toString().length)
    }
    for (const entity of this.#entities()) {
      if (entity.seesContacts && entity.jid.domain !== stanza.from.domain) this.#tell(entity, stanza)
    }
  }

  /** An entity that was not connected: what it would have been told. */
  welcome(entity: Entity): void {
    if (!entity.seesUsers) return
    for (const session of this.#host.sessions()) {
      if (session.presence !== undefined) this.#tell(entity, session.presence.readdressed(session.jid, entity.jid))
    }
    if (!entity.seesContacts) return
    for (const stanza of this.#contacts.values()) this.#tell(entity, stanza)
  }

  #tell(entity: Entity, stanza: Stanza): void {
    if (isConnected(this.#host, entity)) void this.#host.router.route(stanza.readdressed(stanza.from, entity.jid))
  }
}

/** But for whom it is for. */
function sameText(one: Stanza, other: Stanza): boolean {
  return one.toString() === other.readdressed(other.from, one.to).toString()
}
