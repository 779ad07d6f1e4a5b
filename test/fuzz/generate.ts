/** What a hostile or broken client sends: pieces of what the server knows, and what no client would send. Seeded. */
import { clone, type Element, NS, setAttr, xml } from '../../src/xml/index.ts'
import type { Chance } from '../support/chance.ts'
import { HOLE, type Vocabulary } from './vocabulary.ts'

const PEOPLE = [
  'mallory@localhost',
  'victim@localhost',
  'victim@localhost/r1',
  'mallory@localhost/r0',
  'bystander@localhost',
]
const ASTRAL = '\u{1f600}'

const ODD = [
  '',
  ' ',
  '0',
  '-1',
  '1',
  '007',
  '4294967295',
  '4294967296',
  '9007199254740993',
  '99999999999999999999999',
  '1e309',
  '0x10',
  'NaN',
  'Infinity',
  'true',
  'null',
  '__proto__',
  'constructor',
  'hasOwnProperty',
  'xml:lang',
  '..',
  '../../etc/passwd',
  '%00',
  '\'"<>&]]>',
  '\u0085\u2028\u200b',
  '\ufdd0',
  '\u202eevil',
  '\u0130\u0131\u00df',
  'e\u0301'.repeat(20),
  ASTRAL,
  `${'x'.repeat(49)}${ASTRAL}`,
  `${'x'.repeat(99)}${ASTRAL}`,
  ASTRAL.repeat(100),
  '\u{10ffff}',
  'x'.repeat(1023),
  'x'.repeat(1024),
  'x'.repeat(5000),
  '1970-01-01T00:00:00Z',
  '0000-00-00T00:00:00Z',
  '9999-12-31T23:59:59.999999Z',
  '2024-02-30T25:61:61+99:99',
  '-000001-01-01T00:00:00Z',
  'AAAA',
  '=',
  '====',
  'data:image/png;base64,AAAA',
  'text/html',
  'http://localhost/\u0000'.replace('\u0000', '%00'),
  'xmpp:victim@localhost?message',
  '00000000-0000-0000-0000-000000000000',
  'sha1+da39a3ee5e6b4b0d3255bfef95601890afd80709@bob.xmpp.org',
]
const JIDS = [
  ...PEOPLE,
  'localhost',
  '@',
  '@localhost',
  'localhost/',
  'victim@',
  'victim@localhost/',
  'VICTIM@LOCALHOST',
  ' victim@localhost',
  'victim@localhost/@/@',
  'a@b@c/d@e',
  `${'x'.repeat(1023)}@localhost`,
  `victim@localhost/${ASTRAL}`,
  `victim@localhost/${'r'.repeat(1024)}`,
  'victim@[::1]',
  'victim@127.0.0.1',
  'nobody@localhost',
  'pubsub.localhost',
  'upload.localhost',
  'conference.localhost',
  'elsewhere.example',
  'x@elsewhere.example/y',
  'victim@localhost.',
  'victim\\20x@localhost',
  'victim@xn--localhost',
]
const NAMES = [
  'a',
  '_',
  'x-y.z',
  'xmlns',
  `n${'a'.repeat(60)}`,
  `${'a'.repeat(49)}\u{20000}`,
  '\u00e9l\u00e9ment',
  '__proto__',
  'constructor',
]

export class Hostile {
  readonly #words: Vocabulary
  readonly #chance: Chance

  constructor(words: Vocabulary, chance: Chance) {
    this.#words = words
    this.#chance = chance
  }

  /** A few first-level elements as they go over the wire, now and then no XML at all; `whole` if they certainly are. */
  batch(login: boolean): { elements: string[]; whole: boolean } {
    const { int, one } = this.#chance
    let whole = true
    const elements = Array.from({ length: int(1, 8) }, () => {
      const text = write(login ? this.element() : this.beforeLogin())
      if (!one(0.01)) return text
      whole = false
      return this.#broken(text)
    })
    return { elements, whole }
  }

  /** For somebody who is logged in. */
  element(): Element {
    const { one, int } = this.#chance
    const el = one(0.02) ? this.#nonza() : this.#stanza()
    for (let i = one(0.25) ? 0 : int(1, 5); i > 0; i--) this.#mutate(el)
    return el
  }

  /** Something of a negotiation, or anything else. */
  beforeLogin(): Element {
    const { one, pick, int } = this.#chance
    if (one(0.2)) return this.element()
    const ns = pick([NS.SASL, NS.SASL2, NS.TLS, NS.SM, NS.SASL, NS.SASL2, NS.COMPRESS, NS.CLIENT])
    const known = this.#words.samples.filter(el => el.attrs['xmlns'] === ns)
    let el: Element
    if (known.length > 0 && one(0.6)) el = this.#filled(clone(pick(known)))
    else if (ns === NS.CLIENT) {
      el = xml(
        'iq',
        { type: pick(['get', 'set', 'result']), id: '1' },
        this.#payload(pick([NS.REGISTER, NS.BIND, NS.SESSION, NS.DISCO_INFO]), 'query'),
      )
    } else {
      const name = pick([
        'auth',
        'response',
        'abort',
        'authenticate',
        'next',
        'task-data',
        'starttls',
        'enable',
        'resume',
        'r',
        'a',
        'compress',
      ])
      const mechanism = pick([
        'PLAIN',
        'SCRAM-SHA-1',
        'SCRAM-SHA-256-PLUS',
        'HT-SHA-256-NONE',
        'EXTERNAL',
        'ANONYMOUS',
        this.#value(),
      ])
      const text = pick([
        '',
        '=',
        btoa('\0mallory\0secret'),
        btoa('n,,n=mallory,r=x'),
        btoa('y,a=x,n=\u00ff,r='),
        btoa('c=biws,r=x,p=AAAA'),
        this.#value(),
      ])
      el = xml(name, { xmlns: ns, mechanism }, ns === NS.SASL2 ? xml('initial-response', {}, text) : text)
      if (ns === NS.SASL2) {
        el.append(
          xml(
            'user-agent',
            { id: pick(['d4565fa7-4d72-4749-b3d3-740edbf87770', this.#value()]) },
            xml('software', {}, this.#value()),
          ),
        )
        if (one(0.5))
          el.append(
            xml('bind', { xmlns: NS.BIND2 }, xml('tag', {}, this.#value()), this.#payload(this.#namespace(), 'enable')),
          )
        if (one(0.3)) el.append(xml('resume', { xmlns: NS.SM, previd: this.#value(), h: this.#value() }))
        if (one(0.3)) el.append(xml('fast', { xmlns: NS.FAST, count: this.#value() }))
      }
    }
    for (let i = int(0, 3); i > 0; i--) this.#mutate(el)
    return el
  }

  /** How a stream begins. */
  header(): string {
    const { one, pick } = this.#chance
    if (one(0.6)) return header("to='localhost' version='1.0'")
    const attr = (name: string): string =>
      one(0.7) ? ` ${name}='${attribute(pick([this.#value(), this.#jid(), 'localhost', '1.0']))}'` : ''
    return header(['to', 'from', 'id', 'version', 'xml:lang', 'x'].map(attr).join(''))
  }

  #stanza(): Element {
    const { one, pick, int } = this.#chance
    const { samples, byNamespace, handled } = this.#words
    let to: string | undefined
    const way = int(1, 10)
    let el: Element
    if (way <= 3) el = this.#filled(clone(pick(samples)))
    else if (way <= 6) el = this.#filled(clone(pick(pick([...byNamespace.values()]))))
    else if (way <= 9) {
      const { kind, ns, name, server } = pick(handled.filter(h => h.kind !== 'nonza'))
      to = server ? 'localhost' : undefined
      el = xml('iq', { type: one(0.9) ? kind : pick(['get', 'set']) }, this.#payload(ns, name))
    } else
      el = xml(
        pick(['message', 'presence', 'iq']),
        { type: pick(this.#words.words) },
        this.#payload(this.#namespace(), this.#name()),
      )
    if (!['message', 'presence', 'iq'].includes(el.name)) el = this.#wrapped(el)
    if (el.name === 'iq' && one(0.95)) el.attrs['id'] ??= `f${int(0, 99)}`
    if (one(0.3))
      el.attrs['to'] = one(0.3)
        ? this.#jid()
        : pick(['localhost', 'mallory@localhost', 'victim@localhost', 'victim@localhost/r1'])
    else if (to !== undefined || one(0.3)) el.attrs['to'] = to
    if (el.attrs['to'] === undefined) delete el.attrs['to']
    return el
  }

  #wrapped(el: Element): Element {
    const { pick } = this.#chance
    switch (pick(['get', 'set', 'set', 'message', 'presence', 'publish'])) {
      case 'message':
        return xml(
          'message',
          { type: pick(['chat', 'normal', 'headline', 'groupchat', 'error']), id: 'm' },
          xml('body', {}, this.#value()),
          el,
        )
      case 'presence':
        return xml('presence', {}, el)
      case 'publish':
        return xml(
          'iq',
          { type: 'set', id: 'p' },
          xml(
            'pubsub',
            { xmlns: NS.PUBSUB },
            xml('publish', { node: pick([this.#namespace(), this.#value()]) }, xml('item', { id: this.#value() }, el)),
          ),
        )
      case 'get':
        return xml('iq', { type: 'get', id: 'g' }, el)
      default:
        return xml('iq', { type: 'set', id: 's' }, el)
    }
  }

  #nonza(): Element {
    const { one, pick } = this.#chance
    const known = this.#words.handled.filter(h => h.kind === 'nonza')
    const unknown = { ns: this.#namespace(), name: one(0.5) ? pick(NAMES) : this.#name() }
    const { ns, name } = one(0.6) ? pick(known) : unknown
    const attrs = {
      xmlns: ns,
      h: one(0.5) ? this.#value() : undefined,
      previd: one(0.3) ? this.#value() : undefined,
      resume: one(0.5) ? 'true' : undefined,
    }
    return xml(name, attrs)
  }

  #payload(ns: string, name: string, depth = 0): Element {
    const { one, int, pick } = this.#chance
    const el = xml(name, { xmlns: ns })
    for (let i = int(0, 2); i > 0; i--) this.#setAny(el)
    for (let i = int(0, depth > 2 ? 0 : 3); i > 0; i--) {
      const way = int(1, 6)
      if (way === 1) el.append(this.#form())
      else if (way === 2) el.append(this.#page())
      else if (way === 3) el.append(this.#value())
      else if (way === 4) el.append(this.#filled(clone(pick(this.#words.samples))))
      else el.append(this.#payload(one(0.6) ? ns : this.#namespace(), this.#name(), depth + 1))
    }
    return el
  }

  #form(): Element {
    const { int, one, pick } = this.#chance
    const form = xml('x', { xmlns: NS.DATA, type: pick(['submit', 'form', 'cancel', 'result', this.#value()]) })
    if (one(0.8)) form.append(xml('field', { var: 'FORM_TYPE', type: 'hidden' }, xml('value', {}, this.#namespace())))
    for (let i = int(0, 5); i > 0; i--) {
      const values = Array.from({ length: int(0, 3) }, () => xml('value', {}, one(0.3) ? this.#jid() : this.#value()))
      form.append(
        xml(
          'field',
          {
            var: one(0.8) ? pick(this.#words.words) : this.#value(),
            type: one(0.3) ? pick(this.#words.words) : undefined,
          },
          values,
        ),
      )
    }
    return form
  }

  #page(): Element {
    const { one } = this.#chance
    const page = xml('set', { xmlns: NS.RSM })
    for (const name of ['max', 'before', 'after', 'index'])
      if (one(0.5)) page.append(xml(name, {}, one(0.2) ? '' : this.#value()))
    return page
  }

  #filled(el: Element): Element {
    const fill = (text: string): string =>
      text.replaceAll(HOLE, () => (this.#chance.one(0.5) ? this.#jid() : this.#value()))
    for (const key in el.attrs) if (el.attrs[key]!.includes(HOLE)) setAttr(el.attrs, key, fill(el.attrs[key]!))
    el.children = el.children.map(child => (typeof child === 'string' ? fill(child) : this.#filled(child)))
    return el
  }

  #mutate(root: Element): void {
    const { int, pick } = this.#chance
    const el = pick([...descendants(root)])
    const way = int(1, 12)
    const index = int(0, Math.max(0, el.children.length - 1))
    if (way <= 3) this.#setAny(el)
    else if (way === 4) delete el.attrs[pick(Object.keys(el.attrs)) ?? '']
    else if (way === 5 && (el !== root || this.#chance.one(0.05))) el.attrs['xmlns'] = this.#namespace()
    else if (way === 6 && el !== root) el.name = this.#name()
    else if (way === 7) el.children.splice(index, 1)
    else if (way === 8) el.append(this.#payload(el.attrs['xmlns'] ?? this.#namespace(), this.#name()))
    else if (way === 9) el.children = [this.#value()]
    else if (way === 10) this.#repeat(el, index)
    else if (way === 11) this.#nest(el)
    else el.append(pick([this.#form(), this.#page(), this.#filled(clone(pick(this.#words.samples)))]))
  }

  #repeat(el: Element, index: number): void {
    const child = el.children[index]
    const times = this.#chance.pick([1, 2, 20, 200])
    for (let i = 0; i < times; i++)
      el.append(child === undefined ? xml(this.#name()) : typeof child === 'string' ? child : clone(child))
  }

  #nest(el: Element): void {
    const depth = this.#chance.pick([2, 5, 10, 20, 50, this.#chance.one(0.1) ? 70 : 3])
    let inner: Element = xml(this.#name())
    for (let i = 0; i < depth; i++) inner = xml('n', {}, inner)
    el.append(inner)
  }

  #setAny(el: Element): void {
    const { pick, one } = this.#chance
    const name = pick([
      'id',
      'type',
      'to',
      'from',
      'node',
      'var',
      'jid',
      'name',
      'stamp',
      'h',
      'xml:lang',
      'ver',
      'hash',
      'action',
      'sessionid',
      'by',
      'subscription',
      'affiliation',
      this.#name(),
    ])
    setAttr(el.attrs, name, ['to', 'from', 'jid', 'by'].includes(name) && one(0.7) ? this.#jid() : this.#value())
  }

  #value(): string {
    const { int, pick } = this.#chance
    const way = int(1, 10)
    return way <= 4
      ? pick(ODD)
      : way <= 7
        ? pick(this.#words.words)
        : way === 8
          ? this.#namespace()
          : way === 9
            ? String(int(-5, 5000))
            : this.#jid()
  }

  #jid(): string {
    return this.#chance.pick(JIDS)
  }

  #name(): string {
    const { one, pick } = this.#chance
    const word = one(0.85) ? pick(this.#words.words) : pick(NAMES)
    return /^[\p{L}_][\p{L}\p{N}_.-]*$/u.test(word) ? word : 'x'
  }

  #namespace(): string {
    const { one, pick } = this.#chance
    return one(0.95) ? pick(this.#words.namespaces) : pick(['', 'x', 'urn:x', ASTRAL, 'x'.repeat(2000)])
  }

  /** No XML, or not quite. */
  #broken(text: string): string {
    const { int, pick } = this.#chance
    const at = int(0, text.length)
    const junk = pick([
      '<',
      '>',
      '&',
      "'",
      '\u0000',
      '\u0001',
      '&x;',
      '&#0;',
      '&#xD800;',
      '&#x110000;',
      '<!-- -->',
      '<![CDATA[',
      ']]>',
      '<!DOCTYPE a>',
      '<?a?>',
      '</x>',
      '\ud800',
      '\ufffe',
      ' ',
      '</stream:stream>',
      '<a:b/>',
      "<a xmlns:a='' a:b=''/>",
      "<xml:a xmlns:xml='x'/>",
    ])
    return text.slice(0, at) + junk + text.slice(at + int(0, 3))
  }
}

export function header(attrs: string): string {
  return `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='${NS.STREAM}' ${attrs}>`
}

function* descendants(el: Element): Generator<Element, void> {
  yield el
  for (const child of el.children) if (typeof child !== 'string') yield* descendants(child)
}

/** Lenient: what cannot be written is left to the server to refuse. */
export function write(el: Element): string {
  let out = `<${el.name}`
  for (const key of Object.keys(el.attrs)) out += ` ${key}='${attribute(el.attrs[key] ?? '')}'`
  return `${out}>${el.children.map(child => (typeof child === 'string' ? text(child) : write(child))).join('')}</${el.name}>`
}

function attribute(value: string): string {
  return text(value).replaceAll("'", '&apos;').replaceAll('\n', '&#10;')
}

function text(value: string): string {
  return value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
