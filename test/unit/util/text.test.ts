import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cut } from '../../../src/util/text.ts'

test('a text is cut to so many units, and never within a character', () => {
  assert.equal(cut('abc', 3), 'abc')
  assert.equal(cut('abcd', 3), 'abc')
  assert.equal(cut('ab\u{20000}', 3), 'ab')
  assert.equal(cut('ab\u{20000}', 4), 'ab\u{20000}')
  assert.equal(cut('ab\u{20000}c', 4), 'ab\u{20000}')
  assert.equal(cut('\u{20000}', 1), '')
  for (let units = 0; units < 12; units++) assert.ok(cut('a\u{1f600}'.repeat(4), units).isWellFormed())
})
