import type { Op } from '../storage/store.ts'
import { findChild, NS, parseElement, xml } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import type { Account } from './account.ts'
import { type HookEvent, STOP } from './hooks.ts'
import type { Entry, MessageAbout, Origin } from './queue/entry.ts'
import type { Source } from './router.ts'
import { type Session, takesMessages } from './session.ts'

declare module './hooks.ts' {
  interface HookMap {
    /**
     * A message for an account, before it is queued or given to a session. STOP takes it (blocked, filtered); a handler may
     * put another in its place.
     */
    deliver_message: Sync<{ account: Account; stanza: Stanza }>
    /**
     * A message has its id and is about to be queued and delivered. What a handler adds to `rows` is written with it, or not
     * at all. `archived`: by one of them it is in the archive of its account (`host.archive`), and the queue keeps only its id.
     * `sent`: by one it is in that of its sender, an account of this host. `about`, for who asks later what became of it.
     */
    archive_message: Sync<{
      account: Account
      stanza: Stanza
      id: string
      bytes: Buffer
      readonly rows: Op[]
      archived: boolean
      sent: boolean
      about: MessageAbout | null | undefined
    }>
    /**
     * Nobody is there to take a message that will be kept, or whoever is there has more than enough to take. A handler throws
     * StanzaError to refuse it (quota).
     */
    offline_message: Sync<{ account: Account; stanza: Stanza }>
    /** A message was handed to sessions of its account, or queued (`sessions` empty). */
    message_delivered: Told<{ account: Account; stanza: Stanza; sessions: readonly Session[] }>
  }
}

/** What becomes of a message; RFC 6121 8.5.4 in our choice among what it allows. */
export type Verdict =
  /** To all sessions that take messages for the account (8.5.2.1.1: all rather than one). */
  | 'all'
  /** To the session that is addressed. */
  | 'session'
  /** Kept until somebody comes. */
  | 'queue'
  | 'bounce'
  | 'drop'

/** Who is there: `none` has no session that takes messages (none at all, or only negative priorities). */
type Presence = 'no_account' | 'none' | 'some' | 'match'

type Row = Readonly<Record<string, Verdict>>

/**
 * RFC 6121 8.5 as a table: [address][who is there][message type].
 * `full` + `none`/`some`: the addressed resource is not there (8.5.3.2.1).
 */
export const DELIVERY: Readonly<Record<'bare' | 'full', Readonly<Partial<Record<Presence, Row>>>>> = {
  bare: {
    no_account: { normal: 'bounce', chat: 'bounce', groupchat: 'bounce', headline: 'drop', error: 'drop' },
    none: { normal: 'queue', chat: 'queue', groupchat: 'bounce', headline: 'drop', error: 'drop' },
    some: { normal: 'all', chat: 'all', groupchat: 'bounce', headline: 'all', error: 'drop' },
  },
  full: {
    no_account: { normal: 'bounce', chat: 'bounce', groupchat: 'bounce', headline: 'drop', error: 'drop' },
    none: { normal: 'bounce', chat: 'queue', groupchat: 'bounce', headline: 'drop', error: 'drop' },
    some: { normal: 'bounce', chat: 'all', groupchat: 'bounce', headline: 'drop', error: 'drop' },
    match: { normal: 'session', chat: 'session', groupchat: 'session', headline: 'session', error: 'session' },
  },
}

/** Delivers a message to a local account: which sessions, or the queue, or an error (thrown). */
export function deliverMessage(account: Account, sent: Stanza, { origin, lasting = false }: Source = {}): void {
  const event = { account, stanza: sent }
  if (account.host.hooks.runSync('deliver_message', event) === STOP) return
  const { stanza } = event
  const resource = stanza.to!.resource
  const match = resource === '' ? undefined : account.sessions.get(resource)
  const takers: Session[] = []
  for (const session of account.sessions.values()) if (takesMessages(session)) takers.push(session)
  const there: Presence = match !== undefined ? 'match' : takers.length > 0 ? 'some' : 'none'
  // Its sender was told that it is safe: where the client that sent it has gone, others of the user's learn what became of it.
  const type = lasting && stanza.type === 'error' && match === undefined ? 'chat' : stanza.type
  const verdict = DELIVERY[resource === '' ? 'bare' : 'full'][there]![type]!
  if (verdict === 'drop') return
  if (verdict === 'bounce') throw new StanzaError('service-unavailable')

  const targets = verdict === 'session' ? [match!] : takers
  if (!lasting && !keeps(stanza)) {
    if (verdict === 'queue') return // nothing that anybody would miss: XEP-0160 3, XEP-0334 4.2
    for (const session of targets) session.deliver(stanza)
    account.host.hooks.notify('message_delivered', { account, stanza, sessions: targets })
    return
  }
  if (verdict === 'queue' || account.queue.behind) account.host.hooks.runSync('offline_message', { account, stanza })
  enqueue(account, stanza, targets, origin)
}

/** Queues a message and hands it to those of `targets` that are not behind: these get it in its turn. */
function enqueue(account: Account, stanza: Stanza, targets: readonly Session[], origin: Origin | undefined): void {
  const { queue, host } = account
  const id = host.ids.ordered()
  const stored = withStanzaId(stanza, account.jid.toString(), id)
  const bytes = Buffer.from(stored.toString())
  const entry = queue.push(id, bytes, origin)
  if (host.hooks.has('archive_message')) {
    const event: HookEvent<'archive_message'> = {
      account,
      stanza: stored,
      id,
      bytes,
      rows: [],
      archived: false,
      sent: false,
      about: undefined,
    }
    host.hooks.notify('archive_message', event)
    entry.about = event.about
    entry.rows = event.rows
    entry.archived = event.archived
  }
  origin?.accepted(entry)
  for (const session of targets) {
    if (queue.offer(entry, session)) session.deliver(stored, entry)
  }
  queue.keep(entry)
  host.hooks.notify('message_delivered', { account, stanza: stored, sessions: targets })
}

/** A queued message as it goes to whom it is for: its last child says who gave it its id (XEP-0359 3). */
export function withStanzaId(stanza: Stanza, by: string, id: string): Stanza {
  const copy = stanza.readdressed(stanza.from, stanza.to)
  copy.el.children = [...copy.el.children, xml('stanza-id', { xmlns: NS.SID, by, id })]
  return copy
}

/** A queued message as its sender had it. */
export function asSent(entry: Entry): Stanza {
  const el = parseElement(entry.bytes)
  el.children = el.children.slice(0, -1) // our stanza-id is the recipient's business
  return Stanza.of(el)
}

/**
 * Whether a message is worth keeping: what people write and what tells of it (receipts, markers), not what only makes
 * sense now. XEP-0160 3, XEP-0334 4; groupchat, headline and error are never kept (RFC 6121 8.5.2.2.1).
 */
export function keeps(stanza: Stanza): boolean {
  return (stanza.type === 'chat' || stanza.type === 'normal') && hasContent(stanza)
}

/**
 * The same where it is for another server, or for a component. There it is not ours to say what is kept: what a room sends,
 * and errors that answer messages, must get there too.
 */
export function keepsForOthers(stanza: Stanza): boolean {
  const { kind, type } = stanza
  if (kind !== 'message' || type === 'headline') return false
  return type === 'error' || hasContent(stanza)
}

function hasContent(stanza: Stanza): boolean {
  let content = false
  for (const child of stanza.el.children) {
    if (typeof child === 'string') continue
    const ns = child.attrs['xmlns']
    if (ns === NS.HINTS) {
      if (child.name === 'no-store') return false // no-permanent-store concerns archives, not the queue
      if (child.name === 'store') return true
    } else if (ns !== undefined ? ns !== NS.CHATSTATES : child.name !== 'thread') content = true
  }
  return content
}

/**
 * Presence that tells something: for a bare address to all available sessions (RFC 6121 8.5.2.1.2), but those of `except`; for
 * a full one to that session (8.5.3.1).
 */
export function deliverPresence(account: Account, stanza: Stanza, except?: (client: Jid) => boolean): void {
  const { resource } = stanza.to!
  if (resource !== '') return account.sessions.get(resource)?.deliver(stanza)
  for (const session of account.sessions.values()) {
    if (session.presence !== undefined && except?.(session.jid) !== true) session.deliver(stanza)
  }
}

/** XEP-0203 stamp on a message that waited; undefined if it has one already from this host. */
export function delayElement(stanza: Stanza, host: string, at: number) {
  const given = findChild(stanza.el, 'delay', NS.DELAY)
  if (given?.attrs['from'] === host) return undefined
  return xml('delay', { xmlns: NS.DELAY, from: host, stamp: new Date(at).toISOString() })
}
