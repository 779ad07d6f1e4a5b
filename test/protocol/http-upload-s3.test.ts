/** Uploads into a real S3 server, brought by scripts/s3.ts. Where that cannot be had (no Python, no way to PyPI), it is skipped. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { http } from '../support/httpclient.ts'
import { child } from '../support/rawxml.ts'
import { bucket, missingS3 } from '../support/s3.ts'
import { serve } from '../support/talk.ts'

const missing = await missingS3()

test('a file goes through the server into the bucket, and is fetched from there by whoever has the link', {
  skip: missing,
}, async t => {
  const { blobs } = await bucket(t, 'uploads', 5000)
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
