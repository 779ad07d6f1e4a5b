import { type Element, NS, prepResource, xml } from 'hermod/engine'
import { ask } from '../ask.ts'
import type { Stanza } from '../elements.ts'
import { errorOf, type Refusal } from '../refusal.ts'
import type { Session } from './session.ts'

/** Binds a resource (RFC 6120 7): what the application says, else what the client wants, else one that is made up. */
export async function bind(session: Session, iq: Stanza, payload: Element): Promise<boolean> {
  const wanted = payload.getChildText('resource') || null
  const [error, chosen] = (await ask(session, 'bind', wanted)) ?? [null, wanted]
  if (session.connection.closed) return false
  const resource = prepResource(String(chosen || session.generateId()))
  if (error || resource === undefined) {
    const refusal = error || { type: 'modify', condition: 'bad-request' }
    session.send(xml('iq', { type: 'error', id: iq.id }, errorOf(refusal as Refusal)))
    return false
  }
  session.jid!.setResource(resource)
  const jid = xml('jid', {}, session.jid!.toString())
  session.send(xml('iq', { type: 'result', id: iq.id }, xml('bind', { xmlns: NS.BIND }, jid)))
  return true
}
