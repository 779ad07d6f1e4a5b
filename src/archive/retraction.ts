import { type Element, findChildren, NS, serialize, xml } from '../xml/index.ts'
import { Jid } from '../xmpp/jid.ts'
import type { Archive } from './archive.ts'
import { retracted } from './archived.ts'

/** A wish that a message be forgotten: no more of it than its execution needs. */
export interface Retraction {
  /** The id of the retraction itself: what the tombstone refers to. */
  readonly by: string | undefined
  /** The id that its sender gave the message. */
  readonly messageId: string
  /** Bare. */
  readonly author: Jid
}

/** What a message retracts (XEP-0424 3); undefined for one that retracts nothing. */
export function retractionOf(el: Element): Retraction | undefined {
  const messageId = retracted(el)
  const author = Jid.parse(el.attrs['from'] ?? '')?.bare
  return messageId === undefined || author === undefined ? undefined : { by: el.attrs['id'], messageId, author }
}

/**
 * Puts a tombstone (XEP-0424 4) in the place of a message in the archive of `owner`: only of one that came from the same bare
 * address as its retraction.
 * @returns whether it was found
 */
export async function bury(
  archive: Archive,
  owner: Jid,
  peer: Jid,
  retraction: Retraction,
  now: number,
): Promise<boolean> {
  const { messageId, author } = retraction
  const id = await archive.find(owner, peer, messageId, author.equals(owner))
  const el = id === undefined ? undefined : (await archive.get(owner, id))?.parse()
  if (id === undefined || el === undefined || el.attrs['id'] !== messageId || !isFrom(el, author)) return false
  const retracted = xml('retracted', { xmlns: NS.RETRACT, id: retraction.by, stamp: new Date(now).toISOString() })
  const stone = xml('message', el.attrs, retracted, ...findChildren(el, 'stanza-id', NS.SID))
  await archive.replace(owner, id, peer, Buffer.from(serialize(stone)), stone)
  return true
}

function isFrom(el: Element, author: Jid): boolean {
  return Jid.parse(el.attrs['from'] ?? '')?.bare.equals(author) === true
}
