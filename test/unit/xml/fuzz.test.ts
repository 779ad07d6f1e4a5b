import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { SaxesParser, type SaxesTagNS } from 'saxes'
import { Element, StreamParser, serialize, type Element as Tree } from '../../../src/xml/index.ts'
import { chance, SEED } from '../../support/chance.ts'
import { fc } from '../../support/property.ts'
import { type Event, eventsOf, HEADER, type Plain, plain } from './support.ts'

/** For a longer run: `HERMOD_TEST_RUNS=200000 HERMOD_TEST_SEED=1 node --test test/unit/xml/fuzz.test.ts`. */
const ROUNDS = Number(process.env['HERMOD_TEST_RUNS'] ?? 8000)

/** Small streams with everything in them that XML has; the seeds of the mutations. */
const SEEDS = [
  `${HEADER}<message to='a@b/c' type="chat" xml:lang='en'><body>hi &amp; &#x41;</body><x xmlns='u:x'/></message> <iq/></stream:stream>`,
  `<s:stream xmlns:s='u:s' xmlns='u:c' a='1'><p:a xmlns:p='u:p' p:q='v' q='w'><p:b/>t<c/></p:a><s:e>é😀</s:e></s:stream>`,
  `<r xmlns='u'><a b="&lt;'&quot;" c='\t&#9;'>]] &gt; <![CDATA[<&]]]]></a>\r\n<été ñ='ü'/></r>\n`,
  `<r><a xmlns='x'><b xmlns=''><c xmlns='x'/></b><d xmlns='y'>1<e/>2</d></a></r>`,
]

const BITS = [
  ...'<>/&;\'"=!?:[]- \t\r\nab1#x\0\u0001é\uFFFE',
  'xmlns',
  'xmlns:p=',
  'p:',
  'xml:',
  ']]>',
  '<![CDATA[',
  '<!--',
  '<?',
  '?>',
  '&amp;',
  '&#',
  '&#0;',
  '</a>',
  '<a>',
  '/>',
  "=''",
  "='u:p'",
]

function mutate(bytes: Buffer, next: (below: number) => number): Buffer {
  let out = bytes
  for (let times = 1 + next(3); times > 0; times--) {
    const at = next(out.length + 1)
    const before = out.subarray(0, at)
    const kind = next(6)
    if (kind === 0) out = Buffer.concat([before, out.subarray(at + 1 + next(4))])
    else if (kind === 1) out = Buffer.concat([before, Buffer.from(BITS[next(BITS.length)]!), out.subarray(at)])
    else if (kind === 2) out = Buffer.concat([before, Buffer.from(BITS[next(BITS.length)]!), out.subarray(at + 1)])
    else if (kind === 3) out = Buffer.concat([before, Buffer.from([next(256)]), out.subarray(at + 1)])
    else if (kind === 4) {
      const from = next(out.length + 1)
      out = Buffer.concat([before, out.subarray(from, from + next(20)), out.subarray(at)])
    } else out = before
  }
  return out
}

interface Expanded {
  name: string
  ns: string
  attrs: Record<string, string>
  children: (Expanded | string)[]
}

/** A tree with every namespace spelt out: what two parsers must agree on. */
function expand(el: Tree, inherited: string): Expanded {
  // saxes trims namespace names, which no specification asks for.
  const ns = (el.attrs['xmlns'] ?? inherited).trim()
  const attrs: Record<string, string> = {}
  for (const [name, value] of Object.entries(el.attrs)) {
    if (name === 'xmlns' || name.startsWith('xmlns:')) continue
    const [prefix, local] = name.split(':') as [string, string?]
    const uri = local === undefined || prefix === 'xml' ? '' : el.attrs[`xmlns:${prefix}`]!.trim()
    attrs[local === undefined || prefix === 'xml' ? name : `{${uri}}${local}`] = value!
  }
  return {
    name: el.name,
    ns,
    attrs,
    children: el.children.map(child => (typeof child === 'string' ? child : expand(child, ns))),
  }
}

interface Outcome {
  elements: Expanded[]
  opened: boolean
  closed: boolean
  refused: boolean
}

function ours(bytes: Buffer): Outcome & { condition?: string } {
  const outcome: Outcome & { condition?: string } = { elements: [], opened: false, closed: false, refused: false }
  const parser: StreamParser = new StreamParser(
    {
      onOpen: () => (outcome.opened = true),
      onElement: el => outcome.elements.push(expand(el, parser.contentNs)),
      onClose: () => (outcome.closed = true),
      onError: ({ condition }) => {
        outcome.refused = true
        outcome.condition = condition
      },
    },
    { stanzaBytes: 100_000, depth: 100, attributes: 100 },
  )
  parser.write(bytes)
  return outcome
}

/** The same with saxes, stopped at its first complaint and at what XMPP forbids. */
function theirs(bytes: Buffer): Outcome {
  const outcome: Outcome = { elements: [], opened: false, closed: false, refused: false }
  const stack: Expanded[] = []
  let closing: Pick<Outcome, 'elements' | 'closed'> | undefined
  const saxes = new SaxesParser({ xmlns: true, position: false })
  const refuse = () => {
    throw new SyntaxError('refused')
  }
  const addText = (text: string) => {
    const top = stack.at(-1)
    if (stack.length < 2) {
      if (text.trim() !== '' || /[^ \t\r\n]/.test(text)) refuse()
      return
    }
    if (typeof top!.children.at(-1) === 'string') top!.children[top!.children.length - 1] += text
    else if (text !== '') top!.children.push(text)
  }
  saxes.on('error', error => {
    // It closes whatever is open before it says that the end tag does not match.
    if (closing !== undefined && error.message.includes('unexpected close tag')) Object.assign(outcome, closing)
    refuse()
  })
  saxes.on('xmldecl', ({ version, encoding }) => {
    if (version !== '1.0' || (encoding !== undefined && encoding.toLowerCase() !== 'utf-8')) refuse()
  })
  saxes.on('comment', refuse)
  saxes.on('processinginstruction', refuse)
  saxes.on('doctype', refuse)
  saxes.on('text', addText)
  saxes.on('cdata', text => {
    if (stack.length < 2) refuse()
    addText(text)
  })
  saxes.on('opentag', (tag: SaxesTagNS) => {
    // It takes any character of a name for the first one after a colon.
    for (const { local } of [tag, ...Object.values(tag.attributes)]) if (/^[-.\d\u{B7}]/u.test(local)) refuse()
    const attrs: Record<string, string> = {}
    for (const [name, { uri, prefix, local, value }] of Object.entries(tag.attributes)) {
      if (prefix === 'xmlns' || name === 'xmlns') continue
      attrs[prefix === '' || prefix === 'xml' ? name : `{${uri}}${local}`] = value
    }
    const el: Expanded = { name: tag.local, ns: tag.uri, attrs, children: [] }
    if (stack.length === 0) outcome.opened = true
    else if (stack.length > 1) stack.at(-1)!.children.push(el)
    stack.push(el)
  })
  saxes.on('closetag', () => {
    closing = { elements: [...outcome.elements], closed: outcome.closed }
    const el = stack.pop()!
    if (stack.length === 1) outcome.elements.push(el)
    if (stack.length === 0) outcome.closed = true
  })
  try {
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    for (const byte of bytes) {
      const text = decoder.decode(Uint8Array.of(byte), { stream: true })
      if (text !== '') saxes.write(text)
    }
    // saxes keeps the last carriage return or half pair to itself; a space would come after it.
  } catch {
    outcome.refused = true
  }
  return outcome
}

/** What is still open when the input ends may be refused early by one and late by the other: these bytes settle it. */
const SETTLE = Buffer.from(`;'>">?>--> ]]>]><x y=">'></x></x></x>]]><!-- -->`)

describe('against saxes, on mutated streams', () => {
  test('the seeds themselves are accepted by both', () => {
    for (const seed of SEEDS) {
      const bytes = Buffer.from(seed)
      assert.deepEqual(ours(bytes), theirs(bytes))
      assert.equal(ours(bytes).closed, true)
    }
  })

  test('accept the same and reject the same, with the same trees', () => {
    const next = chance(SEED).below
    let accepted = 0
    for (let round = 0; round < ROUNDS; round++) {
      const bytes = mutate(Buffer.from(SEEDS[next(SEEDS.length)]!), next)
      compare(bytes)
      if (!ours(bytes).refused) accepted++
    }
    assert.ok(accepted > ROUNDS / 20, 'some mutations leave it well-formed')
  })
})

function compare(bytes: Buffer): void {
  const label = () => JSON.stringify(bytes.toString('latin1'))
  const mine = ours(bytes)
  const reference = theirs(bytes)
  if (mine.refused === reference.refused) {
    const { condition: _, ...outcome } = mine
    assert.deepEqual(outcome, reference, label())
    return
  }
  // One of them waits for more: give both something that no unfinished token survives.
  const settled = Buffer.concat([bytes, SETTLE])
  assert.equal(ours(settled).refused, true, label())
  assert.equal(theirs(settled).refused, true, label())
}

describe('properties', () => {
  test('events do not depend on how the bytes are cut', () => {
    const next = chance(SEED).below
    for (let round = 0; round < 1500; round++) {
      const seed = Buffer.from(SEEDS[next(SEEDS.length)]!)
      const bytes = round % 3 === 0 ? seed : mutate(seed, next)
      const limits =
        round % 2 === 0 ? {} : { stanzaBytes: 20 + next(100), headerBytes: 20 + next(200), depth: 2, children: 4 }
      const whole = eventsOf(bytes, [], limits)
      const cuts = Array.from({ length: next(8) }, () => next(bytes.length + 1)).sort((a, b) => a - b)
      const label = JSON.stringify([bytes.toString('latin1'), cuts, limits])
      assert.deepEqual(eventsOf(bytes, 'bytes', limits), whole, label)
      assert.deepEqual(eventsOf(bytes, cuts, limits), whole, label)
    }
  })

  test('what is serialised is parsed back, however it is cut', () => {
    fc.assert(
      fc.property(tree(), fc.array(fc.nat(2000), { maxLength: 6 }), (el, places) => {
        const bytes = Buffer.from(HEADER + serialize(el))
        const cuts = places.map(place => place % bytes.length).sort((a, b) => a - b)
        const events: Event[] = eventsOf(bytes, cuts, { stanzaBytes: 1_000_000, depth: 100 })
        assert.deepEqual(events.at(-1), ['element', merged(plain(el))])
      }),
      { numRuns: 300 },
    )
  })

  test('no bytes at all make it throw or hang', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, withHeader) => {
        const input = withHeader ? Buffer.concat([Buffer.from(HEADER), bytes]) : bytes
        assert.deepEqual(eventsOf(input, 'bytes'), eventsOf(input))
      }),
      { numRuns: 500 },
    )
  })
})

/** Characters that XML allows, among them all that need care. */
function text(): fc.Arbitrary<string> {
  const careful = fc.constantFrom(
    '<',
    '>',
    '&',
    "'",
    '"',
    ']]>',
    '\r',
    '\n',
    '\t',
    '\r\n',
    'é',
    '😀',
    '\uFFFD',
    '\u0085',
  )
  const plainText = fc.string({ unit: 'grapheme-ascii', maxLength: 10 })
  return fc.array(fc.oneof(careful, plainText), { maxLength: 6 }).map(parts => parts.join(''))
}

function tree(): fc.Arbitrary<Tree> {
  const name = fc.constantFrom('message', 'body', 'a', 'été', 'x-y.z', '_')
  const attr = fc.constantFrom('to', 'from', 'xml:lang', 'ñ', '__proto__', 'constructor')
  return fc.letrec<{ el: Tree }>(tie => ({
    el: fc
      .tuple(
        name,
        fc.uniqueArray(fc.tuple(attr, text()), { selector: ([key]) => key, maxLength: 4 }),
        fc.array(fc.oneof({ maxDepth: 4 }, text(), tie('el')), { maxLength: 4 }),
      )
      .map(([of, attrs, children]) => {
        const el = new Element(of)
        for (const [key, value] of attrs) {
          Object.defineProperty(el.attrs, key, { value, enumerable: true, configurable: true, writable: true })
        }
        el.append(...children)
        return el
      }),
  })).el
}

/** Neighbouring texts as one, empty ones gone: a document cannot tell them apart. */
function merged(node: Plain): Plain {
  if (typeof node === 'string') return node
  const children: Plain[] = []
  for (const child of node.children) {
    const last = children.at(-1)
    if (typeof child !== 'string') children.push(merged(child))
    else if (typeof last === 'string') children[children.length - 1] = last + child
    else if (child !== '') children.push(child)
  }
  return { ...node, children }
}
