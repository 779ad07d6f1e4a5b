import type { Host } from '../../core/host.ts'
import type { Source } from '../../core/router.ts'
import { routeSent } from '../../core/sent.ts'
import { childElements, clone, type Element, findChild, NS } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { Jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { PRIVILEGE } from './entities.ts'

/** The message that an entity wants to have sent (XEP-0356 5.3); undefined where it wants none. */
export function forwardedIn({ el }: Stanza): Element | undefined {
  const privilege = findChild(el, 'privilege', PRIVILEGE)
  return privilege && findChild(privilege, 'forwarded', NS.FORWARD)
}

/**
 * Sends a message in the name of a user of the host, or of the host: it goes the way of one that the user has sent. Rejects
 * with the StanzaError for the entity.
 */
export async function sendFor(host: Host, forwarded: Element, source: Source): Promise<void> {
  const [inner, ...more] = childElements(forwarded).filter(({ name }) => name === 'message')
  if (inner === undefined || more.length > 0 || inner.attrs['xmlns'] !== NS.CLIENT) {
    throw new StanzaError('bad-request', 'wanted one forwarded message, of the namespace jabber:client')
  }
  const from = Jid.parse(inner.attrs['from'] ?? '')
  // XEP-0356 5.1
  if (from === undefined || from.domain !== host.name || from.resource !== '') {
    throw new StanzaError('forbidden', `only in the name of ${host.name}, or of the bare address of one of its users`)
  }
  const el = clone(inner)
  delete el.attrs['xmlns']
  const stanza = Stanza.fromClient(el, 'message', from)
  if (stanza.to === undefined) throw new StanzaError('bad-request', 'the forwarded message needs a to')
  if (from.local === '') return host.router.route(stanza, source)
  const account = await host.account(from.local)
  if (account === undefined) throw new StanzaError('forbidden', 'there is no such user')
  await routeSent(account, stanza, source)
}
