import type { OwnRequest } from '../core/iq.ts'
import { Stanza } from '../xmpp/stanza.ts'
import type { Outgoing, Reader } from './answers.ts'

/**
 * A client that reads the archive of its own account. A message that still waits in the queue counts as delivered when the
 * client acknowledges the result that carries it: it is not delivered a second time (XEP-0313 7.1.1), and not lost if the
 * connection breaks.
 */
export function ownClient({ account, session }: Pick<OwnRequest, 'account' | 'session'>): Reader {
  const pending = async (messages: readonly Outgoing[]): Promise<ReadonlySet<string>> => {
    const ids = messages.filter(({ carries }) => carries).map(({ id }) => id)
    if (ids.length === 0) return new Set()
    ids.sort()
    return account.queue.pending(ids[0]!, ids.at(-1)!, ids.length)
  }
  return {
    jid: session.jid,
    get ended() {
      return account.sessions.get(session.jid.resource) !== session
    },
    get full() {
      return session.full
    },
    room: () => session.room(),
    async sender(messages) {
      const waiting = await pending(messages)
      return async ({ id, carries, make }) => {
        const stanza = Stanza.make(make(), account.jid, session.jid)
        const waits = carries && waiting.has(id) && !session.full
        const entry = waits ? await account.queue.adopt(id, session) : undefined
        if (entry === undefined) session.deliver(stanza)
        else session.deliverAs(stanza, entry)
      }
    },
  }
}
