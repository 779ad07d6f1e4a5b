import { opt } from '../../config/schema.ts'
import type { Account } from '../../core/account.ts'
import { isAway } from '../../core/directory.ts'
import { FIRST, type HookEvent, STOP } from '../../core/hooks.ts'
import { defineModule, type ModuleContext } from '../../core/module.ts'
import { type Session, Slot } from '../../core/session.ts'
import { NS, xml } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { Jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { askedElsewhere, isForClients, watchElsewhere } from './elsewhere.ts'

/** Addresses that a session has sent its presence to directly (RFC 6121 4.6), that learn when it goes. */
const DIRECTED = new Slot<Map<string, Jid>>('mod_presence', {
  write: told => [...told.keys()],
  read: (list: string[]) => new Map(list.map(text => [text, Jid.from(text)])),
})
/** Beyond so many, or so many characters of them, directed presence is refused. */
const MAX_DIRECTED = 1000
const MAX_DIRECTED_TEXT = 128 * 1024

/** The greeting of a session that is under way. */
const GREETING = new Slot<symbol>('greeting')

const options = {
  max_size: opt.size(
    '10 KiB',
    'Largest presence of a client: each is kept while the client is available, and sent to all its contacts.',
    { min: 1024 },
  ),
}

type Ctx = ModuleContext<typeof options>

export const mod_presence = defineModule({
  name: 'mod_presence',
  summary: 'Tells contacts who is available (RFC 6121 section 4).',
  options,
  start(ctx) {
    const { max_size: maxSize } = ctx.options
    ctx.hook('user_send_packet', { order: FIRST, failClosed: true }, ({ stanza }) => {
      if (stanza.kind !== 'presence' || Buffer.byteLength(stanza.toString()) <= maxSize) return
      throw new StanzaError('policy-violation', `a presence may have ${maxSize} bytes, this one is larger`)
    })
    ctx.hook('presence_broadcast', ({ session, stanza }) => {
      if (session.presence !== undefined) broadcast(ctx, session, stanza)
      if (stanza.type === 'unavailable') leave(ctx, session, stanza)
    })
    ctx.hook('set_presence', ({ session, initial }) => {
      if (initial) welcome(ctx, session)
    })
    ctx.hook('presence_out', ({ session, stanza }) => directed(session, stanza))
    ctx.hook('presence_in', ({ account, stanza }) => {
      if (stanza.type === 'probe') return probed(ctx, account, stanza)
    })
    ctx.hook('presence_nobody', ({ stanza }) => {
      if (stanza.type === 'probe') denied(ctx, stanza)
    })
    ctx.hook('presence_error', ({ account, stanza }) => {
      const told = account.sessions.get(stanza.to!.resource)?.slots.get(DIRECTED)
      const wasDirected = told?.delete(stanza.from.toString()) === true
      return isForClients(ctx, account, stanza, wasDirected) ? undefined : STOP
    })
    watchElsewhere(ctx)
    ctx.hook('subscription_granted', ({ account, contact }) => {
      for (const session of account.available()) ctx.route(session.presence!.readdressed(session.jid, contact))
    })
    ctx.hook('subscription_revoked', ({ account, contact }) => {
      for (const session of account.available()) goFrom(ctx, session, contact)
    })
    ctx.hook('addresses_blocked', event => withdraw(ctx, event))
    ctx.hook('addresses_unblocked', ({ account, jids }) => showAgain(ctx, account, jids))
    ctx.survives(DIRECTED)
  },
})

function directedOf(session: Session): Map<string, Jid> {
  return session.slots.get(DIRECTED) ?? new Map()
}

/** To subscribers, and to all available sessions of the account itself (RFC 6121 4.2.2, 4.4.2). */
function broadcast(ctx: Ctx, { account }: Session, stanza: Stanza): void {
  const copy = stanza.copies()
  for (const other of account.available()) ctx.route(copy(other.jid))
  const { router } = ctx.host
  // Looked up once, for there may be many contacts; most users block nobody.
  const blocking = ctx.use('blocking')
  const except = blocking?.blocksSome(account) === true ? (jid: Jid) => blocking.blocks(account, jid) : undefined
  // XEP-0191 3.3: one client of a contact may be blocked, and the others not.
  const source = { except }
  for (const contact of ctx.use('roster')?.subscribers(account) ?? []) {
    if (except?.(contact) !== true && !isAway(router, contact)) void router.route(copy(contact), source)
  }
}

/** What a session that has just become available gets to know (RFC 6121 4.2.2, 4.3.2, 3.1.3). */
function welcome(ctx: Ctx, session: Session): void {
  const { account } = session
  for (const other of account.available()) {
    if (other !== session) ctx.route(other.presence!.readdressed(other.jid, session.jid))
  }
  void ctx.aside(greet(ctx, session), 'a client was not told who is available', { jid: session.jid.toString() })
}

/** As fast as the client reads: of many contacts there is more than may wait for it. Few are told of at once. */
async function greet(ctx: Ctx, session: Session): Promise<void> {
  const roster = ctx.use('roster')
  if (roster === undefined) return
  const { account, slots } = session
  const greeting = Symbol('greeting')
  slots.set(GREETING, greeting)
  const goesOn = async (): Promise<boolean> =>
    (await session.room()) && session.presence !== undefined && slots.get(GREETING) === greeting
  for (const contact of roster.subscriptions(account)) {
    if (session.full && !(await goesOn())) return
    ask(ctx, session, contact)
  }
  for (const request of roster.requests(account)) {
    if (session.full && !(await goesOn())) return
    session.deliver(request) // it has come in already
  }
  for (const request of askedElsewhere(ctx, account)) {
    if (session.full && !(await goesOn())) return
    ctx.route(request)
  }
}

/** A probe (RFC 6121 4.3.1), which this client alone has the answers to. */
function ask(ctx: Ctx, { account, jid }: Session, contact: Jid): void {
  if (ctx.use('blocking')?.blocks(account, contact) === true || isAway(ctx.host.router, contact)) return
  ctx.route(Stanza.make(xml('presence', { type: 'probe' }), jid, contact))
}

/** RFC 6121 4.3.2: what each client has said last; where there is none, that the user is away, and since when. */
function probed(ctx: Ctx, account: Account, probe: Stanza): void | Promise<void> {
  const { from } = probe
  if (ctx.use('roster')?.isSubscribedFrom(account, from) !== true) return denied(ctx, probe)
  if (answered(ctx, account, from)) return
  const away = (seen?: { at: number; status: string }): void => {
    const text = seen?.status ? xml('status', {}, seen.status) : undefined
    const since =
      seen && xml('delay', { xmlns: NS.DELAY, from: account.jid.toString(), stamp: new Date(seen.at).toISOString() })
    ctx.route(Stanza.make(xml('presence', { type: 'unavailable' }, text, since), account.jid, from))
  }
  const last = ctx.use('last')
  if (last === undefined) return away()
  return last
    .seen(account, from)
    .catch(() => undefined)
    .then(seen => {
      if (!answered(ctx, account, from)) away(seen) // none of its clients has come meanwhile
    })
}

/** With the presence of each client of the account; false where none is available. */
function answered(ctx: Ctx, account: Account, to: Jid): boolean {
  const sessions = account.available()
  for (const session of sessions) ctx.route(session.presence!.readdressed(session.jid, to))
  return sessions.length > 0
}

/**
 * RFC 6121 4.3.2: who takes itself for a subscriber and is none learns so, from an account that exists as from one that does
 * not. Where no rosters are kept nobody knows.
 */
function denied(ctx: Ctx, { from, to }: Stanza): void {
  if (ctx.use('roster') === undefined) return
  ctx.route(Stanza.make(xml('presence', { type: 'unsubscribed' }), to!.bare, from.bare))
}

/** RFC 6121 4.5, 4.6.3: who was told directly that it is available learns that it goes. */
function leave(ctx: Ctx, session: Session, stanza: Stanza): void {
  const was = session.presence !== undefined
  const told = directedOf(session)
  session.slots.delete(DIRECTED)
  session.slots.delete(GREETING)
  const roster = ctx.use('roster')
  for (const jid of told.values()) {
    if (!was || roster?.isSubscribedFrom(session.account, jid) !== true) ctx.route(stanza.readdressed(session.jid, jid))
  }
}

/** To this address the session is not available any more. */
function goFrom(ctx: Ctx, session: Session, jid: Jid): void {
  ctx.route(Stanza.make(xml('presence', { type: 'unavailable' }), session.jid, jid))
}

/**
 * XEP-0191 3.3: to who is blocked now, and could see the user, the user goes offline: contacts, single clients of contacts, and
 * whom a client has told directly.
 */
function withdraw(ctx: Ctx, { account, jids, before }: HookEvent<'addresses_blocked'>): void {
  const contacts = subscribersAmong(ctx, account, jids).filter(jid => !before(jid))
  const [blocked, known] = [new Set(jids.map(String)), new Set(contacts.map(String))]
  for (const session of account.sessions.values()) {
    if (session.presence !== undefined) for (const jid of contacts) goFrom(ctx, session, jid)
    const told = directedOf(session)
    for (const [key, jid] of told) {
      if (!jid.isIn(blocked)) continue
      told.delete(key)
      const gone = session.presence !== undefined && (known.has(key) || known.has(jid.bare.toString()))
      if (!gone) goFrom(ctx, session, jid)
    }
  }
}

/** XEP-0191 3.4: who is blocked no longer sees the user again; and the user sees them, of whom nothing came in meanwhile. */
function showAgain(ctx: Ctx, account: Account, jids: readonly Jid[]): void {
  const list = new Set(jids.map(String))
  const clients = new Set(jids.map(jid => jid.bare.toString()))
  const subscribers = subscribersAmong(ctx, account, jids).filter(
    jid => ctx.use('blocking')?.blocks(account, jid) !== true,
  )
  const contacts = ctx.use('roster')?.subscriptions(account) ?? []
  const seen = contacts.filter(contact => contact.isIn(list) || clients.has(contact.toString()))
  for (const session of account.available()) {
    for (const jid of subscribers) ctx.route(session.presence!.readdressed(session.jid, jid))
    for (const contact of seen) ask(ctx, session, contact)
  }
}

/** Those of these addresses, or covered by them, that see the account's presence: contacts, or single clients of theirs. */
function subscribersAmong(ctx: Ctx, account: Account, jids: readonly Jid[]): Jid[] {
  const roster = ctx.use('roster')
  if (roster === undefined) return []
  const list = new Set(jids.map(String))
  const subscribers = roster.subscribers(account).filter(contact => contact.isIn(list))
  const clients = jids.filter(jid => jid.resource !== '' && jid.local !== '' && roster.isSubscribedFrom(account, jid))
  return [...subscribers, ...clients.filter(jid => !account.jid.equals(jid.bare))]
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
  if (!told.has(key)) {
    let text = key.length
    for (const other of told.keys()) text += other.length
    if (told.size >= MAX_DIRECTED || text > MAX_DIRECTED_TEXT) {
      throw new StanzaError('resource-constraint', `presence was sent directly to ${told.size} addresses already`)
    }
  }
  told.set(key, stanza.to!)
  session.slots.set(DIRECTED, told)
}
