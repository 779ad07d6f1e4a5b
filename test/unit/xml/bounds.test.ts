import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { ParserLimits } from '../../../src/xml/index.ts'
import { costOf } from '../../support/cost.ts'
import { bytesOf, HEADER, LIMITS, recorder } from './support.ts'

const OPEN = { stanzaBytes: 10_000_000, depth: 1000, attributes: 1000 }

/** Writes in pieces of 1 KB; returns how many bytes of the input were written when the stream was refused. */
function refusedAfter(input: string, limits: Partial<ParserLimits>): number {
  const { parser, errors } = recorder({ children: undefined, ...limits })
  parser.write(bytesOf(HEADER))
  const bytes = bytesOf(input)
  let written = 0
  while (errors.length === 0 && written < bytes.length) {
    parser.write(bytes.subarray(written, written + 1024))
    written += 1024
  }
  assert.equal(errors[0]?.condition, 'policy-violation')
  return written
}

describe('every limit, while parsing', () => {
  test('depth: 256 KB of <a><a>...', () => {
    assert.equal(refusedAfter('<a>'.repeat(87_000), { ...OPEN, depth: 32 }), 1024)
    assert.equal(refusedAfter('<a>'.repeat(87_000), { stanzaBytes: 10_000 }), 1024)
  })

  test('attributes: 100,000 of them', () => {
    const tag = `<a ${Array.from({ length: 100_000 }, (_, i) => `a${i}=''`).join(' ')}/>`
    assert.equal(refusedAfter(tag, { stanzaBytes: 10_000 }), 10 * 1024)
    assert.ok(refusedAfter(tag, OPEN) >= tag.length)
  })

  test('siblings: 100,000 of them', () => {
    assert.equal(refusedAfter(`<a>${'<b/>'.repeat(100_000)}`, { ...OPEN, children: 500 }), 2048)
    assert.equal(refusedAfter(`<a>${'<b/>'.repeat(100_000)}`, { stanzaBytes: 10_000 }), 10 * 1024)
  })

  test('texts count as nodes', () => {
    assert.equal(refusedAfter(`<a>${'x<b/>'.repeat(1000)}`, { ...OPEN, children: 500 }), 2048)
  })

  for (const [what, input] of [
    ['a tag', `<a b='${'x'.repeat(100_000)}`],
    ['a name', `<${'x'.repeat(100_000)}`],
    ['an end tag', `<a></${'x'.repeat(100_000)}`],
    ['white space in an end tag', `<a></a${' '.repeat(100_000)}`],
    ['text', `<a>${'x'.repeat(100_000)}`],
    ['text of references', `<a>${'&amp;'.repeat(20_000)}`],
    ['CDATA', `<a><![CDATA[${'x'.repeat(100_000)}`],
    ['text of characters beyond ASCII', `<a>${'ж'.repeat(50_000)}`],
    ['a prefix declaration', `<p:a xmlns:p='${'x'.repeat(100_000)}`],
  ] as const) {
    test(`an unfinished stanza: ${what}`, () => assert.equal(refusedAfter(input, { stanzaBytes: 10_000 }), 10 * 1024))
  }

  test('exactly: as many bytes as allowed, then one more', () => {
    for (const [size, expected] of [
      [10, 'element'],
      [11, 'error'],
    ] as const) {
      for (const step of [1, 3, 100]) {
        const { parser, events } = recorder({ stanzaBytes: 10 })
        parser.write(bytesOf(HEADER))
        const stanza = bytesOf(`<a>${'x'.repeat(size - 7)}</a>`)
        for (let i = 0; i < size; i += step) parser.write(stanza.subarray(i, i + step))
        assert.equal(events.at(-1)?.[0], expected, `${size} bytes by ${step}`)
      }
    }
  })

  test('exactly: depth, attributes, children', () => {
    const outcome = (input: string, limits: Partial<ParserLimits>) => {
      const { parser, events } = recorder()
      parser.write(bytesOf(HEADER))
      parser.setLimits({ ...LIMITS, ...limits })
      parser.write(bytesOf(input))
      return events.at(-1)?.[0]
    }
    assert.equal(outcome('<a><b><c/></b></a>', { depth: 3 }), 'element')
    assert.equal(outcome('<a><b><c/></b></a>', { depth: 2 }), 'error')
    assert.equal(outcome("<a b='' c=''/>", { attributes: 2 }), 'element')
    assert.equal(outcome("<a b='' c=''/>", { attributes: 1 }), 'error')
    assert.equal(outcome('<a>1<b>2</b></a>', { children: 3 }), 'element')
    assert.equal(outcome('<a>1<b>2</b></a>', { children: 2 }), 'error')
  })

  test('counts begin anew with each stanza', () => {
    const { parser, elements } = recorder({ stanzaBytes: 100, children: 3 })
    parser.write(bytesOf(HEADER + "<a x='é'>1<b>2</b></a>".repeat(1000)))
    assert.equal(elements.length, 1000)
  })

  test('prefixes in scope', () => {
    const nested = Array.from({ length: 20 }, (_, i) => `<a xmlns:p${2 * i}='u' xmlns:q${i}='v'>`).join('')
    refusedAfter(nested, { ...OPEN, attributes: 30 })
  })
})

test('setLimits holds from the next stanza on', () => {
  const { parser, events } = recorder({ stanzaBytes: 20 })
  parser.write(bytesOf(HEADER))
  parser.setLimits({ stanzaBytes: 2000, depth: 5, attributes: 5 })
  parser.write(bytesOf(`<a>${'x'.repeat(1000)}</a>`))
  assert.equal(events.at(-1)?.[0], 'element')
})

describe('a stanza cannot be made much larger than it was sent', () => {
  const uri = 'u'.repeat(4000)

  test('by a namespace that many elements have to repeat', () => {
    const input = `<a xmlns:p='${uri}'>${'<p:b/>'.repeat(900)}</a>`
    assert.ok(input.length < 10_000)
    refusedAfter(input, { stanzaBytes: 10_000 })
  })

  test('by a prefix that many attributes have', () => {
    refusedAfter(`<a xmlns:p='${uri}'>${"<b p:c=''/>".repeat(500)}</a>`, { stanzaBytes: 10_000 })
  })

  test('but a stanza made with prefixes throughout is fine', () => {
    const { parser, events } = recorder()
    parser.write(
      bytesOf(`${HEADER}<c:a xmlns:c='jabber:client' xmlns:p='urn:x'>${'<p:b><c:d/></p:b>'.repeat(100)}</c:a>`),
    )
    assert.equal(events.at(-1)?.[0], 'element')
  })
})

describe('what is dripped costs what it is long', () => {
  const MEGA = { stanzaBytes: 2_000_000, depth: 10, attributes: 100_000 }
  for (const [what, input] of [
    ['a start tag', n => `<a b='${'x'.repeat(n)}'/>`],
    ['a start tag of attributes', n => `<a ${Array.from({ length: n / 10 }, (_, i) => `a${i}=''`).join(' ')}/>`],
    ['text', n => `<a>${'x'.repeat(n)}</a>`],
    ['text of references', n => `<a>${'&#65;'.repeat(n / 5)}</a>`],
    ['text of brackets', n => `<a>${']'.repeat(n)}</a>`],
    ['text beyond ASCII', n => `<a>${'жé😀'.repeat(n / 8)}</a>`],
    ['CDATA', n => `<a><![CDATA[${']'.repeat(n)}]]></a>`],
    ['an end tag', n => `<a></a${' '.repeat(n)}>`],
  ] as [string, (bytes: number) => string][]) {
    test(`${what}: 300 KB, byte by byte`, async () => {
      const drip = (text: string) => {
        const { parser, events } = recorder(MEGA)
        parser.write(bytesOf(HEADER))
        const bytes = bytesOf(text)
        for (let i = 0; i < bytes.length; i++) parser.write(bytes.subarray(i, i + 1))
        assert.equal(events.at(-1)?.[0], 'element')
      }
      const [tenth, whole] = [await costOf(() => drip(input(30_000))), await costOf(() => drip(input(300_000)))]
      // Of a quadratic parser it would be a hundred times.
      assert.ok(whole < 40 * tenth, `${whole} ms for ten times what takes ${tenth} ms`)
    })
  }
})
