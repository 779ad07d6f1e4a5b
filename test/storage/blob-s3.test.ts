/** Against a real S3 server, brought by scripts/s3.ts. Where that cannot be had (no Python, no way to PyPI), it is skipped. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { Client } from 'minio'
import { S3Server } from '../../scripts/s3.ts'
import type { BlobStore } from '../../src/storage/blob.ts'
import { S3Blobs, type S3Options } from '../../src/storage/blob-s3.ts'
import { missingS3 } from '../support/s3.ts'
import { blobConformance, bytesOf, put } from './blob-conformance.ts'

const missing = await missingS3()

const folder = await mkdtemp(path.join(os.tmpdir(), 's3-'))
let server: S3Server
before(async () => {
  if (missing === false) server = await S3Server.start(folder)
})
after(async () => {
  await server?.stop()
  await rm(folder, { recursive: true, force: true })
})

let buckets = 0

async function open(t: TestContext, options: Partial<S3Options> = {}): Promise<BlobStore> {
  const { endpoint, region, accessKey, secretKey } = server
  const bucket = `bucket-${++buckets}`
  const blobs = new S3Blobs({
    endpoint,
    region,
    accessKey,
    secretKey,
    bucket,
    pathStyle: true,
    spool: path.join(folder, `spool-${buckets}`),
    timeout: 20_000,
    ...options,
  })
  t.after(() => blobs.close())
  return blobs
}

blobConformance('S3', open, { skip: missing })

test('wrong keys: an error that says so, and works when they are right', { skip: missing }, async t => {
  const bucket = 'keys'
  const wrong = await open(t, { bucket, secretKey: 'guessed' })
  await assert.rejects(put(wrong, 'k', 'x'), { name: 'StoreError', message: /blobs\.s3\.secret_key/ })
  await assert.rejects(wrong.get('k'), { name: 'StoreError', message: /blobs\.s3\.secret_key/ })
  await assert.rejects(wrong.stat('k'), { name: 'StoreError' })
  const unknown = await open(t, { bucket, accessKey: 'nobody' })
  await assert.rejects(put(unknown, 'k', 'x'), { name: 'StoreError', message: /blobs\.s3\.access_key/ })
  const right = await open(t, { bucket })
  await put(right, 'k', 'x')
  assert.equal(await bytesOf(right, 'k'), 'x')
})

test('a bucket that vanished: an error, not an absence; it works when it is back', { skip: missing }, async t => {
  const bucket = 'vanishing'
  const blobs = await open(t, { bucket })
  await put(blobs, 'k', 'x')
  const s3 = await raw(bucket)
  await s3('DELETE', '/k')
  await s3('DELETE', '')
  const gone = { name: 'StoreError', message: /the bucket is gone: make it again/, retry: true }
  await assert.rejects(put(blobs, 'k', 'y'), gone)
  await assert.rejects(blobs.get('k'), gone)
  await assert.rejects(blobs.stat('k'), gone)
  await assert.rejects(blobs.list(''), gone)
  await s3('PUT', '')
  assert.equal(await blobs.get('k'), undefined)
  await put(blobs, 'k', 'y')
  assert.equal(await bytesOf(blobs, 'k'), 'y')
})

test('a server that stalls: an error in time; nothing is lost, and it works when it goes on', {
  skip: missing,
}, async t => {
  const blobs = await open(t, { timeout: 2000 })
  await put(blobs, 'k', 'kept')
  server.freeze()
  t.after(() => server.thaw())
  const silent = { name: 'StoreError', message: /does not answer in time/, retry: true }
  await Promise.all([
    assert.rejects(put(blobs, 'k', 'lost'), silent),
    assert.rejects(blobs.get('k'), silent),
    assert.rejects(blobs.list(''), silent),
    assert.rejects(blobs.del('other'), silent),
  ])
  server.thaw()
  await put(blobs, 'k2', 'new')
  assert.equal(await bytesOf(blobs, 'k2'), 'new')
  // What was on its way when it stalled may have been done after all.
  assert.match((await bytesOf(blobs, 'k'))!, /^(kept|lost)$/)
})

test('a server that is down when hermod starts, and comes back', { skip: missing }, async t => {
  const blobs = await open(t)
  await put(blobs, 'k', 'kept')
  await server.stop()
  t.after(() => server.resume())
  const away = { name: 'StoreError', message: /nobody listens there/, retry: true }
  await assert.rejects(put(blobs, 'new', 'x'), away)
  await assert.rejects(blobs.get('k'), away)
  const other = await open(t)
  await assert.rejects(other.stat('k'), away)
  await server.resume()
  assert.equal(await bytesOf(blobs, 'k'), 'kept')
  await put(other, 'k', 'x')
})

test('a server that is full: an error, what is there stays, and it works when there is room', {
  skip: missing,
}, async t => {
  const blobs = await open(t)
  await put(blobs, 'k', 'kept')
  await server.full(true)
  t.after(() => server.full(false))
  await assert.rejects(put(blobs, 'k', 'more'), { name: 'StoreError', retry: true })
  await assert.rejects(put(blobs, 'new', 'more'), { name: 'StoreError', retry: true })
  assert.equal(await bytesOf(blobs, 'k'), 'kept')
  await server.full(false)
  await put(blobs, 'new', 'more')
  assert.equal(await bytesOf(blobs, 'new'), 'more')
})

test('links: presigned for a while, or of a public bucket for good', { skip: missing }, async t => {
  const blobs = await open(t)
  await put(blobs, 'a/b%', 'a picture')
  const link = await blobs.link('a/b%', 60_000)
  assert.match(link, /X-Amz-Expires=60/)
  const answer = await fetch(link)
  assert.equal(answer.headers.get('content-type'), 'image/png')
  assert.equal(await answer.text(), 'a picture')
  assert.equal((await fetch(link.replace(/Signature=..../, 'Signature=0000'))).status, 403)
  assert.match(await blobs.link('a/b%', Number.POSITIVE_INFINITY), /X-Amz-Expires=604800/)
  const shown = await open(t, { publicUrl: 'https://pictures.example.org/p/' })
  assert.equal(await shown.link('a/b%', 60_000), 'https://pictures.example.org/p/a/b%25')
})

/** Requests to the S3 server that do not go through the driver under test; signed by the client library. */
async function raw(bucket: string): Promise<(method: string, path: string) => Promise<void>> {
  const { endpoint, accessKey, secretKey, region } = server
  const url = new URL(endpoint)
  const client = new Client({
    endPoint: url.hostname,
    port: Number(url.port),
    useSSL: false,
    accessKey,
    secretKey,
    region,
  })
  return async (method, at) => {
    const signed = await client.presignedUrl(method, bucket, at.slice(1), 60)
    const answer = await fetch(signed, { method })
    assert.ok(answer.ok, `${method} ${bucket}${at}: ${answer.status} ${await answer.text()}`)
  }
}
