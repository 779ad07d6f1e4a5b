import type { Answers, Asker, Outgoing } from '../../archive/answers.ts'
import type { Archived } from '../../archive/archived.ts'
import { ownClient } from '../../archive/client.ts'
import { type Conversation, Inbox } from '../../archive/inbox.ts'
import { resultElement } from '../../archive/results.ts'
import { opt } from '../../config/schema.ts'
import { OBSERVE } from '../../core/hooks.ts'
import type { Later, OwnRequest } from '../../core/iq.ts'
import { defineModule, type ModuleContext } from '../../core/module.ts'
import { isTrue } from '../../util/text.ts'
import { type Element, NS, xml } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import type { Jid } from '../../xmpp/jid.ts'
import { type PageRequest, pageElement, readPageRequest } from '../../xmpp/rsm.ts'
import { isInstantMessage } from '../../xmpp/stanza.ts'

const FLUSH = 1000
const SWEEP = 86_400_000
/** An answer ends, before it has told of all, with the conversation that makes its messages so large; the asker goes on. */
const MAX_BYTES = 1024 * 1024

const options = {
  max_conversations: opt.int(500, 'Conversations that one answer tells of, the most recent first.', {
    min: 1,
    max: 5000,
  }),
  max_unread: opt.int(100, 'Up to how many unread messages of a conversation are counted.', { min: 1, max: 1000 }),
}
type Ctx = ModuleContext<typeof options>

export const mod_inbox = defineModule({
  name: 'mod_inbox',
  xep: {
    number: 430,
    version: '0.2.0',
    name: 'Inbox',
    partial: 'Pages go from new to old only; of a conversation so many unread messages are counted, and no more.',
  },
  summary: 'Lists a user’s conversations with the last message of each and how many are unread.',
  options,
  start(ctx) {
    const table = ctx.userTable<string>({ name: 'inbox' })
    const recent = ctx.userTable<string>({ name: 'inbox_recent' })
    const inbox = new Inbox(ctx, table, recent, ctx.options.max_conversations)
    ctx.every(FLUSH, () => inbox.flush())
    ctx.onStop(() => inbox.flush())
    ctx.every(SWEEP, () => inbox.sweep())
    ctx.feature(NS.INBOX, 'account')
    ctx.hook('archive_message', { order: OBSERVE }, ({ account, stanza, id, archived, sent }) => {
      if (!isInstantMessage(stanza.el)) return
      if (archived) inbox.note(account.user, stanza.from.bare, id)
      if (sent) inbox.note(stanza.from.local, account.jid, id)
    })
    ctx.hook('remove_user', () => inbox.flush())
    ctx.iq('own', 'get', NS.INBOX, 'inbox', request => answer(ctx, inbox, request))
  },
})

function answer(ctx: Ctx, inbox: Inbox, request: OwnRequest): Later {
  const { stanza, payload } = request
  const answers = ctx.use('archive_answers')
  if (answers === undefined) throw new StanzaError('service-unavailable', 'an inbox needs an archive (mod_mam)')
  const page = readPageRequest(payload)
  if (page.before !== undefined) throw new StanzaError('feature-not-implemented', 'pages go from new to old')
  const wanted: Wanted = {
    page,
    withMessages: payload.attrs['messages'] !== 'false' && payload.attrs['messages'] !== '0',
    unreadOnly: isTrue(payload.attrs['unread-only']),
    queryid: stanza.id,
  }
  const { jid } = request.account
  return answers.later(ownClient(request), stanza.toString().length, asker =>
    list(ctx, inbox, answers, jid, asker, wanted),
  )
}

interface Wanted {
  readonly page: PageRequest
  readonly withMessages: boolean
  readonly unreadOnly: boolean
  readonly queryid: string | undefined
}

interface Counted extends Conversation {
  readonly unread: number
}

async function list(
  ctx: Ctx,
  inbox: Inbox,
  answers: Answers,
  owner: Jid,
  asker: Asker,
  { page, withMessages, unreadOnly, queryid }: Wanted,
): Promise<Element> {
  const archive = ctx.use('archive')
  const counted: Counted[] = []
  for (const conversation of await inbox.list(owner.local)) {
    counted.push({ ...conversation, unread: await unreadOf(ctx, owner, conversation) })
  }
  const wanted = unreadOnly ? counted.filter(one => one.unread > 0) : counted
  const at = page.after === undefined ? 0 : wanted.findIndex(({ peer }) => peer.toString() === page.after) + 1
  if (page.after !== undefined && at === 0) throw new StanzaError('item-not-found', 'there is no such conversation')
  const asked = wanted.slice(at, at + (page.max ?? wanted.length))
  const byLast = new Map(asked.map(one => [one.last, one]))

  const outgoing = ({ peer, unread, last: id }: Counted, last: Archived | undefined): Outgoing => ({
    id,
    size: last?.size ?? 0,
    carries: false,
    make: () => {
      const entry = xml('entry', { xmlns: NS.INBOX, jid: peer.toString(), unread: String(unread), id })
      return xml('message', {}, entry, last && resultElement(last, owner, queryid))
    },
  })
  const read = async (one: Counted): Promise<Outgoing> =>
    outgoing(one, withMessages ? await archive?.get(owner, one.last) : undefined)
  const shown = await answers.send(
    asker,
    async () => {
      const messages: Outgoing[] = []
      let bytes = 0
      for (const one of asked) {
        if (bytes >= MAX_BYTES) break
        const message = await read(one)
        messages.push(message)
        bytes += message.size
      }
      return { found: asked.slice(0, messages.length), messages }
    },
    async id => read(byLast.get(id)!),
  )
  const unread = counted.map(one => one.unread).filter(count => count > 0)
  return xml(
    'fin',
    {
      xmlns: NS.INBOX,
      total: String(counted.length),
      unread: String(unread.length),
      'all-unread': String(unread.reduce((sum, count) => sum + count, 0)),
    },
    pageElement({ first: shown[0]?.peer.toString(), last: shown.at(-1)?.peer.toString(), count: wanted.length }),
  )
}

/** Messages from `peer` that neither a marker nor an answer of the user covers, up to the bound. */
async function unreadOf(ctx: Ctx, owner: Jid, { peer, last }: Conversation): Promise<number> {
  const read = (await ctx.use('message_states')?.readUpTo(owner.toString(), peer.toString())) ?? ''
  if (read >= last) return 0 // without a look at the archive
  return (await ctx.use('archive')?.unread(owner, peer, read, ctx.options.max_unread)) ?? 0
}
