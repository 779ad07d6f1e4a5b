import assert from 'node:assert/strict'
import { type EventEmitter, once } from 'node:events'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { client, xml } from '@xmpp/client'
import type { El } from '../support/bot.ts'
import { serve } from '../support/talk.ts'
import { eventually } from '../support/waiting.ts'

// The server makes a self-signed certificate.
process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'

const ID = 'd4565fa7-4d72-4749-b3d3-740edbf87770'

test('xmpp.js: by its password, then by the token that it got, and back into its session, each in one exchange', async t => {
  const server = await serve(t)
  await server.register('bot')
  const host = server.server.host('localhost')!
  const sessions = () => [...(host.accounts.get('bot')?.sessions.values() ?? [])]
  const options = {
    service: `xmpp://127.0.0.1:${server.port}`,
    domain: 'localhost',
    username: 'bot',
    password: 'secret',
    resource: 'bot',
    userAgent: xml('user-agent', { id: ID }, xml('software', {}, 'xmpp.js'), xml('device', {}, 'a test')),
  }
  const bot = client(options) as ReturnType<typeof client> & {
    streamManagement: EventEmitter
    socket: { socket: Socket }
  }
  const errors: Error[] = []
  const elements: El[] = []
  bot.on('error', (error: Error) => errors.push(error))
  bot.on('element', (el: El) => elements.push(el))

  await bot.start()
  const { jid, info } = sessions()[0]!
  assert.match(jid.toString(), /^bot@localhost\/bot\/[\w-]{20}$/)
  assert.match(info.mechanism!, /^SCRAM-/)
  await bot.send(xml('presence'))
  await bot.stop()
  await eventually(() => sessions().length === 0, 'the session ended')

  await bot.start()
  const [again] = sessions()
  assert.equal(again!.info.mechanism, 'HT-SHA-256-NONE')
  assert.equal(again!.jid.toString(), jid.toString())
  await bot.send(xml('presence'))

  elements.length = 0
  const resumed = once(bot.streamManagement, 'resumed')
  bot.socket.socket.destroy()
  await resumed
  assert.equal(sessions()[0], again)
  const success = elements.find(el => el.is('success'))!
  assert.ok(success.getChild('resumed', 'urn:xmpp:sm:3'))
  const [device] = await host.services.use('devices')!.list('bot')
  assert.deepEqual([device!.id, device!.software, device!.device], [ID, 'xmpp.js', 'a test'])
  assert.deepEqual(errors, [])
  await bot.stop()
})
