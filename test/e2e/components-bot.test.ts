/** A bot made with xmpp.js that logs in as a component: it answers what it is told, whoever of the two was restarted. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { component, xml } from '@xmpp/component'
import { Bot, type El } from '../support/bot.ts'
import { RawClient } from '../support/rawclient.ts'
import { freePorts, type HermodProcess, hermodProcess } from '../support/serverprocess.ts'
import { eventually } from '../support/waiting.ts'

process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'

const DOMAIN = 'bots.example'
const ECHO = `echo.${DOMAIN}`
let folder: string
let server: HermodProcess
let port: number

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'hermod-e2e-'))
  port = (await freePorts(1))[0]!
  const env = { HERMOD_COMPONENT_PORT: String(port), HERMOD_COMPONENT: ECHO, HERMOD_COMPONENT_SECRET: 'beep' }
  server = await hermodProcess({ folder, domain: DOMAIN, env })
  await server.start()
  await RawClient.register({ host: '127.0.0.1', port: server.port, domain: DOMAIN }, 'alice', 'secret')
})
after(async () => {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

async function echo() {
  const bot = component({ service: `xmpp://127.0.0.1:${port}`, domain: ECHO, password: 'beep' })
  bot.on('error', () => {}) // the server is killed in between
  bot.on('stanza', async (el: El) => {
    const text = el.getChildText('body')
    if (!el.is('message') || el.attrs['type'] === 'error' || text === null) return
    const { from, to, id } = el.attrs
    await bot.send(
      xml('message', { from: to, to: from, type: 'chat', id: `re-${id}` }, xml('body', {}, `you said ${text}`)),
    )
  })
  await bot.start()
  return bot
}

const tell = (alice: Bot, text: string) =>
  alice.send('chat', 'message', { to: `any@${ECHO}`, id: crypto.randomUUID() }, xml('body', {}, text))

/** What it was told before is safe then. */
async function safe(alice: Bot, id: string): Promise<void> {
  await alice.send('get', 'iq', { to: DOMAIN, id }, xml('ping', { xmlns: 'urn:xmpp:ping' }))
  await alice.receive(el => el.is('iq') && el.attrs['id'] === id)
}

test('it answers; what it was told while it was away it answers when it is back, though the server was killed', async t => {
  const come = async (resource: string): Promise<Bot> => {
    const alice = await new Bot(server, 'alice', resource).start()
    t.after(() => alice.xmpp.stop().catch(() => {}))
    return alice
  }
  let bot = await echo()
  t.after(() => bot.stop().catch(() => {}))
  const alice = await come('a')
  await tell(alice, 'one')
  const answer = await alice.hears('you said one')
  assert.equal(answer.attrs['from'], `any@${ECHO}`)

  await bot.stop()
  await tell(alice, 'two')
  await tell(alice, 'three')
  await safe(alice, 'before the bot')
  bot = await echo()
  await alice.hears('you said two')
  await alice.hears('you said three')

  await bot.stop()
  await tell(alice, 'four')
  await tell(alice, 'five')
  await safe(alice, 'before the kill')
  await alice.xmpp.stop()
  await server.kill()
  await server.start()
  const { out } = await server.ctl('component_queue', ECHO)
  assert.match(out, /alice@bots\.example/)
  bot = await echo()
  const later = await come('b')
  await later.hears('you said four')
  await later.hears('you said five')

  // The bot has a connection when the server goes, and comes back by itself.
  await later.xmpp.stop()
  await server.kill()
  await server.start()
  await eventually(() => bot.status === 'online', 'the bot is back')
  const last = await come('c')
  await tell(last, 'six')
  await last.hears('you said six')
})
