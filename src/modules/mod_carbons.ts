import type { Account } from '../core/account.ts'
import { FILTER, OBSERVE } from '../core/hooks.ts'
import { defineModule } from '../core/module.ts'
import { type Session, Slot } from '../core/session.ts'
import { clone, type Element, findChild, hasChild, NS, xml } from '../xml/index.ts'
import { Stanza } from '../xmpp/stanza.ts'

/** On the sessions that want copies. */
const ENABLED = new Slot<true>('mod_carbons')

export const mod_carbons = defineModule({
  name: 'mod_carbons',
  xep: {
    number: 280,
    version: '1.0.1',
    name: 'Message Carbons',
    partial: 'An error is copied where it carries what it answers: who sent what is not kept in mind.',
  },
  summary: 'Shows each of a user’s clients what the others send and receive.',
  options: {},
  start(ctx) {
    ctx.feature(NS.CARBONS, 'server', 'account')
    ctx.feature(NS.CARBONS_RULES, 'server', 'account')

    ctx.iq('own', 'set', NS.CARBONS, 'enable', ({ session }) => {
      session.slots.set(ENABLED, true)
    })
    ctx.iq('own', 'set', NS.CARBONS, 'disable', ({ session }) => {
      session.slots.delete(ENABLED)
    })
    ctx.hook('bind2_features', ({ features }) => void features.push(NS.CARBONS))
    ctx.hook('bind2_bound', ({ session, request }) => {
      if (findChild(request, 'enable', NS.CARBONS) !== undefined) session.slots.set(ENABLED, true)
    })
    ctx.survives(ENABLED)

    // XEP-0280 11: the copies made here never come this way, so what does is forged.
    ctx.hook('deliver_message', { order: FILTER }, event => {
      if (!event.stanza.el.children.some(isCopy)) return
      event.stanza = event.stanza.changed(el => {
        el.children = el.children.filter(child => !isCopy(child))
      })
    })

    // What is on its way, by who sent it, until it is known whether it lies in the archive of its sender, and under which id.
    const onTheirWay = new Map<string, OnItsWay>()
    const copySent = (sender: string, id: string | undefined): void => {
      const sent = onTheirWay.get(sender)
      if (sent === undefined) return
      onTheirWay.delete(sender)
      const { account, session } = sent
      const stanza = id === undefined ? sent.stanza : withId(sent.stanza, account.jid.toString(), id)
      copy('sent', account.sessions.values(), stanza, other => other !== session)
    }
    ctx.hook('message_sent', { order: OBSERVE }, event => {
      const { account, session, stanza } = event
      // To oneself: the other clients get the message as such.
      if (stanza.to!.bare.equals(account.jid)) return
      if (!isAnyWanted(account, session) || !isEligible(stanza, 'sent')) return
      const sender = stanza.from.toString()
      copySent(sender, undefined) // one that is still on its way though the session was resumed
      onTheirWay.set(sender, { account, session, stanza })
      if (event.archived !== undefined) copySent(sender, event.archived)
      // Nobody else keeps it: what was not copied by then lies in no archive.
      else {
        event.routed = () => {
          if (onTheirWay.get(sender)?.stanza === stanza) copySent(sender, undefined)
        }
      }
    })
    ctx.hook('archive_message', { order: OBSERVE }, ({ stanza, id, sent }) => {
      if (!sent || onTheirWay.size === 0) return
      const sender = stanza.from.toString()
      if (onTheirWay.get(sender)?.stanza.id === stanza.id) copySent(sender, id)
    })
    ctx.hook('message_delivered', ({ account, stanza, sessions }) => {
      if (account.sessions.size <= sessions.length) return
      copy(
        'received',
        account.sessions.values(),
        stanza,
        other => !sessions.includes(other) && !other.jid.equals(stanza.from),
      )
    })
  },
})

/** Some other session of the account wants copies. */
function isAnyWanted(account: Account, session: Session | undefined): boolean {
  for (const other of account.sessions.values()) {
    if (other !== session && other.slots.get(ENABLED) === true) return true
  }
  return false
}

/** One message of each sender at a time: the next is read when this one is routed. */
interface OnItsWay {
  readonly account: Account
  readonly session: Session | undefined
  readonly stanza: Stanza
}

/** XEP-0313 3: the sender's other clients learn where the message lies in their archive; nobody else does. */
function withId(stanza: Stanza, by: string, id: string): Stanza {
  const copy = stanza.readdressed(stanza.from, stanza.to)
  copy.el.children = [...copy.el.children, xml('stanza-id', { xmlns: NS.SID, by, id })]
  return copy
}

function isCopy(child: Element | string): boolean {
  return (
    typeof child !== 'string' &&
    child.attrs['xmlns'] === NS.CARBONS &&
    (child.name === 'sent' || child.name === 'received')
  )
}

function copy(
  direction: 'sent' | 'received',
  sessions: Iterable<Session>,
  stanza: Stanza,
  wanted: (session: Session) => boolean,
): void {
  let made: Stanza | undefined
  for (const session of sessions) {
    if (session.slots.get(ENABLED) !== true || !wanted(session)) continue
    if (made === undefined) {
      if (!isEligible(stanza, direction)) return
      made = wrap(direction, stanza, session)
    }
    session.deliver(made.readdressed(session.account.jid, session.jid))
  }
}

/** XEP-0280 7 and 8: the message as it is, in its own namespace. */
function wrap(direction: 'sent' | 'received', stanza: Stanza, { account, jid }: Session): Stanza {
  const message = clone(stanza.el)
  message.attrs['xmlns'] = NS.CLIENT
  const type = stanza.type === 'normal' ? undefined : stanza.type
  const forwarded = xml('forwarded', { xmlns: NS.FORWARD }, message)
  return Stanza.make(xml('message', { type }, xml(direction, { xmlns: NS.CARBONS }, forwarded)), account.jid, jid)
}

/** XEP-0280 6.1, all of it: `urn:xmpp:carbons:rules:0` promises that. And XEP-0334 4.3. */
function isEligible(stanza: Stanza, direction: 'sent' | 'received'): boolean {
  const { el, type, from } = stanza
  if (type === 'groupchat') return false
  if (findChild(el, 'private', NS.CARBONS) !== undefined) return false
  if (type !== 'error' && findChild(el, 'no-copy', NS.HINTS) !== undefined) return false
  const room = findChild(el, 'x', NS.MUC_USER)
  if (room !== undefined && findChild(room, 'invite', NS.MUC_USER) !== undefined) return true
  // What an occupant says in private comes from the room to each client that is in it.
  if (room !== undefined && direction === 'received' && from.resource !== '') return false
  if (type === 'chat' || hasChild(el, NS.CONFERENCE)) return true
  // An error is a copy's business where the message was: it comes with what that carried, if anybody can tell.
  if ((type === 'normal' || type === 'error') && findChild(el, 'body') !== undefined) return true
  return hasChild(el, NS.RECEIPTS) || hasChild(el, NS.CHATSTATES) || hasChild(el, NS.MARKERS)
}
