/** Uploads into a real S3 server, brought by scripts/s3.ts. Where that cannot be had (no Python, no way to PyPI), it is skipped. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { bringS3, S3Server } from '../../scripts/s3.ts'
import { openS3Blobs } from '../../src/storage/blob-s3.ts'
import { http } from '../support/httpclient.ts'
import { child } from '../support/rawxml.ts'
import { serve } from '../support/talk.ts'

let missing: string | false = false
try {
  await bringS3()
} catch (error) {
  missing = `no S3 server can be had here: ${String(error).split('\n')[0]}`
}

test('a file goes through the server into the bucket, and is fetched from there by whoever has the link', {
  skip: missing,
}, async t => {
  const folder = await mkdtemp(path.join(os.tmpdir(), 's3-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const s3 = await S3Server.start(folder)
  t.after(() => s3.stop())
  const { endpoint, region, accessKey, secretKey } = s3
  const options = { endpoint, region, accessKey, secretKey, bucket: 'uploads', pathStyle: true, timeout: 5000 }
  const blobs = openS3Blobs(options)
  const server = await serve(t, { blobs, http: {} })
  const alice = await server.client('alice')
  // One that is sent in a piece, and one in parts.
  for (const size of [1000, 9_000_000]) {
    const body = randomBytes(size)
    const request = `<request xmlns='urn:xmpp:http:upload:0' filename='très cool.jpg' size='${size}' content-type='image/jpeg'/>`
    const slot = child(await alice.request('get', request, 'upload.localhost'), 'slot')!
    const [put, get] = ['put', 'get'].map(name => child(slot, name)!.attrs['url']!)
    const done = await http('PUT', put!, { body, headers: { 'Content-Type': 'image/jpeg' } })
    assert.equal(done.status, 201, done.body.toString())
    const sent = await http('GET', get!)
    assert.equal(sent.status, 302)
    const file = await fetch(sent.headers['location']!)
    assert.deepEqual([file.status, file.headers.get('content-type')], [200, 'image/jpeg'])
    assert.ok(Buffer.from(await file.arrayBuffer()).equals(body))
    assert.equal((await http('HEAD', get!)).headers['content-length'], String(size))
  }
  assert.equal((await blobs.list('upload/')).length, 2)
  alice.cut()
  await server.server.host('localhost')!.removeAccount('alice')
  assert.deepEqual(await blobs.list('upload/'), [])
})
