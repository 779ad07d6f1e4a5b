/** The examples, as an old program loads them: by `require`. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { describe, type TestContext, test } from 'node:test'
import { client } from '@xmpp/client'
import { TestCa } from '../../../test/support/ca.ts'
import type { C2SServer, ComponentServer } from '../src/index.ts'
import { auth, bot, component, header, open, Wire, xml } from './support.ts'

const load = createRequire(import.meta.url)

/** Starts the server of an example. What it prints is swallowed. */
async function start<S extends C2SServer | ComponentServer>(t: TestContext, name: string, options: object = {}) {
  t.mock.method(console, 'log', () => {})
  const server = load(`../examples/${name}.cjs`)({ port: 0, host: '127.0.0.1', ...options }) as S
  await once(server, 'listening')
  t.after(() => server.end())
  return { server, port: server.port }
}

describe('examples', () => {
  test('server-and-client: an echo for who knows the password', async t => {
    const serving = await start<C2SServer>(t, 'server-and-client')
    const { xmpp, message } = await bot(t, serving, { username: 'client1' })
    await xmpp.start()
    const echo = message()
    await xmpp.send(xml('message', { to: 'localhost' }, xml('body', {}, 'HelloWorld')))
    const heard = await echo
    assert.equal(heard.attrs['from'], 'localhost')
    assert.equal(heard.getChildText('body'), 'HelloWorld')
    const stranger = await bot(t, serving, { username: 'client2', password: 'notsecret' })
    await assert.rejects(stranger.xmpp.start(), { condition: 'not-authorized' })
  })

  test('server-and-client: an account for who wants one', async t => {
    const { port } = await start(t, 'server-and-client')
    const wire = await open(port)
    wire.write(
      "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>a</username><password>b</password></query></iq>",
    )
    await wire.until(/<iq type='result' id='r'\/>/)
  })

  test('chat: romeo and juliet', async t => {
    const serving = await start<C2SServer>(t, 'chat')
    const romeo = await bot(t, serving, { username: 'romeo', password: 'montague' })
    const juliet = await bot(t, serving, { username: 'juliet', password: 'capulet' })
    for (const { xmpp, message } of [romeo, juliet]) {
      const welcome = message()
      await xmpp.start()
      assert.match((await welcome).getChildText('body')!, /^Welcome, (romeo|juliet)!$/)
    }
    const heard = romeo.message()
    await juliet.xmpp.send(xml('message', { to: 'romeo@localhost' }, xml('body', {}, 'Wherefore art thou?')))
    const { attrs } = await heard
    assert.equal(attrs['from'], 'juliet@localhost/chat')
    const error = romeo.message()
    await romeo.xmpp.send(xml('message', { to: 'rosaline@localhost', id: '1' }, xml('body', {}, 'Hello?')))
    assert.equal((await error).attrs['type'], 'error')
  })

  test('tls: passwords over TLS, and tokens', async t => {
    const { cert, key } = TestCa.create().issue(['localhost'])
    const serving = await start<C2SServer>(t, 'tls', { tls: { cert, key } })
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    t.after(() => delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'])
    const xmpp = client({
      service: `xmpp://127.0.0.1:${serving.port}`,
      domain: 'localhost',
      username: 'alice',
      password: 'secret',
    })
    t.after(() => xmpp.stop())
    xmpp.on('error', () => {})
    const body = new Promise(resolve => xmpp.on('stanza', el => el.is('message') && resolve(el.getChildText('body'))))
    assert.match(String(await xmpp.start()), /^alice@localhost\//)
    assert.equal(await body, 'You came by TLS')

    const wire = await open(serving.port)
    wire.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    await wire.until(/<proceed[^>]*>/)
    await wire.encrypt()
    wire.write(header())
    await wire.until(/<mechanism>X-TOKEN<.*<\/stream:features>/)
    wire.write(auth('X-TOKEN', Buffer.from('bob:open sesame').toString('base64')))
    await wire.until(/<success/)
  })

  test('server-and-component: an echo', async t => {
    const { port } = await start<ComponentServer>(t, 'server-and-component')
    const wire = await component(port, 'component.example.com', 'ThePassword')
    wire.write("<message to='testguy@example.com' from='fake@example.com'><body>HelloWorld</body></message>")
    assert.equal(
      await wire.until(/<\/message>/),
      "<message to='fake@example.com' from='testguy@example.com'><body>HelloWorld</body></message>",
    )
    const stranger = await Wire.connect(port)
    stranger.write(header('other.example.com', '', 'jabber:component:accept'))
    assert.equal(await stranger.error(), 'host-unknown')
  })
})
