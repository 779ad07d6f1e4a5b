import type { Jid } from '../xmpp/jid.ts'
import type { Host } from './host.ts'
import type { MessageQueue } from './queue/queue.ts'
import { type Session, Slots } from './session.ts'

/**
 * A local account in memory: its sessions, its queue, and what modules keep with it. It is loaded before the first stanza
 * for it is handled and stays while it has sessions or messages in flight; beyond that, the host keeps the recently used.
 */
export class Account {
  readonly host: Host
  readonly user: string
  readonly jid: Jid
  readonly queue: MessageQueue
  readonly sessions = new Map<string, Session>()
  readonly slots = new Slots()
  /** Bytes that modules keep with it, as far as users or strangers can make it much. */
  weight = 0

  constructor(host: Host, jid: Jid, queue: MessageQueue) {
    this.host = host
    this.user = jid.local
    this.jid = jid
    this.queue = queue
  }

  /** What a module keeps with it has become so many bytes larger, or smaller: who weighs much leaves memory sooner. */
  grew(bytes: number): void {
    this.weight += bytes
    this.host.accounts.grew(bytes)
  }

  /** Sessions that have sent initial presence, of any priority. */
  available(): Session[] {
    const list: Session[] = []
    for (const session of this.sessions.values()) if (session.presence !== undefined) list.push(session)
    return list
  }

  /** Whether there is such a session. */
  get isAvailable(): boolean {
    for (const session of this.sessions.values()) if (session.presence !== undefined) return true
    return false
  }

  get idle(): boolean {
    return this.sessions.size === 0 && this.queue.idle
  }
}
