import assert from 'node:assert/strict'
import { test } from 'node:test'
import { IdGenerator, orderedTime } from '../../../src/util/ids.ts'

test('ordered ids are UUIDs of version 7, each above the one before, also when the clock stands or steps back', () => {
  let now = 1_700_000_000_000
  const ids = new IdGenerator(() => now)
  let last = ''
  for (let i = 0; i < 20_000; i++) {
    if (i % 100 === 0) now += i % 300 === 0 ? -5000 : 1
    const id = ids.ordered()
    assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    assert.ok(id > last, `${id} after ${last}`)
    last = id
  }
})

test('an id says when it was made', () => {
  const ids = new IdGenerator(() => 1_700_000_000_123)
  assert.equal(orderedTime(ids.ordered()), 1_700_000_000_123)
  assert.equal(orderedTime(ids.random()), undefined)
  assert.equal(orderedTime(''), undefined)
})

test('more ids in a millisecond than it has steps borrow from the next', () => {
  const ids = new IdGenerator(() => 1000)
  const made = Array.from({ length: 10_000 }, () => ids.ordered())
  assert.equal(new Set(made).size, made.length)
  assert.deepEqual([...made].sort(), made)
  assert.ok(orderedTime(made.at(-1)!)! <= 1003)
})

test('ids go on above one from a faster clock', () => {
  const ahead = new IdGenerator(() => 2_000_000_000_000).ordered()
  const ids = new IdGenerator(() => 1_700_000_000_000)
  ids.after(ahead)
  assert.ok(ids.ordered() > ahead)
  ids.after('no id at all')
  assert.ok(ids.ordered() > ahead)
})

test('ids of the same millisecond as the stored one come after it', () => {
  const one = new IdGenerator(() => 1000)
  for (let i = 0; i < 300; i++) one.ordered()
  const stored = one.ordered()
  const two = new IdGenerator(() => 1000)
  two.after(stored)
  assert.ok(two.ordered() > stored)
})

test('random ids are 32 hex digits and do not repeat', () => {
  const ids = new IdGenerator()
  const made = new Set(Array.from({ length: 2000 }, () => ids.random()))
  assert.equal(made.size, 2000)
  for (const id of made) assert.match(id, /^[0-9a-f]{32}$/)
})
