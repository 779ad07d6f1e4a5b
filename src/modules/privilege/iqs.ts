import type { Host } from '../../core/host.ts'
import { type AccountRequest, Later } from '../../core/iq.ts'
import { childElements, clone, type Element, elementNs, NS, xml } from '../../xml/index.ts'
import { isStanzaCondition, StanzaError } from '../../xmpp/errors.ts'
import { Jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { type Entity, PRIVILEGE } from './entities.ts'

/** How long (ms) who is asked in the name of a user has for the answer. */
const ANSWER = 60_000
/** Questions of one entity that are on their way. */
const MAX_ASKED = 1000

/**
 * Asks something in the name of a user (XEP-0356 6.3). What comes back goes to the entity, also an error. It goes on
 * meanwhile: it may be the one that is asked. Throws, or rejects with, the StanzaError for it.
 */
export function askFor(entity: Entity | undefined, request: AccountRequest): Later {
  const { stanza, payload, account } = request
  if (entity === undefined || account === undefined) throw new StanzaError('forbidden')
  const inner = childElements(payload)
  const [iq] = inner
  if (inner.length !== 1 || iq!.name !== 'iq') throw new StanzaError('bad-request', 'wanted one iq')
  const { xmlns, type, from, id } = iq!.attrs
  if (xmlns !== NS.CLIENT) throw new StanzaError('forbidden', 'the iq must be of the namespace jabber:client')
  if (type !== stanza.type) throw new StanzaError('forbidden', 'both iqs must be of one type')
  if (from !== undefined && Jid.parse(from)?.equals(account.jid) !== true) {
    throw new StanzaError('forbidden', 'the iq must be from the user whom the request is for')
  }
  const el = clone(iq!)
  delete el.attrs['xmlns']
  // In the form in which a client would have sent it: what it could not ask, nobody asks for it.
  const asked = Stanza.fromClient(el, 'iq', account.jid)
  const what = asked.payload!
  if (!asked.isRequest || !entity.mayIq(elementNs(what), asked.type as 'get' | 'set')) {
    throw new StanzaError('forbidden', `not granted: ${asked.type} of ${elementNs(what)}`)
  }
  if (entity.asked >= MAX_ASKED) throw new StanzaError('resource-constraint', `${MAX_ASKED} questions are on their way`)
  entity.asked++
  const answer = ask(account.host, asked, account.jid, id).finally(() => entity.asked--)
  return new Later(answer, Promise.resolve())
}

async function ask(host: Host, asked: Stanza, user: Jid, id: string | undefined): Promise<Element> {
  const to = asked.to ?? user
  const answer = await host.requests.ask(user, to, asked.type as 'get' | 'set', asked.payload!, ANSWER)
  if (answer === undefined) throw new StanzaError('remote-server-timeout')
  const copy = clone(answer.el)
  copy.attrs['xmlns'] = NS.CLIENT
  if (id !== undefined) copy.attrs['id'] = id
  const privilege = xml('privilege', { xmlns: PRIVILEGE }, xml('forwarded', { xmlns: NS.FORWARD }, copy))
  if (answer.type === 'result') return privilege
  throw asError(answer, privilege)
}

/** An error of who was asked is one for the entity too, which looks for it there; what was answered comes with it. */
function asError(answer: Stanza, payload: Element): StanzaError {
  const error = childElements(answer.el).find(({ name }) => name === 'error')
  const condition =
    error && childElements(error).find(child => elementNs(child) === NS.STANZAS && child.name !== 'text')
  const name = condition?.name ?? ''
  return new StanzaError(isStanzaCondition(name) ? name : 'undefined-condition', undefined, { payload })
}
