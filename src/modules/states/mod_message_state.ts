import { opt } from '../../config/schema.ts'
import { arg, CommandError } from '../../core/commands.ts'
import type { OwnRequest } from '../../core/iq.ts'
import { defineModule, type ModuleContext } from '../../core/module.ts'
import { Background } from '../../util/background.ts'
import { firstIdAt } from '../../util/ids.ts'
import { type Element, findChild, findChildren, NS, parseElement, xml } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { Jid } from '../../xmpp/jid.ts'
import {
  aboutOf,
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
export interface MessageStatesService {
  /** Newest first. */
  list(wanted: Wanted): Promise<MessageState[]>
  /** As {@link list}, for `from` itself: of what became of them after the recipient has blocked it, it learns nothing. */
  listFor(from: Jid, wanted: Wanted): Promise<MessageState[]>
  /** `reader` has told `from` that it has read the message that `from` gave this id. */
  displayed(reader: string, from: string, messageId: string): Promise<void>
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
    { number: 184, version: '1.4.0', name: 'Message Delivery Receipts' },
    { number: 333, version: '1.0', name: 'Displayed Markers' },
  ],
  summary: 'Knows of each message whether it waits, was delivered (to which client, when) or was read.',
  options,
  start(ctx) {
    const delivered = ctx.table<readonly Delivered[]>({ name: 'message_delivered' })
    const marks = ctx.table<Mark>({ name: 'message_read' })
    const queueOf: QueueOf = async to => {
      const { local, domain } = Jid.from(to)
      return domain === ctx.host.name ? (await ctx.host.account(local))?.queue : undefined
    }
    const states = new States(delivered, marks, queueOf, () => ctx.now())
    ctx.every(FLUSH, () => states.flush())
    ctx.onStop(() => states.flush())
    ctx.every(SWEEP, async () => {
      if (Number.isFinite(ctx.options.retention)) await states.purge(firstIdAt(ctx.now() - ctx.options.retention))
    })
    ctx.hook('remove_user', ({ user }) => states.forget(user.toString()))
    watch(ctx, states)
    ctx.provide('message_states', {
      list: wanted => states.list(wanted),
      async listFor(from, wanted) {
        const account = await ctx.host.account(Jid.from(wanted.to).local)
        const since = account && ctx.use('blocking')?.since(account, from)
        const list = await states.list({ ...wanted, from: from.toString(), toldOnly: true })
        return since === undefined ? list : list.map(state => asBefore(state, since))
      },
      displayed: (reader, from, messageId) => states.displayed(reader, from, messageId),
      readUpTo: (reader, from) => states.readUpTo(reader, from),
    })
    ctx.feature(MESSAGE_STATES, 'account')
    ctx.iq('own', 'get', MESSAGE_STATES, 'states', request => answer(ctx, request))
    commands(ctx)
  },
})

function watch(ctx: Ctx, states: States): void {
  const marks = new Background(MAX_MARKS, error => {
    ctx.log.warn({ err: error }, 'the state of a message could not be noted')
  })
  ctx.hook('archive_message', event => {
    const { account, stanza } = event
    event.about = aboutOf(stanza.el)
    const displayed = findChild(stanza.el, 'displayed', NS.MARKERS)?.attrs['id']
    const there = displayed === undefined || displayed.length > MAX_ID ? undefined : statesOf(ctx, stanza.from)
    if (there === undefined) return
    const reader = stanza.from.bare.toString()
    const sender = account.jid.toString()
    marks.add(reader, () => there.displayed(reader, sender, displayed!))
  })
  ctx.hook('message_acknowledged', ({ account, entry, session }) => {
    const { about = aboutOf(parseElement(entry.bytes)) } = entry
    if (about !== null) states.delivered(account.jid.toString(), about, entry.id, session.jid.resource)
  })
  ctx.hook('pep_published', ({ account, node, id, payload }) => {
    if (node !== NS.MDS) return
    const peer = Jid.parse(id)?.bare
    const last = findChild(payload, 'stanza-id', NS.SID)
    if (peer === undefined || last?.attrs['by'] !== account.jid.toString()) return
    const reader = account.jid.toString()
    marks.add(reader, () => states.read(reader, peer.toString(), last.attrs['id'] ?? '', false))
  })
}

/** The sender asks about its own messages; only of those who let it see them does it learn whether they were reached. */
async function answer(ctx: Ctx, { account, payload }: OwnRequest): Promise<Element> {
  const peer = Jid.parse(payload.attrs['with'] ?? '')?.bare
  if (peer === undefined) throw new StanzaError('jid-malformed', 'with names the recipient')
  const asked = findChildren(payload, 'message').map(el => el.attrs['id'] ?? '')
  if (asked.length === 0 || asked.length > MAX_ASKED) {
    throw new StanzaError('bad-request', `name between 1 and ${MAX_ASKED} messages`)
  }
  const visible = ctx.use('roster')?.isSubscribedTo(account, peer) === true
  const wanted: Wanted = {
    to: peer.toString(),
    messageIds: new Set(asked),
    limit: MAX_LOOKED_AT,
    lookAt: MAX_LOOKED_AT,
  }
  const found = (await statesOf(ctx, peer)?.listFor(account.jid, wanted)) ?? []
  // Of several with the same id, the newest.
  const known = new Map(found.toReversed().map(state => [state.messageId, state]))
  const list = asked.map(id => {
    const state = known.get(id)
    return xml('message', { id, ...(state === undefined ? { state: 'unknown' } : shown(state, visible)) })
  })
  return xml('states', { xmlns: MESSAGE_STATES, with: peer.toString() }, ...list)
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

function shown({ state, delivered, read, at }: MessageState, visible: boolean): { state: string; stamp: string } {
  const stamp = (ms: number): string => new Date(ms).toISOString()
  if (state === 'read') return { state, stamp: stamp(read!) }
  if (state === 'delivered' && visible) return { state, stamp: stamp(delivered!.at) }
  return { state: visible ? 'queued' : 'accepted', stamp: stamp(at) }
}

function commands(ctx: Ctx): void {
  const service = (account: string): MessageStatesService => {
    const found = statesOf(ctx, Jid.from(account))
    if (found === undefined) throw new CommandError('not_found', `no states are kept for ${account}`)
    return found
  }
  ctx.command({
    name: 'list_messages',
    summary: 'Lists the newest messages to an account with their states.',
    args: {
      account: arg.account('Whose messages: the recipient'),
      from: arg.text('Only those of this sender (a bare address); * for all', { optional: true }),
      state: arg.text('Only those in this state', { optional: true, values: [...STATES] }),
      limit: arg.int('At most so many; 100 if left out', { optional: true }),
    },
    columns: COLUMNS,
    example: 'list_messages alice@localhost bob@localhost queued',
    async run({ account, from, state, limit }) {
      const found = await service(account).list({
        to: account,
        from: from === undefined || from === '*' ? undefined : from,
        state: state as State | undefined,
        limit: limit ?? 100,
      })
      return found.map(rowOf)
    },
  })
  ctx.command({
    name: 'message_status',
    summary: 'Tells what became of one message.',
    args: {
      account: arg.account('The recipient'),
      from: arg.jid('The sender, bare'),
      id: arg.text('The id that the sender gave the message'),
    },
    columns: COLUMNS,
    example: 'message_status alice@localhost bob@localhost 3f2a',
    async run({ account, from, id }) {
      const found = await service(account).list({ to: account, from, messageIds: new Set([id]), limit: 1 })
      if (found.length === 0)
        throw new CommandError('not_found', `no message ${id} from ${from} to ${account} is known`)
      return found.map(rowOf)
    },
  })
}

const COLUMNS = ['id', 'from', 'message_id', 'state', 'at', 'delivered_at', 'resource', 'read_at']

function rowOf({ id, from, messageId, state, at, delivered, read }: MessageState) {
  const time = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString())
  return {
    id,
    from,
    message_id: messageId,
    state,
    at: time(at),
    delivered_at: time(delivered?.at),
    resource: delivered?.resource ?? null,
    read_at: time(read),
  }
}
