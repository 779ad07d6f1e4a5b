import { STOP } from '../core/hooks.ts'
import type { Entry } from '../core/queue/entry.ts'
import type { Unacked } from '../core/queue/outbox.ts'
import type { Session } from '../core/session.ts'
import { StanzaError, StreamError } from '../xmpp/errors.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { C2SSession } from './session.ts'

declare module '../core/hooks.ts' {
  interface HookMap {
    /** A stanza on its way to a client. STOP: the handler has taken it. */
    user_receive_packet: Sync<{ session: Session; stanza: Stanza; entry: Entry | undefined }>
  }
}

/** Bytes that a client may leave unread before it gets no more queued messages for now. */
const FULL_BACKLOG = 512 * 1024
/** Bytes at which it is taken for dead. */
export const MAX_BACKLOG = 4 * 1024 * 1024
/** Bytes that may be unacknowledged before a client gets no more queued messages for now; at four times that it ends. */
const FULL_UNACKED = 2 * 1024 * 1024

/**
 * `bytes` is the stanza where it is serialized already. Never throws: what goes wrong on the way to one client concerns
 * neither its sender, whose message may be in the queue by now, nor those who get it after this one.
 */
export function give(session: C2SSession, stanza: Stanza, entry: Entry | undefined, bytes: Buffer | undefined): void {
  try {
    hand(session, stanza, entry, bytes)
  } catch (error) {
    failed(session, error)
    // Not released while the session is there, which would be given it again at once.
    if (entry !== undefined) session.end(new StreamError('internal-server-error'))
    if (entry === undefined || entry.holders.includes(session)) undeliverable(session, stanza, entry)
  }
}

function hand(session: C2SSession, stanza: Stanza, entry: Entry | undefined, bytes: Buffer | undefined): void {
  if (session.state === 'ended') return undeliverable(session, stanza, entry)
  const { hooks } = session.account.host
  if (hooks.has('user_receive_packet')) {
    const event = { session, stanza, entry }
    if (hooks.notify('user_receive_packet', event) === STOP) return
    // A handler put another stanza in its place: the queued bytes are no longer what is sent.
    if (event.stanza !== stanza) return replaced(session, stanza, event.stanza, entry)
  }
  write(session, bytes ?? stanza.toString(), stanza, entry)
}

function replaced(session: C2SSession, stanza: Stanza, other: Stanza, entry: Entry | undefined): void {
  let text: string
  try {
    text = other.toString()
  } catch (error) {
    if (entry === undefined) throw error
    failed(session, error)
    return write(session, entry.bytes, stanza, entry) // what is kept is delivered
  }
  write(session, text, other, entry)
}

function failed({ account, jid }: Session, error: unknown): void {
  account.host.log.error({ err: error, jid: jid.toString() }, 'a stanza could not be given to a client')
}

function write(session: C2SSession, data: string | Buffer, stanza: Stanza, entry: Entry | undefined): void {
  if (session.managed) {
    const sameBytes = entry !== undefined && data === entry.bytes
    const lost =
      entry === undefined && stanza.kind === 'iq' ? () => undeliverable(session, stanza, undefined) : undefined
    keep(session, { text: sameBytes ? undefined : data.toString(), entry, lost })
  } else if (entry !== undefined) keep(session, { text: undefined, entry, lost: undefined })
  const { stream } = session
  if (stream === undefined) return
  stream.send(data)
  if (stanza.kind === 'message') session.server.counters.sent.value++
  if (stream.transport.backlog > session.maxBacklog) stream.abandon('the client does not read')
}

function keep(session: C2SSession, item: Unacked): void {
  const { outbox, settings } = session
  outbox.push(item)
  // Where the sender waits for a message to be safe, the client is asked when it is (see committed): what it acknowledged
  // before a crash, it does not get twice. The rest need not wait.
  const { entry } = item
  if (entry === undefined || entry.committed || entry.origin === undefined) session.acknowledger.due()
  // The bound of what is kept for a client that does not acknowledge: its messages are safe in the store.
  if (outbox.size > 2 * settings.maxAckQueue || outbox.bytes > 4 * FULL_UNACKED) {
    session.end(new StreamError('policy-violation', 'too many stanzas were not acknowledged'))
  }
}

/** Nobody is there any more to take it: RFC 6121 8.5.3.2. */
function undeliverable(session: Session, stanza: Stanza, entry: Entry | undefined): void {
  const { host, queue } = session.account
  if (entry !== undefined) queue.release(session, [entry])
  else if (stanza.kind === 'iq') void host.router.bounce(stanza, new StanzaError('service-unavailable'))
}

/** It is given no more queued messages for now. */
export function isFull({ outbox, settings, stream }: C2SSession): boolean {
  if (outbox.size >= settings.maxAckQueue || outbox.bytes >= FULL_UNACKED) return true
  return (stream?.transport.backlog ?? 0) > FULL_BACKLOG
}
