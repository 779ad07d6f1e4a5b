import assert from 'node:assert/strict'
import { test } from 'node:test'
import { shareOf } from '../../../src/component/balance.ts'

const sharers = Array.from({ length: 5 }, (_, i) => ({ id: `connection ${i}` }))
const senders = Array.from({ length: 1000 }, (_, i) => `user${i}@localhost`)
const shares = (among: typeof sharers) => new Map(senders.map(sender => [sender, among[shareOf(sender, among)]!]))

test('each has about the same share, and always the same senders', () => {
  const first = shares(sharers)
  assert.deepEqual(shares([...sharers].reverse()), first)
  for (const sharer of sharers) {
    const count = [...first.values()].filter(one => one === sharer).length
    assert.ok(count > 150 && count < 250, `${sharer.id} has ${count} of 1000`)
  }
})

test('when one goes only its senders move, and come back when it does', () => {
  const before = shares(sharers)
  const gone = sharers[2]!
  const after = shares(sharers.filter(one => one !== gone))
  for (const [sender, one] of before) if (one !== gone) assert.equal(after.get(sender), one)
})
