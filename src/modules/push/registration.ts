import type { TableSpec } from '../../storage/store.ts'
import { cut } from '../../util/text.ts'
import { type Element, findChild, NS, serialize } from '../../xml/index.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import { formValues } from '../../xmpp/forms.ts'
import { Jid } from '../../xmpp/jid.ts'

/** Characters of a node's name and of the publish options that are kept. */
const MAX_NODE = 1023
const MAX_FORM = 4096

/** What is kept of a device that wants to be woken. */
export interface Registration {
  /** The publish options that its service wants with each notification (XEP-0357 5): a form, serialized. */
  readonly form?: string
  /** The resource that last enabled it. */
  readonly resource: string
  /** The device that this resource was, where its client said so (XEP-0388 2.3). */
  readonly device?: string
  /** When that was, ms since 1970. */
  readonly at: number
  /** The id of the newest message that it was told of. */
  readonly told: string
}

/** `[user]` x `[service, node]` */
export const TABLE: TableSpec<Registration> = { name: 'push', version: 1 }

/** `<enable/>` or `<disable/>` (XEP-0357 5 and 6). */
export interface Wish {
  readonly jid: Jid
  readonly node: string | undefined
  readonly form: string | undefined
}

export function readWish(payload: Element): Wish {
  const { jid: address, node } = payload.attrs
  if (!address) throw new StanzaError('bad-request', 'name the push service')
  const jid = Jid.parse(address)
  if (jid === undefined) throw new StanzaError('jid-malformed', `"${cut(address, 100)}" is no address`)
  if (node !== undefined && (node.length > MAX_NODE || !node.isWellFormed())) {
    throw new StanzaError('not-acceptable', `a node's name has at most ${MAX_NODE} characters`)
  }
  return { jid, node, form: optionsOf(payload) }
}

function optionsOf(payload: Element): string | undefined {
  const form = findChild(payload, 'x', NS.DATA)
  if (form === undefined) return undefined
  if (formValues(form).get('FORM_TYPE')?.[0] !== NS.PUBSUB_PUBLISH_OPTIONS) {
    throw new StanzaError('bad-request', `publish options are a form of type ${NS.PUBSUB_PUBLISH_OPTIONS}`)
  }
  const text = serialize(form)
  if (text.length > MAX_FORM) {
    throw new StanzaError('not-acceptable', `publish options have at most ${MAX_FORM} characters`)
  }
  return text
}
