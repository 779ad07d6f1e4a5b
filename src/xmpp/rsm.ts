import { type Element, findChild, NS, textOf, xml } from '../xml/index.ts'
import { StanzaError } from './errors.ts'

/** What page of a result somebody asks for (XEP-0059). */
export interface PageRequest {
  /** Items at most; undefined where the asker leaves it open. */
  readonly max: number | undefined
  /** The page that begins behind this item. */
  readonly after: string | undefined
  /** The page that ends before this item; empty: the last page. */
  readonly before: string | undefined
}

/**
 * The `<set/>` within a query. Throws `bad-request` for a `max` that is no number, and `feature-not-implemented` for paging by
 * index (XEP-0059 2.6 makes it optional).
 */
export function readPageRequest(query: Element): PageRequest {
  const set = findChild(query, 'set', NS.RSM)
  if (set === undefined) return { max: undefined, after: undefined, before: undefined }
  if (findChild(set, 'index', NS.RSM) !== undefined) {
    throw new StanzaError('feature-not-implemented', 'pages are found by item, not by number')
  }
  const text = (name: string): string | undefined => {
    const el = findChild(set, name, NS.RSM)
    return el && textOf(el).trim()
  }
  const max = text('max')
  if (max !== undefined && !/^\d{1,9}$/.test(max)) throw new StanzaError('bad-request', 'max is a number')
  return { max: max === undefined ? undefined : Number(max), after: text('after') || undefined, before: text('before') }
}

/** The `<set/>` of an answer; `first` and `last` are absent for an empty page (XEP-0059 2.1, 2.5). */
export function pageElement(page: { first?: string | undefined; last?: string | undefined; count?: number }): Element {
  return xml(
    'set',
    { xmlns: NS.RSM },
    page.first === undefined ? undefined : xml('first', {}, page.first),
    page.last === undefined ? undefined : xml('last', {}, page.last),
    page.count === undefined ? undefined : xml('count', {}, String(page.count)),
  )
}
