import type { Account } from '../core/account.ts'
import type { HookEvent } from '../core/hooks.ts'
import { defineModule, type ModuleContext } from '../core/module.ts'
import { Slot } from '../core/session.ts'
import { isTrue } from '../util/text.ts'
import { childElements, clone, type Element, elementNs, findChild, NS, serialize, textOf, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'

/** Bytes of one bookmark; all of a user's are in memory at once where they are converted. */
const MAX_BOOKMARK = 8192
/** Bookmarks in a list of the old form. */
const MAX_LIST = 1000
/** Bytes of all bookmarks of a user: the list of the old form is made anew at each change, and must fit into one stanza. */
const MAX_BYTES = 192 * 1024
/** The id of the item that holds the list of the old form (XEP-0048 3.1). */
const CURRENT = 'current'
/** XEP-0402 4.3, XEP-0223. */
const CONFIG = {
  access_model: 'whitelist',
  persist_items: true,
  max_items: 'max',
  send_last_published_item: 'never',
} as const
const LEGACY_CONFIG = { access_model: 'whitelist', persist_items: true } as const

/** While the list of the old form is being brought up to date; `again`: something has changed meanwhile. */
const BUSY = new Slot<{ again: boolean }>('bookmarks')

type Ctx = ModuleContext<Record<never, never>>

/**
 * The bookmarks of a user are the items of the node `urn:xmpp:bookmarks:1` (XEP-0402). Clients that know only the older forms,
 * a list in private storage (XEP-0049) or in one item of a node (XEP-0048), read and write the same ones.
 */
export const mod_bookmarks = defineModule({
  name: 'mod_bookmarks',
  xep: [
    { number: 402, version: '1.2.0', name: 'PEP Native Bookmarks' },
    { number: 48, version: '1.2', name: 'Bookmarks' },
    {
      number: 411,
      version: '1.1.0',
      name: 'Bookmarks Conversion',
      partial: 'Links to pages (`<url/>`) stay where they were stored.',
    },
  ],
  summary:
    'Keeps bookmarks of rooms, the same ones for clients that know the newest way to store them and for those that know the older two.',
  options: {},
  start(ctx) {
    ctx.feature(`${NS.BOOKMARKS2}#compat`, 'account')
    ctx.feature(`${NS.BOOKMARKS2}#compat-pep`, 'account')
    ctx.feature(NS.BOOKMARKS_CONVERSION, 'account')

    // Private storage: the rooms are in the node, what else is in the list stays there.
    ctx.hook('private_write', async event => {
      if (!isList(event.piece) || ctx.use('pep') === undefined) return
      await replace(ctx, event.account, event.piece)
      event.piece = withRooms(event.piece, [])
    })
    ctx.hook('private_read', async event => {
      if (isList(event.piece)) event.piece = await complete(ctx, event.account, event.piece)
    })

    // The list in a node.
    ctx.hook('pep_publish', async event => {
      const { account, node, payload } = event
      if (node === NS.BOOKMARKS2 && serialize(payload).length > MAX_BOOKMARK) {
        throw new StanzaError('policy-violation', `a bookmark may have ${MAX_BOOKMARK} bytes, this one is larger`)
      }
      if (node === NS.BOOKMARKS2) await mustFit(ctx, event)
      if (node !== NS.BOOKMARKS || !isList(payload)) return
      await replace(ctx, account, payload)
      event.payload = await complete(ctx, account, withRooms(payload, []))
    })
    ctx.hook('pep_read', async ({ account, node, items }) => {
      if (node !== NS.BOOKMARKS) return
      for (const item of items) {
        if (isList(item.payload)) item.payload = await complete(ctx, account, withRooms(item.payload, []))
      }
    })
    const follow = ({ account, node }: { account: Account; node: string }): void => {
      if (node === NS.BOOKMARKS2) update(ctx, account)
    }
    ctx.hook('pep_published', follow)
    ctx.hook('pep_retracted', follow)
  },
})

/** Throws StanzaError where there is no room for one more, or one that is larger than before. */
async function mustFit(ctx: Ctx, { account, id, payload }: HookEvent<'pep_publish'>): Promise<void> {
  const pep = ctx.use('pep')!
  const size = Buffer.byteLength(serialize(payload))
  const total = await pep.bytes(account, NS.BOOKMARKS2)
  if (total + size <= MAX_BYTES) return
  const [before] = await pep.items(account, NS.BOOKMARKS2, [id])
  const growth = size - (before === undefined ? 0 : Buffer.byteLength(serialize(before.payload)))
  if (growth <= 0 || total + growth <= MAX_BYTES) return
  throw tooMany()
}

function tooMany(): StanzaError {
  return new StanzaError('resource-constraint', `all bookmarks together may have ${MAX_BYTES} bytes`)
}

function isList(el: Element): boolean {
  return el.name === 'storage' && elementNs(el) === NS.BOOKMARKS
}

/** The list with these rooms in place of those in it. */
function withRooms(list: Element, rooms: readonly Element[]): Element {
  const others = childElements(list).filter(el => el.name !== 'conference' || elementNs(el) !== NS.BOOKMARKS)
  return xml(list.name, { ...list.attrs, xmlns: NS.BOOKMARKS }, rooms, others.map(clone))
}

/** The list with the rooms that the node has, and those of its own that were there before there was a node. */
async function complete(ctx: Ctx, account: Account, list: Element): Promise<Element> {
  const items = (await ctx.use('pep')?.items(account, NS.BOOKMARKS2)) ?? []
  const rooms = new Map<string, Element>()
  for (const el of childElements(list)) {
    const jid = el.name === 'conference' && elementNs(el) === NS.BOOKMARKS ? roomOf(el.attrs['jid']) : undefined
    if (jid !== undefined) rooms.set(jid, clone(el))
  }
  for (const { id, payload } of items.reverse()) {
    const jid = roomOf(id)
    if (jid === undefined || payload.name !== 'conference' || elementNs(payload) !== NS.BOOKMARKS2) continue
    const room = cast(payload, NS.BOOKMARKS2, NS.BOOKMARKS)
    delete room.attrs['xmlns']
    room.attrs['jid'] = jid
    rooms.set(jid, room)
  }
  return withRooms(list, [...rooms.values()])
}

/**
 * Makes the node's items those of a list of the old form (XEP-0402 6.3.2); what is as it was is not touched. Throws where the
 * list cannot be.
 */
async function replace(ctx: Ctx, account: Account, list: Element): Promise<void> {
  const pep = ctx.use('pep')!
  const wanted = new Map<string, Element>()
  for (const el of childElements(list)) {
    if (el.name !== 'conference' || elementNs(el) !== NS.BOOKMARKS) continue
    const jid = roomOf(el.attrs['jid'])
    if (jid === undefined) throw new StanzaError('bad-request', 'a bookmark needs the address of its room')
    const room = cast(el, NS.BOOKMARKS, NS.BOOKMARKS2)
    delete room.attrs['jid']
    room.attrs['xmlns'] = NS.BOOKMARKS2
    wanted.set(jid, room)
  }
  if (wanted.size > MAX_LIST) throw new StanzaError('policy-violation', `at most ${MAX_LIST} bookmarks are kept`)
  let total = 0
  for (const room of wanted.values()) {
    const size = Buffer.byteLength(serialize(room))
    if (size > MAX_BOOKMARK) throw new StanzaError('policy-violation', 'a bookmark is too large')
    total += size
  }
  if (total > MAX_BYTES) throw tooMany()
  const there = new Map((await pep.items(account, NS.BOOKMARKS2)).map(item => [roomOf(item.id) ?? item.id, item]))
  const changes: Promise<void>[] = []
  for (const [jid, room] of wanted) {
    const before = there.get(jid)
    if (before !== undefined && same(before.payload, room)) continue
    // What older clients do not know, they do not take away.
    const extensions = before && findChild(before.payload, 'extensions')
    if (extensions !== undefined && findChild(room, 'extensions') === undefined) room.append(clone(extensions))
    changes.push(pep.publish(account, NS.BOOKMARKS2, before?.id ?? jid, room, CONFIG))
  }
  for (const [jid, { id }] of there) {
    if (!wanted.has(jid)) changes.push(pep.retract(account, NS.BOOKMARKS2, id, true))
  }
  await Promise.all(changes)
}

/** The same bookmark, as far as older clients see it. */
function same(a: Element, b: Element): boolean {
  const text = (el: Element, name: string) => textOf(findChild(el, name) ?? xml('none'))
  const facts = (el: Element) => {
    const { name = '', autojoin } = el.attrs
    return [name, isTrue(autojoin), text(el, 'nick'), text(el, 'password')].join('\n')
  }
  const more = findChild(b, 'extensions')
  return (
    facts(a) === facts(b) && (more === undefined || serialize(more) === serialize(findChild(a, 'extensions') ?? more))
  )
}

/** The bare address of a room; undefined where the text is none. */
function roomOf(text: string | undefined): string | undefined {
  return Jid.parse(text ?? '')?.bare.toString()
}

/** A copy whose elements of one namespace are of another. */
function cast(el: Element, from: string, to: string): Element {
  const copy = xml(el.name, el.attrs)
  if (el.attrs['xmlns'] === from) copy.attrs['xmlns'] = to
  for (const child of el.children) {
    if (typeof child === 'string') copy.append(child)
    else copy.append(elementNs(child) === from ? cast(child, from, to) : clone(child))
  }
  return copy
}

/** Tells clients that know only the list in a node that it has changed: one after the other, and the last state counts. */
function update(ctx: Ctx, account: Account): void {
  const busy = account.slots.get(BUSY)
  if (busy !== undefined) {
    busy.again = true
    return
  }
  account.slots.set(BUSY, { again: false })
  const failed = 'the list of bookmarks for older clients was not brought up to date'
  void ctx.aside(publishList(ctx, account), failed, { user: account.user }).then(() => {
    const again = account.slots.get(BUSY)?.again === true
    account.slots.delete(BUSY)
    if (again) update(ctx, account)
  })
}

async function publishList(ctx: Ctx, account: Account): Promise<void> {
  const pep = ctx.use('pep')
  if (pep === undefined) return
  const [before] = await pep.items(account, NS.BOOKMARKS, [CURRENT])
  const empty = xml('storage', { xmlns: NS.BOOKMARKS })
  const list = await complete(ctx, account, before === undefined ? empty : withRooms(before.payload, []))
  if (before !== undefined && serialize(before.payload) === serialize(list)) return
  await pep.publish(account, NS.BOOKMARKS, CURRENT, list, LEGACY_CONFIG)
}
