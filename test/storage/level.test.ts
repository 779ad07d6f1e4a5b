import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { describe, test } from 'node:test'
import { Level } from 'level'
import type { CommitReport } from '../../src/storage/groupcommit.ts'
import { openLevelStore } from '../../src/storage/level.ts'
import { openMemoryStore } from '../../src/storage/memory.ts'
import { StoreError } from '../../src/storage/store.ts'
import { emptyFolder } from '../support/folder.ts'
import { pluck } from '../support/pluck.ts'
import { conformance, conformanceOnDisk } from './conformance.ts'
import { keys, level, retry } from './suites/level.ts'

const HOST = 'example.org'

conformance('level', async t => (await level(t)).store)
conformance('level, gathering for 5 ms', async t => (await level(t, { commitDelay: 5 })).store)
conformanceOnDisk('level', async (t, options) => {
  const { store, path } = await level(t, options)
  const reopen = async () => {
    const again = await openLevelStore(path)
    t.after(() => again.close())
    return again
  }
  return { store, reopen }
})

describe('level: group commit', () => {
  test('what one turn writes is one commit; while it is written the next gathers', async t => {
    const commits: CommitReport[] = []
    const { store } = await level(t, { onCommit: report => commits.push(report) })
    const [a, b] = [store.table<string>(HOST, { name: 'a' }), store.table<string>('other', { name: 'b' })]
    const first = [...Array(50).keys()].map(i => a.put([i], [], 'x'))
    first.push(store.commit([b.putOp(['p'], [1], 'y')]), b.del(['q']))
    await new Promise(setImmediate)
    const second = [...Array(30).keys()].flatMap(i => [a.put([i], [], 'z'), a.put([100 + i], [], 'z')])
    await Promise.all([...first, ...second])
    assert.deepEqual(pluck(commits, 'rows'), [52, 60])
    assert.ok(commits.every(commit => commit.error === undefined && commit.duration > 0 && commit.size > 0))
  })

  test('writes of several turns gather during a commit delay, and a scan does not wait for it', async t => {
    const commits: number[] = []
    const { store } = await level(t, { commitDelay: 60_000, onCommit: report => commits.push(report.rows) })
    const table = store.table<string>(HOST, { name: 'a' })
    const writes: Promise<void>[] = []
    for (let i = 0; i < 5; i++) {
      writes.push(table.put(['p'], [i], 'x'))
      await new Promise(setImmediate)
    }
    assert.deepEqual(commits, [])
    assert.equal((await table.scan(['p'])).length, 5)
    await Promise.all(writes)
    assert.deepEqual(commits, [5])
  })

  test('a row of a unique table that is deleted before it is due never reaches the disk', async t => {
    const commits: CommitReport[] = []
    const { store, path } = await level(t, { onCommit: report => commits.push(report) })
    const queue = store.table<string>(HOST, { name: 'queue', unique: true })
    const other = store.table<string>(HOST, { name: 'other' })
    await Promise.all([
      queue.put(['p'], [1], 'short-lived'),
      queue.put(['p'], [2], 'kept'),
      queue.del(['p'], [1]),
      other.put(['p'], [1], 'overwritten'),
      other.del(['p'], [1]),
    ])
    assert.deepEqual(
      commits.map(({ rows, elided }) => ({ rows, elided })),
      [{ rows: 2, elided: 1 }],
    )
    const put = queue.put(['p'], [3], 'alone')
    await Promise.all([put, queue.del(['p'], [3])])
    assert.deepEqual([commits[1]?.rows, commits[1]?.elided], [0, 1])
    // Begun to be written: too late to take back.
    const written = queue.put(['p'], [4], 'written')
    await new Promise(setImmediate)
    await Promise.all([written, queue.del(['p'], [4])])
    assert.deepEqual(pluck(commits.slice(2), 'rows'), [1, 1])
    await store.close()
    const log = await filesWith(path, 'short-lived')
    assert.deepEqual([log, await filesWith(path, 'alone')], [0, 0])
    assert.ok((await filesWith(path, 'written')) > 0, 'the search finds what is there')
  })

  test('writes beyond what may wait for the disk are refused, and the store goes on', async t => {
    const disk = Promise.withResolvers<void>()
    const { store } = await level(t, { maxPending: 10_000, beforeCommit: () => disk.promise })
    const table = store.table<string>(HOST, { name: 'a' })
    const value = 'x'.repeat(1000)
    const started = table.put(['p'], ['first'], value)
    await new Promise(setImmediate)
    const results = Promise.allSettled([...Array(40).keys()].map(i => table.put(['p'], [i], value)))
    const refusedDel = table.del(['p'], ['first'])
    const refusedBatch = store.commit([table.delOp(['p'], ['first'])])
    await assert.rejects(refusedDel, retry)
    await assert.rejects(refusedBatch, retry)
    disk.resolve()
    await started
    const kept = (await results).filter(result => result.status === 'fulfilled').length
    assert.ok(kept >= 9 && kept <= 10, `${kept} kept`)
    for (const result of await results) if (result.status === 'rejected') assert.ok(retry(result.reason))
    assert.equal((await table.scan(['p'])).length, kept + 1)
    await table.put(['p'], ['later'], value)
  })
})

describe('level: opening', () => {
  test('data is there after a reopen', async t => {
    const { store, path } = await level(t)
    await store.table<string>(HOST, { name: 'a' }).put(['p'], [1], 'x')
    await store.close()
    const again = await openLevelStore(path, { durability: 'async' })
    assert.deepEqual(await again.table(HOST, { name: 'a' }).scan(['p']), [{ ck: [1], value: 'x' }])
    await again.close()
  })

  test('a folder in use, a foreign one, a damaged one, one that cannot be: what to do', async t => {
    const { store, path } = await level(t)
    await assert.rejects(openLevelStore(path), /another hermod runs on this folder/)
    await store.close()

    const foreign = await emptyFolder(t)
    const db = new Level(foreign)
    await db.put('x', 'y')
    await db.close()
    await assert.rejects(openLevelStore(foreign), /not hermod's: choose another folder/)

    const newer = await emptyFolder(t)
    const other = new Level(newer)
    await other.put('!format', '99')
    await other.close()
    await assert.rejects(openLevelStore(newer), /format 99: a newer hermod wrote it/)

    await writeFile(join(path, 'CURRENT'), 'nonsense')
    await assert.rejects(openLevelStore(path), /is damaged .*restore the last backup/)

    await rm(join(path, 'CURRENT'))
    const files = await readdir(path)
    await assert.rejects(openLevelStore(path), /is damaged .*CURRENT file is missing/)
    assert.deepEqual(await readdir(path), files)

    await writeFile(join(foreign, 'file'), '')
    await assert.rejects(openLevelStore(join(foreign, 'file')), (error: unknown) => {
      return error instanceof StoreError && /cannot open the store in .*file/.test(error.message)
    })
  })

  test('kill -9: what was acknowledged is there, and of a commit all rows or none', async t => {
    const path = await emptyFolder(t)
    const child = spawn(process.execPath, [join(import.meta.dirname, 'suites', 'killed-writer.ts'), path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const acknowledged: number[] = []
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged.push(Number(line))
      if (acknowledged.length === 500) child.kill('SIGKILL')
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    assert.equal(child.signalCode, 'SIGKILL')
    const store = await openLevelStore(path)
    const found = new Set(keys(await store.table<string>(HOST, { name: 'a' }).scan(['p'])))
    const others = await store.table<string>('other', { name: 'b' }).partitions()
    await store.close()
    assert.deepEqual(new Set(others.map(pk => pk[0])), found)
    assert.ok(acknowledged.length >= 500)
    assert.deepEqual(
      acknowledged.filter(i => !found.has(i)),
      [],
    )
  })

  test('opening 200,000 rows takes no longer than opening a few', async t => {
    const time = async (path: string) => {
      const times: number[] = []
      for (let i = 0; i < 5; i++) {
        const start = performance.now()
        const store = await openLevelStore(path)
        times.push(performance.now() - start)
        await store.close()
      }
      return Math.min(...times)
    }
    const large = await level(t, { durability: 'async' })
    const table = large.store.table<Uint8Array>(HOST, { name: 'a', codec: 'bytes' })
    for (let i = 0; i < 200; i++) {
      await large.store.commit([...Array(1000).keys()].map(ck => table.putOp([i], [ck], Buffer.alloc(100, ck))))
    }
    await large.store.close()
    const small = await level(t)
    await small.store.close()
    const [few, many] = [await time(small.path), await time(large.path)]
    // A scan of the rows would take above 100 ms; replay of LevelDB's log is bounded by its write buffer of 4 MiB.
    assert.ok(many < few * 3 + 50, `${few.toFixed(1)} ms with none, ${many.toFixed(1)} ms with 200,000`)
  })

  test('a restore that was interrupted does not open as if it were whole', async t => {
    const { store, path } = await level(t)
    const source = openMemoryStore()
    await source.table<string>(HOST, { name: 'a' }).put(['p'], [], 'x')
    const stuck = Promise.withResolvers<void>()
    const reached = Promise.withResolvers<void>()
    const half = async function* () {
      for await (const chunk of source.dump()) {
        yield chunk.subarray(0, 60)
        reached.resolve()
        await stuck.promise
      }
    }
    const load = store.load(half())
    await reached.promise
    const closing = store.close()
    await closing
    stuck.resolve()
    await assert.rejects(load, StoreError)
    await assert.rejects(openLevelStore(path), /restore into .* was interrupted .* delete this folder/)
  })
})

/** How many files of a closed store hold this text as it is. */
async function filesWith(path: string, text: string): Promise<number> {
  let count = 0
  for (const name of await readdir(path)) if ((await readFile(join(path, name))).includes(text)) count++
  return count
}

// Not of one scan: V8 collects the iterators in the end, but does not know what hangs on them, and so not when it is time.
test('what scans have read is let go, however much that is', async t => {
  const { store } = await level(t)
  const table = store.table<Buffer>(HOST, { name: 't', codec: 'bytes' })
  for (let n = 0; n < 64; n++) await table.put(['p'], [n], Buffer.alloc(256 * 1024, 'x'))
  const searchAll = async (): Promise<void> => {
    for (let n = 0; n < 64; n++) {
      const [row] = await table.scan(['p'], { gte: [n], bytes: 1, limit: 100 })
      for (let at = 0; at < row!.value.length; at += 16_384) row!.value.toString('latin1', at, at + 16_384)
    }
  }
  await searchAll()
  const before = process.memoryUsage().rss
  let most = 0
  for (let round = 0; round < 15; round++) {
    await Promise.all([searchAll(), searchAll(), searchAll(), searchAll()])
    most = Math.max(most, process.memoryUsage().rss - before)
  }
  assert.ok(most < 150e6, `960 MiB were read, and ${Math.round(most / 1e6)} MB more in use`)
})
