import { Answers } from '../../archive/answers.ts'
import { Archive } from '../../archive/archive.ts'
import { ownClient } from '../../archive/client.ts'
import { readQuery } from '../../archive/query.ts'
import { answerQuery, metadata, queryForm } from '../../archive/results.ts'
import { type Limits, sweep } from '../../archive/retention.ts'
import { bury, retractionOf } from '../../archive/retraction.ts'
import { opt } from '../../config/schema.ts'
import type { Account } from '../../core/account.ts'
import { Changes } from '../../core/changes.ts'
import { Chunks } from '../../core/chunks.ts'
import { arg } from '../../core/commands/command.ts'
import { keeps } from '../../core/delivery.ts'
import { inMemory } from '../../core/directory.ts'
import type { Host } from '../../core/host.ts'
import { defineModule, type ModuleContext } from '../../core/module.ts'
import type { Op } from '../../storage/store.ts'
import { type Element, findChild, NS } from '../../xml/index.ts'
import type { Jid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'
import { archives, keepPrefs, PREFS, type Prefs, prefsElement, readPrefs } from './prefs.ts'

const SWEEP = 3_600_000
const FLUSH = 1000
/** Retractions of one archive that wait: each may have to look through the index of a long conversation. */
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
  max_bytes: opt.size('10 GiB', 'Bytes of messages that are archived of one user; the oldest give way.', {
    min: 1_048_576,
    infinity: true,
  }),
  max_page: opt.int(250, 'Messages that one query gets at most; for more, clients ask for the next page.', {
    min: 1,
    max: 1000,
  }),
  max_page_bytes: opt.size(
    '1 MiB',
    'A page ends, before it has as many messages, with the one that makes it so large.',
    { min: 1024, max: 16 * 1024 * 1024 },
  ),
}
type Ctx = ModuleContext<typeof options>

declare module '../../core/services.ts' {
  interface ServiceMap {
    /** The messages of the accounts of the host. */
    archive: Archive
    /** For whoever answers with messages of an archive. */
    archive_answers: Answers
  }
}

export const mod_mam = defineModule({
  name: 'mod_mam',
  xep: [
    { number: 313, version: '1.1.3', name: 'Message Archive Management' },
    { number: 441, version: '0.2.0', name: 'Message Archive Management Preferences' },
    { number: 431, version: '0.2.0', name: 'Full Text Search in MAM' },
    { number: 424, version: '0.4.2', name: 'Message Retraction' },
  ],
  summary: 'Keeps each user’s messages, so that all clients of a user can show the same conversations.',
  options,
  async start(ctx) {
    const { host, options } = ctx
    const archive = new Archive({
      domain: host.name,
      store: ctx,
      tables: {
        messages: host.archive,
        peers: new Chunks(ctx, ctx.table({ name: 'archive_peers' })),
        indexed: ctx.table({ name: 'archive_indexed' }),
        counts: ctx.table({ name: 'archive_count' }),
      },
      ids: host.ids,
    })
    await archive.open()
    ctx.every(FLUSH, () => archive.flush())
    ctx.onStop(() => archive.close())
    ctx.provide('archive', archive)
    const answers = new Answers()
    ctx.provide('archive_answers', answers)
    const prefs = ctx.userTable<Prefs>({ name: 'archive_prefs' })
    commands(ctx, archive)
    ctx.hook('remove_user', ({ user }) => archive.clear(user))
    if (!options.archive) return

    await ctx.perAccount(PREFS, ({ user }) => prefs.get([user], []), keepPrefs)

    for (const ns of [NS.MAM, NS.MAM_EXTENDED, NS.SID, `${NS.RETRACT}#tombstone`, 'urn:xmpp:fulltext:0']) {
      ctx.feature(ns, 'account')
    }
    ctx.feature(NS.RETRACT, 'server', 'account')
    // XEP-0313 9: nobody sees the archive of somebody else.
    ctx.iq('own', 'get', NS.MAM, 'query', queryForm)
    ctx.iq('own', 'set', NS.MAM, 'query', request => {
      const query = readQuery(request.payload)
      const most = { messages: options.max_page, bytes: options.max_page_bytes }
      return answers.later(ownClient(request), request.stanza.toString().length, asker =>
        answerQuery(archive, answers, request.account.jid, query, most, asker),
      )
    })
    ctx.iq('own', 'get', NS.MAM, 'metadata', ({ account }) => metadata(archive, account.jid))
    ctx.iq('own', 'get', NS.MAM, 'prefs', ({ account }) => prefsElement(prefsOf(ctx, account)))
    ctx.iq('own', 'set', NS.MAM, 'prefs', async ({ account, payload }) => {
      const wanted = readPrefs(payload)
      await prefs.put([account.user], [], wanted)
      keepPrefs(account, wanted)
      return prefsElement(wanted)
    })
    // XEP-0386 3.2: tells what there is to catch up with.
    ctx.hook('bind2_request', async ({ account, bound }) => void bound.append(await metadata(archive, account.jid)))
    store(ctx, archive)
    ctx.every(SWEEP, async () => {
      const { retention, max_messages: maxMessages, max_bytes: maxBytes } = options
      const count = await clean(host, archive, { before: ctx.now() - retention, maxMessages, maxBytes })
      if (count > 0) ctx.log.info({ count }, 'old messages have left the archive')
    })
  },
})

/** What waits for its user stays. */
function clean(host: Host, archive: Archive, limits: Limits): Promise<number> {
  return sweep(archive, limits, ({ local }) => host.queues.oldest(local))
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
  const burials = new Changes(MAX_RETRACTIONS)
  const retract = ({ jid, user }: Account, peer: Jid, el: Element): void => {
    const retraction = retractionOf(el)
    if (retraction === undefined) return
    burials
      .run(user, () => bury(archive, jid, peer.bare, retraction, ctx.now()))
      .catch((err: unknown) => ctx.log.warn({ err, user }, 'a message could not be retracted from the archive'))
  }
  const keep = (account: Account, id: string, peer: Jid, bytes: Buffer, el: Element, rows: Op[]): boolean => {
    if (!wanted(account, peer)) return false
    rows.push(archive.add(account.jid, id, peer, bytes, el))
    retract(account, peer, el)
    return true
  }

  ctx.hook('archive_message', event => {
    const { account, stanza, id, bytes, rows } = event
    if (!isLasting(stanza)) return
    const { from } = stanza
    event.archived = keep(account, id, from, bytes, stanza.el, rows)
    const sender = from.local === account.user ? undefined : inMemory(host, from)
    event.sent = sender !== undefined && keep(sender, id, account.jid, bytes, stanza.el, rows)
  })
  ctx.hook('message_sent', event => {
    const { account, stanza } = event
    // A user of this host gets it in a moment, and the sender's copy is made there, under the same id.
    if (stanza.to!.domain === host.name || !keeps(stanza) || !isLasting(stanza)) return
    const id = host.ids.ordered()
    const rows: Op[] = []
    if (!keep(account, id, stanza.to!, Buffer.from(stanza.toString()), stanza.el, rows)) return
    event.archived = id
    void ctx.aside(ctx.commit(rows), 'a message could not be archived')
  })
}

/** XEP-0334 4.1: some messages are to be delivered, but not kept beyond that; nor is what came back. */
function isLasting(stanza: Stanza): boolean {
  return stanza.type !== 'error' && findChild(stanza.el, 'no-permanent-store', NS.HINTS) === undefined
}

function commands(ctx: Ctx, archive: Archive): void {
  ctx.command({
    name: 'delete_old_mam_messages',
    summary:
      'Removes messages from the archives of a host that are older than some days; what was not delivered yet stays.',
    args: { host: arg.host('The host'), days: arg.int('How many days are kept', { min: 0 }) },
    example: 'delete_old_mam_messages localhost 30',
    returns: 'int',
    run({ host, days }) {
      const all = Number.POSITIVE_INFINITY
      return clean(host, archive, { before: host.now() - days * 86_400_000, maxMessages: all, maxBytes: all })
    },
  })
}
