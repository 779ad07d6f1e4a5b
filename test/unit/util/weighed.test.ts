import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Weighed } from '../../../src/util/weighed.ts'

test('a map keeps so many entries, of so much weight; what was used last stays', () => {
  const dropped: string[] = []
  const map = new Weighed<string, number>(3, 10, key => dropped.push(key))
  for (const [key, value] of [['a', 1] as const, ['b', 2] as const, ['c', 3] as const]) map.set(key, value, 1)
  assert.equal(map.get('a'), 1)
  map.set('d', 4, 1)
  assert.deepEqual(dropped, ['b'])
  map.set('e', 5, 8)
  assert.deepEqual(dropped, ['b', 'c'], 'a and d go on beside it')
  assert.deepEqual([map.size, map.weight], [3, 10])
  map.set('a', 6, 2)
  assert.deepEqual(dropped, ['b', 'c', 'd'])
  assert.equal(map.set('e', 7, 11), false)
  assert.equal(map.get('e'), undefined)
  assert.deepEqual([map.size, map.weight, map.values()], [1, 2, [6]])
  assert.equal(map.delete('a'), true)
  assert.equal(map.weight, 0)
})
