import { Attempts } from '../util/attempts.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import { presenceRequired, pubsubError } from './errors.ts'
import type { Node } from './node.ts'
import type { Contacts, Place } from './place.ts'
import type { Affiliation } from './types.ts'

/**
 * What the nodes that one account made tell, within that time (ms), an owner who did not make them: nobody is asked whether
 * they want to be an owner, and whom they have blocked must not reach them through the place.
 */
const MAX_TOLD = 60
const TOLD_WITHIN = 3_600_000

/** The contacts of the owner of a node (bare address), where they are known here. */
export type ContactsOf = (owner: Jid) => Promise<Contacts | undefined>

/** Who may do what at a node (XEP-0060 4.1 and 4.5). The entities of the node must be loaded. */
export class Access {
  readonly #contactsOf: ContactsOf
  readonly #told: Attempts

  constructor(contactsOf: ContactsOf, now: () => number) {
    this.#contactsOf = contactsOf
    this.#told = new Attempts(MAX_TOLD, TOLD_WITHIN, now)
  }

  affiliation(place: Place, node: Node, jid: Jid): Affiliation {
    const { bare } = jid
    if (place.owner?.jid.equals(bare) === true) return 'owner'
    return node.affiliations.get(bare.toString()) ?? 'none'
  }

  owners(place: Place, node: Node): Jid[] {
    if (place.owner !== undefined) return [place.owner.jid]
    const owners: Jid[] = []
    for (const [bare, affiliation] of node.affiliations) if (affiliation === 'owner') owners.push(Jid.from(bare))
    return owners
  }

  /** The owners, as far as they are still told what happens at the node; each is told something now. */
  ownersToTell(place: Place, node: Node): Jid[] {
    return this.owners(place, node).filter(owner => {
      const bare = owner.toString()
      return place.owner !== undefined || bare === node.creator || this.#told.allow(`${node.creator} ${bare}`)
    })
  }

  /** Throws unless `jid` owns the node (`forbidden`). */
  mustOwn(place: Place, node: Node, jid: Jid): void {
    if (this.affiliation(place, node, jid) !== 'owner') throw new StanzaError('forbidden')
  }

  mayPublish(place: Place, node: Node, jid: Jid): boolean {
    const affiliation = this.affiliation(place, node, jid)
    if (affiliation === 'owner' || affiliation === 'publisher' || affiliation === 'publish-only') return true
    if (affiliation === 'outcast') return false
    const model = node.config.publish_model
    return model === 'open' || (model === 'subscribers' && node.isSubscribed(jid.bare.toString()))
  }

  /** What keeps `jid` from subscribing; undefined where nothing does. Approval by an owner (`authorize`) is another matter. */
  async notSubscribing(place: Place, node: Node, jid: Jid): Promise<StanzaError | undefined> {
    return this.#refusal(place, node, jid, true)
  }

  /** What keeps `jid` from reading items; undefined where nothing does. */
  async notReading(place: Place, node: Node, jid: Jid): Promise<StanzaError | undefined> {
    return this.#refusal(place, node, jid, false)
  }

  async #refusal(place: Place, node: Node, jid: Jid, subscribing: boolean): Promise<StanzaError | undefined> {
    const affiliation = this.affiliation(place, node, jid)
    if (affiliation === 'owner' || affiliation === 'publisher' || affiliation === 'member') return undefined
    if (affiliation === 'outcast' || affiliation === 'publish-only') return new StanzaError('forbidden')
    switch (node.config.access_model) {
      case 'open':
        return undefined
      case 'authorize':
        if (subscribing || node.isSubscribed(jid.bare.toString())) return undefined
        return pubsubError('not-authorized', 'not-subscribed')
      case 'whitelist':
        return pubsubError('not-allowed', 'closed-node')
      case 'presence':
      case 'roster': {
        const owners = await this.contactsAt(place, node)
        const refusals = owners.map(contacts => refusedToContact(contacts, node, jid))
        if (refusals.length === 0) return presenceRequired()
        return refusals.includes(undefined) ? undefined : refusals[0]
      }
    }
  }

  /** A subscriber still may be one. `owners`: see {@link contactsAt}. */
  mayStay(place: Place, node: Node, jid: Jid, owners: readonly Contacts[]): boolean {
    const affiliation = this.affiliation(place, node, jid)
    if (affiliation === 'outcast' || affiliation === 'publish-only') return false
    if (affiliation !== 'none') return true
    if (place.owner !== undefined) return this.isOpenTo(place.owner, node, jid)
    if (isForContacts(node)) return owners.some(owner => refusedToContact(owner, node, jid) === undefined)
    return node.config.access_model !== 'whitelist'
  }

  /** The contact of an owner may see the node: without a wait, for what is sent to all contacts. */
  isOpenTo(owner: Contacts, node: Node, contact: Jid): boolean {
    const affiliation = node.affiliations.get(contact.bare.toString())
    if (affiliation === 'outcast' || affiliation === 'publish-only') return false
    if (affiliation !== undefined) return true
    switch (node.config.access_model) {
      case 'open':
        return true
      case 'presence':
      case 'roster':
        return refusedToContact(owner, node, contact) === undefined
      case 'authorize':
        return node.isSubscribed(contact.bare.toString())
      case 'whitelist':
        return false
    }
  }

  /** The contacts of the owners of the node that are known here. */
  async contactsAt(place: Place, node: Node): Promise<Contacts[]> {
    if (place.owner !== undefined) return [place.owner]
    const found: Contacts[] = []
    for (const owner of this.owners(place, node)) {
      const contacts = await this.#contactsOf(owner)
      if (contacts !== undefined) found.push(contacts)
    }
    return found
  }
}

function refusedToContact(owner: Contacts, node: Node, jid: Jid): StanzaError | undefined {
  const groups = owner.groups(jid.bare)
  if (groups === undefined) return presenceRequired()
  if (node.config.access_model === 'presence') return undefined
  if (groups.some(group => node.config.roster_groups_allowed.includes(group))) return undefined
  return pubsubError('not-authorized', 'not-in-roster-group')
}

/** Who sees the presence of an owner may subscribe, or some of those. */
export function isForContacts(node: Node): boolean {
  const { access_model: model } = node.config
  return model === 'presence' || model === 'roster'
}
