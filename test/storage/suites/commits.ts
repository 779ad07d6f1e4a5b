import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { LevelOptions } from '../../../src/storage/level.ts'
import { MAX_COMMIT, type Op, type Store, StoreError, type Table } from '../../../src/storage/store.ts'
import { HOST, type Open } from './support.ts'

/** Three tables, one of them of another host. */
function tables(store: Store): { a: Table<string>; b: Table<Buffer>; c: Table<string> } {
  return {
    a: store.table<string>(HOST, { name: 'a' }),
    b: store.table<Buffer>(HOST, { name: 'b', codec: 'bytes' }),
    c: store.table<string>('other.example', { name: 'a' }),
  }
}

/** A row in each of the three, in a partition of its own. */
function everywhere({ a, b, c }: ReturnType<typeof tables>, i: number): Op[] {
  return [a.putOp(['p'], [i], `${i}`), b.putOp([i], ['x'], Buffer.from(`${i}`)), c.putOp(['q', i], [], `${i}`)]
}

/** In how many of the three tables the row is. */
async function places(store: Store, i: number): Promise<number> {
  const { a, b, c } = tables(store)
  const found = await Promise.all([a.get(['p'], [i]), b.get([i], ['x']), c.get(['q', i])])
  return found.filter(row => row !== undefined).length
}

export function commits(open: Open): void {
  test('a commit goes across tables, partitions and hosts: puts, deletions, the last word on a key counts', async t => {
    const store = await open(t)
    const { a, b, c } = tables(store)
    await a.put(['p'], [1], 'old')
    await c.put(['p'], [], 'old')
    await store.commit([
      ...everywhere({ a, b, c }, 7),
      a.delOp(['p'], [1]),
      a.putOp(['p'], [3], 'gone'),
      a.delOp(['p'], [3]),
      a.delOp(['p'], [4]),
      a.putOp(['p'], [4], 'four'),
      c.delOp(['p']),
    ])
    await store.commit([])
    assert.deepEqual(await a.scan(['p']), [
      { ck: [4], value: 'four' },
      { ck: [7], value: '7' },
    ])
    assert.equal(await places(store, 7), 3)
    assert.equal(await c.get(['p']), undefined)
  })

  test('an op that cannot be stored is not made; values are as they were when it was', async t => {
    const store = await open(t)
    const { a, b } = tables(store)
    assert.throws(() => a.putOp(['p'], [1], undefined as unknown as string), TypeError)
    assert.throws(() => a.putOp(['p'], ['\ud800'], 'x'), TypeError)
    assert.throws(() => a.delOp([Number.NaN]), TypeError)
    const bytes = Buffer.from('before')
    const op = b.putOp(['p'], [], bytes)
    bytes.write('AFTER!')
    await store.commit([op])
    assert.equal(String(await b.get(['p'])), 'before')
    await b.del(['p'])
    await store.commit([op])
    assert.equal(String(await b.get(['p'])), 'before', 'it can be committed again')
  })

  test('reads see a commit from its call on, whole, in its place among single writes', async t => {
    const store = await open(t)
    const { a, b, c } = tables(store)
    const before = [a.put(['p'], [1], 'before'), a.put(['p'], [2], 'before')]
    const commit = store.commit([...everywhere({ a, b, c }, 1), a.delOp(['p'], [2])])
    const after = b.put([1], ['x'], Buffer.from('after'))
    const reads = [a.get(['p'], [1]), a.get(['p'], [2]), b.get([1], ['x']), c.get(['q', 1])] as const
    const scanned = a.scan(['p'])
    assert.deepEqual(
      (await Promise.all(reads)).map(value => value && String(value)),
      ['1', undefined, 'after', '1'],
    )
    assert.deepEqual(await scanned, [{ ck: [1], value: '1' }])
    await Promise.all([...before, commit, after])
    assert.equal(String(await b.get([1], ['x'])), 'after')
  })

  test('a row of a unique table that a commit puts and a later write deletes is gone, the others of it are not', async t => {
    const store = await open(t)
    const queue = store.table<string>(HOST, { name: 'queue', unique: true })
    const { a } = tables(store)
    const commit = store.commit([queue.putOp(['p'], [1], 'x'), queue.putOp(['p'], [2], 'y'), a.putOp(['p'], [1], 'z')])
    await Promise.all([commit, queue.del(['p'], [1])])
    assert.deepEqual(await queue.scan(['p']), [{ ck: [2], value: 'y' }])
    assert.equal(await a.get(['p'], [1]), 'z')
    const put = queue.put(['p'], [3], 'x')
    await Promise.all([put, store.commit([queue.delOp(['p'], [3]), queue.delOp(['p'], [2]), a.delOp(['p'], [1])])])
    assert.deepEqual(await queue.scan(['p']), [])
    assert.equal(await a.get(['p'], [1]), undefined)
  })

  test('what is too much for one commit is refused whole', async t => {
    const store = await open(t)
    const { a, b, c } = tables(store)
    const half = Buffer.alloc(MAX_COMMIT / 2 - 50_000)
    const ops = [...everywhere({ a, b, c }, 1), b.putOp(['p'], [1], half), b.putOp(['p'], [2], half)]
    await assert.rejects(store.commit([...ops, b.putOp(['p'], [3], Buffer.alloc(100_000))]), TypeError)
    assert.equal(await places(store, 1), 0)
    await store.commit(ops)
    assert.equal(await places(store, 1), 3)
  })
}

/** A store on a disk, and the same one opened anew after it was closed. */
export type OpenDisk = (
  t: TestContext,
  options: Pick<LevelOptions, 'beforeCommit' | 'maxPending'>,
) => Promise<{ store: Store; reopen(): Promise<Store> }>

export function brokenCommits(open: OpenDisk): void {
  test('a commit on a failing disk: rejected, no row of it there, neither then nor later', async t => {
    let fail = false
    const { store, reopen } = await open(t, {
      beforeCommit: () => {
        if (fail) throw new Error('EIO')
      },
    })
    await store.commit(everywhere(tables(store), 1))
    fail = true
    const refused = store.commit(everywhere(tables(store), 2))
    assert.equal(await places(store, 2), 3, 'seen until it has failed')
    await assert.rejects(refused, StoreError)
    assert.deepEqual([await places(store, 1), await places(store, 2)], [3, 0])
    await store.close()
    fail = false
    const again = await reopen()
    assert.deepEqual([await places(again, 1), await places(again, 2)], [3, 0])
  })

  test('where too much waits for the disk a commit is taken whole or refused whole', async t => {
    const disk = Promise.withResolvers<void>()
    const { store, reopen } = await open(t, { maxPending: 10_000, beforeCommit: () => disk.promise })
    const { a, b, c } = tables(store)
    const filler = a.put(['filler'], [0], 'x')
    await new Promise(setImmediate)
    const results = Promise.allSettled(
      Array.from({ length: 20 }, (_, i) => {
        const [first, ...others] = everywhere({ a, b, c }, i)
        return store.commit([first!, a.putOp(['large'], [i], 'x'.repeat(900)), ...others])
      }),
    )
    disk.resolve()
    await filler
    const taken = (await results).map(({ status }) => status === 'fulfilled')
    const count = taken.filter(Boolean).length
    assert.ok(count > 5 && count < 15, `${count} of 20 taken`)
    for (const result of await results) assert.ok(result.status === 'fulfilled' || result.reason instanceof StoreError)
    await store.close()
    const again = await reopen()
    for (const [i, was] of taken.entries()) assert.equal(await places(again, i), was ? 3 : 0)
  })
}
