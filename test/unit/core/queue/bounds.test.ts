import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPointer, sizeOfRow } from '../../../../src/core/queue/store.ts'
import type { Store, Table } from '../../../../src/storage/store.ts'
import { over } from '../../../support/faultystore.ts'
import { settled } from '../../../support/waiting.ts'
import { FakeHolder, queueOver, send } from '../support.ts'
import { id, live, range, setup } from './support.ts'

/** What each scan of the queue gave, in bytes. */
function watched({ store, table }: ReturnType<typeof setup>): { seen: Store; scans: number[] } {
  const scans: number[] = []
  const scan: Table<Buffer>['scan'] = async (pk, range) => {
    const rows = await table.scan(pk, range)
    scans.push(rows.reduce((sum, { value }) => sum + value.length, 0))
    return rows
  }
  return { seen: over(store, { table: (() => over(table, { scan })) as unknown as Store['table'] }), scans }
}

test('a backlog of large messages is read a few at a time, from the queue and from the archive', async () => {
  for (const archived of [false, true]) {
    const { seen, scans } = watched(setup())
    const large = Buffer.from(`<message><body>${'x'.repeat(100_000)}</body></message>`)
    let held = 0
    const { queue } = queueOver(seen, '', {
      async archived() {
        held++
        return large
      },
    })
    for (let n = 1; n <= 20; n++) {
      const entry = queue.push(id(n), large, undefined)
      entry.archived = archived
      queue.keep(entry)
    }
    await settled()
    assert.equal(queue.size, 0)
    const holder = new FakeHolder()
    holder.limit = 1
    const attached = queue.attach(holder)
    await settled()
    assert.deepEqual(holder.ids, range(1, 1))
    assert.ok(scans.every(bytes => bytes <= 400_000))
    if (archived) assert.equal(held, 3)
    holder.limit = Number.POSITIVE_INFINITY
    holder.confirm(queue)
    await attached
    assert.deepEqual(holder.ids, range(1, 20))

    const { queue: again } = queueOver(seen, id(20), { archived: async () => large })
    const pages: number[] = []
    for await (const page of again.waiting()) pages.push(page.length)
    assert.ok(pages.every(length => length <= 3))
    assert.equal(
      pages.reduce((a, b) => a + b),
      19, // one was acknowledged
    )
  }
})

test('a row that points into the archive says how large the message is there', async () => {
  const { queue, table } = setup()
  const entry = queue.push(id(1), Buffer.from('<message/>'), undefined)
  entry.archived = true
  queue.keep(entry)
  send(queue, id(2), [])
  await settled()
  const rows = await table.scan(['juliet'])
  assert.deepEqual(
    rows.map(({ value }) => [isPointer(value), sizeOfRow(value)]),
    [
      [true, 10],
      [false, `<message id='${id(2)}'/>`.length],
    ],
  )
  assert.deepEqual([isPointer(Buffer.alloc(0)), sizeOfRow(Buffer.alloc(0))], [true, 0], 'as older versions wrote it')
})

test('of what another session has in flight, one that comes gets so much as it can take, and the rest in its turn', async () => {
  const { queue } = setup()
  const first = await live(queue, 'first')
  for (let n = 1; n <= 30; n++) send(queue, id(n), [first])
  const second = new FakeHolder('second')
  second.limit = 5
  const attached = queue.attach(second)
  await settled()
  assert.deepEqual(second.ids, range(1, 5))
  second.confirm(queue)
  await settled()
  assert.deepEqual(second.ids, range(1, 10))
  assert.equal(queue.behind, false, 'the first takes what comes')
  for (let n = 0; n < 5; n++) {
    second.confirm(queue)
    await settled()
  }
  await attached
  assert.deepEqual(second.ids, range(1, 30))
  send(queue, id(31), [first, second])
  assert.deepEqual(second.ids, range(1, 31))
})

test('of what a session leaves behind, another gets so much as it can take, and the rest in its turn', async () => {
  const { queue } = setup()
  const first = await live(queue, 'first')
  const second = await live(queue, 'second')
  second.limit = 5
  for (let n = 1; n <= 30; n++) send(queue, id(n), [first])
  first.leave(queue)
  await settled()
  assert.deepEqual(second.ids, range(1, 5))
  assert.equal(queue.behind, true)
  for (let n = 0; n < 6; n++) {
    second.confirm(queue)
    await settled()
  }
  assert.deepEqual(second.ids, range(1, 30))
  assert.equal(queue.behind, false)
})
