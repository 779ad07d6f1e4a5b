import { firstIdAt } from '../util/ids.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { Archive } from './archive.ts'

export interface Limits {
  /** What is older (ms since 1970) goes. */
  readonly before: number
  /** Messages that are kept of one owner, and bytes of them. */
  readonly maxMessages: number
  readonly maxBytes: number
}

/**
 * Removes what is too old or too much, the oldest first, so that no archive gets holes (XEP-0313 3). What an owner has not got
 * yet (from the message on that `waiting` names) stays, with all that is newer, however old it is.
 * @returns how many messages were removed
 */
export async function sweep(
  archive: Archive,
  limits: Limits,
  waiting: (owner: Jid) => Promise<string | undefined>,
): Promise<number> {
  let removed = 0
  for await (const owner of archive.owners()) {
    const until = await keptFrom(archive, owner, limits)
    if (until === '') continue
    const kept = await waiting(owner)
    removed += await archive.purge(owner, kept !== undefined && kept < until ? kept : until)
  }
  return removed
}

async function keptFrom(archive: Archive, owner: Jid, { before, maxMessages, maxBytes }: Limits): Promise<string> {
  const until = Number.isFinite(before) ? firstIdAt(before) : ''
  if (!Number.isFinite(maxMessages) && !Number.isFinite(maxBytes)) return until
  const last = await archive.beyond(owner, { count: maxMessages, bytes: maxBytes })
  return last === undefined || last < until ? until : `${last}~` // itself included
}
