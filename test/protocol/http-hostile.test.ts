/** What a hostile stranger sends to the HTTP port, byte by byte. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { openFileBlobs } from '../../src/storage/blob-files.ts'
import { emptyFolder } from '../support/folder.ts'
import { bytes, http } from '../support/httpclient.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child } from '../support/rawxml.ts'
import { serve } from '../support/talk.ts'
import { type TestServer, testModule } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const HOST = 'Host: x\r\n'

async function start(t: TestContext, listen: Record<string, unknown> = {}) {
  const folder = await emptyFolder(t)
  const server = await serve(t, { http: listen, blobs: await openFileBlobs(folder) })
  const alice = await server.client('alice')
  return { server, alice, folder }
}

async function slot(client: RawClient, size: number): Promise<{ put: URL; get: URL }> {
  const request = `<request xmlns='urn:xmpp:http:upload:0' filename='a.txt' size='${size}'/>`
  const found = child(await client.request('get', request, 'upload.localhost'), 'slot')!
  const [put, get] = ['put', 'get'].map(name => new URL(child(found, name)!.attrs['url']!))
  return { put: put!, get: get! }
}

async function uploaded(client: RawClient, body: string): Promise<string> {
  const { put, get } = await slot(client, body.length)
  assert.equal((await http('PUT', put.href, { body })).status, 201)
  return get.pathname
}

/** All that comes back for these bytes, after which the connection is to be closed. */
async function sent(server: TestServer, text: string): Promise<string> {
  const { socket, all } = bytes(server.httpPort)
  socket.write(Buffer.from(text, 'latin1'))
  return all
}

/** The statuses of all answers on one connection, the last request of which asks for it to be closed. */
async function statuses(server: TestServer, text: string): Promise<string[]> {
  return [...(await sent(server, text)).matchAll(/HTTP\/1\.1 (\d+) /g)].map(m => m[1]!)
}

const GET = (target: string, headers = '') => `GET ${target} HTTP/1.1\r\n${HOST}Connection: close\r\n${headers}\r\n`

test('what could be read in two ways is read in none: no request hides behind another', async t => {
  const { server, alice } = await start(t)
  const get = await uploaded(alice, '0123456789')
  const hidden = `GET ${get} HTTP/1.1\r\n${HOST}\r\n`
  const heads = [
    'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n',
    'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n',
    'Content-Length: 5\r\nContent-Length: 6\r\n',
    'Content-Length: 5, 5\r\n',
    'Content-Length: +5\r\n',
    'Content-Length: -5\r\n',
    'Content-Length: 0x5\r\n',
    'Content-Length: 5 5\r\n',
    'Content-Length: 99999999999999999999999\r\n',
    'Content-Length : 5\r\n',
    'Transfer-Encoding: xchunked\r\n',
    'Transfer-Encoding: chunked, identity\r\n',
    'Transfer-Encoding : chunked\r\n',
    'Transfer-Encoding:\x0bchunked\r\n',
    'X: a\r\n b\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n',
    'X: a\nContent-Length: 5\r\n',
    'X: a\rContent-Length: 5\r\n',
    'X: \0\r\n',
  ]
  for (const head of heads) {
    const answer = await sent(server, `PUT /upload/localhost/x HTTP/1.1\r\n${HOST}${head}\r\n0\r\n\r\n${hidden}`)
    assert.match(answer, /^HTTP\/1\.1 400 /, JSON.stringify(head))
    assert.doesNotMatch(answer, /0123456789/, JSON.stringify(head))
  }
  const chunks = [
    'ZZ\r\nhello\r\n',
    '5;\r\n\n',
    '-1\r\n',
    '5\r\nhelloX\r\n',
    'fffffffffffffffff\r\nx',
    `5;${'x'.repeat(20_000)}\r\nhello\r\n`,
  ]
  for (const chunk of chunks) {
    const answer = await sent(server, `PUT /nowhere HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n${chunk}`)
    assert.doesNotMatch(answer, / 20\d /, JSON.stringify(chunk))
  }
  // A body that nobody wants is not a request.
  const body = await statuses(
    server,
    `GET ${get} HTTP/1.1\r\n${HOST}Content-Length: ${hidden.length}\r\n\r\n${hidden}${GET('/none')}`,
  )
  assert.deepEqual(body, ['200', '404'])
})

test('heads that are too much, lines that are none', async t => {
  const { server } = await start(t)
  const many = Array.from({ length: 2000 }, (_, i) => `X${i}: y\r\n`).join('')
  assert.match(await sent(server, `GET / HTTP/1.1\r\n${HOST}${many}\r\n`), /^HTTP\/1\.1 431 /)
  assert.match(await sent(server, `GET /${'a'.repeat(20_000)} HTTP/1.1\r\n${HOST}\r\n`), /^HTTP\/1\.1 431 /)
  assert.match(await sent(server, GET(`/${'a'.repeat(5000)}`)), /^HTTP\/1\.1 414 /)
  for (const line of [
    'BREW / HTTP/1.1',
    'PRI * HTTP/2.0',

    'GET /\0 HTTP/1.1',
    'GET / HTTP/9.9',
    'get / HTTP/1.1',
  ]) {
    assert.match(await sent(server, `${line}\r\n${HOST}\r\n`), /^HTTP\/1\.1 (?:400|505) /, line)
  }
  assert.match(await sent(server, 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 400 /, 'no Host')
  assert.equal(await sent(server, `CONNECT localhost:22 HTTP/1.1\r\n${HOST}\r\n`), '')
})

test('no path leads out of what is served', async t => {
  const { server, alice } = await start(t)
  const get = await uploaded(alice, 'hello')
  const paths = [
    `${get}%00`,
    `/${get}`,
    `${get}/`,
    `${get}/..`,
    '/upload/localhost/../../etc/passwd',
    '/upload/localhost/%2e%2e/%2e%2e/x',
    '/upload/localhost/..%2f..%2f.secret/x',
    '/upload/localhost/%/%',
    '/upload/localhost/%c0%ae%c0%ae/x',
    '/upload/%2e%2e/x/y',
    '/blobs/%2e%2e/%2e%2e/etc/passwd?sig=x',
    '/blobs/.secret?sig=',
    '/blobs/%2esecret?until=&sig=',
    '/blobs/.undone/x',
    '/blobs%2f.secret',
    '/blobs/a%5c..%5c.secret?sig=x',
    `/blobs${get}`,
    '/'.repeat(4000),
    'http://evil/blobs/.secret',
    '*',
  ]
  for (const target of paths) assert.deepEqual(await statuses(server, GET(target)), ['404'], target)
  assert.deepEqual(await statuses(server, GET(`http://a@b:1${get}`)), ['200'], 'whatever host it names')
  for (const method of ['HEAD', 'PUT', 'DELETE', 'TRACE', 'POST', 'PROPFIND']) {
    const [status] = await statuses(
      server,
      `${method} /blobs/.secret?sig=x HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`,
    )
    assert.match(status!, /^40[45]$/, method)
  }
})

test('parts and conditions, however odd, are answered as RFC 9110 has it', async t => {
  const { server, alice } = await start(t)
  const get = await uploaded(alice, '0123456789')
  const etag = /^ETag: (.*)$/m.exec(await sent(server, GET(get)))![1]!.trim()
  const modified = /^Last-Modified: (.*)$/m.exec(await sent(server, GET(get)))![1]!.trim()
  const future = 'Fri, 01 Jan 2100 00:00:00 GMT'
  const past = 'Fri, 01 Jan 2010 00:00:00 GMT'
  const cases: [headers: string, status: string, body?: string][] = [
    ['Range: bytes=99999999999999999999-', '416'],
    ['Range: bytes=-99999999999999999999', '206', '0123456789'],
    ['Range: bytes=3-99999999999999999999', '206', '3456789'],
    ['Range: bytes=-0', '416'],
    ['Range: bytes=5-2', '200'],
    ['Range: bytes=-', '200'],
    ['Range: lines=0-1', '200'],
    [`Range: bytes=${'0-,'.repeat(4000)}0-`, '200'],
    ['Range: bytes=0-1\r\nRange: bytes=2-3', '200'],
    [`If-Match: "other"`, '412'],
    [`If-Match: "other", ${etag}`, '200'],
    ['If-Match: *', '200'],
    [`If-None-Match: W/${etag}`, '304'],
    ['If-None-Match: *', '304'],
    [`If-None-Match: ${','.repeat(15_000)}`, '200'],
    [`If-Modified-Since: ${future}`, '304'],
    [`If-Modified-Since: ${modified}`, '304'],
    [`If-Modified-Since: ${past}`, '200'],
    ['If-Modified-Since: yesterday', '200'],
    [`If-Modified-Since: ${future}\r\nIf-None-Match: "other"`, '200'],
    [`If-Unmodified-Since: ${past}`, '412'],
    [`If-Unmodified-Since: ${modified}`, '200'],
    [`If-Range: ${modified}\r\nRange: bytes=0-0`, '206', '0'],
    [`If-Range: W/${etag}\r\nRange: bytes=0-0`, '200'],
    ['__proto__: x\r\nconstructor: y', '200'],
    ['Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x', '200'],
    ['Expect: 100-continue', '200'],
  ]
  for (const [headers, status, body] of cases) {
    const text = await sent(server, GET(get, `${headers}\r\n`))
    assert.equal(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1], status, headers.slice(0, 60))
    if (body !== undefined) assert.equal(text.split('\r\n\r\n')[1], body, headers)
  }
  assert.match(await sent(server, `GET ${get} HTTP/1.0\r\n\r\n`), /^HTTP\/1\.1 200 [\s\S]*0123456789$/)
  const three = `GET ${get} HTTP/1.1\r\n${HOST}\r\nHEAD ${get} HTTP/1.1\r\n${HOST}\r\n${GET('/none')}`
  assert.deepEqual(await statuses(server, three), ['200', '200', '404'], 'one after the other')
})

test('a slot takes what was announced, once, whole and as it is', async t => {
  const { server, alice, folder } = await start(t)
  const { put, get } = await slot(alice, 5)
  const target = `${put.pathname}${put.search}`
  const PUT = (headers: string, body = 'hello', to = target) =>
    statuses(server, `PUT ${to} HTTP/1.1\r\n${HOST}Connection: close\r\n${headers}\r\n${body}`)
  const other = await slot(alice, 5)
  const secret = put.search
  assert.deepEqual(await PUT('', ''), ['411'])
  assert.deepEqual(await PUT('Transfer-Encoding: chunked\r\n', '5\r\nhello\r\n0\r\n\r\n'), ['411'])
  assert.deepEqual(await PUT('Content-Length: 4\r\n', 'hell'), ['400'])
  assert.deepEqual(await PUT('Content-Length: 9007199254740993\r\n'), ['413'])
  assert.deepEqual(await PUT('Content-Length: 5\r\nContent-Range: bytes 0-4/10\r\n'), ['400'])
  assert.deepEqual(await PUT('Content-Length: 5\r\nContent-Encoding: gzip\r\n'), ['415'])
  assert.deepEqual(await PUT('Content-Length: 5\r\nContent-Type: text/html\r\n'), ['415'])
  assert.deepEqual(
    await PUT('Content-Length: 5\r\n', 'hello', other.put.pathname + secret),
    ['403'],
    'another’s secret',
  )
  assert.deepEqual(await PUT('Content-Length: 5\r\n', 'hello', `${put.pathname}?secret=`), ['403'])
  assert.deepEqual(await PUT('Content-Length: 5\r\n', 'hello', `${put.pathname}?secret=x&${secret.slice(1)}`), ['403'])
  assert.deepEqual(await PUT('Content-Length: 5\r\n', 'hello', target.replace('localhost', '%6cocalhost')), ['404'])
  assert.deepEqual(await PUT('Content-Length: 5\r\nExpect: 200-ok\r\n', ''), ['417'])
  for (const method of ['HEAD', 'GET']) {
    const [status] = await statuses(server, `${method} ${get.pathname} HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`)
    assert.equal(status, '404', 'not there before it is there')
  }
  assert.deepEqual(await PUT('Content-Length: 5\r\n'), ['201'])
  assert.deepEqual(await PUT('Content-Length: 5\r\n'), ['403'])
  assert.equal((await http('GET', get.href)).body.toString(), 'hello')
  assert.deepEqual(await readdir(path.join(folder, '.undone')), [])
})

test('requests that come all at once are answered one after the other, and so many at most', async t => {
  let [running, most, served] = [0, 0, 0]
  const mod_test_slow = testModule('mod_test_slow', ctx => {
    ctx.http('GET', '/slow', async () => {
      most = Math.max(most, ++running)
      await new Promise(resolve => setTimeout(resolve, 5))
      running--
      served++
      return { status: 200, body: 'slow' }
    })
  })
  const server = await serve(t, { http: {}, extra: [mod_test_slow] })
  const one = `GET /slow HTTP/1.1\r\n${HOST}\r\n`
  const few = await statuses(server, one.repeat(10) + GET('/none'))
  assert.deepEqual(few, [...Array.from({ length: 10 }, () => '200'), '404'])
  assert.deepEqual([most, served], [1, 10])
  served = 0
  await sent(server, one.repeat(5000))
  assert.equal(most, 1)
  assert.ok(served <= 32, `${served} of 5000`)
  assert.equal((await http('GET', `http://localhost:${server.httpPort}/slow`)).status, 200)
})

test('no word of the server is put into the middle of an answer', async t => {
  const { server, alice } = await start(t)
  const get = await uploaded(alice, 'x'.repeat(8_000_000))
  const { socket, all } = bytes(server.httpPort)
  socket.write(`GET ${get} HTTP/1.1\r\n${HOST}\r\n`)
  await once(socket, 'data')
  socket.write('garbage\r\n\r\n')
  assert.doesNotMatch((await all).slice(1), /HTTP\/1\.1 400/)
})

test('whatever becomes of a connection, its place is given back', async t => {
  for (const tls of [false, true]) {
    const { server, alice } = await start(t, { tls, max_connections_per_ip: 3, pre_auth_timeout: '1s' })
    const { put } = await slot(alice, 100_000)
    const target = `${put.pathname}${put.search}`
    const ways: ((socket: Socket) => void)[] = [
      socket => socket.destroy(),
      socket => socket.resetAndDestroy(),
      socket => socket.end('garbage\r\n\r\n'),
      socket => socket.write(Buffer.from([0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3])),
      socket => socket.write(`GET / HTTP/1.1\r\nConnection: close\r\n${HOST}\r\n`),
      socket => socket.write(`GET / HTTP/1.1\r\n${HOST}X: `),
      socket =>
        socket.write(`PUT ${target} HTTP/1.1\r\n${HOST}Content-Length: 100000\r\n\r\nx`, () => socket.destroy()),
      socket => socket.write(`CONNECT x:1 HTTP/1.1\r\n${HOST}\r\n`),
    ]
    for (const way of ways) {
      const sockets = [0, 1, 2].map(() =>
        connect(server.httpPort, '127.0.0.1')
          .on('error', () => {})
          .resume(),
      )
      await Promise.all(sockets.map(socket => once(socket, 'connect')))
      for (const socket of sockets) way(socket)
      await Promise.all(sockets.map(socket => (socket.closed ? undefined : once(socket, 'close'))))
      const [listener] = server.server.httpListeners
      await eventually(() => listener!.connections === 0, `no connection is left after ${way}`)
    }
    const url = `http${tls ? 's' : ''}://localhost:${server.httpPort}/`
    for (let i = 0; i < 5; i++) assert.equal((await http('GET', url)).status, 404)
  }
})
