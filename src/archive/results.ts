import { orderedTime } from '../util/ids.ts'
import { type Element, NS, xml } from '../xml/index.ts'
import { Jid } from '../xmpp/jid.ts'
import type { Archived } from './archived.ts'

/** A message of the archive of `owner` as it is sent to the owner's clients (XEP-0313 4.2). */
export function resultElement(archived: Archived, owner: Jid, queryid: string | undefined): Element {
  const { id } = archived
  const el = archived.parse()
  const sent = Jid.parse(el.attrs['from'] ?? '')?.bare.equals(owner) === true
  const peer = Jid.parse(el.attrs['to'] ?? '')?.bare
  // What somebody sent lies in the archive as the other side got it, with an id that is not for the sender.
  const children =
    sent && peer !== undefined && !peer.equals(owner)
      ? el.children.filter(child => typeof child === 'string' || !isStanzaId(child, peer.toString()))
      : el.children
  const message = xml('message', { ...el.attrs, xmlns: NS.CLIENT }, ...children)
  const delay = xml('delay', { xmlns: NS.DELAY, stamp: stampOf(id) })
  return xml('result', { xmlns: NS.MAM, queryid, id }, xml('forwarded', { xmlns: NS.FORWARD }, delay, message))
}

function isStanzaId(el: Element, by: string): boolean {
  return el.name === 'stanza-id' && el.attrs['xmlns'] === NS.SID && el.attrs['by'] === by
}

/** When the server got a message, as XEP-0082 writes it. */
export function stampOf(id: string): string {
  return new Date(orderedTime(id) ?? 0).toISOString()
}
