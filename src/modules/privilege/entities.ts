import { type Options, opt } from '../../config/schema.ts'
import type { Host } from '../../core/host.ts'
import { type Element, xml } from '../../xml/index.ts'
import { Jid } from '../../xmpp/jid.ts'

export const PRIVILEGE = 'urn:xmpp:privilege:2'

const KINDS = ['none', 'get', 'set', 'both'] as const

export const entityOptions = {
  roster: opt.oneOf(KINDS, 'none', 'Whether it may read (`get`) or change (`set`) the contact lists of users.'),
  push: opt.bool(
    undefined,
    'Whether it is told of each change of a contact list; left out, yes where it may read them.',
  ),
  message: opt.oneOf(
    ['none', 'outgoing'],
    'none',
    'Whether it may send messages in the name of users, and of the host.',
  ),
  presence: opt.oneOf(
    ['none', 'managed_entity', 'roster'],
    'none',
    'Whether it sees when users come and go; with `roster` their contacts too, for which it must be allowed to read contact lists.',
  ),
  iq: opt.map(
    opt.oneOf(KINDS, undefined),
    'What it may ask (`get`) or have changed (`set`) in the name of users, by namespace.',
    { example: { 'http://jabber.org/protocol/pubsub': 'both', 'urn:xmpp:http:upload:0': 'get' } },
  ),
}

type Kind = (typeof KINDS)[number]

/** An entity that may act in the name of users (XEP-0356), with what it may do. */
export class Entity {
  readonly jid: Jid
  /** What it has asked in the name of users and is not answered yet. */
  asked = 0
  readonly #grants: Options<typeof entityOptions>

  /** Throws an Error where that is no domain, or what it may do makes no sense. */
  constructor(name: string, grants: Options<typeof entityOptions>) {
    const jid = Jid.parse(name)
    if (jid === undefined || jid.local !== '' || jid.resource !== '') throw new Error(`${name} is no domain`)
    this.jid = jid
    this.#grants = grants
    // XEP-0356 7.4
    if (grants.presence === 'roster' && !this.mayRoster('get')) {
      throw new Error(`${name}: presence: roster needs roster: get or both`)
    }
  }

  mayRoster(type: 'get' | 'set'): boolean {
    return includes(this.#grants.roster, type)
  }

  mayIq(namespace: string, type: 'get' | 'set'): boolean {
    return Object.hasOwn(this.#grants.iq, namespace) && includes(this.#grants.iq[namespace]!, type)
  }

  /** It is told of changes of rosters. Never where it may not read them (XEP-0356 4.1). */
  get hearsRosters(): boolean {
    return this.mayRoster('get') && (this.#grants.push ?? true)
  }

  get maySend(): boolean {
    return this.#grants.message === 'outgoing'
  }

  get seesUsers(): boolean {
    return this.#grants.presence !== 'none'
  }

  get seesContacts(): boolean {
    return this.#grants.presence === 'roster'
  }

  /** `<privilege/>`, for the message that tells it what it may do. */
  advertisement(): Element {
    const { roster, message, presence, iq } = this.#grants
    const privilege = xml('privilege', { xmlns: PRIVILEGE })
    if (roster !== 'none')
      privilege.append(xml('perm', { access: 'roster', type: roster, push: String(this.hearsRosters) }))
    if (message !== 'none') privilege.append(xml('perm', { access: 'message', type: message }))
    const namespaces = Object.entries(iq).filter(([, type]) => type !== 'none')
    if (namespaces.length > 0) {
      privilege.append(xml('perm', { access: 'iq' }, ...namespaces.map(([ns, type]) => xml('namespace', { ns, type }))))
    }
    if (presence !== 'none') privilege.append(xml('perm', { access: 'presence', type: presence }))
    return privilege
  }

  /** The same where it may do nothing any more. */
  withdrawal(): Element {
    const perms = ['roster', 'message', 'presence'].map(access => xml('perm', { access, type: 'none' }))
    const namespaces = Object.keys(this.#grants.iq).map(ns => xml('namespace', { ns, type: 'none' }))
    return xml('privilege', { xmlns: PRIVILEGE }, ...perms, xml('perm', { access: 'iq' }, ...namespaces))
  }
}

/** Where it is a component (XEP-0114): it is there. Of others that is not known. */
export function isConnected({ router }: Host, { jid }: Entity): boolean {
  return router.destinations.get(jid.domain)?.connected !== false
}

function includes(kind: Kind, type: 'get' | 'set'): boolean {
  return kind === 'both' || kind === type
}
