import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { C2SSession } from '../../src/c2s/session.ts'
import type { C2SStream } from '../../src/c2s/stream.ts'
import { RawClient } from '../support/rawclient.ts'
import { child } from '../support/rawxml.ts'
import { authenticated, managed } from '../support/resuming.ts'
import { available, closed, nothing, says, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'
import { header, Wire } from '../support/wire.ts'

async function wire(t: TestContext, server: TestServer): Promise<Wire> {
  const made = await Wire.connect(server.port)
  t.after(() => made.cut())
  return made
}

test('who does not log in and bind in time is closed, in whatever state it was left', async t => {
  const server = await serve(t, { listen: { pre_auth_timeout: '1s' } })
  await server.register('juliet')
  const silent = await wire(t, server)
  const begun = await wire(t, server)
  begun.write(header())
  const half = await wire(t, server)
  half.write(header().slice(0, 40))
  const encrypting = await wire(t, server)
  encrypting.write(`${header()}<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`)
  const exchanging = await wire(t, server)
  exchanging.write(`${header()}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>`)
  const unbound = await authenticated(server, 'juliet')
  const bound = await server.client('juliet')
  for (const client of [silent, begun, half, exchanging]) assert.equal(await client.error(), 'connection-timeout')
  await encrypting.end()
  if (!unbound.closed) assert.match(await closed(unbound), /connection-timeout/)
  await eventually(() => server.server.streams().length === 1)
  await bound.ping()
})

test('before the login only so many bytes are taken', async t => {
  const server = await serve(t, { listen: { pre_auth_bytes: 10_000 } })
  const space = await wire(t, server)
  space.write(header() + ' '.repeat(10_000))
  assert.equal(await space.error(), 'policy-violation')
  const drip = await wire(t, server)
  drip.write(header())
  for (let answer = ''; !answer.endsWith('</stream:stream>'); ) {
    drip.write(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='NONE'/>`)
    answer = await drip.until(/<\/failure>|<\/stream:stream>/)
  }
  await drip.end()
  assert.match(drip.whole, /policy-violation/)
  const juliet = await server.client('juliet')
  for (let i = 0; i < 30; i++) juliet.write(' '.repeat(1000))
  await juliet.ping()
})

test('before the login a stanza is small in every way, after it large enough', async t => {
  const server = await serve(t, { listen: { max_elements: 5000 } })
  const auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='NONE'>"
  const many = (n: number): string => Array.from({ length: n }, (_, i) => ` a${i}=''`).join('')
  for (const [name, sent] of [
    ['elements', auth + '<a/>'.repeat(251)],
    ['texts', auth + 'x<a/>'.repeat(126)],
    ['depth', '<a>'.repeat(17)],
    ['attributes', `<a${many(33)}/>`],
    ['memory', auth + `<a${many(30)}/>`.repeat(100)],
  ] as const) {
    const client = await wire(t, server)
    client.write(header() + sent)
    assert.equal(await client.error(), 'policy-violation', name)
  }
  const juliet = await server.client('juliet')
  const children = '<a/>'.repeat(4990)
  juliet.send(`<message to='${juliet.jid}' id='1'><body>many</body><x xmlns='y'>${children}</x></message>`)
  await juliet.receive(says('many'))
  for (const [name, sent] of [
    ['elements', '<a/>'.repeat(5001)],
    ['memory', `<a${many(30)}/>`.repeat(1000)],
  ] as const) {
    const romeo = await server.client('romeo')
    const gone = closed(romeo)
    romeo.write(`<message to='${juliet.jid}'>${sent}</message>`)
    assert.match(await gone, /policy-violation/, name)
  }
  await juliet.ping()
})

/** A connection of which a proxy says that it comes from this address. */
async function from(t: TestContext, server: TestServer, ip: string): Promise<Wire> {
  const made = await wire(t, server)
  made.write(`PROXY TCP4 ${ip} 192.0.2.1 40000 5222\r\n${header()}`)
  return made
}

const PLAIN = `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${btoa('\0juliet\0secret')}</auth>`

async function logsIn(client: Wire): Promise<void> {
  await client.until(/<\/stream:features>/)
  client.write(PLAIN)
  await client.until(/<success /)
}

test('all that are not logged in share one budget: the greedy go first, wherever they come from', async t => {
  const server = await serve(t, { config: { pre_auth_memory: '1 MiB' }, listen: { use_proxy_protocol: true } })
  await server.register('juliet')
  const modest = await Promise.all([1, 2, 3].map(n => from(t, server, `192.0.2.${n}`)))
  for (const client of modest) await client.until(/<\/stream:features>/)
  const greedy: Wire[] = []
  for (let i = 0; i < 40; i++) {
    const client = await from(t, server, i < 20 ? '198.51.100.7' : `203.0.113.${i}`)
    client.write(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${'x'.repeat(50_000)}`)
    greedy.push(client)
  }
  await eventually(() => greedy.filter(client => client.closed).length >= 24, 'that most of the greedy are gone')
  for (const client of greedy.filter(c => c.closed)) assert.equal(await client.error(), 'resource-constraint')
  for (const client of modest) {
    client.write(PLAIN)
    await client.until(/<success /)
  }
  const { prelogin } = (server.server.streams()[0] as C2SStream).server
  assert.ok(prelogin.held <= 1024 * 1024)
  for (const client of greedy) client.cut()
  await eventually(() => prelogin.size === 0 && prelogin.held === 0, 'that nothing is held any more')
})

test('a crowd of one address that only waits does not keep others from logging in', async t => {
  const server = await serve(t, {
    config: { pre_auth_memory: '1 MiB' },
    listen: { use_proxy_protocol: true, max_connections_per_ip: 'infinity' },
  })
  await server.register('juliet')
  const early = await from(t, server, '192.0.2.1')
  const crowd: Wire[] = []
  for (let i = 0; i < 100; i++) crowd.push(await from(t, server, '198.51.100.7'))
  await eventually(() => crowd.filter(client => client.closed).length >= 37, 'that some of the crowd are gone')
  await logsIn(early)
  await logsIn(await from(t, server, '192.0.2.2'))
  await logsIn(crowd.find(client => !client.closed)!) // one of those that are left
})

test('direct TLS counts from its first byte, and connections that are logged in count no more', async t => {
  const server = await serve(t, { config: { pre_auth_memory: '1 MiB' }, listen: { tls: true } })
  const clients: RawClient[] = []
  await server.register('juliet')
  const connect = () => RawClient.connect({ port: server.port, domain: 'localhost', tls: 'direct' })
  for (let i = 0; i < 20; i++) {
    const client = await connect()
    await client.login({ user: 'juliet', password: 'secret' })
    clients.push(client)
  }
  const silent: Wire[] = []
  for (let i = 0; i < 20; i++) silent.push(await wire(t, server))
  await eventually(() => silent.some(client => client.closed), 'that some of the silent are gone')
  assert.ok(clients.every(client => !client.closed))
  for (const client of clients) client.cut()
})

test('one address has so many connections, and gets their places back', async t => {
  const server = await serve(t, { listen: { max_connections_per_ip: 3 } })
  const clients = [await wire(t, server), await wire(t, server), await wire(t, server)]
  await eventually(() => server.server.streams().length === 3)
  const one = await wire(t, server)
  assert.equal(await one.error(), 'policy-violation')
  clients[0]!.cut()
  await eventually(() => server.server.streams().length === 2)
  const next = await wire(t, server)
  next.write(header())
  await next.until(/<\/stream:features>/)
})

for (const tls of ['starttls', 'direct'] as const) {
  test(`connections with TLS (${tls}) give their places back too, however they end`, async t => {
    const server = await serve(t, { listen: { max_connections_per_ip: 3, tls: tls === 'direct' } })
    await server.register('juliet')
    const connect = () => RawClient.connect({ port: server.port, domain: 'localhost', tls })
    for (let i = 0; i < 4; i++) {
      const clients = [await connect(), await connect(), await connect()]
      await clients[0]!.login({ user: 'juliet', password: 'secret' })
      clients[0]!.cut()
      clients[1]!.cut('rst')
      await clients[2]!.close()
      await eventually(() => server.server.streams().length === 0, 'that all streams are gone')
    }
    const half = await wire(t, server)
    half.write(tls === 'direct' ? '\x16\x03' : `${header()}<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\x16\x03`)
    half.socket.resetAndDestroy()
    const last = [await connect(), await connect()]
    const third = await eventually(() => connect().catch(() => undefined), 'the reset is seen, and a third connection')
    for (const client of [...last, third]) client.cut()
  })
}

test('a stanza that is too big, too deep or has too many attributes ends its stream; the next one is served', async t => {
  const server = await serve(t, { listen: { max_stanza_size: 20_000, max_depth: 20, max_attributes: 20 } })
  const attributes = Array.from({ length: 30 }, (_, i) => `a${i}='1'`).join(' ')
  for (const [name, sent] of [
    ['big', `<message to='juliet@localhost'><body>${'x'.repeat(21_000)}</body></message>`],
    ['big and unfinished', `<message to='juliet@localhost'><body>${'x'.repeat(21_000)}`],
    ['a long tag', `<message to='${'x'.repeat(21_000)}`],
    ['deep', `<message to='juliet@localhost'>${'<a>'.repeat(25)}`],
    ['many attributes', `<message to='juliet@localhost' ${attributes}/>`],
  ] as const) {
    const juliet = await server.client('juliet')
    const gone = closed(juliet)
    juliet.write(sent)
    assert.match(await gone, /policy-violation/, name)
  }
  const juliet = await server.client('juliet')
  juliet.send(`<message to='${juliet.jid}' id='1'><body>${'x'.repeat(19_000)}</body></message>`)
  await juliet.receive(says('x'.repeat(19_000)))
})

test('a stanza too big costs the connection, not the session', async t => {
  const server = await serve(t, { listen: { max_stanza_size: 20_000 } })
  const juliet = await server.client('juliet')
  await juliet.enable()
  const gone = closed(juliet)
  juliet.write(`<message><body>${'x'.repeat(21_000)}</body></message>`)
  await gone
  const again = await authenticated(server, 'juliet')
  assert.equal(await again.resume(juliet.sm!), true)
})

test('a client that does not read gets no more than so much, and loses nothing but what cannot wait', async t => {
  const server = await serve(t)
  const romeo = await server.client('romeo')
  const juliet = await managed(server, 'juliet', 'balcony')
  juliet.ack()
  juliet.fallSilent()
  const big = 'x'.repeat(100_000)
  const session = [...server.server.host('localhost')!.accounts.get('juliet')!.sessions.values()][0]!
  const { stream } = session as C2SSession
  for (let i = 0; i < 60; i++) {
    romeo.send(`<message to='${juliet.jid}' type='chat' id='${i}'><body>${i}${big}</body></message>`)
    await romeo.ping()
    assert.ok((stream?.transport.backlog ?? 0) < 3_000_000, 'messages wait in the store')
  }
  // What cannot wait is sent until the client is taken for dead.
  for (let i = 0; i < 120 && session.connected; i++) {
    romeo.send(`<message to='${juliet.jid}' type='headline'><body>${big}</body></message>`)
    await romeo.ping()
    assert.ok((stream?.transport.backlog ?? 0) < 5_000_000)
  }
  assert.equal(session.connected, false)
  const next = await server.client('juliet', { resource: 'balcony' })
  next.send('<presence/>')
  for (let i = 0; i < 60; i++) await next.receive(says(`${i}${big}`))
})

test('a client faster than its shaper is read more slowly, and nothing of what it sends is lost', async t => {
  const config = { shaper: { slow: { rate: '400 KiB', burst_size: '50 KiB' } } }
  const server = await serve(t, { config, listen: { shaper: 'slow' } })
  const [romeo, other] = await server.clients('romeo', 'other')
  const started = performance.now()
  const body = 'x'.repeat(10_000)
  for (let i = 0; i < 20; i++) {
    romeo.send(`<message to='${romeo.jid}' type='headline' id='${i}'><body>${i}${body}</body></message>`)
  }
  await other.ping()
  for (let i = 0; i < 20; i++) await romeo.receive(says(`${i}${body}`))
  const took = performance.now() - started
  // 200 KB at 400 KiB a second, 50 KiB of them at once.
  assert.ok(took > 300, `${took} ms`)
  await romeo.ping()
})

test('the number of stanzas is shaped too', async t => {
  const config = { shaper: { few: { stanza_rate: 100, stanza_burst: 20 } } }
  const server = await serve(t, { config, listen: { shaper: 'few' } })
  const romeo = await server.client('romeo')
  const started = performance.now()
  for (let i = 0; i < 60; i++)
    romeo.send(`<message to='${romeo.jid}' type='headline' id='${i}'><body>${i}</body></message>`)
  for (let i = 0; i < 60; i++) await romeo.receive(says(`${i}`))
  romeo.send(`<message to='${romeo.jid}' type='headline'><body>last</body></message>`)
  await romeo.receive(says('last'))
  assert.ok(performance.now() - started > 250, `${performance.now() - started} ms`)
})

test('a client that does not answer is taken for dead, and its messages are not lost', async t => {
  const server = await serve(t, { config: { ack_timeout: '1s' } })
  const [romeo, juliet] = await server.clients('romeo', 'juliet')
  await juliet.enable()
  await available(juliet)
  juliet.fallSilent()
  romeo.send(`<message to='juliet@localhost' type='chat' id='1'><body>hi</body></message>`)
  await romeo.ping()
  const at = server.server.host('localhost')!
  await eventually(() => [...at.accounts.get('juliet')!.sessions.values()].every(s => !s.connected), 'the cut', 8000)
  const next = await server.client('juliet')
  next.send('<presence/>')
  await next.receive(says('hi'))
})

test('a silent connection gets a space now and then, one that is not does not', async t => {
  const server = await serve(t, { listen: { keepalive_interval: '1s' } })
  const juliet = await wire(t, server)
  await server.register('juliet')
  juliet.write(header())
  await juliet.until(/<\/stream:features>/)
  juliet.write(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${btoa('\0juliet\0secret')}</auth>`)
  await juliet.until(/<success[^>]*>(<\/success>)?/)
  juliet.write(`${header()}<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>`)
  await juliet.until(/<\/iq>/)
  await juliet.until(/ $/)
})

test('whatever a stranger did, nothing of it is left when it has gone', async t => {
  const server = await serve(t)
  const at = server.server.host('localhost')!
  await server.register('juliet')
  const probe = await server.client('romeo')
  const shared = (server.server.streams()[0] as C2SStream).server
  const hostile: ((client: Wire) => void)[] = [
    () => {},
    client => client.write(header()),
    client => client.write(`${header()}<message`),
    client => client.write(`${header()}${'<a>'.repeat(1000)}`),
    client => client.write('\0'.repeat(1000)),
    client => client.write(`${header()}<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\0\0\0`),
    client =>
      client.write(
        `${header()}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>${btoa('n,,n=juliet,r=x')}</auth>`,
      ),
    client => client.write(`${header()}</stream:stream>`),
    client => client.write(`${header('nobody.example')}`),
  ]
  for (let round = 0; round < 5; round++) {
    for (const act of hostile) {
      const client = await wire(t, server)
      act(client)
      if (round % 2 === 0) client.socket.end()
      else client.socket.resetAndDestroy()
    }
  }
  for (let round = 0; round < 5; round++) {
    const client = await server.client('juliet', { resource: 'same' })
    await client.enable(false)
    client.send('<presence/>')
    client.send("<message to='juliet@localhost' type='headline' id='1'><body>hi</body></message>")
    client.send("<iq type='get' id='q' to='juliet@localhost/other'><a xmlns='b'/></iq>")
    client.cut()
  }
  await eventually(() => server.server.streams().length === 1 && server.server.sessionCount === 1, 'that all are gone')
  assert.equal(shared.sessions.size, 0)
  const account = at.accounts.get('juliet')!
  assert.deepEqual([account.sessions.size, account.queue.size, account.idle], [0, 0, true])
  await probe.ping()
  await nothing(probe, el => child(el, 'body') !== undefined)
})
