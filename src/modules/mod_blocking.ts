import { opt } from '../config/schema.ts'
import type { Account } from '../core/account.ts'
import { FIRST, STOP } from '../core/hooks.ts'
import { defineModule, type ModuleContext } from '../core/module.ts'
import { type Session, Slot } from '../core/session.ts'
import type { Table } from '../storage/store.ts'
import { childElements, type Element, NS, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'

/** What other modules ask: of accounts that are loaded. */
export interface BlockingService {
  /** The account has blocked this address, its bare address, its domain, or its domain with the resource (XEP-0191 3.2). */
  blocks(account: Account, jid: Jid): boolean
}

declare module '../core/services.ts' {
  interface ServiceMap {
    blocking: BlockingService
  }
}

const LIST = new Slot<Set<string>>('block list')
/** A session that asked for the list gets to know its changes. */
const ASKED = new Slot<boolean>('block list wanted')

const options = {
  max_items: opt.int(1000, 'Addresses that one account may block.', { min: 1, infinity: true }),
}
type Ctx = ModuleContext<typeof options>

export const mod_blocking = defineModule({
  name: 'mod_blocking',
  summary: 'Lets users block addresses: nothing from them gets in, nothing goes out to them.',
  xep: { number: 191, version: '1.3', name: 'Blocking Command' },
  options,
  async start(ctx) {
    const table = ctx.table<string[]>({ name: 'blocking' })
    const load = async (account: Account): Promise<void> => {
      const list = await table.get([account.user], [])
      if (list !== undefined && list.length > 0) account.slots.set(LIST, new Set(list))
    }
    for (const account of ctx.host.accounts.values()) await load(account)
    ctx.hook('account_load', ({ account }) => load(account))
    ctx.hook('remove_user', ({ user }) => table.del([user.local], []))
    ctx.feature(NS.BLOCKING)
    ctx.provide('blocking', { blocks })
    ctx.iq('account', 'get', NS.BLOCKING, 'blocklist', ({ own, account, session }) => {
      if (!own || account === undefined) throw new StanzaError('forbidden')
      session?.slots.set(ASKED, true)
      return xml('blocklist', { xmlns: NS.BLOCKING }, ...items(listOf(account)))
    })
    ctx.iq('account', 'set', NS.BLOCKING, 'block', ({ own, account, payload }) => {
      if (!own || account === undefined) throw new StanzaError('forbidden')
      const jids = addresses(payload)
      if (jids.length === 0) throw new StanzaError('bad-request', 'name at least one address')
      return block(ctx, table, account, jids)
    })
    ctx.iq('account', 'set', NS.BLOCKING, 'unblock', ({ own, account, payload }) => {
      if (!own || account === undefined) throw new StanzaError('forbidden')
      return unblock(ctx, table, account, addresses(payload))
    })
    ctx.hook('user_send_packet', ({ session, stanza }) => outgoing(session, stanza), { order: FIRST, failClosed: true })
    ctx.hook('deliver_message', ({ account, stanza }) => incomingMessage(account, stanza), {
      order: FIRST,
      failClosed: true,
    })
    ctx.hook('presence_in', ({ account, stanza }) => (blocks(account, stanza.from) ? STOP : undefined), {
      order: FIRST,
      failClosed: true,
    })
    ctx.hook('user_receive_packet', ({ session, stanza }) => receiving(session, stanza), {
      order: FIRST,
      failClosed: true,
    })
  },
})

function listOf(account: Account): Set<string> {
  return account.slots.get(LIST) ?? new Set()
}

function blocks(account: Account, jid: Jid): boolean {
  const list = account.slots.get(LIST)
  if (list === undefined || list.size === 0) return false
  if (account.jid.equals(jid.bare)) return false
  return (
    list.has(jid.toString()) ||
    list.has(jid.bare.toString()) ||
    list.has(jid.domain) ||
    (jid.resource !== '' && list.has(`${jid.domain}/${jid.resource}`))
  )
}

function addresses(payload: Element): Jid[] {
  return childElements(payload)
    .filter(el => el.name === 'item')
    .map(el => {
      const jid = Jid.parse(el.attrs['jid'] ?? '')
      if (jid === undefined) throw new StanzaError('jid-malformed')
      return jid
    })
}

function items(list: Iterable<string>): Element[] {
  return [...list].map(jid => xml('item', { jid }))
}

async function block(ctx: Ctx, table: Table<string[]>, account: Account, jids: Jid[]): Promise<undefined> {
  const list = new Set(listOf(account))
  const added = jids.filter(jid => !list.has(jid.toString()))
  for (const jid of added) list.add(jid.toString())
  if (list.size > ctx.options.max_items) {
    throw new StanzaError('not-allowed', `at most ${ctx.options.max_items} addresses can be blocked`)
  }
  // XEP-0191 3.4: to who is blocked now, the user goes offline; said before the list would keep it back.
  tellSubscribers(ctx, account, added, session =>
    Stanza.make(xml('presence', { type: 'unavailable' }), session.jid, undefined),
  )
  account.slots.set(LIST, list)
  push(account, xml('block', { xmlns: NS.BLOCKING }, ...items(jids.map(String))))
  await table.put([account.user], [], [...list])
  return undefined
}

async function unblock(ctx: Ctx, table: Table<string[]>, account: Account, jids: Jid[]): Promise<undefined> {
  const list = new Set(listOf(account))
  const gone = jids.length === 0 ? [...list].map(text => Jid.from(text)) : jids.filter(jid => list.has(jid.toString()))
  for (const jid of gone) list.delete(jid.toString())
  account.slots.set(LIST, list)
  push(account, xml('unblock', { xmlns: NS.BLOCKING }, ...items(jids.map(String))))
  tellSubscribers(ctx, account, gone, session => session.presence!)
  await table.put([account.user], [], [...list])
  return undefined
}

/** Presence to those contacts, among the addresses, that see this account's presence. */
function tellSubscribers(ctx: Ctx, account: Account, jids: readonly Jid[], make: (session: Session) => Stanza): void {
  const subscribers = ctx.use('roster')?.subscribers(account) ?? []
  const touched = subscribers.filter(contact =>
    jids.some(jid => jid.equals(contact) || (jid.local === '' && jid.domain === contact.domain)),
  )
  for (const session of account.available()) {
    for (const contact of touched) ctx.route(make(session).readdressed(session.jid, contact))
  }
}

function push(account: Account, payload: Element): void {
  for (const session of account.sessions.values()) {
    if (session.slots.get(ASKED) !== true) continue
    const iq = xml('iq', { type: 'set', id: account.host.ids.random() }, payload)
    session.deliver(Stanza.make(iq, account.jid, session.jid))
  }
}

/** XEP-0191 3.2: the user cannot send to who is blocked. Going offline, and ending a subscription, is no sending. */
function outgoing(session: Session, stanza: Stanza): void {
  const { to } = stanza
  if (to === undefined || !blocks(session.account, to)) return
  if (stanza.kind === 'presence' && (stanza.type === 'unavailable' || stanza.type.startsWith('unsubscribe'))) return
  throw new StanzaError('not-acceptable', 'you have blocked this address', {
    application: xml('blocked', { xmlns: NS.BLOCKING_ERRORS }),
  })
}

/** XEP-0191 3.2: a blocked sender gets what it would get from an account that does not exist. */
function incomingMessage(account: Account, stanza: Stanza): typeof STOP | undefined {
  if (!blocks(account, stanza.from)) return undefined
  if (stanza.type === 'error' || stanza.type === 'headline') return STOP
  throw new StanzaError('service-unavailable')
}

/** Presence and iqs of blocked senders, at the last moment before a session gets them. */
function receiving(session: Session, stanza: Stanza): typeof STOP | undefined {
  if (stanza.kind === 'message' || !blocks(session.account, stanza.from)) return undefined
  if (stanza.kind === 'iq') {
    const answer = stanza.error(new StanzaError('service-unavailable'))
    if (answer !== undefined) void session.account.host.router.route(answer)
  }
  return STOP
}
