import { firstIdAt } from '../../util/ids.ts'
import { type Element, findChildren, textOf } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { Jid } from '../../xmpp/jid.ts'
import type { Archive, Archived } from './archive.ts'
import type { Query } from './query.ts'

/** Messages looked at for one page, where most of them may not match: beyond, the asker goes on from where it got. */
const MAX_LOOKED_AT = 5000
const BATCH = 250

export interface Page {
  /** Oldest first. */
  readonly messages: readonly Archived[]
  /** Where the next page begins; the ids of the first and the last message, or how far a search got. */
  readonly first: string | undefined
  readonly last: string | undefined
  readonly complete: boolean
}

/**
 * One page of the archive of `owner` (XEP-0313 4.3).
 * @param most messages at most, whatever is asked for
 * @throws StanzaError `item-not-found` for an id that is not there
 */
export async function readPage(archive: Archive, owner: Jid, query: Query, most: number): Promise<Page> {
  const user = owner.local
  if (query.ids !== undefined) return byIds(archive, user, query.ids)
  const { page } = query
  const backwards = page.before !== undefined
  await assertThere(archive, user, [query.beforeId, query.afterId, page.after, page.before || undefined])

  const size = Math.min(page.max ?? most, most)
  let after = greater(query.afterId, page.after)
  let before = smaller(
    smaller(query.beforeId, page.before || undefined),
    query.end === undefined ? undefined : firstIdAt(query.end + 1),
  )
  const found: Archived[] = []
  let looked = 0
  let end = false
  let reached: string | undefined
  while (found.length <= size && looked < MAX_LOOKED_AT && !end) {
    const limit = filters(query) ? BATCH : size + 1
    const batch = await archive.read(user, {
      from: query.start === undefined ? undefined : firstIdAt(query.start),
      after,
      before,
      peer: query.with?.bare,
      backwards,
      limit,
    })
    end = batch.length < limit
    looked += batch.length
    for (const message of batch) {
      if (found.length > size) break
      reached = message.id
      if (matches(message.el, query)) found.push(message)
    }
    if (backwards) before = reached ?? before
    else after = reached ?? after
  }
  const complete = found.length <= size && end
  const messages = found.slice(0, size)
  // A search that gave up says where: asked to go on behind that message, it does.
  const gaveUp = !complete && found.length <= size ? reached : undefined
  if (backwards) messages.reverse()
  return {
    messages,
    first: (backwards ? gaveUp : undefined) ?? messages[0]?.id ?? gaveUp,
    last: (backwards ? undefined : gaveUp) ?? messages.at(-1)?.id ?? gaveUp,
    complete,
  }
}

async function byIds(archive: Archive, user: string, ids: readonly string[]): Promise<Page> {
  const found = await Promise.all([...new Set(ids)].map(id => archive.get(user, id)))
  const messages: Archived[] = []
  for (const message of found) {
    if (message === undefined) throw new StanzaError('item-not-found', 'not all of these messages are in the archive')
    messages.push(message)
  }
  messages.sort((a, b) => (a.id < b.id ? -1 : 1))
  return { messages, first: messages[0]?.id, last: messages.at(-1)?.id, complete: true }
}

async function assertThere(archive: Archive, user: string, ids: readonly (string | undefined)[]): Promise<void> {
  for (const id of ids) {
    if (id !== undefined && !(await archive.has(user, id))) {
      throw new StanzaError('item-not-found', 'this message is not in the archive')
    }
  }
}

/** Whether some of what is read may not be wanted. */
function filters(query: Query): boolean {
  return query.words.length > 0 || (query.with !== undefined && query.with.resource !== '')
}

function matches(el: Element, query: Query): boolean {
  const wanted = query.with
  if (wanted !== undefined && wanted.resource !== '' && !isWith(el, wanted)) return false
  if (query.words.length === 0) return true
  const text = findChildren(el, 'body').map(textOf).join('\n').toLowerCase()
  return query.words.every(word => text.includes(word))
}

function isWith(el: Element, jid: Jid): boolean {
  return [el.attrs['from'], el.attrs['to']].some(text => text !== undefined && Jid.parse(text)?.equals(jid) === true)
}

function greater(a: string | undefined, b: string | undefined): string | undefined {
  return a === undefined || (b !== undefined && b > a) ? b : a
}

function smaller(a: string | undefined, b: string | undefined): string | undefined {
  return a === undefined || (b !== undefined && b < a) ? b : a
}
