import { opt } from '../config/schema.ts'
import { answerOf, formStage } from '../core/adhoc.ts'
import { defineModule } from '../core/module.ts'
import { type Key, pages, type Table } from '../storage/store.ts'
import { Attempts } from '../util/attempts.ts'
import { cut, isTrue } from '../util/text.ts'
import { childText, type Element, findChild, NS, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { dataForm, formValues, tableForm } from '../xmpp/forms.ts'
import type { Jid } from '../xmpp/jid.ts'

/** XEP-0055 4: all that can be searched by. */
const FIELDS = [
  ['first', 'Given Name'],
  ['last', 'Family Name'],
  ['nick', 'Nickname'],
  ['email', 'Email Address'],
] as const
type Field = (typeof FIELDS)[number][0]
type Entry = Record<Field, string>

const KEY = ['listed']
const MAX_VALUE = 256
const INSTRUCTIONS = 'Fill in one field or more. A name is found by its beginning.'

export const mod_search = defineModule({
  name: 'mod_search',
  xep: { number: 55, version: '1.3', name: 'Jabber Search' },
  summary: 'Lets users find one another by name. Only who wants to be found is; ad-hoc command `search-listing`.',
  optional: true,
  options: {
    access: opt.access('local', 'Who may search.'),
    matches: opt.int(30, 'Users that one search finds at most.', { min: 1, max: 1000 }),
    max_searches: opt.int(60, 'Searches of one user in a minute.', { min: 1 }),
    max_listed: opt.int(10_000, 'Users who can be found at most.', { min: 1, max: 1_000_000 }),
  },
  start(ctx) {
    const { host, options } = ctx
    /** `['listed']` x `[user]` */
    const table = ctx.table<Entry>({ name: 'search', version: 1 })
    const isListed = async (user: string): Promise<boolean> => (await table.get(KEY, [user])) !== undefined
    ctx.feature(NS.IQ_SEARCH)
    ctx.identity({ category: 'directory', type: 'user', name: 'User search' })

    const searches = new Attempts(options.max_searches, 60_000, ctx.now)
    const check = (from: Jid): void => {
      if (!ctx.allowed(options.access, from)) throw new StanzaError('forbidden')
    }
    ctx.iq('server', 'get', NS.IQ_SEARCH, 'query', ({ from }) => {
      check(from)
      const fields = FIELDS.map(([name, label]) => ({ var: name, type: 'text-single', label, values: [] }))
      const head = { title: 'User search', instructions: INSTRUCTIONS }
      return xml(
        'query',
        { xmlns: NS.IQ_SEARCH },
        xml('instructions', {}, INSTRUCTIONS),
        FIELDS.map(([name]) => xml(name)),
        dataForm('form', NS.IQ_SEARCH, fields, head),
      )
    })
    ctx.iq('server', 'set', NS.IQ_SEARCH, 'query', async ({ from, payload }) => {
      check(from)
      if (!searches.allow(from.bare.toString())) throw new StanzaError('resource-constraint', 'too many searches')
      const form = findChild(payload, 'x', NS.DATA)
      const values = form && formValues(form)
      const wanted = wantedBy(name => (values === undefined ? childText(payload, name) : answerOf(values, name)))
      const found = await search(table, wanted, options.matches)
      const rows = found.map(({ user, entry }) => ({ jid: `${user}@${host.name}`, ...entry }))
      // XEP-0055 2.1: nobody found is an empty answer, whichever way was asked.
      if (form === undefined || rows.length === 0) return xml('query', { xmlns: NS.IQ_SEARCH }, rows.map(itemOf))
      const columns = [
        { var: 'jid', type: 'jid-single', label: 'Jabber ID' },
        ...FIELDS.map(([name, label]) => ({ var: name, type: 'text-single', label })),
      ]
      return xml('query', { xmlns: NS.IQ_SEARCH }, tableForm(NS.IQ_SEARCH, columns, rows))
    })

    // ---- being found

    /** Takes up what the user tells everybody in the vCard; false if nothing. */
    const refresh = async (user: string): Promise<boolean> => {
      const [cards, account] = [ctx.use('vcard'), await ctx.account(user)]
      const card = cards?.isPublic === true && account !== undefined ? await cards.get(account) : undefined
      if (card !== undefined) await table.put(KEY, [user], readCard(card))
      return card !== undefined
    }
    ctx.adhoc({
      node: 'search-listing',
      name: 'Be found in the user search',
      allowed: from => from.domain === host.name && from.local !== '',
      execute: async ({ local }) =>
        formStage(
          'urn:hermod:search',
          { title: 'User search', instructions: 'Others find you by the names and addresses in your vCard.' },
          [
            {
              var: 'listed',
              type: 'boolean',
              label: 'Others can find me',
              values: [(await isListed(local)) ? '1' : '0'],
            },
          ],
          async values => {
            if (!isTrue(answerOf(values, 'listed'))) {
              await table.del(KEY, [local])
              return { notes: [{ type: 'info', text: 'Nobody finds you.' }] }
            }
            if (!(await isListed(local)) && (await sizeOf(table)) >= options.max_listed) {
              throw new StanzaError('resource-constraint', 'the directory is full')
            }
            if (await refresh(local)) return { notes: [{ type: 'info', text: 'Others can find you.' }] }
            return { notes: [{ type: 'error', text: 'Others cannot read a vCard of yours: publish one first.' }] }
          },
        ),
    })
    ctx.hook('vcard_stored', async ({ account: { user } }) => {
      if (await isListed(user)) await refresh(user)
    })
    ctx.hook('remove_user', ({ user }) => table.del(KEY, [user.local]))
  },
})

/** How many can be found. */
async function sizeOf(table: Table<Entry>): Promise<number> {
  let size = 0
  for (let after: Key | undefined; ; ) {
    const keys = await table.keys(KEY, { limit: 1000, ...(after === undefined ? {} : { gt: after }) })
    size += keys.length
    if (keys.length < 1000) return size
    after = keys.at(-1)
  }
}

/** Those in whom every wanted field has a word that begins so; nobody where nothing is wanted. */
async function search(table: Table<Entry>, wanted: Partial<Entry>, limit: number) {
  const tests = Object.entries(wanted).map(([name, value]) => [name as Field, normal(value)] as const)
  const found: { user: string; entry: Entry }[] = []
  if (tests.length === 0) return found
  for await (const rows of pages(table, KEY)) {
    for (const { ck, value } of rows) {
      if (!tests.every(([name, text]) => begins(value[name], text))) continue
      if (found.push({ user: String(ck[0]), entry: value }) === limit) return found
    }
  }
  return found
}

function begins(value: string, text: string): boolean {
  const all = normal(value)
  return all.startsWith(text) || all.split(/\s+/).some(word => word.startsWith(text))
}

function normal(text: string): string {
  return text.normalize('NFKC').toLowerCase()
}

function readCard(card: Element): Entry {
  const name = findChild(card, 'N', NS.VCARD)
  const email = findChild(card, 'EMAIL', NS.VCARD)
  const part = (el: Element | undefined, child: string): string =>
    cut((el === undefined ? '' : (childText(el, child, NS.VCARD) ?? '')).trim(), MAX_VALUE)
  return {
    first: part(name, 'GIVEN'),
    last: part(name, 'FAMILY'),
    nick: part(card, 'NICKNAME') || part(card, 'FN'),
    email: part(email, 'USERID'),
  }
}

function wantedBy(read: (name: Field) => string | undefined): Partial<Entry> {
  // A trailing `*` is what other servers want for "begins with".
  const clean = (text = ''): string => cut(text.trim().replace(/\*$/, ''), MAX_VALUE)
  return Object.fromEntries(FIELDS.map(([name]) => [name, clean(read(name))]).filter(([, value]) => value !== ''))
}

function itemOf({ jid, ...entry }: { jid: string } & Entry): Element {
  return xml(
    'item',
    { jid },
    FIELDS.map(([name]) => xml(name, {}, entry[name])),
  )
}
