import { cut } from '../util/text.ts'
import { type Element, findChild, NS } from '../xml/index.ts'
import { parseDateTime } from '../xmpp/datetime.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { type FormField, findForm, formValues } from '../xmpp/forms.ts'
import { Jid } from '../xmpp/jid.ts'
import { type PageRequest, readPageRequest } from '../xmpp/rsm.ts'

export const FULLTEXT = '{urn:xmpp:fulltext:0}fulltext'

/** The fields of a query that are understood (XEP-0313 4.1.5, XEP-0431). */
export const FIELDS: readonly FormField[] = [
  { var: 'with', type: 'jid-single', values: [] },
  { var: 'start', type: 'text-single', values: [] },
  { var: 'end', type: 'text-single', values: [] },
  { var: 'before-id', type: 'text-single', values: [] },
  { var: 'after-id', type: 'text-single', values: [] },
  { var: 'ids', type: 'list-multi', values: [], open: true },
  { var: FULLTEXT, type: 'text-single', values: [] },
]
const KNOWN = new Set(['FORM_TYPE', ...FIELDS.map(field => field.var)])

/** Longest list of ids, and longest text searched for, that a query may have. */
const MAX_IDS = 250
const MAX_WORDS = 10

/** What somebody wants to see of an archive (XEP-0313 4). */
export interface Query {
  readonly queryid: string | undefined
  readonly with: Jid | undefined
  readonly start: number | undefined
  readonly end: number | undefined
  readonly beforeId: string | undefined
  readonly afterId: string | undefined
  readonly ids: readonly string[] | undefined
  /** Lower-cased words, each of which has to be in the body. */
  readonly words: readonly string[]
  readonly page: PageRequest
  readonly flip: boolean
}

/** @throws StanzaError `feature-not-implemented` for a field that is not understood, `bad-request` for one that is wrong */
export function readQuery(el: Element): Query {
  const form = findForm(el, NS.MAM)
  if (form === undefined && findChild(el, 'x', NS.DATA) !== undefined) {
    throw new StanzaError('bad-request', `the form of a query has the FORM_TYPE ${NS.MAM}`)
  }
  const values = form === undefined ? new Map<string, string[]>() : formValues(form)
  for (const name of values.keys()) {
    if (!KNOWN.has(name)) throw new StanzaError('feature-not-implemented', `the field "${cut(name, 60)}" is not known`)
  }
  const one = (name: string): string | undefined => values.get(name)?.[0] || undefined
  const ids = values.get('ids')
  if (ids !== undefined && ids.length > MAX_IDS) {
    throw new StanzaError('policy-violation', `at most ${MAX_IDS} ids at a time`)
  }
  return {
    queryid: el.attrs['queryid'],
    with: jidField(one('with')),
    start: timeField(one('start')),
    end: timeField(one('end')),
    beforeId: one('before-id'),
    afterId: one('after-id'),
    ids: ids === undefined || ids.length === 0 ? undefined : ids,
    words: wordsOf(one(FULLTEXT)),
    page: readPageRequest(el),
    flip: findChild(el, 'flip-page', NS.MAM) !== undefined,
  }
}

function jidField(text: string | undefined): Jid | undefined {
  if (text === undefined) return undefined
  const jid = Jid.parse(text)
  if (jid === undefined) throw new StanzaError('jid-malformed', 'the field "with" holds no address')
  return jid
}

function timeField(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = parseDateTime(text)
  if (ms === undefined) throw new StanzaError('bad-request', `"${cut(text, 40)}" is no time: see XEP-0082`)
  return ms
}

function wordsOf(text: string | undefined): string[] {
  const words = (text ?? '').toLowerCase().split(/\s+/).filter(Boolean)
  if (words.length > MAX_WORDS) throw new StanzaError('policy-violation', `at most ${MAX_WORDS} words at a time`)
  return words
}
