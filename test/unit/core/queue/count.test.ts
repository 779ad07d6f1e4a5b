import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Host } from '../../../../src/core/host.ts'
import { QueueCount } from '../../../../src/core/queue/count.ts'
import { openMemoryStore } from '../../../../src/storage/memory.ts'

test('what waits is counted over all hosts, once for all who ask at a time, and not again at once', async () => {
  const store = openMemoryStore()
  let counted = 0
  const host = (name: string): Host => {
    const count = async (user: string) => {
      counted++
      return (await store.table(name, { name: 'queue', codec: 'bytes', unique: true }).keys([user])).length
    }
    return { name, store, queues: { count } } as unknown as Host
  }
  const put = (name: string, user: string, id: string) =>
    store.table<Buffer>(name, { name: 'queue', codec: 'bytes', unique: true }).put([user], [id], Buffer.alloc(0))
  for (const [name, user, id] of [
    ['a', 'romeo', '1'],
    ['a', 'romeo', '2'],
    ['a', 'juliet', '1'],
    ['b', 'romeo', '1'],
  ] as const) {
    await put(name, user, id)
  }
  const count = new QueueCount(() => [host('a'), host('b')])
  assert.deepEqual(await Promise.all([count.value(), count.value(), count.value()]), [4, 4, 4])
  assert.equal(counted, 3, 'one count for each account')
  await put('b', 'romeo', '2')
  assert.equal(await count.value(), 4, 'the count before, for half a minute')
  assert.equal(counted, 3)
})

test('who asks does not wait for a count that takes long, nor learns of a store that cannot be read', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const endless = {
    name: 'a',
    store: { table: () => ({ partitions: () => new Promise(() => {}) }) },
  } as unknown as Host
  const slow = new QueueCount(() => [endless]).value()
  t.mock.timers.tick(1000)
  assert.equal(await slow, 0)
  const broken = { name: 'a', store: { table: () => ({ partitions: () => Promise.reject(new Error('disk')) }) } }
  assert.equal(await new QueueCount(() => [broken as unknown as Host]).value(), 0)
})
