import type { Host } from '../../core/host.ts'
import { childElements, clone, type Element, findChild, NS, xml } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { Jid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'

export const DELEGATION = 'urn:xmpp:delegation:2'

/** How long (ms) a managing entity has for an answer. */
const ANSWER = 60_000

/**
 * Has a request answered by who manages its namespace (XEP-0355 4.3): the payload of the result. Rejects with
 * `service-unavailable` where nobody answers, or not as it should.
 */
export async function forward(host: Host, manager: Jid, stanza: Stanza): Promise<Element | undefined> {
  if (host.router.destinations.get(manager.domain)?.connected === false) throw new StanzaError('service-unavailable')
  const el = clone(stanza.el)
  el.attrs['xmlns'] = NS.CLIENT
  const payload = xml('delegation', { xmlns: DELEGATION }, xml('forwarded', { xmlns: NS.FORWARD }, el))
  const answer = await host.requests.ask(host.jid, manager, 'set', payload, ANSWER)
  if (answer === undefined || answer.type !== 'result') throw new StanzaError('service-unavailable')
  return readResult(answer, stanza)
}

/** It must be the answer to what was asked, for who asked. */
function readResult({ el }: Stanza, asked: Stanza): Element | undefined {
  const delegation = findChild(el, 'delegation', DELEGATION)
  const forwarded = delegation && findChild(delegation, 'forwarded', NS.FORWARD)
  const iq = forwarded && findChild(forwarded, 'iq', NS.CLIENT)
  if (iq === undefined) throw new StanzaError('service-unavailable')
  const { id, type, to, from } = iq.attrs
  const isRight =
    id === asked.id &&
    type === 'result' &&
    Jid.parse(to ?? '')?.equals(asked.from) === true &&
    (from === undefined || Jid.parse(from)?.equals(asked.to ?? asked.from.bare) === true)
  const children = childElements(iq)
  if (!isRight || children.length > 1) throw new StanzaError('service-unavailable')
  return children[0] && clone(children[0])
}
