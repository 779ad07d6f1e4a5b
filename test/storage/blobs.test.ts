import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { loadConfig } from '../../src/config/load.ts'
import { openBlobs } from '../../src/storage/blobs.ts'
import { emptyFolder } from '../support/folder.ts'
import { bytesOf, put } from './blob-conformance.ts'

const log = { warn() {} }

async function opened(text: string, env: Record<string, string> = {}) {
  const { config } = await loadConfig({ text, env, modules: [] })
  return openBlobs(config, log)
}

test('they lie in the data folder if nothing else is said', async t => {
  const data = await emptyFolder(t)
  const blobs = await opened(`data: ${data}`)
  await put(blobs, 'a/b', 'x')
  assert.deepEqual(await readdir(path.join(data, 'blobs', 'a')), ['b'])
  assert.match(await blobs.link('a/b', 1000), /^\/blobs\/a\/b\?/)
})

test('another folder, another address', async t => {
  const data = await emptyFolder(t)
  const blobs = await opened(`{data: ${data}, blobs: {path: ${data}/elsewhere, url: 'https://example.org/b'}}`)
  await put(blobs, 'a', 'x')
  assert.ok((await readdir(path.join(data, 'elsewhere'))).includes('a'))
  assert.match(await blobs.link('a', 1000), /^https:\/\/example\.org\/b\/a\?/)
})

test('where the store is in memory, so are they, unless a driver is named', async t => {
  const data = await emptyFolder(t)
  const blobs = await opened(`{data: ${data}, storage: {driver: memory}}`)
  await put(blobs, 'a', 'x')
  assert.equal(await bytesOf(blobs, 'a'), 'x')
  assert.deepEqual(await readdir(data), [])
  await put(await opened(`{data: ${data}, storage: {driver: memory}, blobs: {driver: file}}`), 'a', 'x')
  assert.deepEqual(await readdir(data), ['blobs'])
})

test('S3, its keys from the environment and a file; nothing is asked of it before it is needed', async t => {
  const file = path.join(await emptyFolder(t), 'secret')
  await writeFile(file, 'geheim\n', { mode: 0o600 })
  const s3 = `{endpoint: 'http://127.0.0.1:1', bucket: b-1, access_key: {env: KEY}, secret_key: {file: ${file}}}`
  const blobs = await opened(`{blobs: {driver: s3, s3: ${s3}}}`, { KEY: 'me' })
  t.after(() => blobs.close())
  const link = new URL(await blobs.link('a/b', 60_000))
  assert.equal(link.host, '127.0.0.1:1')
  assert.equal(link.pathname, '/b-1/a/b')
  assert.match(link.searchParams.get('X-Amz-Credential')!, /^me\//)
  await assert.rejects(blobs.get('a'), { name: 'StoreError', message: /nobody listens there.*blobs\.s3\.endpoint/ })
})

test('what cannot be an endpoint or a bucket is told at start', async () => {
  for (const s3 of ["{endpoint: 's3.example.org'}", "{endpoint: 'https://x/y'}", '{bucket: Big}', '{bucket: a}']) {
    await assert.rejects(opened(`{blobs: {driver: s3, s3: ${s3}}}`), { name: 'ConfigError' })
  }
})

test('a disk that takes no more: an error, nothing is half there, what was there stays', async t => {
  const where = await emptyFolder(t)
  // A process that may write files of 512 KiB at most stands for a full disk: writes fail in the middle.
  const script = `
    import { openFileBlobs } from ${JSON.stringify(path.resolve(import.meta.dirname, '../../src/storage/blob-files.ts'))}
    process.on('SIGXFSZ', () => {})
    const blobs = await openFileBlobs(${JSON.stringify(where)})
    const put = size => blobs.put('k', Buffer.alloc(size, 'x'), { type: 'image/png', size })
    await put(1000)
    const failed = await put(4_000_000).then(() => 'none', error => error.name)
    const { size } = await blobs.stat('k')
    await put(2000)
    console.log(failed, size, (await blobs.stat('k')).size)`
  const run = promisify(execFile)
  const limited = 'ulimit -f 1024 && exec "$0" --input-type=module -e "$1"'
  const { stdout } = await run('bash', ['-c', limited, process.execPath, script])
  assert.equal(stdout.trim(), 'StoreError 1000 2000')
  assert.deepEqual(await readdir(path.join(where, '.undone')), [])
})
