import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPointer } from '../../../../src/core/queue/store.ts'
import type { Op } from '../../../../src/storage/store.ts'
import { settled } from '../../../support/waiting.ts'
import { FakeOrigin, queueOver, send } from '../support.ts'
import { id, live, rows, setup } from './support.ts'

/** A queue with an archive beside it, and a sender with a window. */
function world() {
  const made = setup()
  const archive = made.store.table<Buffer>('example.org', { name: 'archive', codec: 'bytes' })
  const sent = made.store.table<string>('example.net', { name: 'sent_window' })
  class Remembering extends FakeOrigin {
    row(): Op {
      return sent.putOp(['romeo'], [0], 'as sent')
    }
  }
  /** What there is of message 1: in the queue, in the archive, in the window of its sender. */
  const kept = async () => {
    const [row] = await made.table.scan(['juliet'])
    const where = row === undefined ? [] : [isPointer(row.value) ? 'pointer' : 'message']
    if ((await archive.get(['juliet'], [id(1)])) !== undefined) where.push('archive')
    if ((await sent.get(['romeo'], [0])) !== undefined) where.push('window')
    return where
  }
  return { ...made, archive, kept, origin: new Remembering() }
}

test('a message, its copy in the archive and what recognises it again are one commit', async () => {
  const { queue, archive, origin, kept, troubles } = world()
  troubles.writes.close()
  send(queue, id(1), [], origin, archive)
  assert.deepEqual(await kept(), ['pointer', 'archive', 'window'])
  troubles.writes.open()
  await settled()
  assert.equal(troubles.written, 1)
  assert.deepEqual(origin.safeIds, [id(1)])
})

test('... and fall together: the sender gets an error, and nothing is there', async () => {
  const { queue, archive, origin, kept, troubles, bounced } = world()
  troubles.failWrites = true
  send(queue, id(1), [], origin, archive)
  await settled()
  assert.deepEqual(bounced, [id(1)])
  assert.deepEqual(await kept(), [])
})

test('... or are written together later, where a session has the message', async () => {
  const { queue, archive, origin, kept, troubles, bounced } = world()
  const holder = await live(queue)
  troubles.failWrites = true
  const entry = send(queue, id(1), [holder], origin, archive)
  await settled()
  assert.deepEqual([await kept(), bounced, origin.safeIds], [[], [], []])
  troubles.failWrites = false
  queue.rewrite(entry)
  await settled()
  assert.deepEqual(await kept(), ['pointer', 'archive', 'window'])
  assert.deepEqual(origin.safeIds, [id(1)])
})

test('what nobody waits for is archived at once, and queued when its time has come', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { queue, archive, kept, troubles } = world()
  send(queue, id(1), [await live(queue)], undefined, archive)
  await settled()
  assert.deepEqual(await kept(), ['archive'])
  t.mock.timers.tick(1000)
  await settled()
  assert.deepEqual(await kept(), ['pointer', 'archive'])
  assert.equal(troubles.written, 2)
})

test('... where it could not be archived then, with the message', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { queue, archive, kept, troubles } = world()
  troubles.failWrites = true
  send(queue, id(1), [await live(queue)], undefined, archive)
  await settled()
  assert.deepEqual(await kept(), [])
  troubles.failWrites = false
  t.mock.timers.tick(1000)
  await settled()
  assert.deepEqual(await kept(), ['pointer', 'archive'])
})

test('what goes with an acknowledgement is written as the message leaves the queue, or neither', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { store, table, troubles } = setup()
  const others = store.table<string>('example.org', { name: 'others' })
  const trouble: string[] = []
  const { queue } = queueOver(store, '', {
    confirmed: () => [others.putOp(['juliet'], [], 'for the phone')],
    trouble: what => trouble.push(what),
  })
  const holder = await live(queue)
  for (const fail of [true, false]) {
    const origin = new FakeOrigin()
    send(queue, id(fail ? 1 : 2), [holder], origin)
    await settled()
    troubles.failWrites = fail
    holder.confirm(queue)
    await settled()
    assert.deepEqual(origin.safeIds.length, 1)
    assert.deepEqual(await rows(table), fail ? [id(1)] : [id(1)])
    assert.equal(await others.get(['juliet']), fail ? undefined : 'for the phone')
  }
  assert.deepEqual(trouble, ['a message could not be kept for other devices'])
  t.mock.timers.tick(500)
  await settled()
  assert.deepEqual(await rows(table), [], 'what could not be removed is removed later')
})
