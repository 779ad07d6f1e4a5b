import { sendPresence } from '../core/availability.ts'
import { STOP } from '../core/hooks.ts'
import { answerIq, asStanzaError } from '../core/iq.ts'
import type { Session } from '../core/session.ts'
import { cut, isTrue } from '../util/text.ts'
import { type Element, elementNs, NS, serialize, xml } from '../xml/index.ts'
import { StanzaError, StreamError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import { Stanza, type StanzaKind } from '../xmpp/stanza.ts'
import type { C2SSession } from './session.ts'

declare module '../core/hooks.ts' {
  interface HookMap {
    /** A stanza that a client sent, stamped with its address. A handler may put another in its place; STOP drops it. */
    user_send_packet: Async<{ session: Session; stanza: Stanza }>
  }
}

/** What goes wrong costs the sender an error stanza, never the stream, but for a StreamError. */
export function handleStanza(session: C2SSession, el: Element, kind: StanzaKind): void | Promise<void> {
  let stanza: Stanza
  // RFC 6120 8.1.5: what names no language is in that of the stream.
  const lang = session.stream?.lang
  if (lang !== undefined && el.attrs['xml:lang'] === undefined) el.attrs['xml:lang'] = lang
  try {
    stanza = Stanza.fromClient(el, kind, session.jid)
  } catch (error) {
    if (!(error instanceof StanzaError)) throw error
    return refuse(session, el, error)
  }
  const { hooks } = session.account.host
  if (!hooks.has('user_send_packet')) return dispatch(session, stanza)
  const event = { session, stanza }
  try {
    const verdict = hooks.run('user_send_packet', event)
    if (verdict === STOP) return
    if (verdict instanceof Promise) {
      return verdict
        .then(answer => (answer === STOP ? undefined : dispatch(session, event.stanza)))
        .catch((error: unknown) => bounce(session, stanza, error))
    }
  } catch (error) {
    return bounce(session, stanza, error)
  }
  return dispatch(session, event.stanza)
}

function dispatch(session: C2SSession, stanza: Stanza): void | Promise<void> {
  try {
    const done = route(session, stanza)
    if (done instanceof Promise) return done.catch((error: unknown) => bounce(session, stanza, error))
  } catch (error) {
    bounce(session, stanza, error)
  }
}

function route(session: C2SSession, stanza: Stanza): void | Promise<void> {
  const { account } = session
  const { host } = account
  if (stanza.kind === 'message') {
    if (session.stream !== undefined) session.server.counters.received.value++
    return session.inbound.message(stanza)
  }
  if (stanza.kind === 'presence') return sendPresence(session, stanza)
  if (stanza.to === undefined && stanza.isRequest) {
    return answerIq(host, host.iq, 'account', stanza, { session }, account)
  }
  if (!stanza.isRequest && session.acknowledger.answered(stanza)) return
  if (stanza.to === undefined) return void host.requests.answer(stanza)
  return host.router.route(stanza, { session })
}

/** An error to a client about something it sent. */
export function bounce(session: Session, stanza: Stanza, reason: unknown): void {
  if (reason instanceof StreamError) return session.end(reason)
  const error = asStanzaError(reason, session.account.host.log, 'c2s')
  const answer = stanza.error(error, { echo: stanza.kind === 'message' })
  if (answer !== undefined) session.deliver(answer)
}

/** What cannot even be addressed is answered too (RFC 6120 8.3.3.8), unless it is an answer itself. */
function refuse(session: Session, el: Element, error: StanzaError): void {
  const type = el.attrs['type']
  if (type === 'error' || type === 'result') return
  const answer = xml(el.name, { type: 'error', id: el.attrs['id'] || undefined }, error.toElement())
  // From whom it was for (RFC 6120 8.3.1), unless that is no address: clients take no answer from anybody else.
  const to = el.attrs['to'] ? Jid.parse(el.attrs['to']) : undefined
  session.deliver(Stanza.make(answer, to ?? session.account.jid, session.jid))
}

/** An element of the first level that is no stanza. Throws StreamError for what nobody knows. */
export function handleNonza(session: C2SSession, el: Element): void | Promise<void> {
  const ns = elementNs(el)
  if (ns === NS.SM) {
    if (el.name === 'r' && session.managed) return session.inbound.requested()
    if (el.name === 'a' && session.managed) return session.acknowledger.acknowledged(el)
    if (el.name === 'enable' && !session.managed && session.stream !== undefined) return enableManagement(session, el)
    if (el.name === 'enable' || el.name === 'resume') {
      return session.sendRaw(`<failed xmlns='${NS.SM}'><unexpected-request xmlns='${NS.STANZAS}'/></failed>`)
    }
  }
  const { nonzas, log } = session.account.host
  const handler = nonzas.find(ns, el.name)
  if (handler === undefined) {
    throw new StreamError('unsupported-stanza-type', `<${cut(el.name, 50)}/> is unknown here`)
  }
  try {
    handler(session, el)
  } catch (error) {
    if (error instanceof StreamError) throw error
    log.error({ err: error, ns, name: el.name }, 'a handler failed')
  }
}

/** XEP-0198 3: stream management begins on a bound stream. */
async function enableManagement(session: C2SSession, el: Element): Promise<void> {
  const { stream } = session
  await session.inbound.start()
  if (session.stream !== stream) return // the client is gone
  session.inbound.hasHeard()
  session.sendRaw(serialize(session.enable(isTrue(el.attrs['resume']))))
}
