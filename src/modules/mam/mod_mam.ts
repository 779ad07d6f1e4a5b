import { opt } from '../../config/schema.ts'
import type { Account } from '../../core/account.ts'
import { arg, CommandError } from '../../core/commands.ts'
import type { IqRequest } from '../../core/iq.ts'
import { defineModule, type ModuleContext } from '../../core/module.ts'
import type { Session } from '../../core/session.ts'
import { keeps } from '../../core/sessions.ts'
import { Background } from '../../util/background.ts'
import { type Element, findChild, NS, xml } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { dataForm } from '../../xmpp/forms.ts'
import type { Jid } from '../../xmpp/jid.ts'
import { pageElement } from '../../xmpp/rsm.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { Archive, type Archived } from './archive.ts'
import { readPage } from './page.ts'
import { archives, PREFS, type Prefs, prefsElement, readPrefs } from './prefs.ts'
import { FIELDS, readQuery } from './query.ts'
import { resultElement, stampOf } from './results.ts'
import { sweep } from './retention.ts'
import { bury, retracted } from './retraction.ts'

const SWEEP = 3_600_000
const FLUSH = 1000
/** Retractions of one archive that wait: each may have to look through a long conversation. */
const MAX_RETRACTIONS = 100

const options = {
  archive: opt.bool(
    true,
    'Keep messages after they are delivered, so that a user’s other and later clients can fetch them. `false`: a message is gone once it is delivered.',
  ),
  default: opt.oneOf(
    ['always', 'roster', 'never'],
    'always',
    'What is archived for users who have not chosen: everything, what comes from and goes to contacts, or nothing.',
  ),
  retention: opt.duration('365d', 'How long a message is archived. One that was not delivered yet stays.', {
    min: 1000,
    infinity: true,
  }),
  max_messages: opt.int(1_000_000, 'Messages that are archived of one user; the oldest give way.', {
    min: 1,
    infinity: true,
  }),
  max_page: opt.int(250, 'Messages that one query gets at most; for more, clients ask for the next page.', {
    min: 1,
    max: 1000,
  }),
}
type Ctx = ModuleContext<typeof options>

declare module '../../core/services.ts' {
  interface ServiceMap {
    archive: Archive
  }
}

export const mod_mam = defineModule({
  name: 'mod_mam',
  xep: [
    { number: 313, version: '1.1.3', name: 'Message Archive Management' },
    { number: 441, version: '0.2.0', name: 'Message Archive Management Preferences' },
    { number: 431, version: '0.2.0', name: 'Full Text Search in MAM' },
    { number: 424, version: '0.4.2', name: 'Message Retraction' },
    { number: 59, version: '1.0', name: 'Result Set Management' },
  ],
  summary: 'Keeps each user’s messages, so that all clients of a user can show the same conversations.',
  options,
  async start(ctx) {
    const archive = new Archive(ctx.host, ctx.log)
    await archive.open()
    ctx.every(FLUSH, () => archive.flush())
    ctx.onStop(() => archive.close())
    ctx.provide('archive', archive)
    const prefs = ctx.table<Prefs>({ name: 'archive_prefs' })
    commands(ctx)
    ctx.hook('remove_user', async ({ user }) => {
      await archive.clear(user.local)
      await prefs.del([user.local], [])
    })
    if (!ctx.options.archive) return

    const load = async (account: Account): Promise<void> => {
      const stored = await prefs.get([account.user], [])
      if (stored !== undefined) account.slots.set(PREFS, stored)
    }
    for (const account of ctx.host.accounts.values()) await load(account)
    ctx.hook('account_load', ({ account }) => load(account))

    for (const ns of [NS.MAM, NS.MAM_EXTENDED, NS.SID, `${NS.RETRACT}#tombstone`, 'urn:xmpp:fulltext:0']) {
      ctx.feature(ns, 'account')
    }
    ctx.iq('account', 'get', NS.MAM, 'query', request => {
      ownerOf(request)
      return xml('query', { xmlns: NS.MAM }, dataForm('form', NS.MAM, FIELDS))
    })
    ctx.iq('account', 'set', NS.MAM, 'query', request => answer(ctx, archive, request))
    ctx.iq('account', 'get', NS.MAM, 'metadata', request => metadata(archive, ownerOf(request)))
    ctx.iq('account', 'get', NS.MAM, 'prefs', request => prefsElement(prefsOf(ctx, ownerOf(request))))
    ctx.iq('account', 'set', NS.MAM, 'prefs', async request => {
      const account = ownerOf(request)
      const wanted = readPrefs(request.payload)
      await prefs.put([account.user], [], wanted)
      account.slots.set(PREFS, wanted)
      return prefsElement(wanted)
    })
    // XEP-0386 3.2: tells what there is to catch up with.
    ctx.hook('bind2_request', async ({ account, bound }) => void bound.append(await metadata(archive, account)))
    store(ctx, archive)
    ctx.every(SWEEP, async () => {
      const { retention, max_messages: maxMessages } = ctx.options
      const count = await sweep(archive, ctx.host, { retention, maxMessages })
      if (count > 0) ctx.log.info({ count }, 'old messages have left the archive')
    })
  },
})

/** Nobody sees the archive of somebody else (XEP-0313 9). */
function ownerOf({ own, account, session }: IqRequest): Account {
  if (!own || account === undefined || session === undefined) {
    throw new StanzaError('forbidden', 'an archive is only for its owner')
  }
  return account
}

function prefsOf(ctx: Ctx, account: Account): Prefs {
  return account.slots.get(PREFS) ?? { default: ctx.options.default, always: [], never: [] }
}

/** What comes in is archived when it is queued; what goes out, there too, or where it leaves this host. */
function store(ctx: Ctx, archive: Archive): void {
  const { host } = ctx
  const wanted = (account: Account, peer: Jid): boolean =>
    archives(prefsOf(ctx, account), account, peer, jid => {
      const roster = ctx.use('roster')
      return roster?.isSubscribedFrom(account, jid) === true || roster?.isSubscribedTo(account, jid) === true
    })
  const burials = new Background(MAX_RETRACTIONS, (error, user) => {
    ctx.log.error({ err: error, user }, 'a message could not be retracted from the archive')
  })
  const retract = (user: string, peer: Jid, el: Element): void => {
    if (retracted(el) === undefined) return
    if (!burials.add(user, () => bury(archive, user, peer.bare, el, ctx.now()))) {
      ctx.log.warn({ user }, 'too many retractions at once: one leaves no tombstone')
    }
  }
  const keep = (account: Account, id: string, peer: Jid, bytes: Buffer, el: Element): Promise<void> | undefined => {
    if (!wanted(account, peer)) return undefined
    const written = archive.add(account.user, id, peer, bytes)
    retract(account.user, peer, el)
    return written
  }

  ctx.hook('archive_message', event => {
    const { account, stanza, id, bytes } = event
    if (!isLasting(stanza)) return
    const { from } = stanza
    event.archived = keep(account, id, from, bytes, stanza.el)
    const sender = from.domain === host.name && from.local !== account.user ? host.accounts.get(from.local) : undefined
    event.sent = sender !== undefined && keep(sender, id, account.jid, bytes, stanza.el) !== undefined
  })
  ctx.hook('message_sent', ({ session, stanza }) => {
    // A user of this host gets it in a moment, and the sender's copy is made there, under the same id.
    if (stanza.to!.domain === host.name || !keeps(stanza) || !isLasting(stanza)) return
    void keep(session.account, host.ids.ordered(), stanza.to!, Buffer.from(stanza.toString()), stanza.el)
  })
}

/** XEP-0334 4.1: some messages are to be delivered, but not kept beyond that. */
function isLasting(stanza: Stanza): boolean {
  return findChild(stanza.el, 'no-permanent-store', NS.HINTS) === undefined
}

async function answer(ctx: Ctx, archive: Archive, request: IqRequest): Promise<Element> {
  const account = ownerOf(request)
  const session = request.session!
  const query = readQuery(request.payload)
  const page = await readPage(archive, account.jid, query, ctx.options.max_page)
  const messages = query.flip ? [...page.messages].reverse() : page.messages
  await deliverResults(account, session, messages, query.queryid)
  return xml(
    'fin',
    { xmlns: NS.MAM, complete: page.complete ? 'true' : undefined },
    pageElement({ first: page.first, last: page.last }),
  )
}

/**
 * A message that still waits in the queue counts as delivered when the client acknowledges the result that carries it: it is
 * not delivered a second time (XEP-0313 7.1.1), and not lost if the connection breaks.
 */
async function deliverResults(
  account: Account,
  session: Session,
  messages: readonly Archived[],
  queryid: string | undefined,
): Promise<void> {
  if (messages.length === 0) return
  const ids = [messages[0]!.id, messages.at(-1)!.id].sort()
  const pending = await account.queue.pending(ids[0]!, ids[1]!, messages.length)
  for (const message of messages) {
    const result = resultElement(message, account.jid, queryid)
    const stanza = Stanza.make(xml('message', {}, result), account.jid, session.jid)
    const entry = pending.has(message.id) && !session.full ? await account.queue.adopt(message.id, session) : undefined
    if (entry === undefined) session.deliver(stanza)
    else session.deliverAs(stanza, entry)
  }
}

async function metadata(archive: Archive, account: Account): Promise<Element> {
  const bounds = await archive.bounds(account.user)
  if (bounds === undefined) return xml('metadata', { xmlns: NS.MAM })
  const point = (name: string, id: string): Element => xml(name, { id, timestamp: stampOf(id) })
  return xml('metadata', { xmlns: NS.MAM }, point('start', bounds.first), point('end', bounds.last))
}

function commands(ctx: Ctx): void {
  ctx.command({
    name: 'delete_old_mam_messages',
    summary:
      'Removes messages from the archives of a host that are older than some days; what was not delivered yet stays.',
    args: { host: arg.host('The host'), days: arg.int('How many days are kept') },
    example: 'delete_old_mam_messages localhost 30',
    async run({ host: name, days }) {
      const host = ctx.host.router.hosts.get(name)
      if (host === undefined) throw new CommandError('not_found', `there is no host ${name}`)
      if (days < 0) throw new CommandError('usage', 'days is 0 or more')
      const there = host.services.use('archive')
      if (there === undefined) throw new CommandError('not_found', `${name} has no archive (mod_mam)`)
      return sweep(there, host, { retention: days * 86_400_000, maxMessages: Number.POSITIVE_INFINITY })
    },
  })
}
