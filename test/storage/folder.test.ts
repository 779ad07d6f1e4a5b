import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { backupToFile } from '../../src/storage/backup.ts'
import { readBlob } from '../../src/storage/blob.ts'
import { openFileBlobs } from '../../src/storage/blob-files.ts'
import { openMemoryBlobs } from '../../src/storage/blob-memory.ts'
import { openStoreFolder, prepareRestore } from '../../src/storage/folder.ts'
import { openMemoryStore } from '../../src/storage/memory.ts'
import type { Store } from '../../src/storage/store.ts'
import { emptyFolder } from '../support/folder.ts'

const PICTURE = `avatars/example.org/u/${'a'.repeat(40)}`
const ROWS = 500

async function fill(store: Store, word: string): Promise<void> {
  const table = store.table<string>('example.org', { name: 'passwd' })
  await Promise.all(Array.from({ length: ROWS }, (_, i) => table.put([`user ${i}`], [], word)))
}

/** The one word that all rows hold. Throws where they do not agree, or some are missing. */
async function wordOf(store: Store): Promise<string> {
  const table = store.table<string>('example.org', { name: 'passwd' })
  const words = await Promise.all(Array.from({ length: ROWS }, (_, i) => table.get([`user ${i}`])))
  const [first] = words
  assert.ok(first !== undefined && words.every(word => word === first), 'a mix')
  return first
}

/** A data folder whose rows say `old`, and a backup whose rows say `new`, with a picture. */
async function prepared(t: TestContext) {
  const where = await emptyFolder(t)
  const [data, file] = [path.join(where, 'data'), path.join(where, 'backup')]
  const old = await openStoreFolder(data, {})
  await fill(old, 'old')
  await old.close()
  const [store, blobs] = [openMemoryStore(), openMemoryBlobs()]
  await fill(store, 'new')
  await blobs.put(PICTURE, Buffer.from('a picture'), { type: 'image/png', size: 9 })
  await backupToFile({ store, blobs }, file)
  return { where, data, file }
}

const kept = async (data: string) => (await readdir(data)).filter(name => name.startsWith('store.before-restore'))

test('a restored backup is the store from the next start on; every one before is kept', async t => {
  const { data, file } = await prepared(t)
  const blobs = await openFileBlobs(path.join(data, 'blobs'))
  const names: string[] = []
  for (const word of ['old', 'new', 'new']) {
    const found = await prepareRestore(data, blobs, file)
    assert.deepEqual([found.rows, found.tables.get('passwd'), found.blobs.pictures], [ROWS, ROWS, 1])
    assert.match(path.basename(found.kept), /^store\.before-restore-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ(?:-\d+)?$/)
    await assert.rejects(prepareRestore(data, blobs, file), /already waits for the restart/)
    const store = await openStoreFolder(data, {})
    assert.equal(await wordOf(store), 'new')
    await store.close()
    names.push(path.basename(found.kept))
    const former = await openStoreFolder(await asData(t, found.kept), {})
    assert.equal(await wordOf(former), word)
    await former.close()
  }
  assert.deepEqual(await kept(data), names.sort())
  assert.equal((await readBlob((await blobs.get(PICTURE))!, 100)).toString(), 'a picture')
  assert.deepEqual(
    (await readdir(data)).filter(name => /restored|ready/.test(name)),
    [],
  )
})

/** A folder that was kept, as the store of a data folder. */
async function asData(t: TestContext, store: string): Promise<string> {
  const where = await emptyFolder(t)
  await cp(store, path.join(where, 'store'), { recursive: true })
  return where
}

test('a backup that cannot be read leaves the store and no trace', async t => {
  const { data, file } = await prepared(t)
  await writeFile(file, 'nonsense that is no backup')
  const before = await readdir(data)
  const blobs = openMemoryBlobs()
  await assert.rejects(prepareRestore(data, blobs, file), /no backup of hermod/)
  assert.deepEqual(await readdir(data), before)
  const store = await openStoreFolder(data, {})
  assert.equal(await wordOf(store), 'old')
  await store.close()
})

test('the store that another process uses does not give way', async t => {
  const { data, file } = await prepared(t)
  const used = await openStoreFolder(data, {})
  await prepareRestore(data, openMemoryBlobs(), file)
  await assert.rejects(openStoreFolder(data, {}), /in use: another hermod runs/)
  assert.equal(await wordOf(used), 'old')
  await used.close()
  const store = await openStoreFolder(data, {})
  assert.equal(await wordOf(store), 'new')
  await store.close()
})

test('killed before any of its steps, a restore leaves the old store or the new one, whole, and the old one is never lost', async t => {
  const { where, data, file } = await prepared(t)
  const restorer = path.join(import.meta.dirname, 'suites/restorer.ts')
  const seen = new Set<string>()
  for (let call = 1; ; call++) {
    const copy = path.join(where, `copy ${call}`)
    await cp(data, copy, { recursive: true })
    const child = spawn(process.execPath, [restorer, copy, file, String(call)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let said = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    const [code, signal] = await once(child, 'close')
    const store = await openStoreFolder(copy, {})
    const word = await wordOf(store)
    await store.close()
    // It may have said less than it did, never more.
    if (said.includes('read')) assert.equal(word, 'new', `killed before call ${call}`)
    seen.add(word)
    const [former, ...more] = await kept(copy)
    assert.deepEqual(more, [])
    assert.equal(former !== undefined, word === 'new')
    if (former !== undefined) {
      const before = await openStoreFolder(await asData(t, path.join(copy, former)), {})
      assert.equal(await wordOf(before), 'old')
      await before.close()
      const blobs = await openFileBlobs(path.join(copy, 'blobs'))
      assert.equal((await blobs.stat(PICTURE))?.size, 9)
    }
    await assert.rejects(stat(path.join(copy, 'store.restored')))
    await rm(copy, { recursive: true })
    if (signal === null) {
      assert.equal(code, 0)
      t.diagnostic(`killed before each of ${call - 1} calls`)
      break
    }
    assert.ok(call < 200)
  }
  assert.deepEqual([...seen].sort(), ['new', 'old'])
})
