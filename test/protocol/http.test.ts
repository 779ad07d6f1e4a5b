import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import path from 'node:path'
import { Readable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { HttpError } from '../../src/core/http.ts'
import { selfSigned } from '../../src/net/selfsigned.ts'
import { openMemoryBlobs } from '../../src/storage/blob-memory.ts'
import { emptyFolder } from '../support/folder.ts'
import { bytes, http } from '../support/httpclient.ts'
import { png } from '../support/pictures.ts'
import { serve } from '../support/talk.ts'
import { TestServer, testModule } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const at = (server: TestServer, path = '/') => `http://localhost:${server.httpPort}${path}`

/** Bodies that a handler asked for and did not read. */
const unread: Readable[] = []

/** Serves what tests need: a body that never ends, one that is echoed, and a failure. */
const mod_test_http = testModule('mod_test_http', ctx => {
  ctx.http('GET', '/test/endless', () => ({
    status: 200,
    headers: { 'Content-Length': 1e12 },
    body: new Readable({
      read() {
        this.push(Buffer.alloc(16_384))
      },
    }),
  }))
  ctx.http('PUT', '/test/echo', async request => {
    const chunks: Buffer[] = []
    for await (const chunk of request.body(1000, { rate: 1, grace: 10_000 })) chunks.push(chunk as Buffer)
    return { status: 200, headers: { 'X-Rest': request.rest, 'X-Ip': request.ip }, body: Buffer.concat(chunks) }
  })
  ctx.http('PUT', '/test/paced', async request => {
    let size = 0
    for await (const chunk of request.body(1e9, { rate: 1000, grace: 500 })) {
      // Now and then the server is the slow one, for longer than the grace.
      if (size === 0 && request.query.has('wait')) await new Promise(resolve => setTimeout(resolve, 1200))
      size += (chunk as Buffer).length
    }
    return { status: 200, body: String(size) }
  })
  ctx.http('PUT', '/test/unread', request => {
    unread.push(request.body(1e9, { rate: 1, grace: 60_000 }))
    throw new HttpError(507, 'full')
  })
  ctx.http('GET', '/test/short', () => ({
    status: 200,
    headers: { 'Content-Length': 10 },
    body: Readable.from([Buffer.from('short')]),
  }))
  ctx.http('GET', '/test/fails', () => {
    throw new Error('a secret of the server')
  })
})

const start = (t: TestContext, http = {}, more = {}) => serve(t, { http, extra: [mod_test_http], ...more })

test('nothing at the root; what is not there, is not served', async t => {
  const server = await start(t)
  for (const path of ['/', '/test', '/testing', '/blobs/x', '/../x', '*', 'http://other/x']) {
    assert.equal(
      (await http('GET', at(server, '/').replace(/\/$/, '') + (path.startsWith('/') ? path : `/${path}`))).status,
      404,
    )
  }
  const answer = await http('GET', at(server))
  assert.deepEqual([answer.status, answer.body.toString()], [404, 'not found\n'])
  const wrong = await http('DELETE', at(server, '/test/echo'))
  assert.deepEqual([wrong.status, wrong.headers['allow']], [405, 'PUT'])
  const failed = await http('GET', at(server, '/test/fails'))
  assert.equal(failed.status, 500)
  assert.doesNotMatch(failed.body.toString(), /secret/)
})

test('a handler sees what is below its path, and no more of a body than it wants', async t => {
  const server = await start(t)
  const echo = await http('PUT', at(server, '/test/echo/a%20b/c?x=1'), { body: 'hello' })
  assert.deepEqual(
    [echo.body.toString(), echo.headers['x-rest'], echo.headers['x-ip']],
    ['hello', 'a%20b/c', '127.0.0.1'],
  )
  assert.equal((await http('PUT', at(server, '/test/echo'), { body: 'x'.repeat(1001) })).status, 413)
  const { socket, all } = bytes(server.httpPort)
  socket.write('PUT /test/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n')
  socket.write(`3e9\r\n${'x'.repeat(1001)}\r\n`)
  assert.doesNotMatch(await all, / 200 /, 'also where its length is not told')
})

test('garbage and too much of a head end the connection with a word', async t => {
  const server = await start(t)
  const sent = async (text: string) => {
    const { socket, all } = bytes(server.httpPort)
    socket.write(text)
    return (await all).split('\r\n')[0]
  }
  assert.equal(await sent('\x16\x03\x01 this is TLS\r\n\r\n'), 'HTTP/1.1 400 Bad Request')
  assert.equal(await sent("<?xml version='1.0'?>\r\n"), 'HTTP/1.1 400 Bad Request')
  assert.equal(
    await sent(`GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`),
    'HTTP/1.1 431 Request Header Fields Too Large',
  )
  assert.equal(
    await sent(
      'PUT /test/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ),
    'HTTP/1.1 400 Bad Request',
  )
  assert.equal((await http('GET', at(server))).status, 404, 'it is still there')
})

test('who is slow with the head of a request is cut off', async t => {
  const server = await start(t, { pre_auth_timeout: '1s' })
  const { socket, all } = bytes(server.httpPort)
  const drip = setInterval(() => socket.write('X'), 100)
  t.after(() => clearInterval(drip))
  socket.write('GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ')
  assert.equal(await all, '')
})

test('connections of one address are bounded', async t => {
  const server = await start(t, { max_connections_per_ip: 2 })
  const held = [bytes(server.httpPort), bytes(server.httpPort)]
  t.after(() => held.forEach(({ socket }) => void socket.destroy()))
  for (const { socket } of held) {
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await once(socket, 'data')
  }
  assert.match(await bytes(server.httpPort).all, /^HTTP\/1\.1 503 /)
  held[0]!.socket.destroy()
  await held[0]!.all
  await eventually(() => server.server.httpListeners[0]!.connections <= 1, 'its place is free')
  assert.equal((await http('GET', at(server))).status, 404)
})

test('connections of all addresses together are bounded', async t => {
  const server = await start(t)
  const [listener] = server.server.httpListeners
  listener!.update({ ...listener!.settings, maxConnections: 1 })
  const held = bytes(server.httpPort)
  t.after(() => held.socket.destroy())
  held.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(held.socket, 'data')
  assert.equal(await bytes(server.httpPort).all, '')
  assert.equal(listener!.connections, 1)
})

test('a connection on which nothing moves is closed', async t => {
  const server = await start(t)
  const [listener] = server.server.httpListeners
  listener!.update({ ...listener!.settings, idleTimeout: 200 })
  const { socket, all } = bytes(server.httpPort)
  socket.write('PUT /test/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel')
  assert.doesNotMatch(await all, / 200 /)
})

test('who sends a body more slowly than is bearable is cut off, and who is slow now and then is not', async t => {
  const server = await start(t)
  const put = (path: string, length: number) => {
    const connection = bytes(server.httpPort)
    connection.socket.write(`PUT ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${length}\r\n\r\n`)
    return connection
  }
  const every = (ms: number, socket: Socket, count: number) => {
    const drip = setInterval(() => socket.writable && socket.write('x'.repeat(count)), ms)
    t.after(() => clearInterval(drip))
    socket.once('close', () => clearInterval(drip))
  }
  // Ten bytes in each tenth of a second, where a hundred are wanted.
  const slow = put('/test/paced', 1000)
  every(100, slow.socket, 10)
  const steady = put('/test/paced', 2000)
  every(100, steady.socket, 200)
  const waiting = put('/test/paced?wait', 3_000_000)
  waiting.socket.write('x'.repeat(3_000_000))
  assert.equal(await slow.all, '')
  assert.match(await steady.all, / 200 OK[\s\S]*2000$/)
  assert.match(await waiting.all, / 200 OK[\s\S]*3000000$/, 'the server was the slow one')
})

test('who does not read what was asked for is cut off; downloads at a time are bounded', async t => {
  const server = await start(t)
  const [listener] = server.server.httpListeners
  listener!.update({ ...listener!.settings, maxDownloads: 1, downloadPace: { rate: 1e12, grace: 1000 } })
  const { socket, all } = bytes(server.httpPort)
  socket.write('GET /test/endless HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(socket, 'data')
  socket.pause()
  const busy = await http('GET', at(server, '/test/endless'))
  assert.deepEqual([busy.status, busy.headers['retry-after']], [503, '10'])
  await eventually(() => listener!.connections === 0, 'the slow reader is given up')
  socket.resume()
  await all
  const next = bytes(server.httpPort)
  next.socket.write('GET /test/endless HTTP/1.1\r\nHost: x\r\n\r\n')
  assert.match(String((await once(next.socket, 'data'))[0]), / 200 OK/, 'its place is free')
  next.socket.destroy()
})

test('a body that nobody reads is let go of with the answer', async t => {
  const server = await start(t)
  for (const size of [10, 100_000]) {
    assert.equal((await http('PUT', at(server, '/test/unread'), { body: 'x'.repeat(size) })).status, 507)
    const body = unread.pop()!
    if (!body.destroyed) await once(body, 'close')
    assert.ok(body.destroyed)
  }
})

test('a body that ends early ends the connection: it is not taken for the whole', async t => {
  const server = await start(t)
  await assert.rejects(http('GET', at(server, '/test/short')), { code: 'ECONNRESET' })
})

test('a stop waits for a download so long and no longer', async t => {
  const server = await serve(t, {
    http: {},
    extra: [mod_test_http],
    config: { drain: { timeout: '300ms' } },
  })
  const { socket, all } = bytes(server.httpPort)
  socket.write('GET /test/endless HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(socket, 'data')
  const idle = bytes(server.httpPort)
  idle.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(idle.socket, 'data')
  await server.stop()
  await Promise.all([all, idle.all])
  assert.equal(server.server.httpListeners[0]!.connections, 0)
})

test('TLS with the certificate of the name that is asked for, also after a reload', async t => {
  const names = async (...hosts: string[]) => await selfSigned(hosts)
  const [a, b] = [await names('a.example'), await names('b.example')]
  const folder = await emptyFolder(t)
  const files = async (name: string, { cert, key }: { cert: string; key: string }) => {
    const file = path.join(folder, `${name}.pem`)
    await writeFile(file, cert + key)
    return { cert: file }
  }
  const hosts = ['a.example', 'b.example']
  const options = { hosts, http: { tls: true }, config: { certfiles: [await files('a', a), await files('b', b)] } }
  const server = await serve(t, options)
  const shown = async (servername: string) => {
    const socket = connectTls({ port: server.httpPort, host: '127.0.0.1', servername, rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    const { subjectaltname, fingerprint256 } = socket.getPeerCertificate()
    socket.destroy()
    return { name: subjectaltname?.split(',')[0], fingerprint256 }
  }
  const before = await shown('b.example')
  assert.deepEqual([(await shown('a.example')).name, before.name], ['DNS:a.example', 'DNS:b.example'])
  assert.equal((await http('GET', at(server).replace('http:', 'https:'))).status, 404)
  const plain = bytes(server.httpPort)
  plain.socket.write('GET / HTTP/1.1\r\n\r\n')
  assert.doesNotMatch(await plain.all, /HTTP/)
  await files('b', await names('b.example'))
  await server.reload(options)
  const after = await shown('b.example')
  assert.equal(after.name, 'DNS:b.example')
  assert.notEqual(after.fingerprint256, before.fingerprint256)
})

test('a port that is taken is told as it is of clients', async t => {
  const other = createServer().listen(0, '127.0.0.1')
  t.after(() => void other.close())
  await once(other, 'listening')
  const { port } = other.address() as { port: number }
  await assert.rejects(TestServer.start({ http: { port } }), { code: 'EADDRINUSE', port })
})

test('a link to a blob is good for who has it', async t => {
  const blobs = openMemoryBlobs()
  const server = await start(t, {}, { blobs })
  const body = Buffer.from('picture')
  await blobs.put('avatars/localhost/x/y', body, { type: 'image/png', size: body.length })
  const link = await blobs.link('avatars/localhost/x/y', 60_000)
  const found = await http('GET', at(server, link))
  assert.deepEqual([found.status, found.body, found.headers['content-type']], [200, body, 'image/png'])
  assert.equal(found.headers['content-disposition'], 'inline')
  assert.equal((await http('HEAD', at(server, link))).headers['content-length'], '7')
  assert.equal((await http('GET', at(server, link), { headers: { Range: 'bytes=3-' } })).body.toString(), 'ture')
  for (const wrong of [link.replace(/sig=.../, 'sig=AAA'), link.split('?')[0]!, link.replace('/y', '/z')]) {
    assert.equal((await http('GET', at(server, wrong))).status, 404)
  }
  assert.equal((await http('GET', at(server, await blobs.link('avatars/localhost/x/y', -10_000)))).status, 404)
})

test('the picture that alice published is fetched by its link', async t => {
  const server = await start(t)
  const picture = await png()
  const alice = await server.client('alice')
  await server.command('set_picture', { account: 'alice@localhost', base64: picture.toString('base64') })
  await alice.ping()
  const [{ link }] = await server.command<[{ link: string }]>('get_picture', { account: 'alice@localhost' })
  const { status, headers, body } = await http('GET', at(server, link))
  assert.deepEqual([status, headers['content-disposition']], [200, 'inline'])
  assert.match(headers['content-type']!, /^image\//)
  assert.ok(body.length > 0)
})

test('connections that wait for a request are of the budget of strangers; who asks is answered', async t => {
  const server = await serve(t, { http: { tls: true }, extra: [mod_test_http], config: { pre_auth_memory: '1 MiB' } })
  const idle: Socket[] = []
  let closed = 0
  for (let i = 0; i < 40; i++) {
    const socket = connectTls({ port: server.httpPort, host: '127.0.0.1', rejectUnauthorized: false })
    socket.on('error', () => {})
    socket.on('close', () => closed++)
    t.after(() => socket.destroy())
    idle.push(socket)
  }
  await eventually(() => closed >= 24, 'most of them are closed')
  const asking = idle.find(socket => !socket.destroyed)!
  asking.write('GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n')
  const [answer] = await once(asking, 'data')
  assert.match(String(answer), /^HTTP\/1\.1 404 /)
  for (const socket of idle) socket.destroy()
})
