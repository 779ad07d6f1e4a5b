import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { appendFile, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { openLevelStore } from '../../src/storage/level.ts'
import { encodeTuple } from '../../src/util/tuple.ts'
import { keys, level, retry, until } from './suites/level.ts'
import { logRecord } from './suites/leveldb-log.ts'

const HOST = 'example.org'

describe('level: failing disks', () => {
  test('a failed commit rejects all its writes and keeps none; the next ones go on', async t => {
    let fail = false
    const logged: string[] = []
    const { store, path } = await level(t, {
      beforeCommit: () => {
        if (fail) throw new Error('ENOSPC')
      },
      log: { warn: (_, message) => logged.push(message), error: (_, message) => logged.push(message) },
    })
    const table = store.table<string>(HOST, { name: 'a' })
    await table.put(['p'], [1], 'kept')
    fail = true
    const calls = [
      table.put(['p'], [1], 'lost'),
      table.put(['p'], [2], 'lost'),
      store.commit([table.putOp(['p'], [3], 'lost')]),
      table.putIfAbsent(['p'], [4], 'lost'),
      table.del(['p'], [1]),
      table.clear(['p']),
    ]
    const unwatched = table.put(['p'], [5], 'nobody waits for this one')
    for (const result of await Promise.allSettled(calls)) {
      assert.ok(result.status === 'rejected' && retry(result.reason))
    }
    assert.deepEqual(await table.scan(['p']), [{ ck: [1], value: 'kept' }])
    assert.equal(await table.get(['p'], [1]), 'kept')
    fail = false
    await until(() => table.put(['p'], [6], 'later'))
    assert.deepEqual(keys(await table.scan(['p'])), [1, 6])
    await store.close()
    const again = await openLevelStore(path)
    assert.deepEqual(keys(await again.table(HOST, { name: 'a' }).scan(['p'])), [1, 6])
    await again.close()
    await assert.rejects(unwatched, retry)
    assert.deepEqual(logged.length, 2)
  })

  test('a putIfAbsent that lost to a put that fails takes its place', async t => {
    let failures = 1
    const { store } = await level(t, {
      beforeCommit: () => {
        if (failures-- > 0) throw new Error('EIO')
      },
    })
    const table = store.table<string>(HOST, { name: 'a' })
    const first = table.putIfAbsent(['p'], [], 'first')
    const second = table.putIfAbsent(['p'], [], 'second')
    await assert.rejects(first, retry)
    // The retry may come while writes are still refused; then it says so. What it must not say is false.
    const result = await second.catch((error: unknown) => error)
    assert.ok(result === true || retry(result), String(result))
    await until(() => table.putIfAbsent(['p'], [], 'third'))
  })

  test('a full disk: errors, reads go on, and when there is room again nothing acknowledged is lost and nothing refused is kept', async t => {
    const path = await mkdtemp(join(tmpdir(), 'hermod-full-'))
    if ((await run('mount', '-t', 'tmpfs', '-o', 'size=48m', 'tmpfs', path)) !== 0) {
      await rm(path, { recursive: true })
      return t.skip('needs the right to mount a tmpfs')
    }
    t.after(async () => {
      await run('umount', '-l', path)
      await rm(path, { recursive: true })
    })
    const folder = join(path, 'store')
    const store = await openLevelStore(folder)
    const table = store.table<Uint8Array>(HOST, { name: 'a', codec: 'bytes' })
    const acknowledged: number[] = []
    const write = async (i: number, size: number) => {
      await table.put(['p'], [i], Buffer.alloc(size, `${i} `))
      acknowledged.push(i)
    }
    for (let i = 0; i < 20; i++) await write(i, 1000)
    await writeFile(join(path, 'ballast'), Buffer.alloc(46 * 1024 * 1024)).catch(() => {})
    const refused: number[] = []
    for (let i = 100; i < 130; i++) {
      try {
        await write(i, 100_000)
      } catch (error) {
        assert.ok(retry(error))
        refused.push(i)
      }
    }
    assert.ok(refused.length > 0, 'the disk is full')
    // Until it has tried to recover: that must not cost the reads.
    await until(() => write(130, 1000), /still refuses writes/)
    assert.deepEqual(keys(await table.scan(['p'])), acknowledged)
    await rm(join(path, 'ballast'))
    await until(() => write(200, 1000))
    for (let i = 201; i < 220; i++) await write(i, 1000)
    assert.deepEqual(keys(await table.scan(['p'])), acknowledged)
    await store.close()
    const again = await openLevelStore(folder)
    assert.deepEqual(keys(await again.table<Uint8Array>(HOST, { name: 'a', codec: 'bytes' }).scan(['p'])), acknowledged)
    await again.close()
  })

  test('a refused batch that reached the log all the same does not come back', async t => {
    let fail = false
    const { store, path } = await level(t, {
      beforeCommit: async () => {
        if (!fail) return
        // What LevelDB leaves when the write to its log succeeds and the sync fails: a whole record, and no row in memory.
        const name = (await readdir(path)).find(file => file.endsWith('.log'))!
        const prefix = encodeTuple([HOST, 'a'])
        const rows = ['p1', 'p2', 'p3'].map(pk => [`${prefix}${encodeTuple([pk])}/`, '\x01"refused"'] as const)
        await appendFile(join(path, name), logRecord(rows))
        throw new Error('EIO')
      },
    })
    const table = store.table<string>(HOST, { name: 'a' })
    await table.put(['p1'], [], 'before')
    await table.put(['p3'], [], 'refused')
    fail = true
    const calls = ['p1', 'p2', 'p3'].map(pk => table.put([pk], [], 'refused'))
    for (const call of calls) await assert.rejects(call, retry)
    fail = false
    await until(() => table.put(['later'], [], 'x'))
    await store.close()
    const again = await openLevelStore(path)
    const found = again.table<string>(HOST, { name: 'a' })
    assert.deepEqual(await Promise.all([['p1'], ['p2'], ['p3'], ['later']].map(pk => found.get(pk))), [
      'before',
      undefined,
      'refused',
      'x',
    ])
    await again.close()
  })

  test('a database that cannot be reopened refuses reads until it can, and needs no write to come back', async t => {
    let fail = true
    const { store, path } = await level(t, {
      beforeCommit: () => {
        if (fail) throw new Error('EIO')
      },
    })
    fail = false
    const table = store.table<string>(HOST, { name: 'a' })
    await table.put(['p'], [], 'x')
    fail = true
    await assert.rejects(table.put(['p'], [], 'y'), retry)
    fail = false
    await rename(join(path, 'CURRENT'), join(path, 'away'))
    await until(() => table.put(['p'], [], 'y'), /still refuses writes/)
    await assert.rejects(table.get(['p']), retry)
    await assert.rejects(table.scan(['p']), retry)
    await rename(join(path, 'away'), join(path, 'CURRENT'))
    assert.equal(await until(() => table.get(['p'])), 'x')
    await until(() => table.put(['p'], [], 'z'))
    assert.equal(await table.get(['p']), 'z')
  })

  test('reads during a reopen wait for it', async t => {
    let fail = false
    const logged: string[] = []
    const { store } = await level(t, {
      beforeCommit: () => {
        if (fail) throw new Error('EIO')
      },
      log: { warn: (_, message) => logged.push(message), error: () => {} },
    })
    const table = store.table<string>(HOST, { name: 'a' })
    const long = store.table<string>(HOST, { name: 'long' })
    const page = 'x'.repeat(100_000)
    await store.commit(Array.from({ length: 60 }, (_, i) => long.putOp(['p'], [i], page)))
    await table.put(['p'], [1], 'x')
    fail = true
    await assert.rejects(table.put(['p'], [2], 'y'), retry)
    fail = false
    let recovered = false
    const write = until(() => table.put(['p'], [3], 'z')).then(() => (recovered = true))
    // A round of reads each turn, whether the one before has ended or not: some begin while the database is closed.
    const rounds: Promise<unknown[]>[] = []
    // And scans of several pages, one after another: one is at work when the reopen begins.
    const scans = (async () => {
      while (!recovered) assert.equal((await long.scan(['p'])).length, 60)
    })()
    scans.catch(() => {})
    while (!recovered) {
      const gets = [table.get(['p'], [1]), table.putIfAbsent(['p'], [1], 'no')]
      rounds.push(Promise.all([...gets, table.scan(['p'], { limit: 1 }), table.partitions()]))
      rounds.at(-1)!.catch(() => {})
      await new Promise(setImmediate)
    }
    for (const round of rounds) assert.deepEqual(await round, ['x', false, [{ ck: [1], value: 'x' }], [['p']]])
    await scans
    await write
    assert.deepEqual(logged, ['the disk takes writes again'])
  })

  test('a folder that went away does not come back empty', async t => {
    let fail = false
    const { store, path } = await level(t, {
      beforeCommit: () => {
        if (fail) throw new Error('EIO')
      },
    })
    const table = store.table<string>(HOST, { name: 'a' })
    await table.put(['p'], [], 'x')
    fail = true
    await assert.rejects(table.put(['p'], [], 'y'), retry)
    fail = false
    await rename(path, `${path}-away`)
    t.after(() => rm(`${path}-away`, { recursive: true }))
    await until(() => table.put(['p'], [], 'y'), /still refuses writes/)
    assert.equal(await table.get(['p']), 'x')
  })
})

/** Exit code; not 0 when the program is missing. */
async function run(command: string, ...args: string[]): Promise<number> {
  const child = spawn(command, args, { stdio: 'ignore' })
  return new Promise(resolve => {
    child.once('error', () => resolve(-1))
    child.once('exit', code => resolve(code ?? -1))
  })
}
