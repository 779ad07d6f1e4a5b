import { FILTER, FIRST } from '../core/hooks.ts'
import { defineModule } from '../core/module.ts'
import { type Session, Slot } from '../core/session.ts'
import { type Element, elementNs, NS } from '../xml/index.ts'
import { claimant } from '../xmpp/claims.ts'
import { type Stanza, without } from '../xmpp/stanza.ts'

/** Namespaces of XEP-0313 begin so. */
const ARCHIVES = 'urn:xmpp:mam:'

/** The addresses whose archives a client has asked lately, bare: nobody else has answers for it. */
const ASKED = new Slot<Set<string>>('archives asked', {
  write: asked => [...asked],
  read: (list: string[]) => new Set(list),
})
const MAX_ASKED = 50

/**
 * The server itself gives messages their ids (core/delivery.ts); this keeps others from claiming that it did, or that it
 * delayed a message, numbered its sender, or found a message in an archive.
 */
export const mod_stanza_id = defineModule({
  name: 'mod_stanza_id',
  xep: {
    number: 359,
    version: '0.7.0',
    name: 'Unique and Stable Stanza IDs',
    partial: 'An id tells when it was made.',
  },
  summary:
    'Makes sure that the ids, delays, occupant ids and answers of archives in messages come from whom they name.',
  options: {},
  start(ctx) {
    const { name } = ctx.host
    ctx.feature(NS.SID, 'server', 'account')

    ctx.survives(ASKED)

    // What leaves for other servers must not claim us either.
    ctx.hook('user_send_packet', { order: FIRST }, event => {
      const { stanza, session } = event
      if (stanza.kind === 'iq' && stanza.type === 'set') return noteQuestion(session, stanza)
      if (stanza.kind !== 'message') return
      const account = session.account.jid.toString()
      event.stanza = without(
        stanza,
        el => isForged(el, account, name) || (el.name === 'occupant-id' && el.attrs['xmlns'] === NS.OCCUPANT_ID),
      )
    })
    ctx.hook('deliver_message', { order: FILTER }, event => {
      const { stanza, account } = event
      // The host itself may say what it likes.
      if (stanza.from.local === '' && stanza.from.domain === name) return
      const own = account.jid.toString()
      event.stanza = without(
        stanza,
        el => isForged(el, own, name) || (isAnswer(el) && !hasAsked(account.sessions.get(stanza.to!.resource), stanza)),
      )
    })
  },
})

/** Rooms and other services have archives that they answer from (XEP-0313 4); one's own is asked without them. */
function noteQuestion({ slots, account }: Session, { to, payload }: Stanza): void {
  if (to === undefined || payload === undefined || elementNs(payload)?.startsWith(ARCHIVES) !== true) return
  if (to.bare.equals(account.jid)) return
  const asked = slots.ensure(ASKED, () => new Set())
  const key = to.bare.toString()
  asked.delete(key)
  asked.add(key)
  if (asked.size > MAX_ASKED) asked.delete(asked.values().next().value!)
}

function hasAsked(session: Session | undefined, { from }: Stanza): boolean {
  return session?.slots.get(ASKED)?.has(from.bare.toString()) === true
}

/** Says that the account or its host did something. */
function isForged(el: Element, account: string, host: string): boolean {
  const by = claimant(el)
  if (by === undefined) return false
  const jid = by.bare.toString()
  return jid === account || jid === host
}

/** What only an archive or an inbox says, and that to whoever has asked it (XEP-0313 4.2, of any version; XEP-0430). */
function isAnswer({ name, attrs }: Element): boolean {
  const { xmlns } = attrs
  if (name === 'result' || name === 'fin') return xmlns?.startsWith(ARCHIVES) === true
  return name === 'entry' && xmlns === NS.INBOX
}
