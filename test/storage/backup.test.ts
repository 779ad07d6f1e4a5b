import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { chmod, readdir, readFile, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { backupToFile, type Contents, restoreFromFile } from '../../src/storage/backup.ts'
import { type BlobStore, readBlob } from '../../src/storage/blob.ts'
import { openFileBlobs } from '../../src/storage/blob-files.ts'
import { HeldBlobs } from '../../src/storage/blob-held.ts'
import { openMemoryBlobs } from '../../src/storage/blob-memory.ts'
import { openMemoryStore } from '../../src/storage/memory.ts'
import { type Store, StoreError } from '../../src/storage/store.ts'
import { emptyFolder } from '../support/folder.ts'
import { pluck } from '../support/pluck.ts'
import { level } from './suites/level.ts'

const HOST = 'example.org'

test('a backup of one driver restores into another, with progress', async t => {
  const path = await emptyFolder(t)
  const { store: source } = await level(t)
  await fill(source, 3000)
  const file = join(path, 'backup')
  const written: number[] = []
  const { bytes: size } = await backupToFile({ store: source }, file, bytes => written.push(bytes))
  assert.equal((await readFile(file)).length, size)
  assert.ok(written.length > 1 && written.at(-1) === size)
  assert.deepEqual(await readdir(path), ['backup'])

  const copy = openMemoryStore()
  const read: [number, number | undefined][] = []
  const { rows } = await restoreFromFile({ store: copy }, file, (bytes, total) => read.push([bytes, total]))
  assert.equal(rows, 3000)
  assert.deepEqual(read.at(-1), [size * 2, size * 2])
  const table = { name: 't' }
  assert.deepEqual(await copy.table(HOST, table).scan(['p']), await source.table(HOST, table).scan(['p']))
})

test('memory while a backup is made and restored does not grow with the store', async t => {
  const path = await emptyFolder(t)
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
  assert.ok((await backupToFile({ store: source }, file, measure)).bytes > 120 * 1024 * 1024)
  await restoreFromFile({ store: target }, file, measure)
  assert.equal((await target.table<Uint8Array>(HOST, { name: 'b', codec: 'bytes' }).get(['p'], [119]))?.[0], 119)
  // What the collector has not taken back yet is counted too, and varies; the whole store would be 120 MiB.
  assert.ok(largest - before < 60 * 1024 * 1024, `${(largest - before) >> 20} MiB of buffers at once`)
})

test('a damaged or cut file leaves the store as it was', async t => {
  const path = await emptyFolder(t)
  const source = openMemoryStore()
  await fill(source, 100)
  const file = join(path, 'backup')
  await backupToFile({ store: source }, file)
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
    await assert.rejects(
      restoreFromFile({ store: target }, file),
      (error: unknown) => error instanceof StoreError && !error.retry,
    )
  }
  await assert.rejects(restoreFromFile({ store: target }, join(path, 'missing')), /cannot read the backup/)
  assert.equal(loaded, 0)
})

test('a store that has rows is not restored into', async t => {
  const path = await emptyFolder(t)
  const store = openMemoryStore()
  await fill(store, 3)
  await backupToFile({ store }, join(path, 'backup'))
  await assert.rejects(restoreFromFile({ store }, join(path, 'backup')), /not empty/)
})

test('a backup that fails leaves the one before and no rest of itself', async t => {
  const path = await emptyFolder(t)
  const file = join(path, 'backup')
  await writeFile(file, 'the one before')
  const broken: Store = Object.assign(openMemoryStore(), {
    dump: async function* () {
      yield Buffer.from('hermod dump 1\n')
      throw new Error('EIO')
    },
  })
  await assert.rejects(backupToFile({ store: broken }, file), /cannot write the backup/)
  assert.equal(await readFile(file, 'utf8'), 'the one before')
  assert.deepEqual(await readdir(path), ['backup'])
  await assert.rejects(
    backupToFile({ store: openMemoryStore() }, join(path, 'no', 'such', 'folder')),
    /cannot write the backup/,
  )
})

const put = (blobs: BlobStore, key: string, bytes: Buffer) =>
  blobs.put(key, bytes, { type: 'image/png', size: bytes.length })

const PICTURE = `avatars/example.org/u/${'a'.repeat(40)}`

test('pictures and files go with the rows, and come back beside those that are there', async t => {
  const path = await emptyFolder(t)
  const [store, blobs] = [openMemoryStore(), openMemoryBlobs()]
  await fill(store, 3)
  const large = randomBytes(3_000_000)
  await put(blobs, PICTURE, Buffer.from('a picture'))
  await put(blobs, `${PICTURE}.64.png`, Buffer.from('small'))
  await put(blobs, 'upload/example.org/x/empty', Buffer.alloc(0))
  await put(blobs, 'upload/example.org/x/large', large)
  const file = join(path, 'backup')
  const saved = await backupToFile({ store, blobs }, file)
  assert.deepEqual(saved.blobs, { count: 4, pictures: 1, missing: 0 })

  const copy = openMemoryBlobs()
  await put(copy, 'upload/example.org/x/other', Buffer.from('was there'))
  await put(copy, PICTURE, Buffer.from('the sameb'))
  const { rows, tables, blobs: found } = await restoreFromFile({ store: openMemoryStore(), blobs: copy }, file)
  assert.deepEqual([rows, [...tables], found], [3, [['t', 3]], saved.blobs])
  const bytes = async (key: string) => readBlob((await copy.get(key))!, 1e8)
  assert.ok((await bytes('upload/example.org/x/large')).equals(large))
  assert.equal((await bytes('upload/example.org/x/empty')).length, 0)
  assert.equal((await copy.stat(`${PICTURE}.64.png`))?.type, 'image/png')
  assert.equal((await bytes('upload/example.org/x/other')).toString(), 'was there', 'what is there stays')
  assert.equal((await bytes(PICTURE)).toString(), 'the sameb', 'and is not written again')

  const without = openMemoryBlobs()
  await restoreFromFile({ store: openMemoryStore() }, file)
  assert.deepEqual(await without.list(''), [])
})

test('a backup of before, of rows alone, is read still', async t => {
  const file = join(await emptyFolder(t), 'backup')
  const [store, copy] = [openMemoryStore(), openMemoryStore()]
  await fill(store, 3000)
  const chunks: Uint8Array[] = []
  for await (const chunk of store.dump()) chunks.push(chunk)
  await writeFile(file, Buffer.concat(chunks))
  const { rows } = await restoreFromFile({ store: copy, blobs: openMemoryBlobs() }, file)
  assert.equal(rows, 3000)
  await writeFile(file, Buffer.concat(chunks).subarray(0, -1))
  await assert.rejects(restoreFromFile({ store: openMemoryStore() }, file), /cut short/)
})

test('a file that is no backup is told apart from one that is cut, however short it is', async t => {
  const file = join(await emptyFolder(t), 'backup')
  for (const text of ['junk\n', 'hermit', 'some other file, long enough']) {
    await writeFile(file, text)
    await assert.rejects(restoreFromFile({ store: openMemoryStore() }, file), /it is no backup of hermod/, text)
  }
})

test('whichever byte of a backup is changed, and wherever it is cut, nothing is touched', async t => {
  const file = join(await emptyFolder(t), 'backup')
  const [store, blobs] = [openMemoryStore(), openMemoryBlobs()]
  await fill(store, 3)
  await put(blobs, PICTURE, Buffer.from('a picture'))
  await backupToFile({ store, blobs }, file)
  const whole = await readFile(file)
  let touched = 0
  const target: Contents = {
    store: Object.assign(openMemoryStore(), { load: async () => void touched++ }),
    blobs: { ...openMemoryBlobs(), put: async () => void touched++ },
  }
  for (let at = 0; at < whole.length; at++) {
    const changed = Buffer.from(whole)
    changed[at]! ^= 1
    for (const bytes of [changed, whole.subarray(0, at)]) {
      await writeFile(file, bytes)
      await assert.rejects(
        restoreFromFile(target, file),
        (error: unknown) => error instanceof StoreError && !error.retry,
      )
    }
  }
  await writeFile(file, Buffer.concat([whole, Buffer.alloc(1)]))
  await assert.rejects(restoreFromFile(target, file), /something follows its end/)
  assert.equal(touched, 0)
})

test('memory does not grow with the files of a backup', async t => {
  const path = await emptyFolder(t)
  const [from, to] = [await openFileBlobs(join(path, 'from')), await openFileBlobs(join(path, 'to'))]
  const chunk = randomBytes(1 << 20)
  for (let i = 0; i < 3; i++) {
    const body = Readable.from(Array.from({ length: 50 }, () => chunk))
    await from.put(`upload/h/${i}/file`, body, { type: 'video/mp4', size: 50 << 20 })
  }
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  let largest = 0
  let calls = 0
  const measure = () => {
    if (calls++ % 64 !== 0) return
    gc()
    largest = Math.max(largest, process.memoryUsage().arrayBuffers)
  }
  measure()
  const before = largest
  const file = join(path, 'backup')
  await backupToFile({ store: openMemoryStore(), blobs: from }, file, measure)
  await restoreFromFile({ store: openMemoryStore(), blobs: to }, file, measure)
  assert.equal((await to.stat('upload/h/2/file'))?.size, 50 << 20)
  assert.ok(largest - before < 40 << 20, `${(largest - before) >> 20} MiB of buffers at once`)
})

test('a download that breaks off goes on where it was; one that does so again and again fails the backup', async t => {
  const path = await emptyFolder(t)
  const memory = openMemoryBlobs()
  const bytes = randomBytes(500_000)
  await put(memory, 'upload/h/x/y', bytes)
  let breaks = 2
  const asked: (number | undefined)[] = []
  const blobs: BlobStore = {
    ...memory,
    async get(key, part) {
      asked.push(part?.start)
      const blob = await memory.get(key, part)
      if (blob === undefined || breaks-- <= 0) return blob
      const body = Readable.from(
        (async function* () {
          for await (const chunk of blob.body) {
            yield (chunk as Buffer).subarray(0, 1000)
            throw new Error('ECONNRESET')
          }
        })(),
      )
      return { ...blob, body }
    },
  }
  const file = join(path, 'backup')
  await backupToFile({ store: openMemoryStore(), blobs }, file)
  assert.deepEqual(asked, [undefined, 1000, 2000])
  const copy = openMemoryBlobs()
  await restoreFromFile({ store: openMemoryStore(), blobs: copy }, file)
  assert.ok((await readBlob((await copy.get('upload/h/x/y'))!, 1e6)).equals(bytes))
  breaks = 100
  const before = await readFile(file)
  await assert.rejects(
    backupToFile({ store: openMemoryStore(), blobs }, file),
    /broke off while it was read; try again/,
  )
  assert.ok((await readFile(file)).equals(before), 'the one before stays')
  assert.deepEqual(await readdir(path), ['backup'])
})

test('a damaged file does not keep the others from being saved', async t => {
  const path = await emptyFolder(t)
  const blobs = await openFileBlobs(join(path, 'blobs'))
  await put(blobs, 'upload/h/x/1', Buffer.from('one'))
  await put(blobs, 'upload/h/x/2', Buffer.from('two'))
  await truncate(join(path, 'blobs/upload/h/x/1'), 5)
  const file = join(path, 'backup')
  assert.deepEqual((await backupToFile({ store: openMemoryStore(), blobs }, file)).blobs, {
    count: 1,
    pictures: 0,
    missing: 1,
  })
  const { blobs: found } = await restoreFromFile({ store: openMemoryStore(), blobs }, file)
  assert.equal(found.count, 1)
})

test('nothing is deleted while a backup is made, and what was being deleted is gone before', async () => {
  const memory = openMemoryBlobs()
  const { promise, resolve } = Promise.withResolvers<void>()
  const blobs = new HeldBlobs({
    ...memory,
    async del(key) {
      await promise
      await memory.del(key)
    },
  })
  await put(blobs, 'a', Buffer.from('x'))
  await put(blobs, 'b', Buffer.from('x'))
  const going = blobs.del('a')
  const holding = blobs.hold()
  await assert.rejects(blobs.del('b'), { name: 'StoreError', retry: true })
  resolve()
  await going
  const release = await holding
  assert.deepEqual(pluck(await blobs.list(''), 'key'), ['b'])
  release()
  release()
  await blobs.del('b')
  assert.deepEqual(await blobs.list(''), [])
})

test('a place where a backup cannot be written, or read, says why', async t => {
  const path = await emptyFolder(t)
  const contents = { store: openMemoryStore() }
  const file = join(path, 'backup')
  await assert.rejects(backupToFile(contents, join(path, 'no/backup')), /there is no folder .*no: make it/)
  await assert.rejects(backupToFile(contents, path), /is a folder: name a file/)
  await assert.rejects(backupToFile(contents, '/dev/null'), /is no file: name a file/)
  await assert.rejects(restoreFromFile(contents, '/dev/null'), /is no file: name a file/)
  await assert.rejects(restoreFromFile(contents, file), /there is no such file/)
  await backupToFile(contents, file)
  await assert.rejects(backupToFile(contents, join(file, 'x')), /backup is no folder/)
  if (process.getuid?.() !== 0) return
  await chmod(file, 0o600)
  await chmod(path, 0o755)
  process.seteuid!(65_534)
  try {
    await assert.rejects(restoreFromFile(contents, file), /the user that the server runs as \(65534\) may not read it/)
    await assert.rejects(
      backupToFile(contents, file),
      /\(65534\) may not write in .*: give it that folder, or name another/,
    )
  } finally {
    process.seteuid!(0)
  }
})

test('a file that somebody has put in the way does not get the data', async t => {
  const path = await emptyFolder(t)
  const [file, trap] = [join(path, 'backup'), join(path, 'trap')]
  await writeFile(trap, '')
  await symlink(trap, `${file}.partial`)
  await backupToFile({ store: openMemoryStore() }, file)
  assert.equal(await readFile(trap, 'utf8'), '')
  assert.equal((await stat(file)).mode & 0o777, 0o600)
})

async function fill(store: Store, count: number): Promise<void> {
  const table = store.table<string>(HOST, { name: 't' })
  for (let i = 0; i < count; i++) void table.put(['p'], [i], `value ${i} ${'x'.repeat(200)}`)
  await table.scan(['p'], { limit: 1 })
}
