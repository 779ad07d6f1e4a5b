import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Entry } from '../../../../src/core/queue/entry.ts'
import { Outbox, type Unacked } from '../../../../src/core/queue/outbox.ts'
import { fc } from '../../../support/property.ts'

const WRAP = 2 ** 32
const item = (text: string): Unacked => ({ text, entry: undefined, lost: undefined })
const texts = (items: Iterable<Unacked> | undefined) => items && [...items].map(i => i.text)

test('what is sent is counted, what is acknowledged leaves, oldest first', () => {
  const outbox = new Outbox()
  assert.deepEqual([outbox.size, outbox.sent, outbox.acked], [0, 0, 0])
  for (const text of ['a', 'b', 'c']) outbox.push(item(text))
  assert.deepEqual([outbox.size, outbox.sent, outbox.acked], [3, 3, 0])
  assert.deepEqual(texts(outbox.acknowledge(2)), ['a', 'b'])
  assert.deepEqual([outbox.size, outbox.sent, outbox.acked], [1, 3, 2])
  assert.deepEqual(texts(outbox.acknowledge(2)), [], 'the same again is nothing new')
  assert.deepEqual(texts(outbox), ['c'])
  assert.deepEqual(texts(outbox.acknowledge(3)), ['c'])
})

test('more than was sent, or less than was acknowledged, cannot be; and changes nothing', () => {
  const outbox = new Outbox()
  for (const text of ['a', 'b', 'c']) outbox.push(item(text))
  assert.equal(outbox.acknowledge(4), undefined)
  assert.deepEqual(texts(outbox.acknowledge(2)), ['a', 'b'])
  assert.equal(outbox.acknowledge(1), undefined)
  assert.equal(outbox.acknowledge(WRAP - 1), undefined)
  assert.deepEqual([outbox.size, outbox.sent, outbox.acked], [1, 3, 2])
})

test('counters wrap at 2^32', () => {
  const outbox = new Outbox()
  outbox.restore(WRAP - 2, [item('a'), item('b')])
  assert.equal(outbox.sent, 0)
  for (const text of ['c', 'd']) outbox.push(item(text))
  assert.equal(outbox.sent, 2)
  assert.equal(outbox.acknowledge(3), undefined)
  assert.deepEqual(texts(outbox.acknowledge(WRAP - 1)), ['a'])
  assert.deepEqual(texts(outbox.acknowledge(0)), ['b'])
  assert.equal(outbox.acked, 0)
  assert.equal(outbox.acknowledge(WRAP - 1), undefined, 'what was before the wrap is over')
  assert.deepEqual(texts(outbox.acknowledge(2)), ['c', 'd'])
})

test('what is taken without counting leaves the count of what was sent to the caller', () => {
  const outbox = new Outbox()
  for (const text of ['a', 'b']) outbox.push(item(text))
  assert.deepEqual(texts(outbox.take(2)), ['a', 'b'])
  assert.deepEqual([outbox.size, outbox.sent, outbox.bytes], [0, 0, 0], 'as before stream management')
})

test('it knows how much it holds: texts, and the bytes of queued messages that are sent as they are', () => {
  const outbox = new Outbox()
  outbox.push(item('abc'))
  const entry = new Entry('id', Buffer.alloc(100), undefined)
  outbox.push({ text: undefined, entry, lost: undefined })
  outbox.push({ text: 'with a stamp', entry, lost: undefined })
  assert.equal(outbox.bytes, 115)
  outbox.acknowledge(2)
  assert.equal(outbox.bytes, 12)
})

test('property: as a plain list with a counter does, from any start', () => {
  const steps = fc.array(fc.oneof(fc.constant('push' as const), fc.integer({ min: -3, max: 12 })), { size: 'large' })
  const starts = fc.oneof(fc.integer({ min: 0, max: WRAP - 1 }), fc.integer({ min: WRAP - 20, max: WRAP - 1 }))
  fc.assert(
    fc.property(starts, steps, (start, list) => {
      const outbox = new Outbox()
      outbox.restore(start, [])
      let open: string[] = []
      let acked = start
      let serial = 0
      for (const step of list) {
        if (step === 'push') {
          open.push(String(serial))
          outbox.push(item(String(serial++)))
        } else {
          const h = (acked + step + WRAP) % WRAP
          const seen = texts(outbox.acknowledge(h))
          if (step < 0 || step > open.length) assert.equal(seen, undefined)
          else {
            assert.deepEqual(seen, open.slice(0, step))
            open = open.slice(step)
            acked = h
          }
        }
        assert.equal(outbox.size, open.length)
        assert.equal(outbox.acked, acked)
        assert.equal(outbox.sent, (acked + open.length) % WRAP)
        assert.equal(outbox.bytes, open.join('').length)
      }
      assert.deepEqual(texts(outbox), open)
    }),
  )
})

test('a long life costs what is open, not what was', () => {
  const outbox = new Outbox()
  for (let i = 0; i < 5000; i++) outbox.push(item(String(i)))
  for (let i = 0; i < 200_000; i++) {
    outbox.push(item(String(5000 + i)))
    assert.equal(outbox.acknowledge(i + 1)![0]!.text, String(i))
  }
  assert.equal(outbox.size, 5000)
})
