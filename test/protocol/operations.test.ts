/** /metrics, /health and /ready: what those see who watch over the server. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { faultyStore } from '../support/faultystore.ts'
import { http } from '../support/httpclient.ts'
import { available, says, serve } from '../support/talk.ts'
import { TestServer, testModule } from '../support/testserver.ts'

const ask = async (port: number, path: string) => {
  const { status, headers, body } = await http('GET', `http://localhost:${port}${path}`)
  return { status, type: headers['content-type'], text: body.toString() }
}

/** Names and values of the text that Prometheus reads. */
function values(text: string): Map<string, number> {
  const lines = text.split('\n').filter(line => line !== '' && !line.startsWith('#'))
  return new Map(lines.map(line => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]))
}

test('nobody may ask unless the port says so', async t => {
  const server = await serve(t, { http: {} })
  for (const path of ['/metrics', '/health', '/ready']) assert.equal((await ask(server.httpPort, path)).status, 404)
  await server.reload({
    http: { metrics: 'own' },
    config: { access_rules: { own: [{ allow: 'away' }] }, acl: { away: { ip: ['192.0.2.0/24'] } } },
  })
  for (const path of ['/metrics', '/health', '/ready']) assert.equal((await ask(server.httpPort, path)).status, 404)
  await server.reload({ http: { metrics: 'loopback' } })
  for (const path of ['/metrics', '/health', '/ready']) assert.equal((await ask(server.httpPort, path)).status, 200)
  assert.equal((await http('POST', `http://localhost:${server.httpPort}/ready`)).status, 405)
})

test('numbers by name: messages, queue, store, event loop', async t => {
  const server = await serve(t, { http: { metrics: 'loopback' } })
  const [romeo, juliet] = await server.clients('romeo', 'juliet')
  await server.register('mercutio')
  await available(juliet)
  for (const to of ['juliet', 'mercutio']) {
    romeo.send(`<message to='${to}@localhost' type='chat' id='${to}'><body>hello</body></message>`)
  }
  await juliet.receive(says('hello'))
  await romeo.ping()
  await juliet.enable()
  await juliet.ping()
  const { status, type, text } = await ask(server.httpPort, '/metrics')
  assert.equal(status, 200)
  assert.match(type!, /^text\/plain; version=0\.0\.4/)
  const found = values(text)
  assert.equal(found.get('hermod_messages_received_total'), 2)
  assert.equal(found.get('hermod_messages_sent_total'), 1)
  assert.ok(found.get('hermod_queue_waiting')! >= 1, 'what waits for mercutio')
  for (const name of [
    'queue_in_flight',
    'store_waiting_writes',
    'store_waiting_bytes',
    'nodejs_eventloop_lag_p99_seconds',
  ]) {
    assert.ok(found.has(`hermod_${name}`), name)
  }
  for (const part of ['min', 'mean', 'max']) {
    const lag = found.get(`hermod_nodejs_eventloop_lag_${part}_seconds`)!
    assert.ok(lag >= 0 && lag < 60, `${part} ${lag}`)
  }
  assert.deepEqual([found.get('hermod_sessions'), found.get('hermod_streams')], [2, 2])
  // Nothing that anybody sends becomes a label: the lines are as many whoever comes.
  const labels = new Set([...found.keys()].flatMap(key => key.match(/\w+(?==")/g) ?? []))
  assert.ok(
    [...labels].every(label =>
      ['le', 'quantile', 'kind', 'space', 'type', 'version', 'major', 'minor', 'patch'].includes(label),
    ),
    [...labels].join(),
  )
  const stats = await server.server.metrics.values()
  assert.ok(stats.some(({ name }) => name === 'hermod_messages_received_total'))
})

test('not healthy: the store takes no writes', async t => {
  const { store, troubles } = faultyStore({ only: 'probe' })
  const server = await serve(t, { store, http: { metrics: 'loopback' } })
  troubles.failWrites = true
  const { status, text } = await ask(server.httpPort, '/health')
  assert.deepEqual([status, text], [503, 'the store takes no writes\n'])
  assert.equal((await ask(server.httpPort, '/ready')).status, 200, 'it serves what needs no writes')
})

test('not ready while it starts, and while it drains; other requests are then told to come again', async t => {
  const { promise: go, resolve } = Promise.withResolvers<void>()
  const { promise: began, resolve: begin } = Promise.withResolvers<number>()
  const slow = testModule('mod_zz_slow', async ctx => {
    begin(ctx.httpOrigin()!.port)
    await go
  })
  const starting = TestServer.start({ extra: [slow], http: { metrics: 'loopback' } })
  const port = await began
  assert.deepEqual(await ask(port, '/ready'), {
    status: 503,
    type: 'text/plain; charset=utf-8',
    text: 'not ready: starting\n',
  })
  assert.equal((await ask(port, '/health')).status, 200)
  assert.equal((await ask(port, '/blobs/x')).status, 503)
  resolve()
  const server = await starting
  t.after(() => server.stop())
  assert.equal((await ask(port, '/ready')).text, 'ready\n')
  assert.equal((await ask(port, '/blobs/x')).status, 404)
  server.server.drain()
  assert.equal((await ask(port, '/ready')).text, 'not ready: draining\n')
  assert.equal((await ask(port, '/blobs/x')).status, 503)
  await server.stop()
  await assert.rejects(ask(port, '/ready'), /ECONNREFUSED/)
})
