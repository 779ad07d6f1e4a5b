/** Components (XEP-0114). */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, type TestContext, test } from 'node:test'
import { _Server, ComponentServer, component as exported, type ComponentStream as Session } from '../src/index.ts'
import { handshake, header, Wire } from './support.ts'

const NS = 'jabber:component:accept'

async function serve(t: TestContext, onComponent: (session: Session) => void = () => {}): Promise<number> {
  const server = new ComponentServer({ port: 0, host: '127.0.0.1' })
  server.on('connect', session => {
    const component = session as Session
    component.on('verify-component', (jid, callback) => {
      if (jid.toString() === 'foo.localhost') callback(null, 'password')
      else callback(new Error('unknown host'))
    })
    onComponent(component)
  })
  await once(server, 'online')
  t.after(() => server.end())
  return server.port
}

async function open(port: number, to = 'foo.localhost', ns = NS): Promise<Wire> {
  const wire = await Wire.connect(port)
  wire.write(header(to, '', ns))
  return wire
}

describe('a component', () => {
  test('comes in, and its stanzas go both ways', async t => {
    const events: string[] = []
    const gone = Promise.withResolvers<void>()
    const port = await serve(t, component => {
      for (const event of ['auth-success', 'online', 'disconnect'] as const) {
        component.on(event, () => events.push(`${event} ${component.jid} ${component.authenticated}`))
      }
      component.on('close', gone.resolve)
      component.on('stanza', stanza => {
        const { from } = stanza
        stanza.from = stanza.to
        stanza.to = from
        component.send(stanza)
      })
    })
    const wire = await open(port)
    await handshake(wire, 'password')
    await wire.until(/<handshake\/>/)
    wire.write("<message to='testguy@example.com' from='fake@foo.localhost'><body>HelloWorld</body></message>")
    assert.equal(
      await wire.until(/<\/message>/),
      "<message to='fake@foo.localhost' from='testguy@example.com'><body>HelloWorld</body></message>",
    )
    wire.write('</stream:stream>')
    await wire.end()
    await gone.promise
    assert.deepEqual(
      events,
      ['auth-success', 'online', 'disconnect'].map(event => `${event} foo.localhost true`),
    )
  })

  for (const [what, to, ns, condition] of [
    ['that the application does not know', 'unknown.localhost', NS, 'host-unknown'],
    ['without a name', '', NS, 'host-unknown'],
    ['that speaks another namespace', 'foo.localhost', 'jabber:component:wrong', 'invalid-namespace'],
  ] as const) {
    test(`${what}: ${condition}`, async t => {
      const wire = await open(await serve(t), to, ns)
      assert.equal(await wire.error(), condition)
    })
  }

  test('with another secret: not-authorized, and the application is told by `error`', async t => {
    const { promise, resolve } = Promise.withResolvers<Error>()
    const port = await serve(t, component => component.on('error', resolve))
    const wire = await open(port)
    await handshake(wire, 'notthepassword')
    assert.equal(await wire.error(), 'not-authorized')
    assert.match((await promise).message, /not authorized/)
  })

  test('is not heard before it has shown that it knows the secret', async t => {
    const port = await serve(t, component => component.on('stanza', () => assert.fail('a stanza')))
    const wire = await open(port)
    wire.write("<message to='testguy@example.com' from='foo.localhost'/>")
    assert.equal(await wire.error(), 'not-authorized')
  })

  test('the server is what it was', () => {
    assert.equal(exported.Server, ComponentServer)
    assert.equal(ComponentServer.prototype.Session, exported.Session)
    const server = new ComponentServer({ autostart: false })
    assert.ok(server instanceof _Server)
    assert.equal(server.port, 5347)
  })
})
