import { cut } from '../util/text.ts'
import { type Element, xml } from '../xml/index.ts'
import { StanzaError, StreamError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import { Stanza, type StanzaKind } from '../xmpp/stanza.ts'

/**
 * What a component sent, with its addresses checked (XEP-0114 3: both must be there, and the sender of its own domain); the
 * element is taken over. What cannot go on its way is an error for the component instead, or nothing.
 *
 * @throws StreamError where the component speaks for somebody else, or for nobody
 */
export function readStanza(component: Jid, el: Element, kind: StanzaKind): Stanza | { refusal: Stanza | undefined } {
  const { from: sender, to: recipient } = el.attrs
  if (!sender) throw new StreamError('improper-addressing', `a ${kind} of a component needs a from`)
  const from = Jid.parse(sender)
  if (from === undefined) {
    return refuse(component, el, undefined, new StanzaError('jid-malformed', `"${cut(sender, 100)}" is no address`))
  }
  if (from.domain !== component.domain) {
    throw new StreamError('invalid-from', `"${cut(sender, 100)}" is not of ${component.domain}`)
  }
  if (!recipient)
    return refuse(component, el, from, new StanzaError('bad-request', 'a stanza of a component needs a to'))
  try {
    return Stanza.fromClient(el, kind, from)
  } catch (error) {
    if (error instanceof StanzaError) return refuse(component, el, from, error)
    throw error
  }
}

/** Errors and results are never answered (RFC 6120 8.3.1). */
function refuse(
  component: Jid,
  el: Element,
  from: Jid | undefined,
  error: StanzaError,
): { refusal: Stanza | undefined } {
  const { type, id, to } = el.attrs
  if (type === 'error' || type === 'result') return { refusal: undefined }
  const answer = xml(el.name, { type: 'error', id: id || undefined }, error.toElement())
  const whom = to ? Jid.parse(to) : undefined
  return { refusal: Stanza.make(answer, whom ?? component, from ?? component) }
}
