import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Attempts } from '../../../src/util/attempts.ts'

test('so many within a time, each for itself; then again', () => {
  let now = 1000
  const attempts = new Attempts(2, 100, () => now)
  const tries = (who: string, count: number) => Array.from({ length: count }, () => attempts.allow(who))
  assert.deepEqual(tries('a', 3), [true, true, false])
  assert.deepEqual(tries('b', 1), [true])
  now += 99
  assert.deepEqual(tries('a', 1), [false])
  now += 1
  assert.deepEqual(tries('a', 3), [true, true, false])
})

test('infinity is no bound', () => {
  const attempts = new Attempts(Number.POSITIVE_INFINITY, 100, () => 0)
  for (let i = 0; i < 1000; i++) assert.ok(attempts.allow('a'))
})

test('however many come, only so many are remembered', () => {
  const attempts = new Attempts(1, 100, () => 0, 10)
  for (let i = 0; i < 1000; i++) attempts.allow(`${i}`)
  assert.ok(attempts.size <= 10)
  assert.equal(attempts.allow('999'), false, 'the last one is')
})
