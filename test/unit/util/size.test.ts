import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseSize } from '../../../src/util/size.ts'

test('sizes are read in decimal and binary units', () => {
  const cases: [string, number][] = [
    ['0', 0],
    ['4096', 4096],
    ['12 B', 12],
    ['10 KB', 10_000],
    ['10KiB', 10_240],
    ['256 kib', 262_144],
    ['1.5 MB', 1_500_000],
    ['2 GiB', 2_147_483_648],
  ]
  for (const [text, bytes] of cases) assert.equal(parseSize(text), bytes, text)
})

test('what is no size is undefined', () => {
  for (const text of ['', 'KB', '-1', '1 K', '5 m', '1e3', '1 2', `1${'0'.repeat(20)}`, '1'.repeat(1000)]) {
    assert.equal(parseSize(text), undefined, text)
  }
})
