import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AFTER, decodeTuple, encodeTuple, MAX_KEY_LENGTH, readTuple } from '../../../src/util/tuple.ts'
import { fc } from '../../support/property.ts'

type Part = string | number

// Short strings of the characters that could go wrong, so that equal prefixes and marks are common.
const tricky = fc
  .array(
    fc.constantFrom(
      '',
      '\0',
      '\x01',
      '\x02',
      'a',
      'b',
      'n',
      's',
      '/',
      '\x7f',
      'é',
      '\ud7fe',
      '\ud7ff',
      '\ue000',
      '\uffff',
      '😀',
      '\u{10ffff}',
    ),
    { maxLength: 4 },
  )
  .map(chars => chars.join(''))
const number = fc
  .oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer({ min: -3, max: 3 }), fc.maxSafeInteger())
  .map(value => value + 0)
const part: fc.Arbitrary<Part> = fc.oneof(tricky, fc.string({ unit: 'grapheme' }), number)
const tuple = fc.array(part, { maxLength: 4 })

/** The order of tuples, written anew: numbers before strings, strings by code point, a prefix before its extensions. */
function compare(a: readonly Part[], b: readonly Part[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const [x, y] = [a[i]!, b[i]!]
    if (typeof x !== typeof y) return typeof x === 'number' ? -1 : 1
    if (typeof x === 'number') {
      if (x !== y) return Math.sign(x - (y as number)) || (x < (y as number) ? -1 : 1)
    } else {
      const order = Buffer.compare(Buffer.from(x, 'utf8'), Buffer.from(y as string, 'utf8'))
      if (order !== 0) return order
    }
  }
  return Math.sign(a.length - b.length)
}

function startsWith(key: readonly Part[], prefix: readonly Part[]): boolean {
  return key.length >= prefix.length && compare(key.slice(0, prefix.length), prefix) === 0
}

test('texts order as tuples do, in JavaScript and as UTF-8', () => {
  fc.assert(
    fc.property(tuple, tuple, (a, b) => {
      const [x, y] = [encodeTuple(a), encodeTuple(b)]
      const order = compare(a, b)
      assert.equal(x < y ? -1 : x > y ? 1 : 0, order)
      assert.equal(Buffer.compare(Buffer.from(x), Buffer.from(y)), order)
    }),
    { numRuns: 3000 },
  )
})

test('texts turn back into the same tuple, also by way of UTF-8', () => {
  fc.assert(
    fc.property(tuple, key => {
      assert.deepEqual(decodeTuple(encodeTuple(key)), key)
      assert.deepEqual(decodeTuple(Buffer.from(encodeTuple(key)).toString()), key)
    }),
    { numRuns: 2000 },
  )
})

test('a tuple begins with another exactly when its text does, and lies in the range of that prefix', () => {
  fc.assert(
    fc.property(tuple, tuple, (key, prefix) => {
      for (const candidate of [key, [...prefix, ...key]]) {
        const [text, start] = [encodeTuple(candidate), encodeTuple(prefix)]
        const inside = startsWith(candidate, prefix)
        assert.equal(text.startsWith(start), inside)
        assert.equal(text >= start && text < start + AFTER, inside)
      }
    }),
    { numRuns: 2000 },
  )
})

test('numbers order across signs, sizes and fractions', () => {
  const ordered = [
    -Number.MAX_VALUE,
    -1e21,
    -2,
    -1.5,
    -1,
    -Number.MIN_VALUE,
    0,
    Number.MIN_VALUE,
    0.1,
    1,
    1.5,
    2,
    2 ** 31,
    2 ** 32,
    2 ** 53,
    1e21,
    Number.MAX_VALUE,
  ]
  const texts = ordered.map(value => encodeTuple([value]))
  assert.deepEqual([...texts].sort(), texts)
  assert.deepEqual(
    texts.map(text => decodeTuple(text)[0]),
    ordered,
  )
  assert.equal(encodeTuple([-0]), encodeTuple([0]))
})

test('what has no order or no UTF-8 is refused, and the error names it', () => {
  for (const value of [Number.NaN, Infinity, -Infinity])
    assert.throws(() => encodeTuple([value]), /finite number: (NaN|-?Infinity)/)
  for (const value of ['\ud800', 'a\udc00b', '\udc00\ud800'])
    assert.throws(() => encodeTuple([value]), /lone surrogate/)
  for (const value of [undefined, null, true, 1n, {}])
    assert.throws(() => encodeTuple([value as unknown as string]), TypeError)
})

test('a key may be as long as the limit and not longer', () => {
  const longest = 'x'.repeat(MAX_KEY_LENGTH - 2)
  assert.deepEqual(decodeTuple(encodeTuple([longest])), [longest])
  assert.throws(() => encodeTuple([`${longest}x`]), /key too long: 16385/)
})

test('only texts of tuples are read', () => {
  for (const text of ['x', 'sabc', 'n123', 'n!!!!!!!!!!!', 'sa\0!', '\0', 'nüüüüüüüüüüü'])
    assert.throws(() => decodeTuple(text), TypeError)
  assert.deepEqual(decodeTuple(''), [])
  assert.deepEqual(readTuple('sa\0/sb\0', 0), { key: ['a'], end: 3 })
})
