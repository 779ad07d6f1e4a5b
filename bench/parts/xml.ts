/** What one typical message costs to parse and to serialise. Run: `node bench/parts/xml.ts`. */
import { type Element, escapeText, StreamParser, serialize, serializeFor } from '../../src/xml/index.ts'

const HEADER = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='bench.local'>"
const LIMITS = { stanzaBytes: 262_144, depth: 64, attributes: 64, children: 10_000 }

function message(id: number, body: string): string {
  const name = `abc${String(id).padStart(8, '0')}`
  return (
    `<message xml:lang='en' type='chat' to='u1@bench.local/bench' id='${name}'><body>${escapeText(body)}</body>` +
    "<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>" +
    `<origin-id xmlns='urn:xmpp:sid:0' id='${name}'/></message>`
  )
}

function chunks(count: number, perChunk: number, body: string): Buffer[] {
  let id = 0
  return Array.from({ length: count }, () =>
    Buffer.from(Array.from({ length: perChunk }, () => message(id++, body)).join('')),
  )
}

function newParser(onElement: (el: Element) => void): StreamParser {
  const parser = new StreamParser(
    {
      onOpen: () => {},
      onElement,
      onClose: () => {},
      onError: error => {
        throw error
      },
    },
    LIMITS,
  )
  parser.write(Buffer.from(HEADER))
  return parser
}

/** Microseconds per item: the median of the rounds. */
function measure(items: number, round: () => void): number {
  const times: number[] = []
  for (let i = 0; i < 15; i++) {
    const start = performance.now()
    round()
    times.push(performance.now() - start)
  }
  times.sort((a, b) => a - b)
  return (times[times.length >> 1]! * 1000) / items
}

function report(what: string, microseconds: number): void {
  console.log(`${what.padEnd(52)} ${microseconds.toFixed(2).padStart(8)} µs`)
}

const ascii = 'x'.repeat(100)
const cyrillic = 'ж'.repeat(50)
let seen: Element | undefined
const parser = newParser(el => {
  seen = el
})
for (const [label, perChunk, body] of [
  ['parse, one message per write', 1, ascii],
  ['parse, 40 messages per write', 40, ascii],
  ['parse, 40 messages per write, body beyond ASCII', 40, cyrillic],
] as const) {
  const input = chunks(10_000 / perChunk, perChunk, body)
  report(
    label,
    measure(10_000, () => {
      for (const chunk of input) parser.write(chunk)
    }),
  )
}
const dripped = chunks(200, 1, ascii)
report(
  'parse, one byte per write',
  measure(200, () => {
    for (const chunk of dripped) for (let i = 0; i < chunk.length; i++) parser.write(chunk.subarray(i, i + 1))
  }),
)

const el = seen!
let length = 0
report(
  'serialize',
  measure(10_000, () => {
    for (let i = 0; i < 10_000; i++) length += Buffer.from(serialize(el)).length
  }),
)
report(
  'serializeFor one address after another',
  measure(10_000, () => {
    const write = serializeFor(el, 'to')
    for (let i = 0; i < 10_000; i++) length += Buffer.from(write('d@e/f')).length
  }),
)
report(
  'serialize, without making bytes of it',
  measure(10_000, () => {
    for (let i = 0; i < 10_000; i++) length += serialize(el).length
  }),
)
console.log(`(a message of ${chunks(1, 1, ascii)[0]!.length} bytes; ${length > 0 ? 'ok' : 'nothing'})`)
