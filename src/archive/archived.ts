import { type Element, findChild, NS, parseElement } from '../xml/index.ts'
import { Jid } from '../xmpp/jid.ts'
import { isInstantMessage } from '../xmpp/stanza.ts'
import type { Noted } from './peers.ts'

/** One message of an archive as it lies there: whoever needs more of it than its bytes parses it, and holds that no longer. */
export class Archived {
  readonly id: string
  readonly bytes: Buffer

  constructor(id: string, bytes: Buffer) {
    this.id = id
    this.bytes = bytes
  }

  get size(): number {
    return this.bytes.length
  }

  parse(): Element {
    return parseElement(this.bytes)
  }
}

export function sizeOf(messages: readonly Archived[]): number {
  return messages.reduce((sum, { size }) => sum + size, 0)
}

/** The other side of a message in the archive of `owner`, bare; the owner, where it is from and to the same account. */
export function peerOf(el: Element, owner: Jid): Jid | undefined {
  const from = Jid.parse(el.attrs['from'] ?? '')
  if (from?.bare.equals(owner) !== true) return from?.bare
  return el.attrs['to'] === undefined ? owner : Jid.parse(el.attrs['to'])?.bare
}

/** The id of the message that this one retracts (XEP-0424 3); undefined for any other. */
export function retracted(el: Element): string | undefined {
  return findChild(el, 'retract', NS.RETRACT)?.attrs['id'] || undefined
}

/** Longest id that is noted: a message with a longer one cannot be retracted. */
const MAX_ID = 256

/** What the index notes of a message, so that it need not be read to be counted, or found by the id that its sender gave it. */
export function notedOf(el: Element, owner: Jid): Noted {
  const { id } = el.attrs
  return {
    sent: Jid.parse(el.attrs['from'] ?? '')?.bare.equals(owner) === true,
    text: isInstantMessage(el),
    messageId: id !== undefined && id.length <= MAX_ID && retracted(el) === undefined ? id : undefined,
  }
}
