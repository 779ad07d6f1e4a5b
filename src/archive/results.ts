import { orderedTime } from '../util/ids.ts'
import { type Element, NS, xml } from '../xml/index.ts'
import { dataForm } from '../xmpp/forms.ts'
import { Jid } from '../xmpp/jid.ts'
import { pageElement } from '../xmpp/rsm.ts'
import type { Answers, Asker, Outgoing } from './answers.ts'
import type { Archive } from './archive.ts'
import type { Archived } from './archived.ts'
import { type Most, readPage } from './page.ts'
import { FIELDS, type Query } from './query.ts'

/** The form of a query (XEP-0313 4.1.4). */
export function queryForm(): Element {
  return xml('query', { xmlns: NS.MAM }, dataForm('form', NS.MAM, FIELDS))
}

/** Sends the page of the archive of `owner` that is asked for; resolves with what says how it ends (XEP-0313 4.3). */
export async function answerQuery(
  archive: Archive,
  answers: Answers,
  owner: Jid,
  query: Query,
  most: Most,
  asker: Asker,
): Promise<Element> {
  const outgoing = (message: Archived): Outgoing => ({
    id: message.id,
    size: message.size,
    carries: true,
    make: () => xml('message', {}, resultElement(message, owner, query.queryid)),
  })
  const { complete, first, last, count } = await answers.send(
    asker,
    async () => {
      const { messages, ...found } = await readPage(archive, owner, query, most)
      return { found, messages: (query.flip ? messages.toReversed() : messages).map(outgoing) }
    },
    async id => {
      const message = await archive.get(owner, id)
      return message && outgoing(message)
    },
  )
  return xml(
    'fin',
    { xmlns: NS.MAM, complete: complete ? 'true' : undefined },
    pageElement({ first, last, ...(count === undefined ? {} : { count }) }),
  )
}

/** From when to when an archive goes (XEP-0313 5). */
export async function metadata(archive: Archive, owner: Jid): Promise<Element> {
  const bounds = await archive.bounds(owner)
  if (bounds === undefined) return xml('metadata', { xmlns: NS.MAM })
  const point = (name: string, id: string): Element => xml(name, { id, timestamp: stampOf(id) })
  return xml('metadata', { xmlns: NS.MAM }, point('start', bounds.first), point('end', bounds.last))
}

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
function stampOf(id: string): string {
  return new Date(orderedTime(id) ?? 0).toISOString()
}
