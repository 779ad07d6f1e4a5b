import assert from 'node:assert/strict'
import { test } from 'node:test'
import { editDistance, nearest } from '../../../src/config/nearest.ts'

test('insertions, deletions, substitutions and swaps count 1 each', () => {
  const cases: [string, string, number][] = [
    ['', '', 0],
    ['', 'abc', 3],
    ['listen', 'lisen', 1],
    ['listen', 'lisetn', 1],
    ['privacy', 'privcay', 1],
    ['kitten', 'sitting', 3],
  ]
  for (const [a, b, distance] of cases) {
    assert.equal(editDistance(a, b), distance, `${a} ${b}`)
    assert.equal(editDistance(b, a), distance, `${b} ${a}`)
  }
})

test('only what is near enough is suggested', () => {
  const words = ['listen', 'hosts', 'modules', 'tls']
  assert.equal(nearest('Lisetn', words), 'listen')
  assert.equal(nearest('tsl', words), 'tls')
  assert.equal(nearest('hots', words), 'hosts')
  assert.equal(nearest('shaper', words), undefined)
  assert.equal(nearest('x'.repeat(1000), words), undefined)
})
