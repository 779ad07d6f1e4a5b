import type { Account } from '../core/account.ts'
import { defineModule, type ModuleContext } from '../core/module.ts'
import { type Session, Slot, takesMessages } from '../core/session.ts'
import { childText, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'

declare module '../core/hooks.ts' {
  interface HookMap {
    /** A session broadcast that it is available; `initial` for the first time since it was not. */
    set_presence: { session: Session; stanza: Stanza; initial: boolean }
    /** A session that was available is so no longer, by its own word (`status` is the text it gave) or because it ended. */
    unset_presence: { session: Session; status: string | undefined }
  }
}

/** Addresses that a session has sent its presence to directly (RFC 6121 4.6), that learn when it goes. */
const DIRECTED = new Slot<Map<string, Jid>>('directed presence')
/** Beyond this many, directed presence is refused. */
const MAX_DIRECTED = 1000

/** Ms until queued messages are read again that could not be read. */
const RETRY_ATTACH = 5000

/** Between modules of one host, without one importing the other: see the services of the same names. */
type Ctx = ModuleContext<Record<never, never>>

export const mod_presence = defineModule({
  name: 'mod_presence',
  summary: 'Tells contacts who is available (RFC 6121 section 4).',
  options: {},
  start(ctx) {
    ctx.hook('presence_broadcast', ({ session, stanza }) => {
      if (stanza.type === 'available') return available(ctx, session, stanza)
      if (stanza.type === 'unavailable') return unavailable(ctx, session, stanza)
      // RFC 6121 4.7.1: the other types need an address.
      throw new StanzaError('bad-request', `presence of type ${stanza.type} needs an address`)
    })
    ctx.hook('presence_out', ({ session, stanza }) => directed(session, stanza))
    ctx.hook('presence_in', ({ account, stanza }) => {
      if (stanza.type === 'probe') probed(ctx, account, stanza.from)
    })
    ctx.hook('session_closed', ({ session }) => {
      if (session.presence === undefined && directedOf(session).size === 0) return
      unavailable(ctx, session, Stanza.make(xml('presence', { type: 'unavailable' }), session.jid, undefined))
    })
    ctx.hook('subscription_granted', ({ account, contact }) => {
      for (const session of account.available()) ctx.route(session.presence!.readdressed(session.jid, contact))
    })
    ctx.hook('subscription_revoked', ({ account, contact }) => {
      for (const session of account.available()) {
        ctx.route(Stanza.make(xml('presence', { type: 'unavailable' }), session.jid, contact))
      }
    })
    ctx.hook('session_suspend', ({ session, state }) => {
      const list = [...directedOf(session).keys()]
      if (list.length > 0) state['mod_presence'] = list
    })
    ctx.hook('session_restored', ({ session, state }) => {
      const list = state['mod_presence']
      if (!Array.isArray(list)) return
      const jids = list.map(text => Jid.from(String(text)))
      session.slots.set(DIRECTED, new Map(jids.map(jid => [jid.toString(), jid])))
    })
  },
})

function directedOf(session: Session): Map<string, Jid> {
  return session.slots.get(DIRECTED) ?? new Map()
}

/** RFC 6121 4.2 and 4.4. */
function available(ctx: Ctx, session: Session, stanza: Stanza): void {
  const priority = readPriority(stanza)
  const initial = session.presence === undefined
  session.presence = stanza
  session.priority = priority
  broadcast(ctx, session, stanza)
  ctx.host.hooks.notify('set_presence', { session, stanza, initial })
  if (initial) welcome(ctx, session)
  if (takesMessages(session)) attach(ctx, session)
  else session.account.queue.detach(session)
}

/** Starts, or goes on with, the delivery of what waits for the account. */
function attach(ctx: Ctx, session: Session): void {
  session.account.queue.attach(session).catch((error: unknown) => {
    ctx.log.error({ err: error, jid: session.jid.toString() }, 'queued messages could not be read')
    session.timer(RETRY_ATTACH, () => {
      if (takesMessages(session)) attach(ctx, session)
    })
  })
}

/** RFC 6121 4.7.2.3. */
function readPriority(stanza: Stanza): number {
  const text = childText(stanza.el, 'priority')?.trim()
  if (text === undefined || text === '') return 0
  const value = Number(text)
  if (!/^[+-]?\d{1,3}$/.test(text) || value < -128 || value > 127) {
    throw new StanzaError('bad-request', 'a priority is a whole number from -128 to 127')
  }
  return value
}

/** To subscribers, and to all available sessions of the account itself (RFC 6121 4.2.2, 4.4.2). */
function broadcast(ctx: Ctx, session: Session, stanza: Stanza): void {
  const copy = stanza.copies()
  for (const other of session.account.sessions.values()) {
    if (other.presence !== undefined) other.deliver(copy(other.jid))
  }
  const roster = ctx.use('roster')
  if (roster === undefined) return
  for (const contact of roster.subscribers(session.account)) tell(ctx, session, contact, copy)
}

/** One subscriber: its sessions where it is here, else it is routed. Nobody there, nothing to do. */
function tell(ctx: Ctx, { account, jid }: Session, contact: Jid, copy: (to: Jid) => Stanza): void {
  const blocking = ctx.use('blocking')
  if (blocking?.blocks(account, contact) === true) return
  const host = ctx.host.router.hosts.get(contact.domain)
  if (host === undefined) return ctx.route(copy(contact))
  const there = host.accounts.get(contact.local)
  if (there === undefined || there.sessions.size === 0) return
  if (host.services.use('blocking')?.blocks(there, jid) === true) return
  const stanza = copy(contact)
  for (const session of there.sessions.values()) if (session.presence !== undefined) session.deliver(stanza)
}

/** What a session that has just become available gets to know (RFC 6121 4.2.2, 4.3.2, 3.1.3). */
function welcome(ctx: Ctx, session: Session): void {
  const { account } = session
  for (const other of account.sessions.values()) {
    if (other !== session && other.presence !== undefined)
      session.deliver(other.presence.readdressed(other.jid, session.jid))
  }
  const roster = ctx.use('roster')
  if (roster === undefined) return
  for (const contact of roster.subscriptions(account)) ask(ctx, session, contact)
  for (const request of roster.requests(account)) session.deliver(request)
}

/** A probe; of a local contact it is answered here and now. */
function ask(ctx: Ctx, session: Session, contact: Jid): void {
  const { account } = session
  const blocking = ctx.use('blocking')
  if (blocking?.blocks(account, contact) === true) return
  const host = ctx.host.router.hosts.get(contact.domain)
  if (host === undefined) {
    ctx.route(Stanza.make(xml('presence', { type: 'probe' }), account.jid, contact))
    return
  }
  const there = host.accounts.get(contact.local)
  if (there === undefined || !mayKnow(host.services, there, session.jid)) return
  for (const other of there.sessions.values()) {
    if (other.presence === undefined || blocking?.blocks(account, other.jid) === true) continue
    session.deliver(other.presence.readdressed(other.jid, session.jid))
  }
}

function mayKnow(services: Ctx['host']['services'], account: Account, asker: Jid): boolean {
  if (services.use('blocking')?.blocks(account, asker) === true) return false
  return services.use('roster')?.isSubscribedFrom(account, asker) === true
}

/** RFC 6121 4.3.2. A stranger hears nothing, as from an account that does not exist. */
function probed(ctx: Ctx, account: Account, asker: Jid): void {
  if (!mayKnow(ctx.host.services, account, asker)) return
  const sessions = account.available()
  for (const session of sessions) ctx.route(session.presence!.readdressed(session.jid, asker))
  if (sessions.length === 0) ctx.route(Stanza.make(xml('presence', { type: 'unavailable' }), account.jid, asker))
}

/** RFC 6121 4.5: to everybody who was told that it is available. */
function unavailable(ctx: Ctx, session: Session, stanza: Stanza): void {
  const was = session.presence !== undefined
  const { account } = session
  if (was) broadcast(ctx, session, stanza)
  const told = directedOf(session)
  session.slots.delete(DIRECTED)
  const roster = ctx.use('roster')
  for (const jid of told.values()) {
    if (!was || roster?.isSubscribedFrom(account, jid) !== true) ctx.route(stanza.readdressed(session.jid, jid))
  }
  session.presence = undefined
  session.priority = 0
  account.queue.detach(session)
  if (was) ctx.host.hooks.notify('unset_presence', { session, status: childText(stanza.el, 'status') })
}

/** RFC 6121 4.6: who is told directly also learns when the session goes. */
function directed(session: Session, stanza: Stanza): void {
  const key = stanza.to!.toString()
  if (stanza.type === 'unavailable') {
    session.slots.get(DIRECTED)?.delete(key)
    return
  }
  if (stanza.type !== 'available') return
  const told = directedOf(session)
  if (!told.has(key) && told.size >= MAX_DIRECTED) {
    throw new StanzaError('resource-constraint', `presence was sent directly to ${MAX_DIRECTED} addresses already`)
  }
  told.set(key, stanza.to!)
  session.slots.set(DIRECTED, told)
}
