import { type Element, NS, StanzaError, xml } from 'hermod/engine'

/** How an application refuses something: the stanza error that the client gets. All of it may be left out. */
export interface Refusal {
  /** Of the times before conditions (XEP-0086). */
  code?: string | number
  type?: string
  condition?: string
  text?: string
  /** The same as `text`, in an Error. */
  message?: string
}

type Condition = StanzaError['condition']

/** `<error/>`; `not-allowed` where the application names no condition. */
export function errorOf({ code, type, condition = 'not-allowed', text, message }: Refusal): Element {
  const usual = new StanzaError(condition as Condition)
  const words = text ?? message
  return xml(
    'error',
    { code: code === undefined ? undefined : String(code), type: type ?? usual.type ?? 'cancel' },
    xml(condition, { xmlns: NS.STANZAS }),
    words ? xml('text', { xmlns: NS.STANZAS }, words) : undefined,
  )
}
