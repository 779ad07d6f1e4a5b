import { type Element, NS, xml } from '../xml/index.ts'
import { claimant } from '../xmpp/claims.ts'
import { StanzaError, StreamError } from '../xmpp/errors.ts'
import { Jid } from '../xmpp/jid.ts'
import { Stanza, type StanzaKind, without } from '../xmpp/stanza.ts'
import type { PairSet } from './pair.ts'

/** What came from a peer and may not go on. */
export interface Refused {
  /** For its sender; undefined where there is nobody to tell. */
  readonly answer: Stanza | undefined
  /** For the log. */
  readonly reason: string
}

/**
 * A stanza as another server sent it, whose domains have to be an authenticated pair (RFC 6120 8.1.1.2, 8.1.2.2). What claims
 * that we said it is taken out of it: our stanza-ids, our delays, copies for our clients (XEP-0280 11). One that its sender has
 * made wrong costs that stanza, not the stream of everybody there.
 *
 * @param serves whether a domain is one of ours
 * @throws StreamError where the server is at fault
 */
export function readStanza(
  el: Element,
  kind: StanzaKind,
  pairs: PairSet,
  serves: (domain: string) => boolean,
): Stanza | Refused {
  const { from: fromText, to: toText } = el.attrs
  if (!fromText || !toText) throw new StreamError('improper-addressing', `a ${kind} needs a from and a to`)
  const from = Jid.parse(fromText)
  const to = Jid.parse(toText)
  const remote = from?.domain ?? domainWithin(fromText)
  const local = to?.domain ?? domainWithin(toText)
  if (remote === undefined || local === undefined) {
    throw new StreamError('improper-addressing', `a ${kind} is from or to what is no address`)
  }
  if (!pairs.has(local, remote)) throw notAuthenticated(pairs, local, remote, serves)
  if (from === undefined) return { answer: undefined, reason: 'the sender has no valid address' }
  if (to === undefined) {
    return refused(el, from, Jid.of('', local), new StanzaError('jid-malformed', 'the recipient’s address is none'))
  }
  if (!serves(local)) return refused(el, from, to, new StanzaError('remote-server-not-found'))
  let stanza: Stanza
  try {
    stanza = Stanza.fromPeer(el, kind, from, to)
  } catch (error) {
    if (error instanceof StanzaError) return refused(el, from, to, error)
    throw error
  }
  // What an iq asks is its own business.
  if (kind === 'iq') return stanza
  return without(stanza, child => isForeignCopy(child) || claimsUs(child, serves))
}

function notAuthenticated(pairs: PairSet, local: string, remote: string, serves: (domain: string) => boolean) {
  if (!pairs.hasRemote(remote)) return new StreamError('invalid-from', `you have not shown that you are ${remote}`)
  if (!serves(local)) return new StreamError('host-unknown', `${local} is not served here`)
  return new StreamError('not-authorized', `you have not asked to send to ${local} from ${remote}`)
}

/** RFC 6120 8.3.1: what is an answer itself is not answered. */
function refused(el: Element, from: Jid, to: Jid, error: StanzaError): Refused {
  const type = el.attrs['type']
  const reason = error.message
  if (type === 'error' || type === 'result') return { answer: undefined, reason }
  const answer = xml(el.name, { type: 'error', id: el.attrs['id'] || undefined }, error.toElement())
  return { answer: Stanza.make(answer, to, from), reason }
}

/** The domain of a text whose other parts make it no address. */
function domainWithin(text: string): string | undefined {
  const slash = text.indexOf('/')
  const bare = slash < 0 ? text : text.slice(0, slash)
  const domain = bare.slice(bare.indexOf('@') + 1)
  const jid = Jid.parse(domain)
  return jid?.local === '' && jid.resource === '' ? jid.domain : undefined
}

function claimsUs(el: Element, serves: (domain: string) => boolean): boolean {
  const by = claimant(el)
  return by !== undefined && serves(by.domain)
}

function isForeignCopy({ name, attrs }: Element): boolean {
  return (name === 'sent' || name === 'received') && attrs['xmlns'] === NS.CARBONS
}
