import { cut } from '../util/text.ts'
import {
  childElements,
  clone,
  type Element,
  findChild,
  firstChild,
  serialize,
  serializeFor,
  xml,
} from '../xml/index.ts'
import { StanzaError } from './errors.ts'
import { Jid } from './jid.ts'

export type StanzaKind = 'message' | 'presence' | 'iq'

const TYPES: Record<StanzaKind, ReadonlySet<string>> = {
  message: new Set(['normal', 'chat', 'groupchat', 'headline', 'error']),
  presence: new Set([
    'available',
    'unavailable',
    'subscribe',
    'subscribed',
    'unsubscribe',
    'unsubscribed',
    'probe',
    'error',
  ]),
  iq: new Set(['get', 'set', 'result', 'error']),
}
const DEFAULT_TYPE: Record<StanzaKind, string> = { message: 'normal', presence: 'available', iq: '' }

export function isStanzaName(name: string): name is StanzaKind {
  return name === 'message' || name === 'presence' || name === 'iq'
}

/**
 * A stanza on its way: an element with its addresses parsed once. Immutable once routed; change a copy ({@link with}).
 * Its namespace is that of the stream it came in on and is never stored (RFC 6120 8.1, 4.8.3).
 */
export class Stanza {
  readonly kind: StanzaKind
  readonly from: Jid
  readonly to: Jid | undefined
  /** Never empty: a message without type is `normal`, a presence without is `available`. */
  readonly type: string
  #el: Element
  /** `#el` is that of the stanza that this is a copy of. */
  #copied = false
  #text: string | undefined

  private constructor(kind: StanzaKind, el: Element, from: Jid, to: Jid | undefined, type: string) {
    this.kind = kind
    this.#el = el
    this.from = from
    this.to = to
    this.type = type
  }

  get el(): Element {
    if (!this.#copied) return this.#el
    this.#copied = false
    this.#el = addressed(this.#el, this.from, this.to)
    return this.#el
  }

  get id(): string | undefined {
    return this.el.attrs['id'] || undefined
  }

  /**
   * What a client sent, stamped with its own address (RFC 6120 8.1.2.1). The element is taken over.
   * Throws the StanzaError that the sender gets: `jid-malformed` for a bad `to`, `bad-request` for a bad type or an iq
   * without id or with other than one payload.
   */
  static fromClient(el: Element, kind: StanzaKind, from: Jid): Stanza {
    const address = el.attrs['to']
    el.attrs['from'] = from.toString()
    const to = address === undefined || address === '' ? undefined : Jid.parse(address)
    if (to === undefined && address) throw new StanzaError('jid-malformed', `"${cut(address, 100)}" is no address`)
    if (to === undefined) delete el.attrs['to']
    else el.attrs['to'] = to.toString()
    return Stanza.#read(el, kind, from, to)
  }

  /**
   * What another server, or a component, sent between these addresses, which it may. The element is taken over. Throws the
   * StanzaError that the sender gets: `bad-request`, as of a client.
   */
  static fromPeer(el: Element, kind: StanzaKind, from: Jid, to: Jid): Stanza {
    el.attrs['from'] = from.toString()
    el.attrs['to'] = to.toString()
    return Stanza.#read(el, kind, from, to)
  }

  static #read(el: Element, kind: StanzaKind, from: Jid, to: Jid | undefined): Stanza {
    const given = el.attrs['type']
    const type = given === undefined ? DEFAULT_TYPE[kind] : given
    if (!TYPES[kind].has(type) || (kind === 'presence' && given === 'available')) {
      // RFC 6121 5.2.2: an unknown message type is treated as normal; for the others it is an error.
      if (kind !== 'message') throw new StanzaError('bad-request', `${kind} has no type "${cut(type, 50)}"`)
      delete el.attrs['type']
      return new Stanza(kind, el, from, to, 'normal')
    }
    if (kind === 'iq') {
      if (!el.attrs['id']) throw new StanzaError('bad-request', 'an iq needs an id') // RFC 6120 8.2.3
      if ((type === 'get' || type === 'set') && !onePayload(el)) {
        throw new StanzaError('bad-request', 'an iq of type get or set has exactly one child')
      }
    }
    return new Stanza(kind, el, from, to, type)
  }

  /** A stanza that this server makes, or one that it kept: both addresses are in order already. */
  static of(el: Element): Stanza {
    if (!isStanzaName(el.name)) throw new TypeError(`<${el.name}/> is no stanza`)
    const from = Jid.parse(el.attrs['from'] ?? '')
    if (from === undefined) throw new TypeError(`a stanza needs a from: ${el.attrs['from']}`)
    const to = el.attrs['to'] === undefined ? undefined : Jid.parse(el.attrs['to'])
    return new Stanza(el.name, el, from, to, el.attrs['type'] ?? DEFAULT_TYPE[el.name])
  }

  /** Like {@link of}, where the addresses are at hand and need no parsing; they are written into the element. */
  static make(el: Element, from: Jid, to: Jid | undefined): Stanza {
    const kind = el.name as StanzaKind
    el.attrs['from'] = from.toString()
    if (to !== undefined) el.attrs['to'] = to.toString()
    return new Stanza(kind, el, from, to, el.attrs['type'] ?? DEFAULT_TYPE[kind])
  }

  /** A copy with other addresses, children shared: for sending one stanza to another address. */
  readdressed(from: Jid, to: Jid | undefined): Stanza {
    return new Stanza(this.kind, addressed(this.el, from, to), from, to, this.type)
  }

  /** A copy whose element may be changed freely before it is routed. */
  changed(change: (el: Element) => void): Stanza {
    const copy = clone(this.el)
    change(copy)
    return new Stanza(this.kind, copy, this.from, this.to, copy.attrs['type'] ?? DEFAULT_TYPE[this.kind])
  }

  /** Presence that tells clients something, and asks nothing (RFC 6121 4.2 to 4.6). */
  get isPresenceInformation(): boolean {
    const { type } = this
    return this.kind === 'presence' && (type === 'available' || type === 'unavailable' || type === 'error')
  }

  /** An iq that is to be answered (RFC 6120 8.2.3). */
  get isRequest(): boolean {
    return this.type === 'get' || this.type === 'set'
  }

  /** The first child element: an iq's payload. */
  get payload(): Element | undefined {
    return firstChild(this.el)
  }

  /** As it goes over the wire; made once. */
  toString(): string {
    this.#text ??= serialize(this.el)
    return this.#text
  }

  /**
   * Makes copies for one address after another, serialized once, with elements where somebody wants them. RFC 6121 4.2.2 wants
   * each copy addressed.
   */
  copies(): (to: Jid) => Stanza {
    const { kind, el, from, type } = this
    const write = serializeFor(el, 'to')
    return to => {
      const copy = new Stanza(kind, el, from, to, type)
      copy.#copied = true
      copy.#text = write(to.toString())
      return copy
    }
  }

  /** RFC 6120 8.2.3: the answer to an iq, back to where it came from. */
  result(payload?: Element): Stanza {
    const el = xml('iq', { type: 'result', id: this.id, to: this.from.toString(), from: this.el.attrs['to'] })
    if (payload !== undefined) el.append(payload)
    return new Stanza('iq', el, this.to ?? this.from.bare, this.from, 'result')
  }

  /**
   * RFC 6120 8.3.1: the stanza back to its sender as an error, with what it carried where that helps (`echo`).
   * Undefined for errors and iq results, which are never answered.
   */
  error(error: StanzaError, options: { by?: Jid; echo?: boolean } = {}): Stanza | undefined {
    if (this.type === 'error' || this.type === 'result') return undefined
    const el = xml(this.kind, {
      type: 'error',
      id: this.id,
      to: this.from.toString(),
      from: this.el.attrs['to'],
      'xml:lang': this.el.attrs['xml:lang'],
    })
    if (options.echo === true)
      for (const child of this.el.children) el.append(typeof child === 'string' ? child : clone(child))
    if (error.payload !== undefined) el.append(error.payload)
    el.append(error.toElement(options.by?.toString()))
    return new Stanza(this.kind, el, this.to ?? this.from.bare, this.from, 'error')
  }
}

/** The stanza without the children of which this is so: itself where there are none, which is nearly always. */
export function without(stanza: Stanza, unwanted: (el: Element) => boolean): Stanza {
  const { children } = stanza.el
  for (const child of children) {
    if (typeof child === 'string' || !unwanted(child)) continue
    return stanza.changed(el => {
      el.children = el.children.filter(c => typeof c === 'string' || !unwanted(c))
    })
  }
  return stanza
}

/** Whether a message says something that people read, as text or encrypted (XEP-0384, XEP-0373): no receipt, no marker. */
export function isInstantMessage(el: Element): boolean {
  return findChild(el, 'body') !== undefined || childElements(el).some(child => child.name === 'encrypted')
}

function onePayload(el: Element): boolean {
  let count = 0
  for (const child of el.children) if (typeof child !== 'string') count++
  return count === 1
}

function addressed(el: Element, from: Jid, to: Jid | undefined): Element {
  const copy = xml(el.name, el.attrs)
  copy.children = el.children
  copy.attrs['from'] = from.toString()
  if (to === undefined) delete copy.attrs['to']
  else copy.attrs['to'] = to.toString()
  return copy
}
