import assert from 'node:assert/strict'
import { test } from 'node:test'
import { settled } from '../../../support/waiting.ts'
import { FakeHolder, FakeOrigin, queueOver, send } from '../support.ts'
import { id, live, range, rows, setup } from './support.ts'

test('with nobody there a message is written at once, safe when it is durable, and then only in the store', async () => {
  const { queue, table, troubles } = setup()
  troubles.writes.close()
  const origin = new FakeOrigin()
  send(queue, id(1), [], origin)
  await settled()
  assert.deepEqual(origin.safeIds, [], 'not safe while the disk works')
  assert.equal(queue.size, 1)
  assert.equal(queue.idle, false)
  troubles.writes.open()
  await settled()
  assert.deepEqual(origin.safeIds, [id(1)])
  assert.equal(queue.size, 0)
  assert.equal(queue.idle, true)
  assert.deepEqual(await rows(table), [id(1)])
})

test('a message is gone when a session has acknowledged it, never when it was sent', async () => {
  const { queue, table } = setup()
  const holder = await live(queue)
  send(queue, id(1), [holder], new FakeOrigin())
  await settled()
  assert.deepEqual(holder.got, [{ id: id(1), late: false }])
  assert.deepEqual(holder.commits, [id(1)])
  assert.deepEqual(await rows(table), [id(1)])
  holder.confirm(queue)
  await settled()
  assert.deepEqual(await rows(table), [])
  assert.equal(queue.size, 0)
})

test('an acknowledgement before the disk is done makes a message safe', async () => {
  const { queue, table, troubles } = setup()
  troubles.writes.close()
  const holder = await live(queue)
  const origin = new FakeOrigin()
  send(queue, id(1), [holder], origin)
  holder.confirm(queue)
  assert.deepEqual(origin.safeIds, [id(1)])
  troubles.writes.open()
  await settled()
  assert.deepEqual(origin.safeIds, [id(1)], 'told once')
  assert.deepEqual(await rows(table), [])
})

test('what nobody waits for is not written if it is acknowledged soon, and written if it is not', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { queue, table, troubles } = setup()
  const holder = await live(queue)
  send(queue, id(1), [holder])
  send(queue, id(2), [holder])
  holder.confirm(queue, 1)
  t.mock.timers.tick(999)
  assert.equal(troubles.written, 0)
  t.mock.timers.tick(1)
  await settled()
  assert.deepEqual(await rows(table), [id(2)])
  assert.equal(troubles.written, 1)
})

test('a flush writes what waits for its time, and ends when it is written', async () => {
  const { queue, queues, table, troubles } = setup()
  const holder = await live(queue)
  send(queue, id(1), [holder])
  troubles.writes.close()
  let done = false
  const flushed = queues.flush().then(() => (done = true))
  await settled()
  assert.equal(done, false)
  troubles.writes.open()
  await flushed
  assert.deepEqual(await rows(table), [id(1)])
  await queues.flush()
})

test('a session that ends gives its messages to those that are there, or back to the store', async () => {
  const { queue, table } = setup()
  const phone = await live(queue, 'phone')
  send(queue, id(1), [phone])
  send(queue, id(2), [phone], new FakeOrigin())
  const desk = new FakeHolder('desk')
  phone.leave(queue)
  await settled()
  assert.deepEqual(await rows(table), [id(1), id(2)], 'a message that nobody has is written, lazy or not')
  assert.equal(queue.idle, true)
  await queue.attach(desk)
  assert.deepEqual(desk.got, [
    { id: id(1), late: true },
    { id: id(2), late: true },
  ])
  const third = await live(queue, 'third')
  assert.deepEqual(third.ids, [id(1), id(2)], 'and so does one that comes while another has it')
  desk.leave(queue)
  assert.deepEqual(third.ids, [id(1), id(2)], 'not twice')
  third.confirm(queue)
  await settled()
  assert.deepEqual(await rows(table), [])
})

test('what was for one session only goes to another that is there when that one ends', async () => {
  const { queue } = setup()
  const one = await live(queue, 'one')
  const other = await live(queue, 'other')
  send(queue, id(1), [one])
  one.leave(queue)
  assert.deepEqual(other.got, [{ id: id(1), late: true }])
})

test('a backlog of several pages comes in order, and what comes meanwhile comes after it', async () => {
  const { queue, troubles } = setup()
  for (let n = 1; n <= 200; n++) send(queue, id(n), [])
  await settled()
  const holder = new FakeHolder()
  troubles.reads.close()
  const attached = queue.attach(holder)
  send(queue, id(201), [holder])
  await settled()
  assert.deepEqual(holder.ids, [])
  troubles.reads.open()
  await settled(1)
  send(queue, id(202), [holder])
  await attached
  send(queue, id(203), [holder])
  assert.deepEqual(holder.ids, range(1, 203))
  assert.ok(troubles.reads.calls >= 4, 'pages, not all at once')
  assert.equal(queue.size, 203)
})

test('a session with too much unacknowledged gets no more, and goes on where it was', async () => {
  const { queue, table } = setup()
  const holder = await live(queue)
  holder.limit = 10
  for (let n = 1; n <= 50; n++) send(queue, id(n), [holder], new FakeOrigin())
  await settled()
  assert.deepEqual(holder.ids, range(1, 10))
  assert.equal(queue.size, 10, 'the rest is not in memory')
  for (let n = 51; n <= 60; n++) send(queue, id(n), [holder], new FakeOrigin())
  while (holder.held.length > 0) {
    assert.ok(holder.held.length <= 10, `${holder.held.length} are in flight at once`)
    holder.confirm(queue, 5)
    await settled()
  }
  assert.deepEqual(holder.ids, range(1, 60))
  assert.deepEqual(await rows(table), [])
  send(queue, id(61), [holder])
  assert.deepEqual(holder.got.at(-1), { id: id(61), late: false }, 'it is live again')
})

test('a session that leaves while it catches up gets nothing more', async () => {
  const { queue, troubles } = setup()
  for (let n = 1; n <= 3; n++) send(queue, id(n), [])
  await settled()
  const holder = new FakeHolder()
  troubles.reads.close()
  const attached = queue.attach(holder)
  holder.leave(queue)
  troubles.reads.open()
  await attached
  assert.deepEqual(holder.ids, [])
  assert.equal(queue.idle, true)
})

test('one that waits for room and ends is let go', async () => {
  const { queue, table } = setup()
  const holder = new FakeHolder()
  holder.limit = 1
  for (let n = 1; n <= 3; n++) send(queue, id(n), [])
  await settled()
  const attached = queue.attach(holder)
  await settled()
  holder.leave(queue)
  await attached
  await settled()
  assert.equal(queue.idle, true)
  assert.deepEqual(await rows(table), range(1, 3))
})

test('what was acknowledged while the store was being read is not delivered again', async () => {
  const { queue, troubles, table } = setup()
  const holder = new FakeHolder()
  send(queue, id(1), [])
  send(queue, id(2), [])
  await settled()
  await queue.attach(holder)
  queue.detach(holder) // the client goes away for a moment, and comes back
  troubles.reads.close()
  const attached = queue.attach(holder)
  await settled()
  holder.confirm(queue)
  troubles.reads.open()
  await attached
  assert.deepEqual(holder.ids, [id(1), id(2)])
  assert.equal(queue.size, 0)
  assert.deepEqual(await rows(table), [])
})

test('what is only in memory comes in its place among what is in the store', async () => {
  const { queue } = setup()
  const phone = await live(queue, 'phone')
  send(queue, id(1), [phone]) // not written yet
  send(queue, id(2), []) // for nobody: in the store
  await settled()
  const desk = await live(queue, 'desk')
  assert.deepEqual(desk.ids, [id(1), id(2)])
})

test('after a restart a session holds again what it held', async () => {
  const { queue, store, table } = setup()
  for (let n = 1; n <= 3; n++) send(queue, id(n), [])
  await settled()
  const again = queueOver(store, id(3)).queue
  const holder = new FakeHolder()
  const entry = await again.adopt(id(2), holder)
  assert.equal(entry?.bytes.toString(), `<message id='${id(2)}'/>`)
  holder.held.push(entry!)
  assert.equal(await again.adopt(id(9), holder), undefined)
  await again.attach(holder)
  assert.deepEqual(holder.ids, [id(1), id(3)], 'what it has it does not get again')
  holder.confirm(again)
  await settled()
  assert.deepEqual(await rows(table), [])
})

test('several who sent the same message learn all that it is safe', async () => {
  const { queue, troubles } = setup()
  troubles.writes.close()
  const [first, second, third] = [new FakeOrigin(), new FakeOrigin(), new FakeOrigin()]
  const entry = send(queue, id(1), [], first)
  entry.join(second)
  entry.join(third)
  troubles.writes.open()
  await settled()
  assert.deepEqual([first.safeIds, second.safeIds, third.safeIds], [[id(1)], [id(1)], [id(1)]])
})

test('of an account that was removed nothing more is written, though a client may still say that it has not read it', async () => {
  const { queue, queues, table } = setup()
  const holder = await live(queue)
  send(queue, id(1), [holder])
  send(queue, id(2), [holder])
  queue.ended = true
  await queues.flush()
  assert.deepEqual(await rows(table), [])
  holder.leave(queue)
  await settled()
  assert.deepEqual(await rows(table), [])
})

test('for who waits patiently what is in flight is written with what comes soon after, or not at all', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { queue, troubles, table } = setup()
  const holder = await live(queue)
  class Patient extends FakeOrigin {
    readonly patient = true
  }
  const origins = [1, 2, 3].map(() => new Patient())
  for (const [i, origin] of origins.entries()) send(queue, id(i + 1), [holder], origin)
  await settled()
  assert.deepEqual(await rows(table), [])
  holder.confirm(queue, 1)
  assert.deepEqual(origins[0]!.safeIds, [id(1)])
  t.mock.timers.tick(25)
  await settled()
  assert.deepEqual(await rows(table), [id(2), id(3)])
  assert.deepEqual(origins[2]!.safeIds, [id(3)])

  send(queue, id(4), [holder], new Patient())
  holder.leave(queue)
  await settled()
  assert.deepEqual(await rows(table), [id(2), id(3), id(4)], 'nobody has it any more')
  send(queue, id(5), [], new Patient())
  await settled()
  assert.equal((await rows(table)).length, 4)
  assert.ok(troubles.written > 0)
})
