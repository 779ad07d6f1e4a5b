import { opt } from '../config/schema.ts'
import { Changes } from '../core/changes.ts'
import { arg, CommandError } from '../core/commands/command.ts'
import type { Host } from '../core/host.ts'
import { defineModule } from '../core/module.ts'
import { pages, type Row, type Table, type TableSpec } from '../storage/store.ts'
import { Attempts } from '../util/attempts.ts'
import { cut } from '../util/text.ts'
import { type Element, findChild, findChildren, NS, parseElement, textOf, xml } from '../xml/index.ts'
import { Jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'

/** What somebody said of an address when blocking it. */
export interface Report {
  at: number
  /** Localpart. */
  reporter: string
  jid: string
  /** The last part of the reason's URN: `spam`, `abuse`, or another. */
  reason: string
  text: string
  /** The messages that were pointed at, as they lie in the reporter's archive. */
  messages: string[]
  /** The user agrees that the report goes to the server it came from, or to others (XEP-0377 5). */
  share: string[]
}

/** `['reports']` x `[id]` */
const TABLE: TableSpec<Report> = { name: 'reports', version: 1 }
const KEY = ['reports']
const DAY = 86_400_000
const PREFIX = 'urn:xmpp:reporting:'
/** Reports of a host that are being kept. */
const MAX_WAITING = 1000
const MAX_TEXT = 2000
const MAX_REASON = 100
const MAX_MESSAGES = 10
const MAX_MESSAGE = 4096
/** Rows that are read at once; one may have 44 KiB. */
const PAGE = 50

export const mod_reporting = defineModule({
  name: 'mod_reporting',
  xep: {
    number: 377,
    version: '0.4.1',
    name: 'Blocking Command Reports',
    partial: 'Reports are kept for administrators, and passed on to nobody.',
  },
  summary: 'Keeps what users report of spam and abuse when they block somebody, for the administrators.',
  options: {
    max_reports: opt.int(1000, 'Reports that are kept; beyond, the oldest goes.', { min: 1, max: 100_000 }),
    max_user_reports: opt.int(20, 'Reports of one user a day; more are not kept.', { min: 1 }),
    report_watchers: opt.list(opt.jid(), [], 'Who gets a message about every report that is kept.', {
      example: ['admin@localhost'],
    }),
  },
  async start(ctx) {
    const { options, host } = ctx
    const reports = new Reports(ctx.table(TABLE), options.max_reports)
    const today = new Attempts(options.max_user_reports, DAY, ctx.now)
    ctx.feature(NS.REPORTING)

    const tell = (report: Report): void => {
      const text = report.text === '' ? '' : `: ${report.text}`
      const body = `${report.reporter}@${host.name} reports ${report.jid} for ${report.reason}${text}`
      for (const watcher of options.report_watchers) {
        const to = Jid.parse(watcher)
        const message = xml('message', { type: 'normal', id: host.ids.random() }, xml('body', {}, body))
        if (to !== undefined) ctx.route(Stanza.make(message, host.jid, to))
      }
    }
    const keep = async (reporter: Jid, jid: Jid, el: Element): Promise<void> => {
      const report = await readReport(host, reporter, jid, el, ctx.now())
      if (report === undefined) return
      await reports.add(host.ids.ordered(), report)
      tell(report)
    }
    ctx.hook('address_reported', ({ account, jid, report }) => {
      if (!today.allow(account.user)) return
      keep(account.jid, jid, report).catch((error: unknown) => {
        ctx.log.warn({ err: error, user: account.user }, 'a report could not be kept')
      })
    })

    ctx.hook('remove_user', ({ user }) => reports.forget(user.local))

    ctx.command({
      name: 'abuse_reports',
      summary: 'Lists what users of a host have reported, newest first.',
      args: { host: arg.host('The host') },
      returns: {
        id: 'text',
        at: 'time',
        reporter: 'jid',
        jid: 'jid',
        reason: 'text',
        text: 'text',
        messages: 'list',
        share: 'list',
      },
      async run() {
        const rows = await reports.list()
        return rows.map(({ ck, value }) => ({
          ...value,
          id: String(ck[0]),
          reporter: `${value.reporter}@${host.name}`,
        }))
      },
    })
    ctx.command({
      name: 'delete_abuse_report',
      summary: 'Deletes a report that has been dealt with.',
      args: { host: arg.host('The host'), id: arg.text('Its id, as abuse_reports shows it') },
      async run({ id }) {
        if (await reports.delete(id)) return 'deleted'
        throw new CommandError('not_found', 'there is no such report')
      },
    })
  },
})

/** The reports of one host, oldest first; their number is counted once. */
export class Reports {
  readonly #table: Table<Report>
  readonly #max: number
  readonly #turns = new Changes(MAX_WAITING)
  #count: number | undefined

  constructor(table: Table<Report>, max: number) {
    this.#table = table
    this.#max = max
  }

  /** The oldest beyond the bound go. */
  add(id: string, report: Report): Promise<void> {
    return this.#change(async count => {
      await this.#table.put(KEY, [id], report)
      return count + 1 - (await this.#deleteOldest(count + 1 - this.#max))
    })
  }

  /** Newest first. */
  list(): Promise<Row<Report>[]> {
    return this.#table.scan(KEY, { reverse: true })
  }

  /** False where there is no such report. */
  async delete(id: string): Promise<boolean> {
    let there = false
    await this.#change(async count => {
      there = (await this.#table.get(KEY, [id])) !== undefined
      if (there) await this.#table.del(KEY, [id])
      return there ? count - 1 : count
    })
    return there
  }

  /** What a user has reported goes with the account. */
  forget(reporter: string): Promise<void> {
    // Must go; accounts are removed one by one.
    return this.#turns.must('reports', () =>
      this.#counting(async count => {
        let gone = 0
        for await (const rows of pages(this.#table, KEY, { limit: PAGE })) {
          const mine = rows.filter(({ value }) => value.reporter === reporter)
          await this.#delete(mine)
          gone += mine.length
        }
        return count - gone
      }),
    )
  }

  /** One change after the other; `change` gives the number of reports that there are then. */
  #change(change: (count: number) => Promise<number>): Promise<void> {
    return this.#turns.run('reports', () => this.#counting(change))
  }

  async #counting(change: (count: number) => Promise<number>): Promise<void> {
    const count = this.#count ?? (await this.#counted())
    this.#count = undefined // to be counted again, should the change fail
    this.#count = await change(count)
  }

  async #counted(): Promise<number> {
    let count = 0
    for await (const rows of pages(this.#table, KEY, { limit: PAGE })) count += rows.length
    return count
  }

  async #deleteOldest(number: number): Promise<number> {
    let gone = 0
    while (gone < number) {
      const rows = await this.#table.scan(KEY, { limit: Math.min(PAGE, number - gone) })
      if (rows.length === 0) break
      await this.#delete(rows)
      gone += rows.length
    }
    return gone
  }

  async #delete(rows: readonly Row<Report>[]): Promise<void> {
    await Promise.all(rows.map(({ ck }) => this.#table.del(KEY, ck)))
  }
}

/** Undefined for what is no report: one gives a reason (XEP-0377 4). */
async function readReport(host: Host, reporter: Jid, jid: Jid, el: Element, at: number): Promise<Report | undefined> {
  const reason = el.attrs['reason'] ?? ''
  if (reason === '') return undefined
  const texts = findChildren(el, 'text').map(textOf)
  const ids = findChildren(el, 'stanza-id', NS.SID)
    .filter(id => id.attrs['by'] === undefined || Jid.parse(id.attrs['by'])?.equals(reporter) === true)
    .map(id => id.attrs['id'] ?? '')
    .filter(id => id !== '' && id.length <= 100)
  const messages: string[] = []
  for (const id of ids.slice(0, MAX_MESSAGES)) {
    const bytes = await host.archive.get([reporter.local], [id])
    if (bytes !== undefined && isFrom(bytes, jid)) messages.push(cut(bytes.toString(), MAX_MESSAGE))
  }
  return {
    at,
    reporter: reporter.local,
    jid: jid.toString(),
    reason: cut(reason.startsWith(PREFIX) ? reason.slice(PREFIX.length) : reason, MAX_REASON),
    text: cut((texts[0] ?? '').trim(), MAX_TEXT),
    messages,
    share: ['report-origin', 'third-party'].filter(name => findChild(el, name) !== undefined),
  }
}

/** Of a message of somebody else nothing is shown to administrators. */
function isFrom(bytes: Buffer, jid: Jid): boolean {
  const from = Jid.parse(parseElement(bytes).attrs['from'] ?? '')
  return from !== undefined && (from.bare.equals(jid.bare) || (jid.local === '' && from.domain === jid.domain))
}
