import { type Element, findChild, findChildren, NS, serialize, xml } from '../../xml/index.ts'
import { Jid } from '../../xmpp/jid.ts'
import type { Archive } from './archive.ts'

/** How many messages of a conversation are looked through for the one that is retracted, newest first. */
const MAX_LOOKED_AT = 2000
const BATCH = 100

/** The id of the message that this one retracts (XEP-0424 3); undefined for any other. */
export function retracted(el: Element): string | undefined {
  return findChild(el, 'retract', NS.RETRACT)?.attrs['id'] || undefined
}

/**
 * Puts a tombstone (XEP-0424 4) in the place of a message in the archive of `user`: only of one that came from the same bare
 * address as its retraction.
 * @returns whether it was found
 */
export async function bury(
  archive: Archive,
  user: string,
  peer: Jid,
  retraction: Element,
  now: number,
): Promise<boolean> {
  const id = retracted(retraction)
  const author = Jid.parse(retraction.attrs['from'] ?? '')?.bare
  if (id === undefined || author === undefined) return false
  let before: string | undefined
  for (let looked = 0; looked < MAX_LOOKED_AT; looked += BATCH) {
    const batch = await archive.read(user, { before, peer, backwards: true, limit: BATCH })
    const found = batch.find(({ el }) => el.attrs['id'] === id && isFrom(el, author) && retracted(el) === undefined)
    if (found !== undefined) {
      await archive.replace(user, found.id, Buffer.from(serialize(tombstone(found.el, retraction, now))))
      return true
    }
    if (batch.length < BATCH) return false
    before = batch.at(-1)!.id
  }
  return false
}

function isFrom(el: Element, author: Jid): boolean {
  return Jid.parse(el.attrs['from'] ?? '')?.bare.equals(author) === true
}

function tombstone(el: Element, retraction: Element, now: number): Element {
  const stamp = new Date(now).toISOString()
  return xml(
    'message',
    el.attrs,
    xml('retracted', { xmlns: NS.RETRACT, id: retraction.attrs['id'], stamp }),
    ...findChildren(el, 'stanza-id', NS.SID),
  )
}
