import { keeps } from '../../core/delivery.ts'
import { cut } from '../../util/text.ts'
import { type Element, findChild, hasChild, NS, textOf, xml } from '../../xml/index.ts'
import { dataForm, type FormField } from '../../xmpp/forms.ts'
import type { Stanza } from '../../xmpp/stanza.ts'

/** Characters of a body that are told: push services carry little (4 KiB at most of them). */
const MAX_BODY = 512

/** Something that a user wants to know of. */
export interface Notice {
  /** A call rings now or never; what is said in a room, and a request to be a contact, have no place in the queue. */
  readonly kind: 'message' | 'call' | 'room' | 'request'
  /** Of the message in the queue. */
  readonly id: string | undefined
  readonly sender: string
  readonly body: string
}

/** What is told of a message, and whether there is a person's hand in it at all. */
export function noticeOf(stanza: Stanza, id: string | undefined): Notice | undefined {
  const { el } = stanza
  const body = findChild(el, 'body')
  const call = findChild(el, 'propose', NS.JINGLE_MESSAGE) !== undefined
  const text = body === undefined ? '' : textOf(body)
  if (text === '' && !call && !isEncrypted(el) && !isInvitation(el)) return undefined
  if (findChild(el, 'retract', NS.RETRACT) !== undefined) return undefined // its body is for clients that know no better
  const kind = stanza.type === 'groupchat' ? 'room' : call ? 'call' : 'message'
  return { kind, id, sender: stanza.from.toString(), body: cut(text, MAX_BODY) }
}

/** The notice of a message to an account as it was queued, with its id last (core/delivery.ts); none of one's own. */
export function queuedNotice(stanza: Stanza, account: string): Notice | undefined {
  if (stanza.from.bare.toString() === account || !keeps(stanza)) return undefined
  const last = stanza.el.children.at(-1)
  if (last === undefined || typeof last === 'string' || last.name !== 'stanza-id') return undefined
  if (last.attrs['xmlns'] !== NS.SID || last.attrs['by'] !== account) return undefined
  return noticeOf(stanza, last.attrs['id'])
}

/** With something in it: OMEMO also sends messages that only carry keys. */
function isEncrypted(el: Element): boolean {
  for (const ns of [NS.OMEMO, NS.OMEMO_LEGACY]) {
    const encrypted = findChild(el, 'encrypted', ns)
    if (encrypted !== undefined && findChild(encrypted, 'payload', ns) !== undefined) return true
  }
  return hasChild(el, NS.OPENPGP)
}

function isInvitation(el: Element): boolean {
  const room = findChild(el, 'x', NS.MUC_USER)
  if (room !== undefined && findChild(room, 'invite', NS.MUC_USER) !== undefined) return true
  return findChild(el, 'x', NS.CONFERENCE) !== undefined
}

export interface Summary {
  readonly messages: number
  /** Subscription requests that wait for an answer. */
  readonly requests: number
  readonly sender: string | undefined
  readonly body: string | undefined
  /** The phone may be woken for it at once; for what can wait until it wakes by itself, not. */
  readonly important: boolean
}

/** XEP-0357 7: the publication; `options` as the client gave them. */
export function publication(node: string, summary: Summary, options: Element | undefined): Element {
  const fields: FormField[] = []
  if (summary.messages > 0) fields.push({ var: 'message-count', values: [String(summary.messages)] })
  if (summary.requests > 0) fields.push({ var: 'pending-subscription-count', values: [String(summary.requests)] })
  if (summary.sender !== undefined) fields.push({ var: 'last-message-sender', values: [summary.sender] })
  if (summary.body !== undefined) fields.push({ var: 'last-message-body', values: [summary.body] })
  const notification = xml('notification', { xmlns: NS.PUSH }, dataForm('submit', NS.PUSH_SUMMARY, fields))
  if (summary.important) notification.append(xml('priority', { xmlns: NS.PUSH_PRIORITY }, 'high'))
  const publish = xml('publish', { node: node || undefined }, xml('item', {}, notification))
  const extra = options === undefined ? undefined : xml('publish-options', {}, options)
  return xml('pubsub', { xmlns: NS.PUBSUB }, publish, extra)
}
