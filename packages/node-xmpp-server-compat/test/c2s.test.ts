/** Clients over TCP: from connecting to leaving, in the words and the order of the old API. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { describe, test } from 'node:test'
import { eventually } from '../../../test/support/waiting.ts'
import * as compat from '../src/index.ts'
import { C2S, C2SServer, JID, Message, type C2SStream as Session } from '../src/index.ts'
import { bot, header, open, serve, session, Wire, xml } from './support.ts'

const SESSION = 'urn:ietf:params:xml:ns:xmpp-session'

describe('a client over TCP', () => {
  test('its session tells what happens, in order', async t => {
    const events: string[] = []
    const gone = Promise.withResolvers<void>()
    const serving = await serve(t, client => {
      for (const event of ['connect', 'authenticate', 'auth-success', 'bind', 'online', 'end', 'disconnect'] as const) {
        client.on(event, () => events.push(event))
      }
      client.on('authenticate', (user, callback) => callback(null, user))
      client.on('bind', (resource, callback) => callback(null, resource))
      client.on('stanza', stanza => events.push(`stanza ${stanza.name}`))
      client.on('offline', () => events.push('offline'))
      client.on('close', () => {
        events.push('close')
        gone.resolve()
      })
    })
    const { xmpp } = await bot(t, serving)
    await xmpp.start()
    await xmpp.send(xml('presence'))
    await xmpp.stop()
    await gone.promise
    assert.deepEqual(events, [
      'connect',
      'authenticate',
      'auth-success',
      'bind',
      'online',
      'stanza presence',
      'end',
      'disconnect',
      'offline',
      'close',
    ])
    assert.equal(serving.server.connections.size, 0)
  })

  test('`online` comes once, whether the client asks for a session (RFC 3921) or not', async t => {
    let online = 0
    const { port } = await serve(t, client => client.on('online', () => online++))
    const wire = await open(port)
    await session(wire)
    wire.write(`<iq type='set' id='s'><session xmlns='${SESSION}'/></iq>`)
    await wire.until(/<iq type='result' id='s'>/)
    assert.equal(online, 1)
  })

  test('an echo: stanzas come from the full address, and go out whichever part is sent', async t => {
    const serving = await serve(t, client => {
      client.on('stanza', stanza => {
        assert.ok(stanza instanceof compat.Stanza)
        const { from } = stanza
        stanza.attrs['from'] = stanza.attrs['to']
        stanza.to = from
        client.send(stanza.getChild('body')!)
      })
    })
    const { xmpp, message: next } = await bot(t, serving, { resource: 'home' })
    await xmpp.start()
    const echo = next()
    await xmpp.send(
      xml('message', { from: 'mallory@elsewhere', to: 'bob@localhost', type: 'chat' }, xml('body', {}, 'Hi')),
    )
    const message = await echo
    assert.deepEqual(
      { ...message.attrs, xmlns: undefined },
      { from: 'bob@localhost', to: 'alice@localhost/home', type: 'chat', xmlns: undefined },
    )
    assert.equal(message.getChildText('body'), 'Hi')
  })

  test('stanzas of the old classes are sent, addresses in them being texts or not', async t => {
    const serving = await serve(t, client => {
      client.on('online', () => {
        const message = new Message({ type: 'chat', to: client.jid, from: new JID('server', 'localhost') })
        client.send(message.c('body').t('Hello there, little client.'))
      })
    })
    const { xmpp, message: next } = await bot(t, serving, { resource: 'home' })
    const first = next()
    await xmpp.start()
    const message = await first
    assert.equal(message.getChildText('body'), 'Hello there, little client.')
    assert.equal(message.attrs['to'], 'alice@localhost/home')
    assert.equal(message.attrs['from'], 'server@localhost')
  })

  test('events of the server have their older names too', async () => {
    const server = new C2SServer({ port: 0, host: '127.0.0.1', autostart: false })
    const events: string[] = []
    for (const event of ['listening', 'online', 'connection', 'connect', 'close', 'offline', 'shutdown'] as const) {
      server.on(event, () => events.push(event))
    }
    await server.listen()
    const wire = await Wire.connect(server.port)
    await eventually(() => server.connections.size)
    const ended = server.end()
    await wire.end()
    await ended
    // Each twin is emitted by the first listener to the other.
    assert.deepEqual(events, ['online', 'listening', 'connect', 'connection', 'offline', 'shutdown', 'close'])
  })
})

type Bind = (resource: string | null, callback: (error?: unknown, resource?: unknown) => void) => unknown

describe('binding a resource', () => {
  const start = async (t: Parameters<typeof serve>[0], answer: Bind) => {
    const serving = await serve(t, client => void client.on('bind', answer as never))
    return bot(t, serving, { resource: 'res' })
  }

  test('unmodified', async t => {
    const { xmpp } = await start(t, (resource, callback) => callback(null, resource))
    assert.equal(String(await xmpp.start()), 'alice@localhost/res')
  })

  test('modified', async t => {
    const { xmpp } = await start(t, (resource, callback) => callback(null, `${resource}-mod`))
    assert.equal(String(await xmpp.start()), 'alice@localhost/res-mod')
  })

  test('as an async listener returns it', async t => {
    const { xmpp } = await start(t, async resource => `${resource}-later`)
    assert.equal(String(await xmpp.start()), 'alice@localhost/res-later')
  })

  test('refused', async t => {
    const refusal = { type: 'cancel', condition: 'not-allowed', text: 'Test error' }
    const { xmpp } = await start(t, (_, callback) => callback(refusal))
    await assert.rejects(xmpp.start(), { condition: 'not-allowed', text: 'Test error' })
  })

  test('made up where nobody names one, and other for each', async t => {
    const serving = await serve(t)
    const addresses = await Promise.all(
      [bot(t, serving), bot(t, serving)].map(async one => String(await (await one).xmpp.start())),
    )
    for (const address of addresses) assert.match(address, /^alice@localhost\/[0-9a-f]{32}$/)
    assert.notEqual(addresses[0], addresses[1])
  })

  test('what cannot be a resource is refused, from the client or the application', async t => {
    const { port } = await serve(t, client => client.on('bind', (_, callback) => callback(null, 'a\u0007b')))
    const wire = await open(port)
    session(wire).catch(() => {})
    await wire.until(/<iq type='error' id='b'><error type='modify'><bad-request/)
  })
})

describe('the server', () => {
  test('disconnects all clients, and closes the port', async t => {
    const serving = await serve(t)
    const { xmpp } = await bot(t, serving)
    await xmpp.start()
    const offline = Promise.withResolvers<void>()
    xmpp.on('disconnect', () => offline.resolve())
    await serving.server.shutdown()
    await offline.promise
    await assert.rejects(Wire.connect(serving.port), { code: 'ECONNREFUSED' })
  })

  test('takes connections of a server of node:net that it is given', async t => {
    const own = net.createServer()
    const { server, port } = await serve(t, undefined, { server: own })
    assert.equal(server.server, own)
    assert.equal((own.address() as net.AddressInfo).port, port)
    await session(await open(port))
  })

  test('says what is wrong with its port by `error`', async t => {
    const { port } = await serve(t)
    const second = new C2SServer({ port, host: '127.0.0.1' })
    const [error] = await once(second, 'error')
    assert.equal(error.code, 'EADDRINUSE')
  })

  test('`end` before the port is open: it stays closed', async () => {
    const server = new C2SServer({ port: 0, host: '127.0.0.1' })
    await server.end()
    await new Promise(resolve => setImmediate(resolve))
    assert.equal(server.server!.listening, false)
  })

  test('is what it was: its classes, its options, its set of connections', () => {
    const options = { autostart: false }
    const server = new C2S.TCPServer(options)
    assert.equal(C2SServer, C2S.TCPServer)
    assert.ok(server instanceof C2S._Server && server instanceof compat._Server)
    assert.equal(server.options, options)
    assert.ok(server.connections instanceof Set && server.server instanceof net.Server)
    assert.deepEqual([server.port, C2S.TCPServer.prototype.Session], [5222, compat.C2SStream])
    assert.equal(new C2S._Server({ requestCert: true }).options.rejectUnauthorized, true)
    for (const Missing of [compat.BOSHServer, compat.WebSocketServer]) {
      assert.throws(() => new Missing({ port: 5280 }), /does not speak .* yet/)
    }
  })
})

describe('the stream', () => {
  for (const [what, to] of [
    ['missing', ''],
    ['empty', "to=''"],
    ['another', "to='evil.example'"],
  ] as const) {
    test(`its \`to\` is ${what}: host-unknown`, async t => {
      const { port } = await serve(t)
      const wire = await Wire.connect(port)
      wire.write(header().replace("to='localhost'", to))
      assert.equal(await wire.error(), 'host-unknown')
    })
  }

  test('without a domain the one is served that the client asks for, and stays the same', async t => {
    const { port } = await serve(t, undefined, { domain: undefined })
    const wire = await open(port, 'example.org')
    wire.write("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</auth>")
    await wire.until(/<success[^>]*>/)
    wire.write(header('other.example'))
    assert.equal(await wire.error(), 'host-unknown')
  })

  test('has another id after each restart', async t => {
    const { port } = await serve(t)
    const wire = await open(port)
    await session(wire)
    const ids = [...wire.whole.matchAll(/<stream:stream[^>]* id='([^']+)'/g)].map(([, id]) => id)
    assert.equal(new Set(ids).size, 2)
  })

  test('reads no more while the application has paused it', async t => {
    const { promise: heard, resolve } = Promise.withResolvers<Session>()
    const bodies: string[] = []
    const { port } = await serve(t, client => {
      client.on('stanza', stanza => {
        bodies.push(stanza.getChildText('body')!)
        if (bodies.length === 1) client.pause()
        resolve(client)
      })
    })
    const wire = await open(port)
    await session(wire)
    wire.write('<message><body>1</body></message><message><body>2</body></message>')
    const client = await heard
    await new Promise(resolve => setImmediate(resolve))
    assert.deepEqual(bodies, ['1'])
    const second = once(client, 'stanza')
    client.resume()
    await second
    assert.deepEqual(bodies, ['1', '2'])
  })
})
