import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { client, xml } from '@xmpp/client'
import { Bot, type El } from '../support/bot.ts'
import { Device, slixmpp } from '../support/device.ts'
import type { ServerProcess } from '../support/launched.ts'
import { RawClient } from '../support/rawclient.ts'
import { hermodProcess } from '../support/serverprocess.ts'

// The server makes a self-signed certificate.
process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'

const DOMAIN = 'bots.example'
let folder: string
let server: ServerProcess

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'hermod-e2e-'))
  server = await hermodProcess({ folder, domain: DOMAIN })
  await server.start()
  for (const user of ['alice', 'bob', 'carol']) {
    await RawClient.register({ host: '127.0.0.1', port: server.port, domain: DOMAIN }, user, 'secret')
  }
})
after(async () => {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

const presence = (from: string, type?: string) => (el: El) =>
  el.is('presence') && (el.attrs['from'] ?? '').startsWith(`${from}@${DOMAIN}`) && el.attrs['type'] === type

test('two bots befriend each other, chat, and get what came while they were away, over a kill -9', async () => {
  const alice = await new Bot(server, 'alice', 'a').start()
  let bob = await new Bot(server, 'bob', 'b').start()
  await alice.send('subscribe', 'presence', { to: `bob@${DOMAIN}` })
  await bob.receive(presence('alice', 'subscribe'))
  await bob.send('subscribed', 'presence', { to: `alice@${DOMAIN}` })
  await alice.receive(presence('bob', 'subscribed'))
  await alice.receive(presence('bob'))

  await alice.say('bob', 'hello')
  await bob.hears('hello')
  await bob.say('alice', 'hi')
  await alice.hears('hi')

  await bob.xmpp.stop()
  await alice.receive(presence('bob', 'unavailable'))
  await alice.say('bob', 'are you there?')
  await alice.send('get', 'iq', { to: DOMAIN, id: 'acked' }, xml('ping', { xmlns: 'urn:xmpp:ping' }))
  await alice.receive(el => el.is('iq') && el.attrs['id'] === 'acked')
  await alice.send('get', 'iq', { to: `bob@${DOMAIN}`, id: 'seen' }, xml('query', { xmlns: 'jabber:iq:last' }))
  const seen = await alice.receive(el => el.is('iq') && el.attrs['id'] === 'seen')
  assert.equal(seen.attrs['type'], 'result')
  assert.match(seen.getChild('query')?.attrs['seconds'] ?? '', /^\d$/)
  await alice.xmpp.stop()

  await server.kill()
  await server.start()

  bob = await new Bot(server, 'bob', 'elsewhere').start()
  const late = await bob.hears('are you there?')
  assert.equal(late.getChild('delay')?.attrs['from'], DOMAIN)
  assert.equal(bob.got.filter(el => el.is('message')).length, 1)
  await bob.xmpp.stop()
})

for (const [tls, scheme] of [
  ['STARTTLS', 'xmpp'],
  ['direct TLS', 'xmpps'],
] as const) {
  test(`xmpp.js logs in over ${tls} without an error, time after time`, async () => {
    for (let i = 0; i < 25; i++) {
      const port = scheme === 'xmpp' ? server.port : server.tlsPort
      const service = `${scheme}://127.0.0.1:${port}`
      const bot = client({ service, domain: DOMAIN, username: 'carol', password: 'secret', resource: 'again' })
      const errors: unknown[] = []
      bot.on('error', (error: unknown) => errors.push(error))
      await bot.start()
      assert.deepEqual(errors, [])
      await bot.stop()
    }
  })
}

test('a slixmpp client and an xmpp.js bot talk', async t => {
  const found = await slixmpp()
  if ('missing' in found) return t.skip(found.missing)
  const carol = await Device.start({
    python: found.python,
    port: server.port,
    jid: `carol@${DOMAIN}/py`,
    password: 'secret',
    authority: path.join(folder, 'data/selfsigned.crt'),
  })
  const alice = await new Bot(server, 'alice', 'a').start()
  try {
    await alice.say('carol', 'for you')
    await carol.message('for you')
    await carol.do('say', { to: `alice@${DOMAIN}`, body: 'thank you' })
    assert.match((await alice.hears('thank you')).attrs['from'] ?? '', /^carol@/)
  } finally {
    carol.stop()
    await alice.xmpp.stop()
  }
})
