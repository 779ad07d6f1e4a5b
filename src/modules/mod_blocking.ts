import { opt } from '../config/schema.ts'
import type { Account } from '../core/account.ts'
import { inMemory } from '../core/directory.ts'
import { FIRST, type HookEvent, STOP } from '../core/hooks.ts'
import { defineModule, type ModuleContext } from '../core/module.ts'
import { Slot } from '../core/session.ts'
import type { Table, TableSpec } from '../storage/store.ts'
import { childElements, type Element, findChild, findChildren, NS, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'

/** What other modules ask: of accounts that are loaded. */
export interface BlockingService {
  /**
   * The account has blocked this address, its bare address, or its domain (XEP-0191 6). A list that could not be read blocks
   * everybody.
   */
  blocks(account: Account, jid: Jid): boolean
  /** False where it blocks nobody at all. */
  blocksSome(account: Account): boolean
  /** Since when (ms since 1970) it has; 0 where that is not known. Undefined: it has not. */
  since(account: Account, jid: Jid): number | undefined
}

declare module '../core/hooks.ts' {
  interface HookMap {
    /** An account has blocked an address and says why: `<report/>` (XEP-0377). */
    address_reported: Told<{ account: Account; jid: Jid; report: Element }>
    /** An account has blocked these addresses. `before`: an address was blocked already, by others of the list. */
    addresses_blocked: Told<{ account: Account; jids: readonly Jid[]; before: (jid: Jid) => boolean }>
    /** An account has taken these off its list; some of those they cover may be blocked by others in it. */
    addresses_unblocked: Told<{ account: Account; jids: readonly Jid[] }>
  }
}

declare module '../core/services.ts' {
  interface ServiceMap {
    blocking: BlockingService
  }
}

/** What is blocked, and since when (ms since 1970). */
type List = ReadonlyMap<string, number>
const LIST = new Slot<List>('block list')
const NOBODY: List = new Map()

type Stored = readonly (readonly [jid: string, since: number])[]
const TABLE: TableSpec<Stored> = {
  name: 'blocking',
  version: 2,
  migrate: value => (value as string[]).map(jid => [jid, 0]),
}
/** A session that asked for the list gets to know its changes. */
const ASKED = new Slot<boolean>('mod_blocking')

/** Of a list, which is in memory while its account is, and one row. */
const MAX_BYTES = 256 * 1024

const options = {
  max_items: opt.int(1000, 'Addresses that one account may block.', { min: 1, infinity: true }),
}
type Ctx = ModuleContext<typeof options>

export const mod_blocking = defineModule({
  name: 'mod_blocking',
  summary: 'Lets users block addresses: nothing from them gets in, nothing goes out to them.',
  xep: {
    number: 191,
    version: '1.3',
    name: 'Blocking Command',
    partial:
      'An iq of somebody blocked is answered as by no account, not always `service-unavailable`; headlines are dropped. Nobody learns that they are blocked.',
  },
  options,
  async start(ctx) {
    const table = ctx.userTable(TABLE)
    const load = async ({ user }: Account): Promise<List> => {
      const stored = await table.get([user], [])
      return stored === undefined ? NOBODY : new Map(stored)
    }
    const read = await ctx.perAccount(LIST, load, keep)
    /** Runs `then` when the list is at hand: at once, but where it could not be read when the account was loaded. */
    const withList = <T>(account: Account, then: () => T | Promise<T>): T | Promise<T> => {
      if (account.slots.get(LIST) !== undefined) return then()
      return read(account).then(then, (error: unknown) => {
        ctx.log.error({ err: error, user: account.user }, 'a block list could not be read')
        throw new StanzaError('internal-server-error', undefined, { type: 'wait' })
      })
    }
    ctx.survives(ASKED)
    ctx.feature(NS.BLOCKING)
    ctx.provide('blocking', { blocks, blocksSome, since })
    ctx.iq('own', 'get', NS.BLOCKING, 'blocklist', ({ account, session }) => {
      session.slots.set(ASKED, true)
      return withList(account, () => xml('blocklist', { xmlns: NS.BLOCKING }, ...items(listOf(account).keys())))
    })
    ctx.iq('own', 'set', NS.BLOCKING, 'block', ({ account, payload }) => {
      const jids = addresses(payload)
      if (jids.length === 0) throw new StanzaError('bad-request', 'name at least one address')
      return withList(account, async () => {
        await block(ctx, table, account, jids)
        report(account, payload)
      })
    })
    ctx.iq('own', 'set', NS.BLOCKING, 'unblock', ({ account, payload }) => {
      return withList(account, () => unblock(table, account, addresses(payload)))
    })
    ctx.hook('user_send_packet', { order: FIRST, failClosed: true }, ({ session, stanza }) => {
      if (stanza.to !== undefined) return withList(session.account, () => outgoing(session.account, stanza))
    })
    const check = (account: Account | undefined, event: HookEvent<'filter_packet'>) => {
      if (account === undefined || !blocksSome(account)) return undefined // most block nobody
      return withList(account, () => incoming(account, event))
    }
    ctx.hook('filter_packet', { order: FIRST, failClosed: true }, event => {
      const { stanza } = event
      const { local, domain } = stanza.to!
      if (local === '' || domain !== ctx.host.name) return // an address in a module's domain is no account
      // That is for clients: an account that is not in memory has none.
      const account = stanza.isPresenceInformation ? inMemory(ctx.host, stanza.to!) : ctx.account(local)
      return account instanceof Promise ? account.then(loaded => check(loaded, event)) : check(account, event)
    })
  },
})

function listOf(account: Account): List {
  return account.slots.get(LIST) ?? NOBODY
}

function blocks(account: Account, jid: Jid): boolean {
  const list = account.slots.get(LIST)
  if (list?.size === 0) return false
  // One's own clients and server cannot be blocked: the clients could not even ask to be free of it (XEP-0191 5, note).
  if (account.jid.equals(jid.bare) || (jid.local === '' && jid.domain === account.jid.domain)) return false
  return list === undefined || jid.isIn(list)
}

/** While the list is not known it might be anybody. */
function blocksSome(account: Account): boolean {
  return account.slots.get(LIST)?.size !== 0
}

function since(account: Account, jid: Jid): number | undefined {
  if (!blocks(account, jid)) return undefined
  const list = account.slots.get(LIST)
  const times = [jid.toString(), jid.bare.toString(), jid.domain].flatMap(text => list?.get(text) ?? [])
  return times.length === 0 ? 0 : Math.min(...times)
}

function addresses(payload: Element): Jid[] {
  const list = findChildren(payload, 'item')
  // Nothing at all means all of the list, for `unblock`: what is not understood must not.
  if (list.length === 0 && childElements(payload).length > 0)
    throw new StanzaError('bad-request', 'items are in a block list')
  return list.map(el => {
    const jid = Jid.parse(el.attrs['jid'] ?? '')
    if (jid === undefined) throw new StanzaError('jid-malformed')
    return jid
  })
}

function items(list: Iterable<string>): Element[] {
  return [...list].map(jid => xml('item', { jid }))
}

async function block(ctx: Ctx, table: Table<Stored>, account: Account, jids: Jid[]): Promise<void> {
  const before = listOf(account)
  const added = jids.filter(jid => !before.has(jid.toString()))
  const now = ctx.now()
  const list = new Map([...before, ...added.map(jid => [jid.toString(), now] as const)])
  if (list.size > ctx.options.max_items) {
    throw new StanzaError('not-allowed', `at most ${ctx.options.max_items} addresses can be blocked`)
  }
  if (added.length > 0 && sizeOf(list.keys()) > MAX_BYTES) {
    throw new StanzaError('not-allowed', `the addresses of a block list have at most ${MAX_BYTES} bytes`)
  }
  await save(table, account, list, added, true)
  const event = { account, jids: added, before: (jid: Jid) => jid.isIn(before) }
  if (added.length > 0) account.host.hooks.notify('addresses_blocked', event)
  push(account, 'block', jids)
}

/** XEP-0377 5: what a client says of those it blocks; the block holds whatever becomes of that. */
function report(account: Account, payload: Element): void {
  for (const item of findChildren(payload, 'item')) {
    const report = findChild(item, 'report', NS.REPORTING)
    const jid = Jid.parse(item.attrs['jid'] ?? '')
    if (report !== undefined && jid !== undefined) {
      account.host.hooks.notify('address_reported', { account, jid, report })
    }
  }
}

async function unblock(table: Table<Stored>, account: Account, jids: Jid[]): Promise<void> {
  const list = new Map(listOf(account))
  const gone =
    jids.length === 0 ? [...list.keys()].map(text => Jid.from(text)) : jids.filter(jid => list.has(jid.toString()))
  for (const jid of gone) list.delete(jid.toString())
  await save(table, account, list, gone, false)
  const free = gone.filter(jid => !blocks(account, jid))
  if (free.length > 0) account.host.hooks.notify('addresses_unblocked', { account, jids: free })
  push(account, 'unblock', jids)
}

/** The list counts at once, so that of two changes at a time none is lost; one that cannot be stored is undone. */
async function save(
  table: Table<Stored>,
  account: Account,
  list: List,
  changed: readonly Jid[],
  added: boolean,
): Promise<void> {
  if (changed.length === 0) return
  const before = listOf(account)
  keep(account, list)
  try {
    await table.put([account.user], [], [...list])
  } catch (error) {
    const now = new Map(listOf(account))
    for (const text of changed.map(String)) {
      if (added) now.delete(text)
      else now.set(text, before.get(text) ?? 0)
    }
    keep(account, now)
    throw error
  }
}

function keep(account: Account, list: List): void {
  account.grew(sizeOf(list.keys()) - sizeOf(listOf(account).keys()))
  account.slots.set(LIST, list)
}

function sizeOf(list: Iterable<string>): number {
  let size = 0
  for (const jid of list) size += Buffer.byteLength(jid)
  return size
}

function push(account: Account, name: 'block' | 'unblock', jids: readonly Jid[]): void {
  for (const session of account.sessions.values()) {
    if (session.slots.get(ASKED) !== true) continue
    const payload = xml(name, { xmlns: NS.BLOCKING }, ...items(jids.map(String)))
    const iq = xml('iq', { type: 'set', id: account.host.ids.random() }, payload)
    session.deliver(Stanza.make(iq, account.jid, session.jid))
  }
}

/** XEP-0191 3.3: the user cannot send to who is blocked. Going offline, and ending a subscription, is no sending. */
function outgoing(account: Account, stanza: Stanza): void {
  if (!blocks(account, stanza.to!)) return
  if (stanza.kind === 'presence' && (stanza.type === 'unavailable' || stanza.type.startsWith('unsubscribe'))) return
  throw new StanzaError('not-acceptable', 'you have blocked this address', {
    type: 'cancel',
    application: xml('blocked', { xmlns: NS.BLOCKING_ERRORS }),
  })
}

/**
 * XEP-0191 3.3: presence is ignored; the rest gets what it would get from an account that does not exist. For iqs that is not
 * always the `service-unavailable` of the XEP: an answer that only the blocked get would tell them that they are, and by whom.
 */
function incoming(account: Account, event: HookEvent<'filter_packet'>): typeof STOP | undefined {
  const { stanza } = event
  if (!blocks(account, stanza.from)) return undefined
  if (stanza.kind === 'presence' || (stanza.kind === 'message' && stanza.type === 'headline')) return STOP
  // Errors and the results of iqs are not answered.
  if (stanza.kind === 'message') throw new StanzaError('service-unavailable')
  event.hidden = true
  return undefined
}
