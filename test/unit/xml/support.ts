import {
  type Element,
  type ParserLimits,
  type ParserOptions,
  StreamParser,
  serialize,
  type XmlStreamError,
} from '../../../src/xml/index.ts'

export const HEADER =
  "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='a.example'>"

export const LIMITS: ParserLimits = {
  stanzaBytes: 10_000,
  depth: 32,
  attributes: 32,
  children: 1000,
  headerBytes: 1000,
}

/** A tree as plain data: comparable, and without parents. */
export type Plain = string | { name: string; attrs: Record<string, string | undefined>; children: Plain[] }

export function plain(el: Element): Plain {
  return {
    name: el.name,
    attrs: { ...el.attrs },
    children: el.children.map(child => (typeof child === 'string' ? child : plain(child))),
  }
}

export type Event = ['open', Plain, string] | ['element', Plain] | ['close'] | ['error', string]

/** A parser whose events are kept. */
export function recorder(limits: Partial<ParserLimits> = {}, options?: ParserOptions) {
  const events: Event[] = []
  const errors: XmlStreamError[] = []
  const elements: Element[] = []
  let whitespace = 0
  const parser: StreamParser = new StreamParser(
    {
      onOpen: root => void events.push(['open', plain(root), parser.contentNs]),
      onElement: el => {
        elements.push(el)
        events.push(['element', plain(el)])
      },
      onClose: () => void events.push(['close']),
      onError: error => {
        errors.push(error)
        events.push(['error', error.condition])
      },
      onWhitespace: () => void whitespace++,
    },
    { ...LIMITS, ...limits },
    options,
  )
  return { parser, events, errors, elements, whitespace: () => whitespace }
}

export function bytesOf(input: string | Uint8Array): Buffer {
  return typeof input === 'string' ? Buffer.from(input) : Buffer.from(input)
}

/** The events of an input given whole, or cut at these places (ascending). */
export function eventsOf(
  input: string | Uint8Array,
  cuts: readonly number[] | 'bytes' = [],
  limits: Partial<ParserLimits> = {},
): Event[] {
  const bytes = bytesOf(input)
  const { parser, events } = recorder(limits)
  const places = cuts === 'bytes' ? bytes.keys().drop(1) : cuts
  let from = 0
  for (const place of places) {
    parser.write(Buffer.from(bytes.subarray(from, place)))
    from = place
  }
  parser.write(Buffer.from(bytes.subarray(from)))
  return events
}

/** What the elements inside the usual stream header serialise to, and the condition it ends with, if it does. */
export function inside(input: string, limits: Partial<ParserLimits> = {}): { xml: string[]; condition?: string } {
  const { parser, elements, errors } = recorder(limits)
  parser.write(Buffer.from(HEADER + input))
  return { xml: elements.map(serialize), condition: errors[0]?.condition }
}
