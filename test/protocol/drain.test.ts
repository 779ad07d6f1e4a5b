/** `hermodctl drain`: the server takes nobody any more, and sends away who is there. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { faultyStore } from '../support/faultystore.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { authenticated, managed } from '../support/resuming.ts'
import { closed, says, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'
import { header, NS_STREAM, Wire } from '../support/wire.ts'

const NS_ERRORS = 'urn:ietf:params:xml:ns:xmpp-streams'
const isError = (el: XmlElement): boolean => el.ns === NS_STREAM && el.name === 'error'

const drain = (server: TestServer): Promise<unknown> => server.command('drain')

/** Whether anybody takes connections at a port. */
function taken(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

async function people(t: TestContext, other?: string) {
  const config = other === undefined ? {} : { drain: { see_other_host: other } }
  const server = await serve(t, { config })
  const juliet = await managed(server, 'juliet')
  return { server, juliet }
}

test('clients are told the other host, in whatever state they are, and no more are taken', async t => {
  const { server, juliet } = await people(t, 'xmpp2.example.org:5222')
  const stranger = await Wire.connect(server.port)
  stranger.write(header())
  await stranger.until(/<\/stream:features>/)
  const silent = await Wire.connect(server.port)
  await juliet.ping()
  const gone = closed(juliet)
  await drain(server)
  const error = await juliet.receive(isError)
  assert.equal(child(error, 'see-other-host', NS_ERRORS)?.text, 'xmpp2.example.org:5222')
  await gone
  assert.ok(juliet.serverClosed, 'the stream was closed in order')
  for (const wire of [stranger, silent]) {
    assert.match(await wire.end(), /<see-other-host xmlns='[^']+'>xmpp2\.example\.org:5222<\/see-other-host>/)
  }
  assert.equal(await taken(server.port), false)
  assert.equal(server.server.state, 'draining')
})

test('without another host they are told that the server goes', async t => {
  const { server, juliet } = await people(t)
  await drain(server)
  const error = await juliet.receive(isError)
  assert.ok(child(error, 'system-shutdown', NS_ERRORS))
})

test('what was on its way is not lost: the session is resumed after the next start', async t => {
  const { store } = faultyStore()
  const server = await serve(t, { store })
  const romeo = await server.client('romeo')
  const juliet = await managed(server, 'juliet', 'balcony')
  juliet.ack()
  juliet.options.autoAck = false
  romeo.send("<message to='juliet@localhost' type='chat' id='1'><body>before</body></message>")
  await juliet.receive(says('before'))
  const gone = closed(juliet)
  await drain(server)
  await gone
  const sm = juliet.sm!
  sm.handled -= 1 // as if the message had been lost with the connection
  await server.stop()
  const again = await serve(t, { store })
  const back = await authenticated(again, 'juliet')
  assert.equal(await back.resume(sm), true)
  await back.receive(says('before'))
})

test('who had sent something knows how far the server came, whatever it does then', async t => {
  const { server, juliet } = await people(t, 'xmpp2.example.org:5222')
  await server.register('romeo')
  for (const id of ['1', '2', '3'])
    juliet.send(`<message to='romeo@localhost' type='chat' id='${id}'><body>${id}</body></message>`)
  await juliet.ping()
  const gone = closed(juliet)
  await drain(server)
  await gone
  assert.equal(juliet.sm!.unacked.length, 0)
})
