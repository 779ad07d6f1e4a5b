import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { backupToFile, restoreFromFile } from '../../src/storage/backup.ts'
import { openMemoryStore } from '../../src/storage/memory.ts'
import { type Store, StoreError } from '../../src/storage/store.ts'
import { folder, level } from './suites/level.ts'

const HOST = 'example.org'

test('a backup of one driver restores into another, with progress', async t => {
  const path = await folder(t)
  const { store: source } = await level(t)
  await fill(source, 3000)
  const file = join(path, 'backup')
  const written: number[] = []
  const size = await backupToFile(source, file, bytes => written.push(bytes))
  assert.equal((await readFile(file)).length, size)
  assert.ok(written.length > 1 && written.at(-1) === size)
  assert.deepEqual(await readdir(path), ['backup'])

  const copy = openMemoryStore()
  const read: [number, number | undefined][] = []
  const rows = await restoreFromFile(copy, file, (bytes, total) => read.push([bytes, total]))
  assert.equal(rows, 3000)
  assert.deepEqual(read.at(-1), [size * 2, size * 2])
  const table = { name: 't' }
  assert.deepEqual(await copy.table(HOST, table).scan(['p']), await source.table(HOST, table).scan(['p']))
})

test('memory while a backup is made and restored does not grow with the store', async t => {
  const path = await folder(t)
  const { store: source } = await level(t, { durability: 'async' })
  const { store: target } = await level(t, { durability: 'async' })
  const table = source.table<Uint8Array>(HOST, { name: 'b', codec: 'bytes' })
  for (let i = 0; i < 120; i++) await table.put(['p'], [i], Buffer.alloc(1024 * 1024, i))
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  let largest = 0
  let calls = 0
  const measure = () => {
    if (calls++ % 16 !== 0) return
    gc()
    largest = Math.max(largest, process.memoryUsage().arrayBuffers)
  }
  measure()
  const before = largest
  const file = join(path, 'backup')
  assert.ok((await backupToFile(source, file, measure)) > 120 * 1024 * 1024)
  await restoreFromFile(target, file, measure)
  assert.equal((await target.table<Uint8Array>(HOST, { name: 'b', codec: 'bytes' }).get(['p'], [119]))?.[0], 119)
  // What the collector has not taken back yet is counted too, and varies; the whole store would be 120 MiB.
  assert.ok(largest - before < 60 * 1024 * 1024, `${(largest - before) >> 20} MiB of buffers at once`)
})

test('a damaged or cut file leaves the store as it was', async t => {
  const path = await folder(t)
  const source = openMemoryStore()
  await fill(source, 100)
  const file = join(path, 'backup')
  await backupToFile(source, file)
  const whole = await readFile(file)
  const changed = Buffer.from(whole)
  changed[whole.length - 100]! ^= 0x20
  let loaded = 0
  const target: Store = Object.assign(openMemoryStore(), {
    load: async () => {
      loaded++
    },
  })
  for (const bytes of [
    whole.subarray(0, -1),
    whole.subarray(0, 500),
    Buffer.alloc(0),
    changed,
    Buffer.from('something else entirely'),
  ]) {
    await writeFile(file, bytes)
    await assert.rejects(restoreFromFile(target, file), (error: unknown) => error instanceof StoreError && !error.retry)
  }
  await assert.rejects(restoreFromFile(target, join(path, 'missing')), /cannot read the backup/)
  assert.equal(loaded, 0)
})

test('a store that has rows is not restored into', async t => {
  const path = await folder(t)
  const store = openMemoryStore()
  await fill(store, 3)
  await backupToFile(store, join(path, 'backup'))
  await assert.rejects(restoreFromFile(store, join(path, 'backup')), /not empty/)
})

test('a backup that fails leaves the one before and no rest of itself', async t => {
  const path = await folder(t)
  const file = join(path, 'backup')
  await writeFile(file, 'the one before')
  const broken: Store = Object.assign(openMemoryStore(), {
    dump: async function* () {
      yield Buffer.from('hermod dump 1\n')
      throw new Error('EIO')
    },
  })
  await assert.rejects(backupToFile(broken, file), /cannot write the backup/)
  assert.equal(await readFile(file, 'utf8'), 'the one before')
  assert.deepEqual(await readdir(path), ['backup'])
  await assert.rejects(backupToFile(openMemoryStore(), join(path, 'no', 'such', 'folder')), /cannot write the backup/)
})

async function fill(store: Store, count: number): Promise<void> {
  const table = store.table<string>(HOST, { name: 't' })
  for (let i = 0; i < count; i++) void table.put(['p'], [i], `value ${i} ${'x'.repeat(200)}`)
  await table.scan(['p'], { limit: 1 })
}
