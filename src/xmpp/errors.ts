import { type Element, NS, xml } from '../xml/index.ts'

export type ErrorType = 'auth' | 'cancel' | 'continue' | 'modify' | 'wait'

/** RFC 6120 8.3.3: each defined condition with the error type it usually has. */
const STANZA_CONDITIONS = {
  'bad-request': 'modify',
  conflict: 'cancel',
  'feature-not-implemented': 'cancel',
  forbidden: 'auth',
  gone: 'cancel',
  'internal-server-error': 'cancel',
  'item-not-found': 'cancel',
  'jid-malformed': 'modify',
  'not-acceptable': 'modify',
  'not-allowed': 'cancel',
  'not-authorized': 'auth',
  'policy-violation': 'modify',
  'recipient-unavailable': 'wait',
  redirect: 'modify',
  'registration-required': 'auth',
  'remote-server-not-found': 'cancel',
  'remote-server-timeout': 'wait',
  'resource-constraint': 'wait',
  'service-unavailable': 'cancel',
  'subscription-required': 'auth',
  'undefined-condition': 'cancel',
  'unexpected-request': 'wait',
} as const satisfies Record<string, ErrorType>

export type StanzaCondition = keyof typeof STANZA_CONDITIONS

/** Whether it is a defined condition. */
export function isStanzaCondition(name: string): name is StanzaCondition {
  return Object.hasOwn(STANZA_CONDITIONS, name)
}

/** Thrown by whoever handles a stanza; the sender gets it as an error stanza (RFC 6120 8.3). */
export class StanzaError extends Error {
  readonly condition: StanzaCondition
  readonly type: ErrorType
  readonly text: string | undefined
  /** The application-specific condition, in a namespace of its own (RFC 6120 8.3.4). */
  readonly application: Element | undefined
  /** What stands beside `<error/>` where a protocol wants to say what the error is about. */
  readonly payload: Element | undefined

  constructor(
    condition: StanzaCondition,
    text?: string,
    options: { type?: ErrorType; application?: Element; payload?: Element } = {},
  ) {
    super(text === undefined ? condition : `${condition}: ${text}`)
    this.name = 'StanzaError'
    this.condition = condition
    this.type = options.type ?? STANZA_CONDITIONS[condition]
    this.text = text
    this.application = options.application
    this.payload = options.payload
  }

  /** `<error/>`; `by` names the entity that made it. */
  toElement(by?: string): Element {
    const el = xml('error', { type: this.type, by }, xml(this.condition, { xmlns: NS.STANZAS }))
    if (this.text !== undefined) el.append(xml('text', { xmlns: NS.STANZAS }, this.text))
    if (this.application !== undefined) el.append(this.application)
    return el
  }
}

/** RFC 6120 4.9.3. */
type StreamCondition =
  | 'bad-format'
  | 'bad-namespace-prefix'
  | 'conflict'
  | 'connection-timeout'
  | 'host-gone'
  | 'host-unknown'
  | 'improper-addressing'
  | 'internal-server-error'
  | 'invalid-from'
  | 'invalid-namespace'
  | 'invalid-xml'
  | 'not-authorized'
  | 'not-well-formed'
  | 'policy-violation'
  | 'remote-connection-failed'
  | 'reset'
  | 'resource-constraint'
  | 'restricted-xml'
  | 'see-other-host'
  | 'system-shutdown'
  | 'undefined-condition'
  | 'unsupported-encoding'
  | 'unsupported-feature'
  | 'unsupported-stanza-type'
  | 'unsupported-version'

/** Ends a stream (RFC 6120 4.9). */
export class StreamError extends Error {
  readonly condition: StreamCondition
  readonly text: string | undefined
  readonly application: Element | undefined
  /** The character data of the condition itself: the address of `see-other-host`. */
  readonly value: string | undefined

  constructor(condition: StreamCondition, text?: string, options: { application?: Element; value?: string } = {}) {
    super(text === undefined ? condition : `${condition}: ${text}`)
    this.name = 'StreamError'
    this.condition = condition
    this.text = text
    this.application = options.application
    this.value = options.value
  }

  toElement(): Element {
    const condition = xml(this.condition, { xmlns: NS.STREAM_ERRORS })
    if (this.value !== undefined) condition.append(this.value)
    const el = xml('stream:error', {}, condition)
    if (this.text !== undefined) el.append(xml('text', { xmlns: NS.STREAM_ERRORS }, this.text))
    if (this.application !== undefined) el.append(this.application)
    return el
  }
}
