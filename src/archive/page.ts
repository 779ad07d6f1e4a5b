import { setImmediate } from 'node:timers/promises'
import { firstIdAt } from '../util/ids.ts'
import { containsWords } from '../util/words.ts'
import { escapeAttr, escapeText, findChildren, parseHead, textOf } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import type { Archive } from './archive.ts'
import { type Archived, peerOf, sizeOf } from './archived.ts'
import type { Query } from './query.ts'

/** Messages, and bytes of them, looked at for one page, where most of them may not match: the asker goes on from there. */
const MAX_LOOKED_AT = 5000
const MAX_LOOKED_BYTES = 16 * 1024 * 1024
/** What is read at a time; then others have their turn. */
const PORTION = 250
const PORTION_BYTES = 256 * 1024

/** What a page has at most; it ends with the message with which it has so many bytes. */
export interface Most {
  readonly messages: number
  readonly bytes: number
}

export interface Page {
  /** Oldest first. */
  readonly messages: readonly Archived[]
  /** Where the next page begins; the ids of the first and the last message, or how far a search got. */
  readonly first: string | undefined
  readonly last: string | undefined
  readonly complete: boolean
  /** Of all that was asked for, where that is known. */
  readonly count: number | undefined
}

/**
 * One page of the archive of `owner` (XEP-0313 4.3).
 * @param most at most, whatever is asked for
 * @throws StanzaError `item-not-found` for an id that is not there
 */
export async function readPage(archive: Archive, owner: Jid, query: Query, most: Most): Promise<Page> {
  const { page } = query
  await assertThere(archive, owner, [query.beforeId, query.afterId, page.after, page.before || undefined])
  const size = Math.min(page.max ?? most.messages, most.messages)
  if (query.ids !== undefined) return byIds(archive, owner, query, query.ids, { ...most, messages: size })

  const backwards = page.before !== undefined
  // Whether some of what is read may not be wanted.
  const seeks = query.words.length > 0 || (query.with !== undefined && query.with.resource !== '')
  let after = greater(query.afterId, page.after)
  let before = smaller(
    smaller(query.beforeId, page.before || undefined),
    query.end === undefined ? undefined : firstIdAt(query.end + 1),
  )
  const found: Archived[] = []
  let bytes = 0
  let looked = 0
  let lookedBytes = 0
  let end = false
  let full = false
  let reached: string | undefined
  while (!end && !full && looked < MAX_LOOKED_AT && lookedBytes < MAX_LOOKED_BYTES) {
    // One more than is wanted tells whether there is more.
    const limit = seeks ? PORTION : size + 1 - found.length
    const portion = await archive.read(owner, {
      from: query.start === undefined ? undefined : firstIdAt(query.start),
      after,
      before,
      peer: query.with?.bare,
      backwards,
      limit,
      bytes: PORTION_BYTES,
    })
    const portionBytes = sizeOf(portion)
    end = portion.length < limit && portionBytes < PORTION_BYTES
    looked += portion.length
    lookedBytes += portionBytes
    for (const message of portion) {
      full = found.length > size || bytes >= most.bytes
      if (full) break
      reached = message.id
      if (seeks && !matches(message, query)) continue
      found.push(message)
      bytes += message.size
    }
    full ||= found.length > size
    if (backwards) before = reached ?? before
    else after = reached ?? after
    if (!end && !full) await setImmediate()
  }
  const complete = end && !full
  const messages = found.slice(0, size)
  // A search that gave up says where: asked to go on behind that message, it does.
  const gaveUp = !complete && found.length <= size ? reached : undefined
  if (backwards) messages.reverse()
  const whole = complete && !seeks && page.after === undefined && !page.before
  return {
    messages,
    first: (backwards ? gaveUp : undefined) ?? messages[0]?.id ?? gaveUp,
    last: (backwards ? undefined : gaveUp) ?? messages.at(-1)?.id ?? gaveUp,
    complete,
    count: whole ? messages.length : undefined,
  }
}

/** Those of a list that the other fields let through, in the order of the archive, paged as all else is. */
async function byIds(archive: Archive, owner: Jid, query: Query, ids: readonly string[], most: Most): Promise<Page> {
  const { page } = query
  const backwards = page.before !== undefined
  const all = [...new Set(ids)].sort()
  const found: Archived[] = []
  let [wanted, onPage, bytes, unread] = [0, 0, 0, 0]
  for (const id of backwards ? all.toReversed() : all) {
    const message = await archive.get(owner, id)
    if (message === undefined) throw new StanzaError('item-not-found', 'not all of these messages are in the archive')
    unread += message.size
    if (unread >= PORTION_BYTES) {
      unread = 0
      await setImmediate()
    }
    if (!isInSpan(id, query) || !matchesPeer(message, owner, query) || !matches(message, query)) continue
    wanted++
    if ((page.after !== undefined && id <= page.after) || (page.before && id >= page.before)) continue
    onPage++
    if (found.length >= most.messages || bytes >= most.bytes) continue
    found.push(message)
    bytes += message.size
  }
  if (backwards) found.reverse()
  const complete = found.length === onPage
  return { messages: found, first: found[0]?.id, last: found.at(-1)?.id, complete, count: wanted }
}

function isInSpan(id: string, { start, end, afterId, beforeId }: Query): boolean {
  if ((afterId !== undefined && id <= afterId) || (beforeId !== undefined && id >= beforeId)) return false
  return (start === undefined || id >= firstIdAt(start)) && (end === undefined || id < firstIdAt(end + 1))
}

/** Where the index of conversations is not asked: the other side is whom the query names. */
function matchesPeer(message: Archived, owner: Jid, { with: jid }: Query): boolean {
  return jid === undefined || peerOf(parseHead(message.bytes), owner)?.equals(jid.bare) === true
}

async function assertThere(archive: Archive, owner: Jid, ids: readonly (string | undefined)[]): Promise<void> {
  for (const id of ids) {
    if (id !== undefined && (await archive.get(owner, id)) === undefined) {
      throw new StanzaError('item-not-found', 'this message is not in the archive')
    }
  }
}

/** Looks at the text first, as it was written: most messages need not be parsed to know that they are not wanted. */
function matches(message: Archived, { with: jid, words }: Query): boolean {
  const isFull = jid !== undefined && jid.resource !== ''
  if (isFull && !(message.bytes.includes(`='${escapeAttr(jid.toString())}'`) && isWith(message, jid))) return false
  if (words.length === 0) return true
  if (!containsWords(message.bytes, words.map(escapeText))) return false
  const body = findChildren(message.parse(), 'body').map(textOf).join('\n').toLowerCase()
  return words.every(word => body.includes(word))
}

function isWith({ bytes }: Archived, jid: Jid): boolean {
  const { from, to } = parseHead(bytes).attrs
  return [from, to].some(text => text !== undefined && Jid.parse(text)?.equals(jid) === true)
}

function greater(a: string | undefined, b: string | undefined): string | undefined {
  return a === undefined || (b !== undefined && b > a) ? b : a
}

function smaller(a: string | undefined, b: string | undefined): string | undefined {
  return a === undefined || (b !== undefined && b < a) ? b : a
}
