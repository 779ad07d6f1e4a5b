import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, readdir, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { type FileBlobs, openFileBlobs } from '../../src/storage/blob-files.ts'
import { emptyFolder } from '../support/folder.ts'
import { pluck } from '../support/pluck.ts'
import { blobConformance, bytesOf, put } from './blob-conformance.ts'

async function open(t: TestContext): Promise<FileBlobs> {
  return openFileBlobs(await emptyFolder(t))
}

blobConformance('files', open)

test('they outlive the server; what a crash left half written does not', async t => {
  const where = await emptyFolder(t)
  await put(await openFileBlobs(where), 'a/b/c', 'kept')
  await writeFile(path.join(where, '.undone', 'half'), 'ha')
  const again = await openFileBlobs(where)
  assert.equal(await bytesOf(again, 'a/b/c'), 'kept')
  assert.deepEqual(await readdir(path.join(where, '.undone')), [])
  assert.deepEqual(pluck(await again.list(''), 'key'), ['a/b/c'])
})

test('a server that is killed while it writes: what it said is stored is there, and nothing by halves', async t => {
  const where = await emptyFolder(t)
  const module = JSON.stringify(path.resolve(import.meta.dirname, '../../src/storage/blob-files.ts'))
  const script = `
    import { openFileBlobs } from ${module}
    const blobs = await openFileBlobs(${JSON.stringify(where)})
    for (let i = 0; ; i++) {
      await blobs.put('p/' + (i % 7), Buffer.alloc(300_000, i % 256), { type: 'image/png', size: 300_000 })
      process.stdout.write(i + '\\n')
    }`
  for (let round = 0; round < 3; round++) {
    const writer = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let stored = -1
    const said = createInterface({ input: writer.stdout }).on('line', line => {
      stored = Number(line)
      if (stored === 20 + round) writer.kill('SIGKILL')
    })
    await Promise.all([once(writer, 'exit'), once(said, 'close')])
    const blobs = await openFileBlobs(where)
    for (let i = stored - 6; i <= stored; i++) {
      const bytes = Buffer.from((await bytesOf(blobs, `p/${i % 7}`))!, 'latin1')
      assert.equal(bytes.length, 300_000)
      // One more may have been stored before the writer could say so.
      const next = stored + 1
      assert.ok(bytes.every(b => b === i) || (next % 7 === i % 7 && bytes.every(b => b === next)), `picture ${i}`)
    }
    assert.deepEqual(await readdir(path.join(where, '.undone')), [])
  }
})

test('empty folders go with their last blob', async t => {
  const where = await emptyFolder(t)
  const blobs = await openFileBlobs(where)
  await put(blobs, 'a/b/c', '1')
  await put(blobs, 'a/d', '2')
  await blobs.del('a/b/c')
  assert.deepEqual(await readdir(path.join(where, 'a')), ['d'])
  await blobs.del('a/d')
  assert.deepEqual((await readdir(where)).sort(), ['.secret', '.undone'])
})

test('a file that lost its end is an error, not a shorter picture', async t => {
  const where = await emptyFolder(t)
  const blobs = await openFileBlobs(where)
  await put(blobs, 'k', 'a picture')
  await truncate(path.join(where, 'k'), 40)
  await assert.rejects(blobs.get('k'), { name: 'StoreError', message: /should have/ })
  assert.deepEqual(await blobs.list(''), [{ key: 'k', size: 0, at: 0 }])
  await put(blobs, 'k', 'another picture')
  assert.equal(await bytesOf(blobs, 'k'), 'another picture')
})

test('a blob that is being read is read to its end, whatever takes its place', async t => {
  const blobs = await open(t)
  const old = 'x'.repeat(1_000_000)
  await put(blobs, 'k', old)
  const blob = await blobs.get('k')
  await put(blobs, 'k', 'new')
  await blobs.del('k')
  let text = ''
  for await (const chunk of blob!.body) text += String(chunk)
  assert.equal(text, old)
})

test('a folder that cannot be written says what to do', {
  skip: process.getuid?.() === 0 && 'root may write',
}, async t => {
  const where = await emptyFolder(t)
  const blobs = await openFileBlobs(where)
  await chmod(where, 0o500)
  await assert.rejects(put(blobs, 'a/b', 'x'), { name: 'StoreError', message: /give its user the folder/ })
  await chmod(where, 0o700)
  await put(blobs, 'a/b', 'x')
})

test('links can be made by nobody else, and end', async t => {
  const where = await emptyFolder(t)
  let now = 1_000_000
  const blobs = await openFileBlobs(where, { url: 'https://example.org/blobs/', now: () => now })
  const query = (link: string) => new URL(link, 'http://localhost').searchParams
  const link = await blobs.link('a/b', 60_000)
  assert.match(link, /^https:\/\/example\.org\/blobs\/a\/b\?until=\d+&sig=[\w-]{43}$/)
  assert.ok(blobs.allows('a/b', query(link)))
  assert.ok(!blobs.allows('a/c', query(link)))
  assert.ok(!blobs.allows('a/b', query(link.replace(/until=\d+/, 'until=99999999'))))
  assert.ok(!blobs.allows('a/b', query(link.replace(/until=\d+&/, ''))))
  assert.ok(!blobs.allows('a/b', new URLSearchParams()))
  const lasting = await blobs.link('a/b', Number.POSITIVE_INFINITY)
  now += 61_000
  assert.ok(!blobs.allows('a/b', query(link)))
  assert.ok(blobs.allows('a/b', query(lasting)))
  const again = await openFileBlobs(where, { now: () => now })
  assert.ok(again.allows('a/b', query(lasting)), 'after a restart too')
  assert.ok(!(await openFileBlobs(await emptyFolder(t))).allows('a/b', query(lasting)), 'another server')
})
