/** A client that comes back while the server is still at work on what it sent before (XEP-0198 5). */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { xml } from '../../src/xml/index.ts'
import { faultyStore, Gate } from '../support/faultystore.ts'
import type { RawClient } from '../support/rawclient.ts'
import { authenticated, bodies, isSm, managed } from '../support/resuming.ts'
import { serve } from '../support/talk.ts'
import { testModule } from '../support/testserver.ts'
import { eventually, settled } from '../support/waiting.ts'

/** A server whose answers to romeo's question, and whose messages, wait for the gate; `started` does something that comes there. */
async function slow(t: TestContext) {
  const gate = new Gate()
  t.after(() => gate.open())
  const mod = testModule('mod_slow', ctx => {
    ctx.iq('own', 'get', 'slow', 'slow', async () => {
      await gate.pass()
      return xml('slow', { xmlns: 'slow' })
    })
    ctx.hook('filter_packet', ({ stanza }) => (stanza.kind === 'message' ? gate.pass() : undefined))
  })
  const server = await serve(t, { extra: [mod] })
  const romeo = await managed(server, 'romeo', 'orchard')
  const juliet = await managed(server, 'juliet')
  /** Romeo's connection breaks while this is on its way; resolves with a new one, logged in. */
  const breaks = async (stanza: string): Promise<RawClient> => {
    gate.close()
    const before = gate.calls
    romeo.send(stanza)
    await eventually(() => gate.calls > before, 'it is on its way')
    romeo.cut('rst')
    return authenticated(server, 'romeo')
  }
  return { server, gate, romeo, juliet, breaks }
}

/** All that a client sent is acknowledged, and nothing in it was against the protocol. */
async function inOrder(client: RawClient, wrong: string[]): Promise<void> {
  client.askAck()
  await client.receive(el => isSm('a')(el) && client.sm!.unacked.length === 0)
  assert.deepEqual(wrong, [])
}

/** Every breach of the protocol that a client sees. */
function violations(client: RawClient): string[] {
  const seen: string[] = []
  client.on('violation', what => seen.push(what))
  return seen
}

const SLOW = "<iq type='get' id='slow'><slow xmlns='slow'/></iq>"
const say = (to: string, body: string) =>
  `<message to='${to}@localhost' type='chat' id='${body}'><body>${body}</body></message>`

for (const waits of [false, true]) {
  const when = waits ? 'after it was given up waiting for' : 'soon after'
  test(`a stanza that is still being handled when its session is resumed counts once (done ${when})`, async t => {
    const { server, gate, romeo, juliet, breaks } = await slow(t)
    await juliet.close()
    const back = await breaks(SLOW)
    const wrong = violations(back)
    const resumed = back.resume(romeo.sm!)
    if (waits) await resumed
    else await eventually(() => ![...server.server.host('localhost')!.sessions()].some(s => s.connected), 'cut')
    gate.open()
    assert.equal(await resumed, true)
    await back.ping()
    await inOrder(back, wrong)
  })
}

test('a message that is on its way to its account while its session is resumed comes once', async t => {
  const { gate, romeo, juliet, breaks } = await slow(t)
  const back = await breaks(say('juliet', '1'))
  const wrong = violations(back)
  const resumed = back.resume(romeo.sm!)
  await settled(20)
  gate.open()
  assert.equal(await resumed, true)
  back.send(say('juliet', '2'))
  assert.deepEqual(await bodies(juliet, '2'), ['1', '2'])
  await inOrder(back, wrong)
})

test('a message that is on its way when its client comes back as a new session comes once', async t => {
  const { gate, juliet, breaks } = await slow(t)
  const again = await breaks(say('juliet', '1'))
  await again.bind('orchard')
  const enabled = again.enable()
  await settled(20)
  gate.open()
  await enabled
  again.send(say('juliet', '1'))
  again.send(say('juliet', '2'))
  assert.deepEqual(await bodies(juliet, '2'), ['1', '2'])
})

test('who closes a stream, and resumes its session all the same before that is noted, keeps what it resumed', async t => {
  const { store, troubles } = faultyStore({ only: 'sent_window' })
  t.after(() => troubles.writes.open())
  const server = await serve(t, { store })
  const romeo = await managed(server, 'romeo')
  await server.register('nurse')
  romeo.send(say('nurse', '1'))
  await romeo.ping()
  troubles.writes.close()
  const { calls } = troubles.writes
  romeo.write('</stream:stream>')
  await eventually(() => troubles.writes.calls > calls, 'it is being noted')
  const back = await authenticated(server, 'romeo')
  assert.equal(await back.resume(romeo.sm!), true)
  troubles.writes.open()
  await back.ping()
  back.send(say('nurse', '2'))
  await back.ping()
  assert.equal(await server.server.host('localhost')!.queues.count('nurse'), 2)
})
