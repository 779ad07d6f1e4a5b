import assert from 'node:assert/strict'
import { test } from 'node:test'
import { settled } from '../../../support/waiting.ts'
import { FakeHolder, FakeOrigin, send } from '../support.ts'
import { id, live, range, rows, setup } from './support.ts'

/** A session has a message whose write has failed, as all do until the disk comes back. */
async function inDoubt() {
  const made = setup()
  const holder = await live(made.queue)
  made.troubles.failWrites = true
  const origin = new FakeOrigin()
  const entry = send(made.queue, id(1), [holder], origin)
  await settled()
  return { ...made, holder, origin, entry }
}

test('a store that cannot be read is asked again, and nobody’s promise is broken', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { queue, troubles } = setup()
  for (let n = 1; n <= 3; n++) send(queue, id(n), [])
  await settled()
  const holder = new FakeHolder()
  troubles.failReads = true
  const attached = queue.attach(holder)
  await settled()
  assert.deepEqual(holder.ids, [])
  send(queue, id(4), [holder])
  troubles.failReads = false
  t.mock.timers.tick(60_000)
  await attached
  assert.deepEqual(holder.ids, range(1, 4))
})

test('a session that leaves while the store cannot be read leaves nothing behind', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { queue, troubles } = setup()
  send(queue, id(1), [])
  await settled()
  troubles.failReads = true
  const holder = new FakeHolder()
  const attached = queue.attach(holder)
  await settled()
  holder.leave(queue)
  t.mock.timers.tick(60_000)
  await attached
  assert.equal(queue.idle, true)
})

test('a write that fails with nobody there is an error to the sender, once', async () => {
  const { queue, troubles, bounced, table } = setup()
  troubles.failWrites = true
  const origin = new FakeOrigin()
  const entry = send(queue, id(1), [], origin)
  await settled()
  assert.deepEqual(bounced, [id(1)])
  assert.deepEqual(origin.safeIds, [id(1)], 'an error is an answer')
  assert.equal(entry.bounced, true)
  assert.equal(queue.idle, true)
  queue.bounce(entry)
  assert.equal(bounced.length, 1)
  assert.deepEqual(await rows(table), [])
})

test('a write that fails while a session has the message: it may yet acknowledge it', async () => {
  const { queue, bounced, holder, origin, entry } = await inDoubt()
  assert.deepEqual([bounced, origin.safeIds], [[], []])
  holder.confirm(queue)
  assert.deepEqual([bounced, origin.safeIds], [[], [id(1)]])
  assert.equal(entry.bounced, false)
})

test('... or end: an error to the sender could be a lie, so it waits for the disk, and for who comes next', async () => {
  const { queue, troubles, bounced, table, holder, entry } = await inDoubt()
  holder.leave(queue)
  assert.deepEqual(bounced, [])
  assert.equal(queue.idle, false)
  const next = await live(queue, 'next')
  assert.deepEqual(next.ids, [id(1)])
  next.leave(queue)
  troubles.failWrites = false
  queue.rewrite(entry)
  await settled()
  assert.deepEqual(await rows(table), [id(1)])
  assert.equal(queue.idle, true)
})

test('... or the disk comes back, and it is kept', async () => {
  const { queue, troubles, bounced, table, holder, origin, entry } = await inDoubt()
  troubles.failWrites = false
  queue.rewrite(entry)
  await settled()
  assert.deepEqual(origin.safeIds, [id(1)])
  holder.leave(queue)
  assert.deepEqual(bounced, [])
  assert.deepEqual(await rows(table), [id(1)])
  queue.rewrite(entry)
  await settled()
  assert.equal(troubles.written, 1)
})

test('a row that could not be removed is not delivered again, and is removed later', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { queue, troubles, table } = setup()
  const holder = await live(queue)
  send(queue, id(1), [holder], new FakeOrigin())
  await settled()
  troubles.failDeletes = true
  holder.confirm(queue)
  await settled()
  assert.deepEqual(await rows(table), [id(1)])
  const other = new FakeHolder()
  queue.detach(holder)
  await queue.attach(other)
  assert.deepEqual(other.ids, [])
  troubles.failDeletes = false
  t.mock.timers.tick(500)
  await settled()
  assert.deepEqual(await rows(table), [])
})

test('of an account that was removed nothing is written again', async () => {
  const { queue, troubles, bounced, table, holder, origin, entry } = await inDoubt()
  holder.leave(queue)
  troubles.failWrites = false
  queue.ended = true
  queue.rewrite(entry)
  await settled()
  assert.deepEqual(await rows(table), [])
  assert.deepEqual(bounced, [id(1)])
  assert.deepEqual(origin.safeIds, [id(1)])
})

test('what is acknowledged while a session fetches it is not taken over any more', async () => {
  const { queue, troubles } = setup()
  send(queue, id(1), [])
  await settled()
  const answer = troubles.reads.holdNext()
  const adopted = queue.adopt(id(1), new FakeHolder('late'))
  const holder = await live(queue)
  holder.confirm(queue)
  answer()
  assert.equal(await adopted, undefined)
  assert.equal(queue.size, 0)
})
