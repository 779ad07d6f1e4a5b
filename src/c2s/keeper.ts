import { DEVICE } from '../core/devices.ts'
import type { Host } from '../core/host.ts'
import { Entry } from '../core/queue/entry.ts'
import type { Unacked } from '../core/queue/outbox.ts'
import { type ConnectionInfo, type Session, takesMessages } from '../core/session.ts'
import { partitionsOf, type Table } from '../storage/store.ts'
import { parseElement } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import { Stanza } from '../xmpp/stanza.ts'
import type { C2SHost, C2SServer } from './server.ts'
import { C2SSession } from './session.ts'

declare module '../core/hooks.ts' {
  interface HookMap {
    /** The server stops, and the session is about to be written down: what is sent to it now goes with it. */
    session_suspend: Sync<{ session: Session }>
    /** A session is back after a restart, not yet resumed. */
    session_restored: Told<{ session: Session }>
  }
}

/** A session between two runs of the server. */
interface Suspended {
  user: string
  resource: string
  /** The id of the device whose session it is, if it has said so. */
  device?: string
  info: ConnectionInfo
  presence: string | undefined
  priority: number
  interested: boolean
  /** Stanzas handled from the client; all of them are safe. */
  handled: number
  /** Stanzas that the client has acknowledged, and what it has not: an id in the queue, the text where that differs or may fail. */
  acked: number
  unacked: { id?: string; text?: string; done?: true }[]
  /** Ids of what it was sent before stream management was enabled, and has not acknowledged. */
  early?: string[]
  /** Of slots, by their names. */
  state: Record<string, unknown>
}

/** Keeps sessions over an orderly restart, so that clients resume as if nothing had happened (promise 7). */
export class SessionKeeper {
  readonly #c2s: C2SServer

  constructor(c2s: C2SServer) {
    this.#c2s = c2s
  }

  #table(host: Host): Table<Suspended> {
    return host.store.table(host.name, { name: 'suspended_session' })
  }

  /** Ends all sessions for now: those that can be resumed are written down, the others close. */
  async suspend(timeout: number): Promise<void> {
    const hosts = [...this.#c2s.hosts.values()].map(({ host }) => host)
    const sessions = hosts.flatMap(host => [...host.sessions()]).filter(session => session instanceof C2SSession)
    await Promise.all(sessions.map(session => session.stream?.halt(timeout)))
    await Promise.all(sessions.map(session => session.inbound.allSafe(timeout)))
    for (const host of hosts) await host.queues.flush()
    for (const session of sessions) {
      if (!session.resumable) session.end(new StreamError('system-shutdown'))
    }
    const left = sessions.filter(s => s.state !== 'ended')
    // The messages are safe in any case; only the resumption is lost, and of no other session.
    const failed = (session: C2SSession, error: unknown): void =>
      this.#c2s.log.error({ err: error, jid: session.jid.toString() }, 'a session could not be kept')
    await Promise.all(left.map(session => this.#write(session).catch((error: unknown) => failed(session, error))))
  }

  async #write(session: C2SSession): Promise<void> {
    const { host } = session.account
    host.hooks.notify('session_suspend', { session })
    const suspended: Suspended = {
      user: session.account.user,
      resource: session.jid.resource,
      device: session.slots.get(DEVICE),
      info: session.info,
      presence: session.presence?.toString(),
      priority: session.priority,
      interested: session.interested,
      handled: session.inbound.safe,
      acked: session.outbox.acked,
      unacked: [...session.outbox].map(({ text, entry }) => {
        if (entry === undefined) return { text: text! }
        if (entry.done) return { id: entry.id, text: text ?? entry.bytes.toString(), done: true }
        // One that came just now, from elsewhere, is in the queue at the next start, unless the store fails.
        const kept = entry.committed ? text : (text ?? entry.bytes.toString())
        return { id: entry.id, ...(kept === undefined ? {} : { text: kept }) }
      }),
      early: session.early.flatMap(({ entry }) => (entry === undefined || entry.done ? [] : entry.id)),
      state: host.surviving.write(session.slots),
    }
    // In the same turn: what is delivered from here on must not reach the client, which would count it.
    session.farewell()
    await this.#table(host).put([session.resumption!], [], suspended)
  }

  /** Brings the sessions back that the last run had put aside. Costs time by their number, not by that of messages. */
  async restore(): Promise<void> {
    let count = 0
    for (const c2s of this.#c2s.hosts.values()) {
      const table = this.#table(c2s.host)
      const restored: C2SSession[] = []
      for await (const [key] of partitionsOf(table)) {
        const id = String(key)
        const suspended = await table.get([id], [])
        // One that cannot be brought back costs its client the resumption, nobody else anything.
        const failed = (error: unknown): void =>
          this.#c2s.log.error({ err: error, user: suspended!.user }, 'a session could not be brought back')
        const session = suspended && (await this.#revive(c2s, id, suspended).catch(failed))
        if (session) restored.push(session)
        await table.del([id], [])
      }
      // Only now, when it is known what each of them has had: each gets what is new.
      for (const session of restored) if (takesMessages(session)) void session.account.queue.attach(session)
      count += restored.length
    }
    if (count > 0) this.#c2s.log.info({ sessions: count }, 'sessions wait to be resumed')
  }

  async #revive(c2s: C2SHost, id: string, suspended: Suspended): Promise<C2SSession | undefined> {
    const { host } = c2s
    const account = await host.account(suspended.user)
    if (account === undefined) return undefined
    const jid = account.jid.withResource(suspended.resource)
    const session = new C2SSession(account, jid, undefined, suspended.info, c2s.settings, this.#c2s)
    host.surviving.read(session.slots, suspended.state)
    const items: Unacked[] = []
    for (const item of suspended.unacked) {
      const entry =
        item.id === undefined
          ? undefined
          : item.done === true
            ? Entry.delivered(item.id, Buffer.from(item.text!))
            : await account.queue.adopt(item.id, session)
      const text = item.text ?? (entry === undefined ? GONE : undefined)
      items.push({ text, entry, lost: undefined })
    }
    for (const early of suspended.early ?? []) {
      session.early.push({ text: undefined, entry: await account.queue.adopt(early, session), lost: undefined })
    }
    // First: the device decides which messages are its own.
    if (suspended.device !== undefined) session.slots.set(DEVICE, suspended.device)
    await session.restore(id, suspended.handled, suspended.acked, items)
    session.presence = suspended.presence === undefined ? undefined : Stanza.of(parseElement(suspended.presence))
    session.priority = suspended.priority
    session.interested = suspended.interested
    account.sessions.set(suspended.resource, session)
    this.#c2s.sessions.add(session)
    host.hooks.notify('session_restored', { session })
    return session
  }
}

/** Stands for a stanza that is no longer there, so that the counts of both sides stay the same. */
const GONE = '<message/>'
