import assert from 'node:assert/strict'
import { test } from 'node:test'
import { faultyStore } from '../support/faultystore.ts'
import { child } from '../support/rawxml.ts'
import { detached, NS } from '../support/resuming.ts'
import {
  agent,
  BIND2,
  bind,
  byPassword,
  chat,
  DESK,
  dial,
  enable,
  juliet,
  people,
  resources,
} from '../support/sasl2client.ts'
import { available, closed, says, serve } from '../support/talk.ts'
import { TestServer } from '../support/testserver.ts'

const resume = (sm: { id: string; handled: number }): string =>
  `<resume xmlns='${NS}' previd='${sm.id}' h='${sm.handled}'/>`

test('resumed inline: no bind, no features, and then what the client has not seen', async t => {
  const server = await people(t)
  const { client } = await juliet(t, server, enable)
  await available(client)
  const romeo = await server.client('romeo')
  chat(romeo, client.jid, '1')
  await client.receive(says('1'))
  client.options.autoAck = false
  const sm = client.sm!
  client.cut()
  await detached(server, client.jid)
  chat(romeo, client.jid, '2')
  await romeo.ping()

  const again = await dial(t, server, 'juliet')
  const seen: string[] = []
  again.on('element', el => seen.push(el.name))
  const success = await byPassword(again, 'juliet', `${agent()}${resume(sm)}${bind(enable)}`)
  assert.equal(child(success, 'authorization-identifier')?.text, client.jid)
  assert.deepEqual(child(success, 'resumed', NS)?.attrs, { xmlns: NS, previd: sm.id, h: '1' })
  assert.equal(child(success, 'bound'), undefined)
  await again.receive(says('2'))
  await again.ping()
  assert.ok(!seen.includes('features'))
  assert.equal(seen[0], 'success')
  assert.deepEqual(resources(server), [client.jid.slice('juliet@localhost/'.length)])
})

test('a session that cannot be resumed: the failure and the new session in one answer', async t => {
  const server = await people(t)
  const { client } = await juliet(t, server, enable)
  await available(client)
  client.send("<message to='romeo@localhost' type='chat' id='a'><body>a</body></message>")
  await client.ping()
  const { id } = client.sm!
  client.cut()
  await detached(server, client.jid)
  server.server
    .host('localhost')!
    .accounts.get('juliet')!
    .sessions.values()
    .next()
    .value!.end(new Error('x') as never)

  const again = await dial(t, server, 'juliet')
  const success = await byPassword(again, 'juliet', `${agent()}${resume({ id, handled: 0 })}${bind(enable)}`)
  const failed = child(success, 'failed', NS)!
  assert.equal(failed.attrs['h'], '3')
  assert.equal(failed.children[0]!.name, 'item-not-found')
  assert.ok(child(child(success, 'bound', BIND2), 'enabled', NS))
  await again.receive(el => el.name === 'features')
  await again.ping()
  // Of somebody else, with nonsense for a count, and without a bind: then the old way is still open.
  const romeo = await dial(t, server, 'romeo')
  const other = await byPassword(romeo, 'romeo', resume(again.sm!))
  assert.equal(child(other, 'failed', NS)!.children[0]!.name, 'item-not-found')
  assert.equal(child(other, 'authorization-identifier')!.text, 'romeo@localhost')
  assert.equal(await romeo.bind('orchard'), 'romeo@localhost/orchard')
  const bad = await juliet(t, server, '', `${agent(DESK)}<resume xmlns='${NS}' previd='${again.sm!.id}' h='x'/>`)
  assert.equal(child(bad.success, 'failed', NS)!.children[0]!.name, 'bad-request')
  await again.ping()
})

test('an h above what was sent ends the stream; nobody is logged in', async t => {
  const server = await people(t)
  const { client } = await juliet(t, server, enable)
  const { id } = client.sm!
  client.cut()
  await detached(server, client.jid)
  const liar = await dial(t, server, 'juliet')
  await assert.rejects(byPassword(liar, 'juliet', `${resume({ id, handled: 99 })}${bind()}`), /undefined-condition/)
  assert.equal(resources(server).length, 1)
})

test('a client whose old connection is half-open takes its session from it', async t => {
  const server = await people(t)
  const { client } = await juliet(t, server, enable)
  await available(client)
  client.fallSilent()
  const again = await dial(t, server, 'juliet')
  const success = await byPassword(again, 'juliet', `${agent()}${resume(client.sm!)}`)
  assert.ok(child(success, 'resumed', NS))
  await again.ping()
})

test('after a restart of the server: the session is resumed inline, and the device has its resource', async t => {
  const { store } = faultyStore()
  const before = await TestServer.start({ store })
  await before.register('juliet')
  const { client } = await juliet(t, before, enable)
  await available(client)
  const gone = closed(client)
  await before.stop()
  await gone
  const server = await serve(t, { store })
  const again = await dial(t, server, 'juliet')
  const success = await byPassword(again, 'juliet', `${agent()}${resume(client.sm!)}${bind(enable)}`)
  assert.ok(child(success, 'resumed', NS))
  // It is still the session of that device: a new one takes its place.
  const late = await juliet(t, server)
  assert.equal(late.client.jid, client.jid)
  assert.equal(resources(server).length, 1)
})
