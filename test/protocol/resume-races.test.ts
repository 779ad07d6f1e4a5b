/** A client that comes back while the server is still at work on what it sent before (XEP-0198 5). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defineModule } from '../../src/core/module.ts'
import { xml } from '../../src/xml/index.ts'
import { faultyStore, Gate } from '../support/faultystore.ts'
import type { RawClient } from '../support/rawclient.ts'
import { authenticated, bodies, isSm, managed } from '../support/resuming.ts'
import { serve } from '../support/talk.ts'
import { eventually } from '../support/waiting.ts'

/** Questions that are answered, and messages that are let through, when the gate opens. */
function slow() {
  const gate = new Gate()
  const mod = defineModule({
    name: 'mod_slow',
    summary: 'Takes its time.',
    options: {},
    start(ctx) {
      ctx.iq('own', 'get', 'slow', 'slow', async () => {
        await gate.pass()
        return xml('slow', { xmlns: 'slow' })
      })
      ctx.hook('filter_packet', ({ stanza }) => (stanza.kind === 'message' ? gate.pass() : undefined))
    },
  })
  return { gate, extra: [mod] }
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
    const { gate, extra } = slow()
    t.after(() => gate.open())
    const server = await serve(t, { extra })
    const romeo = await managed(server, 'romeo')
    gate.close()
    const before = gate.calls
    romeo.send(SLOW)
    await eventually(() => gate.calls > before, 'the question is being answered')
    romeo.cut('rst')
    const back = await authenticated(server, 'romeo')
    const wrong = violations(back)
    const resumed = back.resume(romeo.sm!)
    if (waits) await resumed
    else await eventually(() => ![...server.server.host('localhost')!.sessions()].some(s => s.connected), 'cut')
    gate.open()
    assert.equal(await resumed, true)
    await back.ping()
    back.askAck()
    await back.receive(el => isSm('a')(el) && back.sm!.unacked.length === 0)
    assert.deepEqual(wrong, [])
  })
}

test('a message that is on its way to its account while its session is resumed comes once', async t => {
  const { gate, extra } = slow()
  t.after(() => gate.open())
  const server = await serve(t, { extra })
  const romeo = await managed(server, 'romeo')
  const juliet = await managed(server, 'juliet')
  gate.close()
  const before = gate.calls
  romeo.send(say('juliet', '1'))
  await eventually(() => gate.calls > before, 'the message is on its way')
  romeo.cut('rst')
  const back = await authenticated(server, 'romeo')
  const wrong = violations(back)
  const resumed = back.resume(romeo.sm!)
  setTimeout(() => gate.open(), 100)
  assert.equal(await resumed, true)
  back.send(say('juliet', '2'))
  assert.deepEqual(await bodies(juliet, '2'), ['1', '2'])
  back.askAck()
  await back.receive(el => isSm('a')(el) && back.sm!.unacked.length === 0)
  assert.deepEqual(wrong, [])
})

test('a message that is on its way when its client comes back as a new session comes once', async t => {
  const { gate, extra } = slow()
  t.after(() => gate.open())
  const server = await serve(t, { extra })
  const romeo = await managed(server, 'romeo', 'orchard')
  const juliet = await managed(server, 'juliet')
  gate.close()
  const before = gate.calls
  romeo.send(say('juliet', '1'))
  await eventually(() => gate.calls > before, 'the message is on its way')
  romeo.cut('rst')
  const again = await authenticated(server, 'romeo')
  await again.bind('orchard')
  const enabled = again.enable()
  setTimeout(() => gate.open(), 100)
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
  assert.equal(await server.server.host('localhost')!.queued('nurse'), 2)
})
