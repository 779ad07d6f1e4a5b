import { childText, type Element } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import { STOP } from './hooks.ts'
import { type Session, takesMessages } from './session.ts'

declare module './hooks.ts' {
  interface HookMap {
    /**
     * Presence without an address goes out: available, where the session is so already, or unavailable, where it still is what
     * it was (RFC 6121 4.2 to 4.5).
     */
    presence_broadcast: Told<{ session: Session; stanza: Stanza }>
    /** A session broadcast that it is available; `initial` for the first time since it was not. */
    set_presence: Told<{ session: Session; stanza: Stanza; initial: boolean }>
    /** A session that was available is so no longer, by its own word (`status` is the text it gave) or because it ended. */
    unset_presence: Told<{ session: Session; status: string | undefined }>
    /** Presence to an address, before it is routed. STOP: the handler routes it itself. */
    presence_out: Async<{ session: Session; stanza: Stanza }>
  }
}

/**
 * A session is available, or is so in another way: from its priority follows whether it takes messages. This is so whichever
 * modules run; whom it is told is theirs. Throws the StanzaError that the client gets.
 */
function setPresence(session: Session, stanza: Stanza): void {
  const priority = readPriority(stanza)
  const initial = session.presence === undefined
  session.presence = stanza
  session.priority = priority
  const { host, queue } = session.account
  host.hooks.notify('presence_broadcast', { session, stanza })
  host.hooks.notify('set_presence', { session, stanza, initial })
  if (takesMessages(session)) void queue.attach(session)
  else queue.detach(session)
}

/** The presence of an available session goes out again, changed. */
export function changePresence(session: Session, change: (el: Element) => void): void {
  setPresence(session, session.presence!.changed(change))
}

/** A session is not available any more, or has ended; also one that never was: it may have told some all the same. */
export function unsetPresence(session: Session, stanza: Stanza): void {
  const was = session.presence !== undefined
  const { host, queue } = session.account
  host.hooks.notify('presence_broadcast', { session, stanza })
  session.presence = undefined
  session.priority = 0
  queue.detach(session)
  if (was) host.hooks.notify('unset_presence', { session, status: childText(stanza.el, 'status') })
}

/** Presence that a client sends, to one address or to all who are to know. Throws, or rejects, with its StanzaError. */
export function sendPresence(session: Session, stanza: Stanza): void | Promise<void> {
  const { to, type } = stanza
  if (to === undefined) {
    if (type === 'available') return setPresence(session, stanza)
    if (type === 'unavailable') return unsetPresence(session, stanza)
    // RFC 6121 4.7.1
    throw new StanzaError('bad-request', `presence of type ${type} needs an address`)
  }
  const { host, user } = session.account
  const go = (verdict: unknown): void | Promise<void> =>
    verdict === STOP ? undefined : host.router.route(stanza, { session })
  const verdict = host.hooks.run('presence_out', { session, stanza })
  return verdict instanceof Promise ? host.during(user, verdict.then(go)) : go(verdict)
}

/** RFC 6121 4.7.2.3. */
function readPriority(stanza: Stanza): number {
  const text = childText(stanza.el, 'priority')?.trim()
  if (text === undefined || text === '') return 0
  const value = Number(text)
  if (!/^[+-]?\d{1,3}$/.test(text) || value < -128 || value > 127) {
    throw new StanzaError('bad-request', 'a priority is a whole number from -128 to 127')
  }
  return value
}
