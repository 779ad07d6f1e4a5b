/** What clients see while the S3 server fails, each fault by each way that leads there. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { S3Blobs } from '../../src/storage/blob-s3.ts'
import { FakeS3, type Fault } from '../support/fakes3.ts'
import { emptyFolder } from '../support/folder.ts'
import { bytes, http } from '../support/httpclient.ts'
import { png } from '../support/pictures.ts'
import { ITEMS, publish } from '../support/publishing.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child } from '../support/rawxml.ts'
import { refused, serve } from '../support/talk.ts'
import { eventually } from '../support/waiting.ts'

const DATA = 'urn:xmpp:avatar:data'
const TIMEOUT = 300

/** All that can be wrong with the server, whatever is asked of it. */
const OUTAGES: [name: string, fault: Fault][] = [
  ['the bucket is gone', { status: 404, code: 'NoSuchBucket' }],
  ['the key is not known', { status: 403, code: 'InvalidAccessKeyId' }],
  ['the signature is refused', { status: 403, code: 'SignatureDoesNotMatch' }],
  ['the key may not', { status: 403, code: 'AccessDenied' }],
  ['it does not answer', 'hang'],
  ['it resets connections', 'reset'],
  ['it fails', { status: 500, code: 'InternalError' }],
  ['it is overloaded', { status: 503, code: 'SlowDown' }],
  ['it is full', { status: 507, code: 'InsufficientStorage' }],
]

async function start(t: TestContext) {
  const folder = await emptyFolder(t)
  const s3 = await FakeS3.start(t)
  const spool = path.join(folder, 'spool')
  const account = { region: 'us-east-1', bucket: 'hermod', accessKey: 'key', secretKey: 'secret' }
  const blobs = new S3Blobs({ ...account, endpoint: s3.endpoint, pathStyle: true, spool, timeout: TIMEOUT })
  const server = await serve(t, { blobs, http: {}, modules: { mod_http_upload: { max_size: '20 MiB' } } })
  const [alice, bob] = await server.clients('alice', 'bob')
  return { folder, spool, s3, blobs, server, alice, bob }
}

async function picture(colour: string) {
  const bytes = await png(32, colour)
  const hash = createHash('sha1').update(bytes).digest('hex')
  const data = `<data xmlns='${DATA}'>${bytes.toString('base64')}</data>`
  const binval = `<BINVAL>${bytes.toString('base64')}</BINVAL>`
  const vcard = `<vCard xmlns='vcard-temp'><FN>Alice</FN><PHOTO><TYPE>image/png</TYPE>${binval}</PHOTO></vCard>`
  return { bytes, hash, data, vcard }
}

async function slot(client: RawClient, size: number): Promise<{ put: string; get: string }> {
  const request = `<request xmlns='urn:xmpp:http:upload:0' filename='a.bin' size='${size}'/>`
  const found = child(await client.request('get', request, 'upload.localhost'), 'slot')!
  return { put: child(found, 'put')!.attrs['url']!, get: child(found, 'get')!.attrs['url']! }
}

const VCARD = "<vCard xmlns='vcard-temp'/>"

for (const [name, fault] of OUTAGES) {
  test(`while ${name}: clients are told to try again, nothing is lost, and it goes on when that is over`, async t => {
    const { folder, spool, s3, server, alice, bob } = await start(t)
    const [first, second] = [await picture('teal'), await picture('olive')]
    await alice.request('set', first.vcard)
    const sent = await slot(alice, 5)
    assert.equal((await http('PUT', sent.put, { body: 'hello' })).status, 201)
    const file = path.join(folder, 'backup')
    const backup = () => server.server.backup(file, false, () => {})
    await backup()
    const before = await readFile(file)

    s3.fault = () => fault
    // A picture: published by PEP, by vCard; read by PEP, by vCard.
    await refused('resource-constraint', publish(alice, DATA, second.data, second.hash))
    await refused('resource-constraint', alice.request('set', second.vcard))
    await refused('resource-constraint', bob.request('get', VCARD, 'alice@localhost'))
    await refused('resource-constraint', alice.request('get', ITEMS(DATA)))
    // A file: sent in one piece, or too large for that; asked about; its parts.
    for (const size of [5, 100_000]) {
      const { put, get } = await slot(alice, size)
      const answer = await http('PUT', put, { body: Buffer.alloc(size) })
      assert.deepEqual([answer.status, answer.headers['retry-after']], [503, '60'])
      assert.doesNotMatch(
        answer.body.toString(),
        /127\.0\.0\.1|hermod|bucket|key/,
        'what is wrong is nobody’s business',
      )
      assert.equal((await http('PUT', put, { body: Buffer.alloc(size) })).status, 403, 'the slot was used')
      assert.equal((await http('HEAD', get)).status, 503)
    }
    assert.equal((await http('HEAD', sent.get)).status, 503)
    // Downloads are sent to the bucket, whatever state it is in.
    for (const headers of [{}, { Range: 'bytes=2-' }] as Record<string, string>[]) {
      const answer = await http('GET', sent.get, { headers })
      assert.deepEqual([answer.status, answer.headers['location']?.startsWith(s3.endpoint)], [302, true])
    }
    await assert.rejects(backup(), { name: 'StoreError', message: /bucket hermod at http/ })
    assert.ok((await readFile(file)).equals(before), 'the backup of before stays')
    assert.deepEqual((await readdir(folder)).sort(), ['backup', 'spool'])
    await alice.ping()

    s3.fault = () => undefined
    const shown = child(child(await bob.request('get', VCARD, 'alice@localhost'), 'vCard'), 'PHOTO')
    assert.equal(child(shown, 'BINVAL')!.text, first.bytes.toString('base64'), 'the picture of before')
    await publish(alice, DATA, second.data, second.hash)
    const { put } = await slot(alice, 100_000)
    assert.equal((await http('PUT', put, { body: Buffer.alloc(100_000) })).status, 201)
    assert.equal((await http('HEAD', sent.get)).headers['content-length'], '5')
    await backup()
    assert.deepEqual(await readdir(spool), [])
    // What failed counts for nobody.
    const rows = await server.command<{ size: number }[]>('list_uploads', { account: 'alice@localhost' })
    assert.deepEqual(rows.map(({ size }) => size).sort(), [100_000, 5])
  })
}

test('a fault that passes at once is noticed by nobody', async t => {
  const { s3, server, folder, alice, bob } = await start(t)
  const { vcard } = await picture('teal')
  for (const fault of ['reset', { status: 503, code: 'SlowDown' }, { status: 500, code: 'InternalError' }] as Fault[]) {
    const ill = (method: string) => {
      let left = 1
      s3.fault = ({ method: asked }) => (asked === method && left-- > 0 ? fault : undefined)
    }
    ill('PUT')
    await alice.request('set', vcard)
    ill('GET')
    await bob.request('get', VCARD, 'alice@localhost')
    // In a piece from memory, in a piece from the disk, in parts.
    for (const size of [5, 100_000, 9_000_000]) {
      const { put, get } = await slot(alice, size)
      ill('PUT')
      assert.equal((await http('PUT', put, { body: Buffer.alloc(size) })).status, 201, `${size} bytes`)
      ill('HEAD')
      assert.equal((await http('HEAD', get)).headers['content-length'], String(size))
    }
    ill('GET')
    await server.server.backup(path.join(folder, 'backup'), false, () => {})
  }
})

test('a connection that breaks in the middle of an upload: it is sent again, and never kept by half', async t => {
  const { s3, spool, alice } = await start(t)
  for (const size of [200_000, 9_000_000]) {
    const body = randomBytes(size)
    for (const fault of [{ resetAfter: 70_000 }, { hangAfter: 70_000 }] as Fault[]) {
      let left = 1
      s3.fault = ({ method }) => (method === 'PUT' && left-- > 0 ? fault : undefined)
      const { put, get } = await slot(alice, size)
      const { status } = await http('PUT', put, { body })
      // Who is silent has had its time: then the client is told.
      assert.equal(status, 'resetAfter' in (fault as object) ? 201 : 503)
      s3.fault = () => undefined
      const answer = await http('GET', get)
      const found = await fetch(answer.headers['location']!)
      if (status === 201) assert.ok(Buffer.from(await found.arrayBuffer()).equals(body))
      else assert.equal(found.status, 404)
    }
  }
  assert.deepEqual(await readdir(spool), [])
})

test('a client that breaks off while it sends was never seen by the bucket', async t => {
  const { s3, spool, alice, server } = await start(t)
  const { put } = await slot(alice, 1_000_000)
  const before = s3.seen.length
  const { socket, all } = bytes(server.httpPort)
  const { pathname, search } = new URL(put)
  socket.write(`PUT ${pathname}${search} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n${'x'.repeat(500_000)}`)
  await eventually(async () => (await readdir(spool).catch(() => [])).length > 0, 'it is being received')
  socket.destroy()
  await all
  await eventually(async () => (await readdir(spool)).length === 0, 'it is taken away')
  await alice.ping()
  assert.deepEqual(
    s3.seen.slice(before).filter(line => line.startsWith('PUT /hermod/upload')),
    [],
  )
})

test('a connection that breaks in the middle of a picture: told to try again, never a part of it', async t => {
  const { s3, alice, bob } = await start(t)
  const { vcard, bytes: shape } = await picture('teal')
  await alice.request('set', vcard)
  for (const fault of [{ resetAfter: 20 }, { hangAfter: 20 }] as Fault[]) {
    s3.fault = ({ method }) => (method === 'GET' ? fault : undefined)
    await refused('resource-constraint', bob.request('get', VCARD, 'alice@localhost'))
    await refused('resource-constraint', alice.request('get', ITEMS(DATA)))
    s3.fault = () => undefined
    const shown = child(child(await bob.request('get', VCARD, 'alice@localhost'), 'vCard'), 'PHOTO')
    assert.equal(child(shown, 'BINVAL')!.text, shape.toString('base64'))
  }
})

test('a connection that breaks in the middle of a file: a backup goes on where it was, or fails in words', async t => {
  const { s3, folder, server, alice } = await start(t)
  const body = randomBytes(1_000_000)
  const { put } = await slot(alice, body.length)
  assert.equal((await http('PUT', put, { body })).status, 201)
  const file = path.join(folder, 'backup')
  const backup = () => server.server.backup(file, false, () => {})
  let left = 2
  s3.fault = ({ method, url }) =>
    method === 'GET' && url!.includes('/upload') && left-- > 0 ? { resetAfter: 100_000 } : undefined
  assert.equal((await backup()).files, 1)
  assert.ok((await readFile(file)).includes(body))
  left = Number.POSITIVE_INFINITY
  await assert.rejects(backup(), { name: 'StoreError', message: /broke off while it was read; try again/ })
  s3.fault = ({ method, url }) => (method === 'GET' && url!.includes('/upload') ? { hangAfter: 100_000 } : undefined)
  await assert.rejects(backup(), { name: 'StoreError' })
})

test('a server that is slow, but not too slow, is waited for', async t => {
  const { s3, folder, server, alice, bob } = await start(t)
  s3.fault = () => ({ slow: TIMEOUT / 2 })
  const { vcard, bytes: shape } = await picture('teal')
  await alice.request('set', vcard)
  const shown = child(child(await bob.request('get', VCARD, 'alice@localhost'), 'vCard'), 'PHOTO')
  assert.equal(child(shown, 'BINVAL')!.text, shape.toString('base64'))
  const { put, get } = await slot(alice, 100_000)
  assert.equal((await http('PUT', put, { body: Buffer.alloc(100_000) })).status, 201)
  assert.equal((await http('HEAD', get)).headers['content-length'], '100000')
  await server.server.backup(path.join(folder, 'backup'), false, () => {})
})

test('a full disk where files wait on their way is told as what it is', async t => {
  const { spool, alice } = await start(t)
  const { put } = await slot(alice, 100_000)
  await rm(spool, { recursive: true, force: true })
  await writeFile(spool, 'a file in its place')
  // It is made anew at the first use: what lies there was left by a crash.
  assert.equal((await http('PUT', put, { body: Buffer.alloc(100_000) })).status, 201)
  await rm(spool, { recursive: true })
  const next = await slot(alice, 100_000)
  assert.equal((await http('PUT', next.put, { body: Buffer.alloc(100_000) })).status, 503)
})
