import { setImmediate } from 'node:timers/promises'
import type { Account } from '../../core/account.ts'
import { inMemory, isElsewhere } from '../../core/directory.ts'
import type { ModuleContext } from '../../core/module.ts'
import { Slot } from '../../core/session.ts'
import { Weighed } from '../../util/weighed.ts'
import { xml } from '../../xml/index.ts'
import type { Jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'

type Ctx = Pick<ModuleContext, 'host' | 'hook' | 'use' | 'aside' | 'route'>

/** So many of one account, and characters of their addresses. */
const MAX_SHOWN = 2000
const MAX_SHOWN_TEXT = 256 * 1024

/** Clients of contacts elsewhere that the account's clients take for available, by full address. */
class Shown {
  readonly clients = new Weighed<string, Jid>(MAX_SHOWN, MAX_SHOWN_TEXT, () => {
    this.isAll = false
  })
  /** None was ever forgotten for want of room. */
  isAll = true
}

const SHOWN = new Slot<Shown>('presence from elsewhere')
/** Accounts that are told of a peer in one turn. */
const PORTION = 100

/** Of what is asked again, so that an answer that comes back as an error is known. */
const AGAIN = 'again-'

/**
 * Presence of and to contacts on other servers, beyond what RFC 6121 says of a world without broken connections: nobody is
 * shown as available whose server is gone, and what was lost meanwhile is said and asked again when it is back.
 */
export function watchElsewhere(ctx: Ctx): void {
  const { host } = ctx
  ctx.hook('presence_elsewhere', ({ stanza }) => {
    const account = inMemory(host, stanza.to!)
    if (account !== undefined) note(ctx, account, stanza)
  })
  // While this server was away nobody could tell it.
  ctx.hook('session_restored', ({ session }) => {
    if (session.presence === undefined) return
    for (const contact of ctx.use('roster')?.subscriptions(session.account) ?? []) {
      if (isElsewhere(host.router, contact) && !isBlocked(ctx, session.account, contact)) {
        ctx.route(Stanza.make(xml('presence', { type: 'probe' }), session.jid, contact))
      }
    }
  })
  ctx.hook('peer_gone', ({ local, remote }) => {
    if (local === host.name) return everybody(ctx, account => goneFrom(ctx, account, remote))
  })
  ctx.hook('peer_back', ({ local, remote }) => {
    if (local === host.name) return everybody(ctx, account => backTo(ctx, account, remote))
  })
}

/** RFC 6121 3.1.2: questions to other servers that have no answer may have been lost. */
export function* askedElsewhere(ctx: Ctx, account: Account): Generator<Stanza> {
  const { router, ids } = ctx.host
  for (const contact of ctx.use('roster')?.asked(account) ?? []) {
    if (!isElsewhere(router, contact) || isBlocked(ctx, account, contact)) continue
    yield Stanza.make(xml('presence', { type: 'subscribe', id: AGAIN + ids.random() }), account.jid, contact)
  }
}

/**
 * Whether presence that came back to an account as an error is for its clients: only what they have sent themselves, to one
 * address. A contact that cannot be reached is not shown as a fault at each change of presence.
 */
export function isForClients(ctx: Ctx, account: Account, error: Stanza, wasDirected: boolean): boolean {
  if (wasDirected) return true
  const roster = ctx.use('roster')
  const { from, id } = error
  if (error.to!.resource === '') {
    const waits = roster?.asked(account).some(jid => jid.equals(from.bare)) === true
    return waits && id?.startsWith(AGAIN) !== true
  }
  return roster === undefined || !(roster.isSubscribedFrom(account, from) || roster.isSubscribedTo(account, from))
}

function isBlocked(ctx: Ctx, account: Account, jid: Jid): boolean {
  return ctx.use('blocking')?.blocks(account, jid) === true
}

function note(ctx: Ctx, account: Account, { from, type }: Stanza): void {
  if (type === 'error' || ctx.use('roster')?.isSubscribedTo(account, from) !== true) return
  const key = from.toString()
  const { clients } = account.slots.ensure(SHOWN, () => new Shown())
  const before = clients.weight
  if (type === 'available') clients.set(key, from, key.length)
  else if (from.resource !== '') clients.delete(key)
  else for (const jid of clients.values()) if (jid.bare.equals(from)) clients.delete(jid.toString())
  account.grew(clients.weight - before)
}

/** Who has clients, some at a time: others have their turn between them. */
async function everybody(ctx: Ctx, tell: (account: Account) => void): Promise<void> {
  let count = 0
  for (const account of [...ctx.host.accounts.values()]) {
    if (account.available().length === 0) continue
    if (++count % PORTION === 0) await setImmediate()
    tell(account)
  }
}

/** RFC 6121 4.5: what its server would have said of each of these clients, had it been there to say it. */
function goneFrom(ctx: Ctx, account: Account, remote: string): void {
  const contacts = (ctx.use('roster')?.subscriptions(account) ?? []).filter(jid => jid.domain === remote)
  if (contacts.length === 0) return
  const shown = account.slots.get(SHOWN)
  if (shown === undefined) return
  const { clients, isAll } = shown
  const known = clients.values().filter(jid => jid.domain === remote)
  const before = clients.weight
  for (const jid of known) clients.delete(jid.toString())
  account.grew(clients.weight - before)
  for (const from of isAll ? known : [...known, ...contacts]) {
    for (const session of account.available()) {
      session.deliver(Stanza.make(xml('presence', { type: 'unavailable' }), from, session.jid))
    }
  }
}

/** Its server may have missed what was said meanwhile, as the account's server has. */
function backTo(ctx: Ctx, account: Account, remote: string): void {
  const roster = ctx.use('roster')
  if (roster === undefined) return
  const wanted = (jid: Jid): boolean => jid.domain === remote && !isBlocked(ctx, account, jid)
  for (const contact of roster.subscribers(account).filter(wanted)) {
    for (const session of account.available()) ctx.route(session.presence!.readdressed(session.jid, contact))
  }
  for (const contact of roster.subscriptions(account).filter(wanted)) {
    ctx.route(Stanza.make(xml('presence', { type: 'probe' }), account.jid, contact))
  }
  for (const request of askedElsewhere(ctx, account)) if (request.to!.domain === remote) ctx.route(request)
}
