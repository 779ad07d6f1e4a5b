import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Lru } from '../../../src/util/lru.ts'

test('never holds more than its bound, and forgets the oldest', () => {
  const lru = new Lru<number, number>(10)
  for (let n = 0; n < 1000; n++) {
    lru.set(n, n)
    assert.ok(lru.size <= 10)
  }
  assert.equal(lru.get(0), undefined)
  for (let n = 995; n < 1000; n++) assert.equal(lru.get(n), n)
})

test('keeps what is used, however much else comes', () => {
  const lru = new Lru<string, number>(10)
  lru.set('kept', 1)
  for (let n = 0; n < 1000; n++) {
    lru.set(`other${n}`, n)
    if (n % 4 === 0) assert.equal(lru.get('kept'), 1)
  }
})

test('a newer value hides the older, and deleting removes both', () => {
  const lru = new Lru<string, number>(4)
  lru.set('a', 1).set('b', 1).set('c', 1)
  lru.set('a', 2)
  assert.equal(lru.get('a'), 2)
  assert.equal(lru.delete('a'), true)
  assert.equal(lru.get('a'), undefined)
  assert.equal(lru.delete('a'), false)
})

test('refuses a bound that is none', () => {
  for (const max of [0, 1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) assert.throws(() => new Lru(max), RangeError)
})
