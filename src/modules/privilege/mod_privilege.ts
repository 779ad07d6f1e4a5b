import { opt } from '../../config/schema.ts'
import { inMemory } from '../../core/directory.ts'
import { OBSERVE, STOP } from '../../core/hooks.ts'
import { defineModule, type ModuleContext } from '../../core/module.ts'
import { clone, type Element, NS, xml } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import type { Jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { Entity, entityOptions, isConnected, PRIVILEGE } from './entities.ts'
import { askFor } from './iqs.ts'
import { forwardedIn, sendFor } from './messages.ts'
import { Watch } from './presence.ts'

/** What entities may do in the name of users, for other modules. */
export interface PrivilegeService {
  /** Whether who asks may read, or change, the rosters of the users of this host. */
  roster(from: Jid, type: 'get' | 'set'): boolean
}

declare module '../../core/services.ts' {
  interface ServiceMap {
    privileges: PrivilegeService
  }
}

const options = {
  entities: opt.map(
    opt.object(entityOptions),
    'Who may do what in the name of the users of this host: domains of components, each with what it may do.',
    { example: { 'telegram.example.org': { roster: 'both', message: 'outgoing' } } },
  ),
}

type Ctx = ModuleContext<typeof options>

export const mod_privilege = defineModule({
  name: 'mod_privilege',
  xep: {
    number: 356,
    version: '0.4.1',
    name: 'Privileged Entity',
    partial:
      'In the name of a user is asked what anybody may ask of an account, a domain or somebody else, not what only its own clients may (block lists, archives, private storage).',
  },
  summary: 'Lets components act in the name of users: gateways that fill contact lists, services for everybody.',
  optional: true,
  options,
  start(ctx) {
    const { host } = ctx
    const entities = new Map(
      Object.entries(ctx.options.entities).map(([name, grants]) => {
        const entity = new Entity(name, grants)
        return [entity.jid.domain, entity]
      }),
    )
    /** Only the domain itself: who speaks for one of its addresses may be somebody that it lets in. */
    const find = (from: Jid): Entity | undefined => (from.local === '' ? entities.get(from.domain) : undefined)
    const watch = new Watch(host, () => entities.values())

    ctx.provide('privileges', { roster: (from, type) => find(from)?.mayRoster(type) === true })
    ctx.hook('component_connected', ({ component }) => {
      const entity = find(component)
      if (entity !== undefined) greet(ctx, entity, watch)
    })
    ctx.hook('host_packet', ({ stanza, source }) => {
      const forwarded = stanza.kind === 'message' && stanza.type !== 'error' ? forwardedIn(stanza) : undefined
      if (forwarded === undefined) return
      if (find(stanza.from)?.maySend !== true) throw new StanzaError('forbidden')
      return sendFor(host, forwarded, source).then(() => STOP)
    })
    for (const type of ['get', 'set'] as const) {
      ctx.iq('account', type, PRIVILEGE, 'privileged_iq', request => askFor(find(request.from), request))
    }
    ctx.hook('roster_changed', ({ account, item, version }) => {
      for (const entity of entities.values()) {
        if (entity.hearsRosters && isConnected(host, entity)) ctx.route(push(ctx, account.jid, entity, item, version))
      }
    })
    sight(ctx, watch, [...entities.values()])

    for (const entity of entities.values()) if (isConnected(host, entity)) greet(ctx, entity, watch)
    ctx.onStop(() => {
      for (const entity of entities.values()) if (isConnected(host, entity)) tell(ctx, entity, entity.withdrawal())
    })
  },
})

/** XEP-0356 4.2. */
function greet(ctx: Ctx, entity: Entity, watch: Watch): void {
  tell(ctx, entity, entity.advertisement())
  watch.welcome(entity)
}

/** It is true now, and no later. */
function tell(ctx: Ctx, { jid }: Entity, privilege: Element): void {
  const { host } = ctx
  const el = xml('message', { id: host.ids.random() }, privilege, xml('no-store', { xmlns: NS.HINTS }))
  ctx.route(Stanza.make(el, host.jid, jid))
}

/** XEP-0356 4.4. */
function push(ctx: Ctx, user: Jid, { jid }: Entity, item: Element, ver: string): Stanza {
  const query = xml('query', { xmlns: NS.ROSTER, ver }, clone(item))
  return Stanza.make(xml('iq', { type: 'set', id: ctx.host.ids.random() }, query), user, jid)
}

/** Who comes and goes: only that, not what changes in between (XEP-0356 7.1). */
function sight(ctx: Ctx, watch: Watch, entities: readonly Entity[]): void {
  const { host } = ctx
  if (entities.some(({ seesUsers }) => seesUsers)) {
    ctx.hook('set_presence', ({ session, stanza, initial }) => {
      if (initial) watch.user(stanza, jid => ctx.use('roster')?.isSubscribedFrom(session.account, jid) === true)
    })
    ctx.hook('presence_broadcast', ({ session, stanza }) => {
      if (stanza.type !== 'unavailable' || session.presence === undefined) return
      watch.user(stanza, jid => ctx.use('roster')?.isSubscribedFrom(session.account, jid) === true)
    })
  }
  if (!entities.some(({ seesContacts }) => seesContacts)) return
  const isSeen = async (to: Jid, from: Jid): Promise<boolean> => {
    const account = inMemory(host, to) ?? (await ctx.account(to.local))
    return account !== undefined && ctx.use('roster')?.isSubscribedTo(account, from) === true
  }
  ctx.hook('filter_packet', { order: OBSERVE }, ({ stanza }) => {
    const to = stanza.to!
    if (!stanza.isPresenceInformation || stanza.type === 'error' || to.local === '' || to.domain !== host.name) return
    if (stanza.from.domain === host.name) return
    const told = async (): Promise<void> => {
      if (await isSeen(to, stanza.from)) watch.contact(stanza)
    }
    void ctx.aside(told(), 'an entity was not told of a presence')
  })
}
