import { opt } from '../../config/schema.ts'
import { Changes } from '../../core/changes.ts'
import { Chunks } from '../../core/chunks.ts'
import { arg, type Columns, CommandError } from '../../core/commands/command.ts'
import { isElsewhere } from '../../core/directory.ts'
import { OBSERVE } from '../../core/hooks.ts'
import type { OwnRequest } from '../../core/iq.ts'
import { defineModule, type ModuleContext } from '../../core/module.ts'
import { firstIdAt } from '../../util/ids.ts'
import { type Element, findChild, findChildren, NS, xml } from '../../xml/index.ts'
import { parseDateTime } from '../../xmpp/datetime.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { Jid } from '../../xmpp/jid.ts'
import { type Sent, SentElsewhere } from './sent.ts'
import {
  aboutOf,
  aboutOfEntry,
  type Delivered,
  MAX_ID,
  type Mark,
  type MessageState,
  type QueueOf,
  type State,
  States,
  type Wanted,
} from './states.ts'

/** Asks, and is told, of the messages that local users got. */
interface MessageStatesService {
  /** Newest first. */
  list(wanted: Wanted): Promise<MessageState[]>
  /** As {@link list}, for `from` itself: of what became of them after the recipient has blocked it, it learns nothing. */
  listFor(from: Jid, wanted: Wanted): Promise<MessageState[]>
  /** `reader` has told `from` that it has read the message that `from` gave this id. */
  displayed(reader: string, from: string, messageId: string): Promise<void>
  /** A client of `reader` has told `from` that it has got the message that `from` gave this id. */
  received(reader: Jid, from: string, messageId: string): Promise<void>
  /** The id up to which `reader` has read what `from` wrote; empty: nothing. Bare addresses. */
  readUpTo(reader: string, from: string): Promise<string>
}

declare module '../../core/services.ts' {
  interface ServiceMap {
    message_states: MessageStatesService
  }
}

/** Our own protocol: docs/guide/message-states.md. */
const MESSAGE_STATES = 'urn:hermod:message-states:0'
const STATES: readonly State[] = ['queued', 'delivered', 'read']
const FLUSH = 1000
const SWEEP = 86_400_000
/** Markers of one reader that wait: each may have to look through a long conversation. */
const MAX_MARKS = 100
/** Messages that a command lists at most. */
const MAX_LISTED = 10_000
/** Messages that one iq may ask about. */
const MAX_ASKED = 100
/** How far back these are looked for, among what waits and among what was delivered. */
const MAX_LOOKED_AT = 2000

const options = {
  retention: opt.duration('30d', 'How long the state of a message is known.', { min: 60_000, infinity: true }),
}
type Ctx = ModuleContext<typeof options>

export const mod_message_state = defineModule({
  name: 'mod_message_state',
  xep: [
    {
      number: 184,
      version: '1.4.0',
      name: 'Message Delivery Receipts',
      partial: 'Between clients: the server passes them on, and notes them as states of messages.',
    },
    {
      number: 333,
      version: '1.0.0',
      name: 'Displayed Markers',
      partial: 'Between clients: the server passes them on, and notes them as states of messages.',
    },
  ],
  summary:
    'Knows of each message whether it waits, was taken by another server, was delivered (to which client, when) or was read.',
  options,
  start(ctx) {
    const delivered = new Chunks<Delivered>(ctx, ctx.table({ name: 'message_delivered' }))
    const marks = ctx.table<Mark>({ name: 'message_read' })
    const queueOf: QueueOf = async to => {
      const { local, domain } = Jid.from(to)
      return domain === ctx.host.name ? (await ctx.host.account(local))?.queue : undefined
    }
    const states = new States(delivered, marks, queueOf, () => ctx.now())
    const sent = new SentElsewhere({
      chunks: new Chunks<Sent>(ctx, ctx.userTable({ name: 'message_sent' })),
      marks: ctx.userTable<Mark>({ name: 'message_sent_read' }),
      removed: ctx.table<string>({ name: 'message_sent_removed' }),
      ids: ctx.host.ids,
      now: () => ctx.now(),
    })
    for (const kept of [states, sent]) {
      ctx.every(FLUSH, () => kept.flush())
      ctx.onStop(() => kept.flush())
      ctx.every(SWEEP, async () => {
        if (Number.isFinite(ctx.options.retention)) await kept.purge(firstIdAt(ctx.now() - ctx.options.retention))
      })
    }
    ctx.hook('remove_user', ({ user }) => states.forget(user.toString()))
    ctx.hook('remove_user', ({ user }) => sent.forget(user.local))
    watch(ctx, states, sent)
    ctx.provide('message_states', {
      list: wanted => states.list(wanted),
      async listFor(from, wanted) {
        const account = await ctx.host.account(Jid.from(wanted.to).local)
        const since = account && ctx.use('blocking')?.since(account, from)
        const list = await states.list({ ...wanted, from: from.toString(), toldOnly: true })
        return since === undefined ? list : list.map(state => asBefore(state, since))
      },
      displayed: (reader, from, messageId) => states.displayed(reader, from, messageId),
      received: (reader, from, messageId) => states.received(reader.bare.toString(), from, messageId, reader.resource),
      readUpTo: (reader, from) => states.readUpTo(reader, from),
    })
    ctx.feature(MESSAGE_STATES, 'account')
    ctx.iq('own', 'get', MESSAGE_STATES, 'states', request => answer(ctx, sent, request))
    commands(ctx, states, sent)
  },
})

function watch(ctx: Ctx, states: States, sent: SentElsewhere): void {
  const { host } = ctx
  const marks = new Changes(MAX_MARKS)
  const mark = (reader: string, work: () => Promise<unknown>): void => {
    if (marks.full(reader)) return
    marks.run(reader, work).catch((err: unknown) => ctx.log.warn({ err }, 'the state of a message could not be noted'))
  }
  ctx.hook('archive_message', event => {
    event.about = aboutOf(event.stanza.el)
  })
  // Whatever becomes of the message: nobody need keep a receipt.
  ctx.hook('deliver_message', { order: OBSERVE }, ({ account, stanza }) => {
    const { el, from } = stanza
    if (stanza.type === 'error' || stanza.type === 'groupchat') return
    const said = el.children.find(isReceiptOrMarker) as Element | undefined
    const id = said?.attrs['id']
    if (id === undefined || id.length > MAX_ID) return
    const reader = from.bare.toString()
    // A marker says that what came before it is read too.
    const isReceipt = said!.name === 'received'
    if (isElsewhere(host.router, from)) {
      return mark(reader, () => (isReceipt ? sent.received : sent.displayed).call(sent, from, account.user, id))
    }
    const there = statesOf(ctx, from)
    const sender = account.jid.toString()
    if (isReceipt) mark(reader, async () => there?.received(from, sender, id))
    else mark(reader, async () => there?.displayed(reader, sender, id))
  })
  for (const [hook, state] of [
    ['peer_message_accepted', 'accepted'],
    ['peer_message_bounced', 'failed'],
  ] as const) {
    ctx.hook(hook, ({ about, id }) => {
      const user = userOf(host.name, about.from)
      if (user !== undefined && about.messageId !== '' && about.messageId.length <= MAX_ID)
        sent.ended(user, about, id, state)
    })
  }
  ctx.hook('message_acknowledged', ({ account, entry, session }) => {
    const about = aboutOfEntry(entry)
    if (about !== null) states.delivered(account.jid.toString(), about, entry.id, session.jid.resource)
  })
  ctx.hook('pep_published', ({ account, node, id, payload }) => {
    if (node !== NS.MDS) return
    const peer = Jid.parse(id)?.bare
    const last = findChild(payload, 'stanza-id', NS.SID)
    if (peer === undefined || last?.attrs['by'] !== account.jid.toString()) return
    const reader = account.jid.toString()
    mark(reader, () => states.read(reader, peer.toString(), last.attrs['id'] ?? '', false))
  })
}

/** XEP-0184 5.4 `<received/>`; XEP-0333 `<displayed/>`, and what older versions of it had. */
function isReceiptOrMarker(child: Element | string): boolean {
  if (typeof child === 'string') return false
  const { name, attrs } = child
  if (attrs['xmlns'] === NS.RECEIPTS) return name === 'received'
  return attrs['xmlns'] === NS.MARKERS && (name === 'displayed' || name === 'acknowledged' || name === 'received')
}

/**
 * The sender asks about its own messages; only of those who let it see them does it learn whether they were reached. Or a
 * recipient asks what it has got from somebody.
 */
async function answer(ctx: Ctx, sent: SentElsewhere, { account, payload }: OwnRequest): Promise<Element> {
  const { with: to, from } = payload.attrs
  if (to !== undefined && from !== undefined) {
    throw new StanzaError('bad-request', 'with names the recipient, or from the sender: one of them')
  }
  const peer = Jid.parse(to ?? from ?? '')?.bare
  if (peer === undefined) throw new StanzaError('jid-malformed', 'with names the recipient, from the sender')
  const self = account.jid.toString()
  const asked = askedOf(payload)
  const wanted = { ...asked, to: to === undefined ? self : peer.toString(), lookAt: MAX_LOOKED_AT }
  // What others say of a message they have said to its sender.
  const isTheirs = isElsewhere(ctx.host.router, peer)
  const found =
    to === undefined
      ? await statesOf(ctx, account.jid)?.list({ ...wanted, from: peer.toString() })
      : isTheirs
        ? await sentTo(ctx, sent, account.jid, wanted)
        : await statesOf(ctx, peer)?.listFor(account.jid, wanted)
  const visible = to === undefined || isTheirs || ctx.use('roster')?.isSubscribedTo(account, peer) === true
  const list = elementsOf(found ?? [], asked.messageIds, visible)
  return xml('states', { xmlns: MESSAGE_STATES, with: to && peer.toString(), from: from && peer.toString() }, ...list)
}

/** What became of messages of an account to somebody elsewhere. */
async function sentTo({ host }: Ctx, sent: SentElsewhere, from: Jid, wanted: Wanted): Promise<MessageState[]> {
  const { domain } = Jid.from(wanted.to)
  const { destinations, fallback } = host.router
  const there = destinations.get(domain) ?? fallback
  const waiting = await there.waiting?.(host.name, domain, MAX_LOOKED_AT)
  return sent.list(from.local, { ...wanted, from: from.toString() }, waiting ?? [])
}

/** The local part of an address of an account of this host; undefined for any other. */
function userOf(host: string, address: string): string | undefined {
  return address.endsWith(`@${host}`) ? address.slice(0, -host.length - 1) : undefined
}

/** Some messages by their ids, or those of a time, the newest first. */
function askedOf(payload: Element): Pick<Wanted, 'messageIds' | 'since' | 'until' | 'limit'> {
  const ids = findChildren(payload, 'message').map(el => el.attrs['id'] ?? '')
  if (ids.length > MAX_ASKED) throw new StanzaError('bad-request', `name at most ${MAX_ASKED} messages`)
  const { since, until, max } = payload.attrs
  if (ids.length > 0) {
    if ((since ?? until ?? max) !== undefined) {
      throw new StanzaError('bad-request', 'ask for messages by their ids, or for those of a time')
    }
    return { messageIds: new Set(ids), limit: MAX_LOOKED_AT }
  }
  const limit = max === undefined ? MAX_ASKED : Number(max)
  if (!(/^\d*$/.test(max ?? '') && limit >= 1 && limit <= MAX_ASKED)) {
    throw new StanzaError('bad-request', `max is a number from 1 to ${MAX_ASKED}`)
  }
  const time = (name: string, text: string | undefined): number | undefined => {
    const ms = text === undefined || text === '' ? undefined : parseDateTime(text)
    if (text !== undefined && text !== '' && ms === undefined)
      throw new StanzaError('bad-request', `${name} is no time: see XEP-0082`)
    return ms
  }
  return { since: time('since', since), until: time('until', until), limit }
}

/** Each that was asked for, in that order; or all that were found. */
function elementsOf(found: readonly MessageState[], ids: Wanted['messageIds'], visible: boolean): Element[] {
  if (ids === undefined) return found.map(state => xml('message', { id: state.messageId, ...shown(state, visible) }))
  // Of several with the same id, the newest.
  const known = new Map(found.toReversed().map(state => [state.messageId, state]))
  return [...ids].map(id => {
    const state = known.get(id)
    return xml('message', { id, ...(state === undefined ? { state: 'unknown' } : shown(state, visible)) })
  })
}

/** How it was at some time (ms since 1970). */
function asBefore(message: MessageState, time: number): MessageState {
  const read = message.read !== undefined && message.read < time ? message.read : undefined
  const delivered = message.delivered !== undefined && message.delivered.at < time ? message.delivered : undefined
  const state = read !== undefined ? 'read' : delivered !== undefined ? 'delivered' : 'queued'
  return { ...message, read, delivered, state }
}

/** Those of the messages that somebody of this server got. */
function statesOf(ctx: Ctx, recipient: Jid): MessageStatesService | undefined {
  return ctx.host.router.hosts.get(recipient.domain)?.services.use('message_states')
}

function shown(
  { state, delivered, read, since, at }: MessageState,
  visible: boolean,
): { state: string; stamp: string } {
  const stamp = (ms: number): string => new Date(ms).toISOString()
  if (since !== undefined && state !== 'read') return { state, stamp: stamp(since) }
  if (state === 'read') return { state, stamp: stamp(read!) }
  if (state === 'delivered' && visible) return { state, stamp: stamp(delivered!.at) }
  return { state: visible ? 'queued' : 'accepted', stamp: stamp(at) }
}

function commands(ctx: Ctx, states: States, sent: SentElsewhere): void {
  ctx.command({
    name: 'list_messages',
    summary: 'Lists the newest messages to an account with their states.',
    args: {
      account: arg.account('Whose messages: the recipient', { exists: false }),
      from: arg.text('Only those of this sender (a bare address); * for all', { optional: true }),
      state: arg.text("Only those in this state; '' for all", { optional: true, values: STATES }),
      limit: arg.int('At most so many; 100 if left out', { optional: true, min: 1, max: MAX_LISTED }),
      since: arg.time('Only those that came then or later, such as 2026-11-24T08:00:00Z', { optional: true }),
      until: arg.time('Only those that came then or before', { optional: true }),
    },
    returns: COLUMNS,
    example: 'list_messages alice@localhost bob@localhost queued',
    async run({ account, from, state, limit = 100, since, until }) {
      const found = await states.list({
        to: account.jid.toString(),
        from: from === undefined || from === '*' ? undefined : from,
        state,
        limit,
        since,
        until,
      })
      return found.map(rowOf)
    },
  })
  ctx.command({
    name: 'message_status',
    summary: 'Tells what became of one message.',
    args: {
      account: arg.account('The recipient', { exists: false }),
      from: arg.jid('The sender, bare'),
      id: arg.text('The id that the sender gave the message'),
    },
    returns: COLUMNS,
    example: 'message_status alice@localhost bob@localhost 3f2a',
    async run({ account: { jid }, from, id }) {
      const wanted = { to: jid.toString(), from: from.toString(), messageIds: new Set([id]), limit: 1 }
      const found = await states.list(wanted)
      if (found.length === 0) throw new CommandError('not_found', `no message ${id} from ${from} to ${jid} is known`)
      return found.map(rowOf)
    },
  })
  ctx.command({
    name: 'sent_message_status',
    summary: 'Tells what became of a message to somebody on another server.',
    args: {
      account: arg.account('The sender'),
      to: arg.jid('The recipient, bare'),
      id: arg.text('The id that the sender gave the message'),
    },
    returns: COLUMNS,
    example: 'sent_message_status alice@localhost bob@example.org 3f2a',
    async run({ account: { jid }, to, id }) {
      const found = await sentTo(ctx, sent, jid, { to: to.toString(), messageIds: new Set([id]), limit: 1 })
      if (found.length === 0) throw new CommandError('not_found', `no message ${id} from ${jid} to ${to} is known`)
      return found.map(rowOf)
    },
  })
}

const COLUMNS = {
  id: 'text',
  from: 'jid',
  message_id: 'text',
  state: 'text',
  at: 'time',
  delivered_at: 'time?',
  resource: 'text?',
  read_at: 'time?',
} as const satisfies Columns

function rowOf({ messageId, delivered, read, ...message }: MessageState) {
  return {
    ...message,
    message_id: messageId,
    delivered_at: delivered?.at,
    resource: delivered?.resource,
    read_at: read,
  }
}
