import type { Host } from '../core/host.ts'
import { firstIdAt } from '../util/ids.ts'
import type { Archive } from './archive.ts'

const USERS = 100

export interface Limits {
  /** Ms that a message is kept. */
  readonly retention: number
  /** Messages that are kept of one user, and bytes of them. */
  readonly maxMessages: number
  readonly maxBytes: number
}

/**
 * Removes what is too old or too much, the oldest first, so that no archive gets holes (XEP-0313 3). What a user has not got
 * yet stays, with all that is newer, however old it is.
 * @returns how many messages were removed
 */
export async function sweep(archive: Archive, host: Host, limits: Limits): Promise<number> {
  let removed = 0
  let after: string | undefined
  for (;;) {
    const users = await archive.users(after, USERS)
    for (const user of users) removed += await sweepUser(archive, host, user, limits)
    if (users.length < USERS) return removed
    after = users.at(-1)
  }
}

async function sweepUser(archive: Archive, host: Host, user: string, limits: Limits): Promise<number> {
  let until = Number.isFinite(limits.retention) ? firstIdAt(host.now() - limits.retention) : ''
  if (Number.isFinite(limits.maxMessages) || Number.isFinite(limits.maxBytes)) {
    const last = await archive.beyond(user, { count: limits.maxMessages, bytes: limits.maxBytes })
    if (last !== undefined && last >= until) until = `${last}~` // itself included
  }
  const waiting = await host.oldestQueued(user)
  if (waiting !== undefined && waiting < until) until = waiting
  return until === '' ? 0 : archive.purge(user, until)
}
