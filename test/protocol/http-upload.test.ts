import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import type { BlobStore } from '../../src/storage/blob.ts'
import { openFileBlobs } from '../../src/storage/blob-files.ts'
import { openMemoryBlobs } from '../../src/storage/blob-memory.ts'
import { openMemoryStore } from '../../src/storage/memory.ts'
import { StoreError } from '../../src/storage/store.ts'
import { emptyFolder } from '../support/folder.ts'
import { http, bytes as raw } from '../support/httpclient.ts'
import { pluck } from '../support/pluck.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement, xmlText } from '../support/rawxml.ts'
import { refused, serve } from '../support/talk.ts'
import type { TestOptions, TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const NS = 'urn:xmpp:http:upload:0'
const UPLOAD = 'upload.localhost'
const DAY = 86_400_000

async function start(t: TestContext, options: Record<string, unknown> = {}, more: TestOptions = {}) {
  const blobs = more.blobs ?? openMemoryBlobs()
  const server = await serve(t, { http: {}, ...more, blobs, modules: { mod_http_upload: options, ...more.modules } })
  return { server, blobs }
}

interface Wanted {
  name?: string
  size?: number | string
  type?: string
  to?: string
}

const request = ({ name = 'très cool.jpg', size = 5, type }: Wanted) =>
  `<request xmlns='${NS}' filename='${xmlText(name)}' size='${size}'${type ? ` content-type='${type}'` : ''}/>`

async function slot(client: RawClient, wanted: Wanted = {}): Promise<{ put: string; get: string }> {
  const answer = child(await client.request('get', request(wanted), wanted.to ?? UPLOAD), 'slot', NS)!
  return { put: child(answer, 'put')!.attrs['url']!, get: child(answer, 'get')!.attrs['url']! }
}

const denied = (client: RawClient, condition: string, wanted: Wanted) =>
  refused(condition, client.request('get', request(wanted), UPLOAD))

/** The `<error/>` of a refused slot. */
async function errorOf(client: RawClient, wanted: Wanted): Promise<XmlElement> {
  client.send(`<iq type='get' id='why' to='${UPLOAD}'>${request(wanted)}</iq>`)
  return child(await client.receive(el => el.attrs['id'] === 'why'), 'error')!
}

async function upload(client: RawClient, body = 'hello', wanted: Wanted = {}): Promise<string> {
  const { put, get } = await slot(client, { size: Buffer.byteLength(body), ...wanted })
  const answer = await http('PUT', put, { body, headers: wanted.type ? { 'Content-Type': wanted.type } : {} })
  assert.equal(answer.status, 201, answer.body.toString())
  return get
}

const stored = async (blobs: { list(prefix: string): Promise<unknown[]> }) => (await blobs.list('upload/')).length

test('a client finds the service and how large files may be', async t => {
  const { server } = await start(t, { max_size: '1 MiB' })
  const alice = await server.client('alice')
  const items = await alice.request('get', "<query xmlns='http://jabber.org/protocol/disco#items'/>", 'localhost')
  const item = items.children[0]!.children.find(el => el.attrs['jid'] === UPLOAD)
  assert.equal(item?.attrs['name'], 'HTTP File Upload')
  const info = await alice.request('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>", UPLOAD)
  const [query] = info.children
  assert.deepEqual(child(query, 'identity')?.attrs['category'], 'store')
  assert.ok(query!.children.some(el => el.attrs['var'] === NS))
  const form = child(query, 'x', 'jabber:x:data')!
  const values = form.children.map(field => [field.attrs['var'], child(field, 'value')?.text])
  assert.deepEqual(values, [
    ['FORM_TYPE', NS],
    ['max-file-size', '1048576'],
  ])
})

test('alice uploads a picture, and bob, who has the link, downloads it', async t => {
  const { server } = await start(t)
  const alice = await server.client('alice')
  const body = Buffer.from([0xff, 0xd8, 0xff, 0, 1, 2])
  const { put, get } = await slot(alice, { size: body.length, type: 'image/jpeg' })
  assert.match(get, /^http:\/\/localhost:\d+\/upload\/localhost\/[\w-]{24}\/tr%C3%A8s%20cool\.jpg$/)
  assert.equal((await http('GET', get)).status, 404)
  const done = await http('PUT', put, { body, headers: { 'Content-Type': 'image/jpeg' } })
  assert.deepEqual([done.status, done.headers['access-control-allow-origin']], [201, '*'])
  const file = await http('GET', get)
  assert.deepEqual([file.status, file.body, file.headers['content-type']], [200, body, 'image/jpeg'])
  assert.equal(file.headers['content-disposition'], 'inline')
  assert.equal(file.headers['x-content-type-options'], 'nosniff')
  assert.match(file.headers['content-security-policy']!, /default-src 'none'/)
  assert.equal((await http('GET', get.replace('%C3%A8', '%c3%a8'))).status, 200, 'however it is encoded')
  const head = await http('HEAD', get)
  assert.deepEqual([head.status, head.headers['content-length'], head.body.length], [200, '6', 0])
  const same = await http('GET', get, { headers: { 'If-None-Match': file.headers['etag']! } })
  assert.deepEqual([same.status, same.body.length], [304, 0])
})

test('a download is resumed where it broke off', async t => {
  const { server } = await start(t)
  const get = await upload(await server.client('alice'), '0123456789')
  const part = async (range: string, more = {}) => {
    const { status, headers, body } = await http('GET', get, { headers: { Range: range, ...more } })
    return [status, headers['content-range'], body.toString()]
  }
  assert.deepEqual(await part('bytes=4-'), [206, 'bytes 4-9/10', '456789'])
  assert.deepEqual(await part('bytes=2-3'), [206, 'bytes 2-3/10', '23'])
  assert.deepEqual(await part('bytes=-3'), [206, 'bytes 7-9/10', '789'])
  assert.deepEqual(await part('bytes=8-99'), [206, 'bytes 8-9/10', '89'])
  assert.deepEqual((await part('bytes=10-'))[0], 416)
  assert.deepEqual(await part('bytes=0-1,4-5'), [200, undefined, '0123456789'])
  assert.deepEqual(await part('bytes=4-', { 'If-Range': '"other"' }), [200, undefined, '0123456789'])
})

test('of a file nothing is read but what is asked for', async t => {
  const memory = openMemoryBlobs()
  let read = 0
  const blobs: BlobStore = {
    ...memory,
    async get(key, part) {
      const blob = await memory.get(key, part)
      return (
        blob && {
          ...blob,
          body: Readable.from(
            (async function* () {
              for await (const chunk of blob.body) {
                read += (chunk as Buffer).length
                yield chunk as Buffer
              }
            })(),
          ),
        }
      )
    },
  }
  const { server } = await start(t, {}, { blobs })
  const get = await upload(await server.client('alice'), `${'x'.repeat(2_000_000)}the end`)
  const link = `http://localhost:${server.httpPort}${await blobs.link((await blobs.list('upload/'))[0]!.key, 60_000)}`
  for (const url of [get, link]) {
    for (const [range, bytes] of [
      ['bytes=-3', 'end'],
      ['bytes=2000000-', 'the end'],
      ['bytes=1999999-2000002', 'xthe'],
    ] as const) {
      read = 0
      const part = await http('GET', url, { headers: { Range: range } })
      assert.deepEqual([part.status, part.body.toString(), read], [206, bytes, bytes.length])
    }
  }
})

test('what comes must be what was announced; a slot is for once, and for who has its secret', async t => {
  const { server, blobs } = await start(t)
  const alice = await server.client('alice')
  const { put, get } = await slot(alice, { size: 5, type: 'text/plain' })
  const text = { 'Content-Type': 'text/plain; charset=utf-8' }
  const status = async (url: string, body: string, headers: Record<string, string> = text) =>
    (await http('PUT', url, { body, headers })).status
  assert.equal(await status(put, 'longer'), 413)
  assert.equal(await status(put, 'less'), 400)
  assert.equal(await status(put, 'hello', { 'Content-Type': 'text/html' }), 415)
  assert.equal(await status(get, 'hello'), 403)
  assert.equal(await status(put.replace(/secret=..../, 'secret=AAAA'), 'hello'), 403)
  assert.equal(await status(put.replace('cool', 'other'), 'hello'), 403)
  const chunked = await http('PUT', put, { headers: { ...text, 'Transfer-Encoding': 'chunked' } })
  assert.equal(chunked.status, 411)
  assert.equal(await stored(blobs), 0)
  assert.equal(await status(put, 'hello'), 201)
  assert.equal(await status(put, 'again'), 403)
  assert.equal((await http('GET', get)).body.toString(), 'hello')
})

test('of two uploads to one slot at once, one has it', async t => {
  const { server } = await start(t)
  const { put } = await slot(await server.client('alice'))
  const both = await Promise.all([http('PUT', put, { body: 'hello' }), http('PUT', put, { body: 'HELLO' })])
  assert.deepEqual(both.map(({ status }) => status).sort(), [201, 403])
})

test('a slot that is not used in time is over, and counts no longer', async t => {
  let now = Date.now()
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { server } = await start(t, { daily_quota: 10 }, { now: () => now })
  const alice = await server.client('alice')
  const { put } = await slot(alice, { size: 10 })
  await denied(alice, 'resource-constraint', { size: 10 })
  now += 301_000
  assert.equal((await http('PUT', put, { body: '0123456789' })).status, 403)
  t.mock.timers.tick(60_000)
  await eventually(() => slot(alice, { size: 10 }).catch(() => undefined), 'a slot that counts no longer')
})

test('names: kept where they are harmless, never a way elsewhere', async t => {
  const { server, blobs } = await start(t)
  const alice = await server.client('alice')
  const names: [string, string][] = [
    ['../../etc/passwd', '_.._etc_passwd'],
    ['..\\..\\boot.ini', '_.._boot.ini'],
    ['%2e%2e%2fx', '%252e%252e%252fx'],
    ['a#b?c&d.txt', 'a%23b%3Fc%26d.txt'],
    ['.htaccess', 'htaccess'],
    ['写真.png', '%E5%86%99%E7%9C%9F.png'],
    ["it's (1).png", 'it%27s%20%281%29.png'],
    [`${'x'.repeat(400)}.jpeg`, `${'x'.repeat(195)}.jpeg`],
    [`${'写'.repeat(100)}.jpeg`, `${'%E5%86%99'.repeat(21)}.jpeg`],
  ]
  for (const [name, kept] of names) {
    const get = await upload(alice, 'hello', { name })
    assert.equal(get.split('/').at(-1), kept)
    assert.equal((await http('GET', get)).body.toString(), 'hello', name)
  }
  for (const name of ['', '..', '.', '/', '   ', 'x'.repeat(1025)]) await denied(alice, 'bad-request', { name })
  assert.equal(await stored(blobs), names.length)
  const place = `http://localhost:${server.httpPort}/upload/localhost`
  for (const path of ['../../x', `${'A'.repeat(24)}/%2e%2e`, `${'A'.repeat(24)}/..%2f..`, 'A/%ff', '%00/x', '', '/']) {
    assert.equal((await http('GET', `${place}/${path}`)).status, 404, path)
    assert.equal((await http('PUT', `${place}/${path}?secret=x`, { body: 'x' })).status, 403)
  }
})

test('silly sizes and types, and what is too large', async t => {
  const { server } = await start(t, { max_size: 1000 })
  const alice = await server.client('alice')
  for (const size of ['', '0', '-1', '1e3', '1.5', 'many']) await denied(alice, 'bad-request', { size })
  await denied(alice, 'bad-request', { type: 'nonsense' })
  await slot(alice, { size: 1000 })
  const error = await errorOf(alice, { size: 1001 })
  assert.equal(error.attrs['type'], 'modify')
  assert.ok(child(error, 'not-acceptable'))
  assert.equal(child(child(error, 'file-too-large', NS), 'max-file-size')?.text, '1000')
  // A petabyte, one that no number holds, and other ways to write an xs:positiveInteger.
  for (const size of ['1125899906842624', '9'.repeat(30), '9'.repeat(400), '+1001', ' 01001 ']) {
    const huge = await errorOf(alice, { size })
    assert.equal(child(child(huge, 'file-too-large', NS), 'max-file-size')?.text, '1000', size)
  }
  for (const size of ['+5', '005', ' 5 ']) await slot(alice, { size })
})

test('who has used up the day is told when to come again, and can', async t => {
  const begin = Date.parse('2026-05-01T10:00:00Z')
  let now = begin
  const { server } = await start(t, { daily_quota: 100 }, { now: () => now })
  const [alice, bob] = await server.clients('alice', 'bob')
  await upload(alice, 'x'.repeat(60))
  now += 3_600_000
  await upload(alice, 'x'.repeat(40))
  const error = await errorOf(alice, { size: 50 })
  assert.equal(error.attrs['type'], 'wait')
  assert.ok(child(error, 'resource-constraint'))
  assert.equal(child(error, 'retry', NS)?.attrs['stamp'], '2026-05-02T10:00:01Z')
  await upload(bob, 'x'.repeat(50))
  now = begin + DAY + 1000
  await upload(alice, 'x'.repeat(50))
  await denied(alice, 'not-acceptable', { size: 101 })
})

test('who asks for many slots at once has to wait', async t => {
  const { server } = await start(t, { max_slots: 3 })
  const alice = await server.client('alice')
  for (let i = 0; i < 3; i++) await slot(alice)
  assert.ok(child(await errorOf(alice, {}), 'retry', NS)?.attrs['stamp'])
  await slot(await server.client('bob'))
})

test('uploads at a time are bounded', async t => {
  const { server } = await start(t, { max_uploads: 1 })
  const alice = await server.client('alice')
  const [one, two] = [await slot(alice), await slot(alice)]
  const { socket } = raw(server.httpPort)
  t.after(() => socket.destroy())
  socket.write(
    `PUT ${new URL(one.put).pathname}${new URL(one.put).search} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`,
  )
  const [goOn] = await once(socket, 'data')
  assert.match(String(goOn), /^HTTP\/1\.1 100 /)
  const busy = await http('PUT', two.put, { body: 'hello' })
  assert.deepEqual([busy.status, busy.headers['retry-after']], [503, '10'])
  socket.write('hello')
  const [done] = await once(socket, 'data')
  assert.match(String(done), /^HTTP\/1\.1 201 /)
  assert.equal((await http('PUT', two.put, { body: 'hello' })).status, 201)
})

/** A connection on which an upload has begun, and the server has said that it may. */
async function begun(t: TestContext, server: TestServer, put: string, size: number) {
  const { pathname, search } = new URL(put)
  const connection = raw(server.httpPort)
  t.after(() => connection.socket.destroy())
  connection.socket.write(
    `PUT ${pathname}${search} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: ${size}\r\n\r\n`,
  )
  const [goOn] = await once(connection.socket, 'data')
  assert.match(String(goOn), /^HTTP\/1\.1 100 /)
  return connection
}

test('one account’s slow uploads leave room for others', async t => {
  const { server } = await start(t, { max_uploads: 4, max_user_uploads: 2 })
  const [alice, bob] = await server.clients('alice', 'bob')
  const slow = []
  for (let i = 0; i < 2; i++) slow.push(await begun(t, server, (await slot(alice, { size: 100_000 })).put, 100_000))
  const third = (await slot(alice)).put
  const refusal = await http('PUT', third, { body: 'hello' })
  assert.deepEqual([refusal.status, refusal.headers['retry-after']], [429, '10'])
  await upload(bob)
  slow[0]!.socket.destroy()
  await slow[0]!.all
  const taken = async () => (await http('PUT', third, { body: 'hello' })).status === 201
  await eventually(taken, 'the slot was not used up by the refusal')
  // A stop would wait for it.
  slow[1]!.socket.destroy()
})

test('an upload that is too slow is given up, and its place is free', async t => {
  const { server, blobs } = await start(t, { max_uploads: 1, min_speed: 1000, slow_timeout: '1s' })
  const alice = await server.client('alice')
  const { socket, all } = await begun(t, server, (await slot(alice, { size: 10_000 })).put, 10_000)
  const drip = setInterval(() => socket.writable && socket.write('x'), 50)
  t.after(() => clearInterval(drip))
  assert.doesNotMatch(await all, / 201 /)
  clearInterval(drip)
  const { put } = await slot(alice)
  await eventually(async () => (await http('PUT', put, { body: 'hello' })).status === 201, 'the next upload')
  assert.equal(await stored(blobs), 1)
})

test('an upload that breaks off leaves nothing, and does not count', async t => {
  const { server, blobs } = await start(t, { daily_quota: 100 })
  const alice = await server.client('alice')
  const { put, get } = await slot(alice, { size: 100 })
  const { pathname, search } = new URL(put)
  const { socket, all } = raw(server.httpPort)
  socket.write(`PUT ${pathname}${search} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n`)
  await once(socket, 'data')
  socket.write('x'.repeat(50))
  socket.destroy()
  await all
  // The server gives its rows back when it has noticed.
  const left = () => server.command<unknown[]>('list_uploads', { account: 'alice@localhost' })
  await eventually(async () => (await left()).length === 0, 'its row is given back')
  assert.deepEqual([await stored(blobs), (await http('GET', get)).status], [0, 404])
  await upload(alice, 'x'.repeat(100))
})

test('strangers may not upload, and one host’s files are not another’s', async t => {
  const { server } = await start(
    t,
    { access: 'mine' },
    {
      hosts: ['localhost', 'b.example'],
      config: {
        acl: { mine: { server: ['localhost'] } },
        access_rules: { mine: [{ allow: 'mine' }] },
      },
    },
  )
  const stranger = await server.client('eve', { host: 'b.example' })
  await denied(stranger, 'forbidden', {})
  const get = await upload(await server.client('alice'))
  assert.equal((await http('GET', get)).status, 200)
  assert.equal((await http('GET', get.replace('/upload/localhost/', '/upload/b.example/'))).status, 404)
})

test('web clients of other sites may ask', async t => {
  const { server } = await start(t)
  const { put } = await slot(await server.client('alice'))
  const answer = await http('OPTIONS', put, { headers: { Origin: 'https://web.example' } })
  assert.equal(answer.status, 200)
  assert.equal(answer.headers['access-control-allow-origin'], '*')
  assert.match(answer.headers['access-control-allow-methods']!, /PUT/)
  assert.match(answer.headers['access-control-allow-headers']!, /Content-Type/)
  const wrong = await http('POST', put, { body: 'x' })
  assert.deepEqual([wrong.status, wrong.headers['allow']], [405, 'PUT, GET, HEAD, OPTIONS'])
})

test('what a browser could run is only ever saved', async t => {
  const { server } = await start(t)
  const alice = await server.client('alice')
  for (const type of ['text/html', 'image/svg+xml', 'application/xhtml+xml', 'text/javascript']) {
    const { headers } = await http('GET', await upload(alice, '<a/>', { type }))
    assert.equal(headers['content-disposition'], 'attachment', type)
    assert.equal(headers['content-type'], 'application/octet-stream', type)
  }
  const pdf = await http('GET', await upload(alice, '<a/>', { type: 'application/pdf' }))
  assert.deepEqual([pdf.headers['content-type'], pdf.headers['content-disposition']], ['application/pdf', 'attachment'])
})

test('files go when they are old, by themselves and by command', async t => {
  let now = Date.now()
  const { server, blobs } = await start(t, { expire: '30d' }, { now: () => now })
  const alice = await server.client('alice')
  const old = await upload(alice, 'hello', { name: 'old.txt' })
  now += 20 * DAY
  const young = await upload(alice, 'hello', { name: 'young.txt' })
  now += 10 * DAY + 1
  assert.equal(await server.command('delete_old_uploads', { host: 'localhost', days: 30 }), 1)
  assert.deepEqual([(await http('GET', old)).status, (await http('GET', young)).status], [404, 200])
  const listed = (await server.command('list_uploads', { account: 'alice@localhost' })) as { name: string }[]
  assert.deepEqual(pluck(listed, 'name'), ['young.txt'])
  assert.equal(await server.command('delete_old_uploads', { host: 'localhost', days: 11 }), 0)
  assert.equal(await server.command('delete_old_uploads', { host: 'localhost', days: 10 }), 1)
  assert.equal(await stored(blobs), 0)
})

test('who is removed takes their files along, also what is still to come', async t => {
  const { server, blobs } = await start(t)
  const [alice, bob] = await server.clients('alice', 'bob')
  await upload(alice)
  await upload(bob)
  const { put } = await slot(alice)
  alice.cut()
  await server.server.host('localhost')!.removeAccount('alice')
  assert.equal(await stored(blobs), 1)
  assert.equal((await http('PUT', put, { body: 'hello' })).status, 403)
  assert.equal(await stored(blobs), 1)
})

test('where the store of files is away, who is removed leaves nothing behind once it is back', async t => {
  const memory = openMemoryBlobs()
  let away = true
  const del = (key: string) => (away ? Promise.reject(new StoreError('away')) : memory.del(key))
  const { server, blobs } = await start(t, { expire: 'infinity' }, { blobs: { ...memory, del } })
  const alice = await server.client('alice')
  await upload(alice)
  await upload(alice)
  alice.cut()
  await server.server.host('localhost')!.removeAccount('alice')
  await server.register('alice')
  assert.deepEqual(await server.command('list_uploads', { account: 'alice@localhost' }), [])
  assert.equal(await stored(blobs), 2)
  away = false
  assert.equal(await server.command('delete_old_uploads', { host: 'localhost', days: 1 }), 2)
  assert.equal(await stored(blobs), 0)
})

test('a reload changes limits, and files stay', async t => {
  const { server, blobs } = await start(t)
  const alice = await server.client('alice')
  const get = await upload(alice)
  const left = await server.reload({ http: {}, blobs, modules: { mod_http_upload: { max_size: 3 } } })
  assert.deepEqual(left, [])
  await denied(alice, 'not-acceptable', { size: 4 })
  await upload(alice, 'abc')
  assert.equal((await http('GET', get)).status, 200)
})

test('files lie on the disk, and outlive a restart', async t => {
  const folder = await emptyFolder(t)
  const store = openMemoryStore()
  const one = await start(t, {}, { store, blobs: await openFileBlobs(folder) })
  const alice = await one.server.client('alice')
  const body = 'x'.repeat(3_000_000)
  const get = await upload(alice, body, { name: '写真.bin' })
  const { put } = await slot(alice, { size: 5 })
  alice.cut()
  const two = await start(t, {}, { store, blobs: await openFileBlobs(folder) })
  const here = (url: string) => url.replace(/:\d+/, `:${two.server.httpPort}`)
  assert.equal((await http('GET', here(get))).body.toString(), body)
  const part = await http('GET', here(get), { headers: { Range: 'bytes=2999990-' } })
  assert.deepEqual([part.status, part.body.length], [206, 10])
  assert.equal((await http('PUT', here(put), { body: 'hello' })).status, 201, 'a slot, too')
})

test('with files in a bucket, downloads are sent there', async t => {
  const memory = openMemoryBlobs()
  const blobs = {
    ...memory,
    link: async (key: string) => `https://s3.example/bucket/${encodeURI(key)}?X-Amz-Signature=1`,
    allows: () => false,
  }
  const { server } = await start(t, {}, { blobs })
  const get = await upload(await server.client('alice'))
  const { status, headers } = await http('GET', get)
  assert.equal(status, 302)
  assert.match(
    headers['location']!,
    /^https:\/\/s3\.example\/bucket\/upload\/localhost\/[\w-]{24}\/tr%25C3%25A8s%2520cool\.jpg\?/,
  )
  assert.equal((await http('HEAD', get)).headers['content-length'], '5')
})

test('behind a proxy links begin as it is reached; without HTTP there is no service', async t => {
  const { server } = await start(t, { put_url: 'https://up.@HOST@/u', get_url: 'https://files.example/' })
  const { put, get } = await slot(await server.client('alice'))
  assert.match(put, /^https:\/\/up\.localhost\/u\/localhost\/[\w-]{24}\/tr.*\?secret=/)
  assert.match(get, /^https:\/\/files\.example\/localhost\/[\w-]{24}\/tr/)
  const none = await serve(t)
  await assert.rejects((await none.client('alice')).request('get', request({}), UPLOAD), /iq error/)
})
