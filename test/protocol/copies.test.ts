/** What is a copy, sent again by a client that did not know that we have it, and what only looks like one (promise 5). */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { C2SSession } from '../../src/c2s/session.ts'
import { faultyStore } from '../support/faultystore.ts'
import type { RawClient } from '../support/rawclient.ts'
import { authenticated, isSm } from '../support/resuming.ts'
import { agent, bind, dial, enable, logIn, plain } from '../support/sasl2client.ts'
import { says, serve } from '../support/talk.ts'
import type { TestOptions, TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const ALARM = "<message to='juliet@localhost' type='chat' id='1'><body>backup failed!</body></message>"
const unique = (id: string) => `<message to='juliet@localhost' type='chat' id='${id}'><body>${id}</body></message>`

/** Juliet, who reads everything and counts it. */
async function stage(t: TestContext, options: TestOptions = {}) {
  const server = await serve(t, options)
  const juliet = await server.client('juliet')
  juliet.send('<presence/>')
  let got = 0
  juliet.on('stanza', el => {
    if (el.name === 'message') got++
  })
  await server.register('bot')
  /** How many messages juliet has got, once the bot's stream has been read up to now. */
  const count = async (bot?: RawClient): Promise<number> => {
    if (bot !== undefined) await bot.ping()
    await juliet.ping()
    return got
  }
  return { server, juliet, count }
}

/** The bot, whose stream has been read up to the end of what it sent. */
async function login(server: TestServer, resource?: string, ...sent: string[]): Promise<RawClient> {
  const bot = await authenticated(server, 'bot')
  await bot.bind(resource)
  await bot.enable()
  for (const message of sent) bot.send(message)
  if (sent.length > 0) await bot.ping()
  return bot
}

/** A client that names its device itself, however its resource is tagged. */
async function phone(t: TestContext, server: TestServer, tag: string): Promise<RawClient> {
  const client = await dial(t, server)
  await logIn(client, 'PLAIN', plain('bot'), agent() + bind(enable, tag))
  return client
}

/** The bot is told that everything it sent is safe. */
async function told(bot: RawClient): Promise<void> {
  bot.askAck()
  await bot.receive(el => isSm('a')(el) && bot.sm!.unacked.length === 0)
}

const gone = (server: TestServer) =>
  eventually(
    () => [...server.server.host('localhost')!.sessions()].every(s => s.jid.local !== 'bot' || !s.connected),
    'the bot is gone',
  )

/** The connection of the bot breaks, and it logs in again. */
async function comesBack(server: TestServer, bot: RawClient, resource = 'cron'): Promise<RawClient> {
  bot.cut('rst')
  await gone(server)
  return login(server, resource)
}

for (const [how, leave] of [
  ['closes its stream', (bot: RawClient) => bot.close()],
  ['ends its connection', (bot: RawClient) => bot.cut('fin')],
] as const) {
  for (const resource of ['cron', undefined]) {
    const named = resource === undefined ? 'a new resource each time' : 'the same resource'
    test(`an alarm is sent four times by a bot that hears of each and ${how} (${named}): four alarms`, async t => {
      const { server, count } = await stage(t)
      for (let run = 1; run <= 4; run++) {
        const bot = await login(server, resource)
        bot.send(ALARM)
        await told(bot)
        await leave(bot)
        assert.equal(await count(), run)
      }
    })
  }
}

test('so it is over TLS, where the connection has one more end', async t => {
  const { server, count } = await stage(t)
  for (let run = 1; run <= 3; run++) {
    const bot = await dial(t, server)
    await bot.login({ user: 'bot', password: 'secret' })
    await bot.bind('cron')
    await bot.enable()
    bot.send(ALARM)
    await told(bot)
    bot.cut('fin')
    assert.equal(await count(), run)
  }
})

test('a client that was not told, and is cut, sends again: one message', async t => {
  const { server, count } = await stage(t)
  for (const how of ['rst', 'fin', 'rst'] as const) {
    const bot = await login(server, 'cron')
    bot.send(ALARM)
    assert.equal(await count(bot), 1)
    bot.cut(how)
    await gone(server)
  }
})

test('each message that the client does not know of stands for one copy, not for more', async t => {
  const { server, count } = await stage(t)
  const bot = await login(server, 'cron')
  for (let i = 0; i < 3; i++) bot.send(ALARM)
  await told(bot)
  bot.send(ALARM)
  bot.send(ALARM)
  assert.equal(await count(bot), 5)
  const again = await comesBack(server, bot)
  for (let i = 0; i < 2; i++) again.send(ALARM)
  assert.equal(await count(again), 5, 'the two that it was not told of')
  for (let i = 0; i < 3; i++) again.send(ALARM)
  assert.equal(await count(again), 8, 'three more')
})

test('told on a connection that broke: an id that is used once decides, of a client that has many', async t => {
  const { server, count } = await stage(t)
  const bot = await login(server, 'cron')
  bot.options.autoAck = false
  for (let i = 1; i <= 8; i++) bot.send(unique(`a${i}`))
  await told(bot)
  const again = await comesBack(server, bot)
  again.send(unique('a8'))
  assert.equal(await count(again), 8)
})

test('alarms of a bot that hears of each, and leaves unread what else there is, so that its connection breaks: all come', async t => {
  const { server, count } = await stage(t)
  for (let run = 1; run <= 4; run++) {
    const bot = await login(server, 'cron')
    bot.options.autoAck = false
    bot.send(ALARM)
    await told(bot)
    bot.cut('rst')
    await gone(server)
    assert.equal(await count(), run)
  }
})

test('messages without an id: what its client was never told of is recognised, the rest is not', async t => {
  const { server, count } = await stage(t)
  const nameless = "<message to='juliet@localhost' type='chat'><body>ok</body></message>"
  let bot = await login(server, 'cron')
  bot.options.autoAck = false
  bot.send(nameless)
  bot.send(nameless)
  assert.equal(await count(bot), 2)
  bot = await comesBack(server, bot)
  bot.options.autoAck = false
  bot.send(nameless)
  bot.send(nameless)
  assert.equal(await count(bot), 2)
  await told(bot)
  bot = await comesBack(server, bot)
  bot.send(nameless)
  assert.equal(await count(bot), 3)
})

test('a message without an id is something new too: what comes after it is not old', async t => {
  const { server, count } = await stage(t)
  const bot = await login(server, 'cron', unique('z1'))
  const again = await comesBack(server, bot)
  again.send("<message to='juliet@localhost' type='chat'><body>new</body></message>")
  again.send(unique('z1'))
  assert.equal(await count(again), 3)
})

test('a device that names itself is the same after a restart', async t => {
  const { store } = faultyStore()
  const first = await stage(t, { store })
  const bot = await phone(t, first.server, 'one')
  await first.juliet.close()
  await first.server.server.stop()
  const { server, count } = await stage(t, { store })
  const back = await authenticated(server, 'bot')
  assert.equal(await back.resume(bot.sm!), true)
  back.send(unique('y1'))
  assert.equal(await count(back), 1)
  back.cut('rst')
  await gone(server)
  const again = await phone(t, server, 'two')
  again.send(unique('y1'))
  assert.equal(await count(again), 1)
})

test('who sends again under another address hears of it there when it cannot be stored', async t => {
  const { store, troubles } = faultyStore({ only: 'queue' })
  t.after(() => troubles.writes.open())
  const { server } = await stage(t, { store })
  await server.register('nurse')
  troubles.writes.close()
  const text = "<message to='nurse@localhost' type='chat' id='w1'><body>wait</body></message>"
  const bot = await phone(t, server, 'one')
  bot.send(text)
  await bot.ping()
  bot.cut('rst')
  await gone(server)
  const again = await phone(t, server, 'two')
  again.send(text)
  again.askAck()
  await again.ping()
  troubles.failWrites = true
  troubles.writes.open()
  const seen: string[] = []
  again.on('element', el => seen.push(el.name))
  const error = await again.receive(el => el.name === 'message' && el.attrs['type'] === 'error')
  assert.equal(error.attrs['id'], 'w1')
  await again.receive(el => isSm('a')(el) && again.sm!.unacked.length === 0)
  assert.deepEqual(seen, ['message', 'a'], 'before it is acknowledged')
})

test('the count of a lost session is not told where its client may not have heard that a message was refused', async t => {
  const { server } = await stage(t, { config: { resume_timeout: '50ms' } })
  const bot = await login(server, 'cron')
  bot.pause()
  bot.send("<message to='nobody@localhost' type='chat' id='1'><body>hello?</body></message>")
  await eventually(() => [...server.server.host('localhost')!.sessions()].some(s => [...s.unacknowledged()].length > 0))
  bot.cut('rst')
  const { sm } = bot
  await eventually(() => [...server.server.host('localhost')!.sessions()].length === 1, 'the session is gone')
  const again = await authenticated(server, 'bot')
  assert.equal(await again.resume(sm!), false)
  assert.equal(sm!.unacked.length, 1, 'nobody has told it')
})

test('told on a connection that broke, under an id that says nothing: better twice than never', async t => {
  const { server, count } = await stage(t)
  const bot = await login(server, 'cron')
  bot.options.autoAck = false
  bot.send(ALARM)
  bot.send(ALARM)
  await told(bot)
  const again = await comesBack(server, bot)
  again.send(ALARM)
  assert.equal(await count(again), 3)
})

test('a client that has answered since knows: what it sends later is new', async t => {
  const { server, count } = await stage(t)
  const bot = await login(server, 'cron')
  bot.send(ALARM)
  const asked = new Promise<void>(resolve => bot.once('asked', resolve))
  await told(bot)
  await asked
  await bot.ping()
  const again = await comesBack(server, bot)
  again.send(ALARM)
  assert.equal(await count(again), 2)
})

test('another device, or none that is known to be the same, sends no copies', async t => {
  const { server, count } = await stage(t)
  const bot = await login(server, 'cron', unique('b1'))
  const other = await comesBack(server, bot, 'desk')
  other.send(unique('b1'))
  assert.equal(await count(other), 2)
})

test('a device that names itself is the same under another resource', async t => {
  const { server, count } = await stage(t)
  const bot = await phone(t, server, 'one')
  bot.send(unique('c1'))
  await count(bot)
  bot.cut('rst')
  await gone(server)
  const again = await phone(t, server, 'two')
  assert.notEqual(again.jid, bot.jid)
  again.send(unique('c1'))
  assert.equal(await count(again), 1)
})

test('after something new for the same addressee nothing old comes again', async t => {
  const { server, count } = await stage(t)
  const bot = await login(server, 'cron')
  bot.send(unique('d1'))
  bot.send(unique('d2'))
  await count(bot)
  const again = await comesBack(server, bot)
  again.send(unique('d2'))
  assert.equal(await count(again), 2)
  again.send(unique('d1'))
  assert.equal(await count(again), 3, 'out of order')
})

test('a receipt between the copies does not end them', async t => {
  const { server, juliet, count } = await stage(t)
  const bot = await login(server, 'cron', unique('e1'))
  const again = await comesBack(server, bot)
  again.send("<message to='juliet@localhost' type='chat' id='r'><received xmlns='urn:xmpp:receipts' id='x'/></message>")
  again.send(unique('e1'))
  assert.equal(await count(again), 2, 'the message and the receipt')
  assert.ok(await juliet.receive(says('e1')))
})

test('a copy comes soon, or not at all', async t => {
  let now = Date.now()
  const { server, count } = await stage(t, { now: () => now })
  const bot = await login(server, 'cron', unique('f1'))
  bot.cut('rst')
  await gone(server)
  now += 11 * 60_000
  const again = await login(server, 'cron')
  again.send(unique('f1'))
  assert.equal(await count(again), 2)
})

test('copies of copies: whoever breaks while sending again sends again', async t => {
  const { server, count } = await stage(t)
  let bot = await login(server, 'cron')
  for (const id of ['g1', 'g2', 'g3']) bot.send(unique(id))
  await count(bot)
  for (const sent of [['g1'], ['g1', 'g2'], ['g1', 'g2', 'g3']]) {
    bot = await comesBack(server, bot)
    for (const id of sent) bot.send(unique(id))
    assert.equal(await count(bot), 3)
  }
})

test('who wants a session back that is gone learns how far that was: only the rest is sent again', async t => {
  const { server, count } = await stage(t, { config: { resume_timeout: '50ms' } })
  const bot = await login(server, 'cron', ALARM)
  bot.cut('rst')
  const { sm } = bot
  await eventually(() => [...server.server.host('localhost')!.sessions()].length === 1, 'the session is gone')
  const again = await authenticated(server, 'bot')
  assert.equal(await again.resume(sm!), false)
  assert.equal(sm!.unacked.length, 0, 'h says that we have it')
  await again.bind('cron')
  await again.enable()
  again.send(ALARM)
  assert.equal(await count(again), 2)
})

test('so it is where the client is cut again before it says anything', async t => {
  const { server, count } = await stage(t, { config: { resume_timeout: '50ms' } })
  const bot = await login(server, 'cron', ALARM)
  bot.cut('rst')
  const { sm } = bot
  const ended = () => eventually(() => [...server.server.host('localhost')!.sessions()].length === 1, 'it is gone')
  await ended()
  const again = await authenticated(server, 'bot')
  assert.equal(await again.resume(sm!), false)
  assert.equal(sm!.unacked.length, 0, 'h says that we have it')
  await again.bind('cron')
  await again.enable()
  again.cut('rst')
  await ended()
  const third = await login(server, 'cron')
  third.send(ALARM)
  assert.equal(await count(third), 2)
})

test('who comes back after a restart knows what it was told by the resumption', async t => {
  const { store } = faultyStore()
  const first = await stage(t, { store })
  const bot = await login(first.server, 'cron', ALARM)
  await first.juliet.close()
  await first.server.server.stop()
  const { server, count } = await stage(t, { store })
  const again = await authenticated(server, 'bot')
  assert.equal(await again.resume(bot.sm!), true)
  assert.equal(bot.sm!.unacked.length, 0)
  again.send(ALARM)
  assert.equal(await count(again), 1, 'since the restart')
})

test('a client that was told by a resumption, and answered since, sends nothing old', async t => {
  const { server, count } = await stage(t)
  const bot = await login(server, 'cron', ALARM)
  bot.cut('rst')
  const back = await authenticated(server, 'bot')
  const asked = new Promise<void>(resolve => back.once('asked', resolve))
  assert.equal(await back.resume(bot.sm!), true)
  await asked
  await back.ping()
  const again = await comesBack(server, back)
  again.send(ALARM)
  assert.equal(await count(again), 2)
})

test('what a resumption says that we do not have is sent again, and is no new message', async t => {
  const { store, troubles } = faultyStore({ only: 'queue' })
  t.after(() => troubles.writes.open())
  const { server, count } = await stage(t, { store })
  await server.register('nurse')
  troubles.writes.close()
  const bot = await login(server, 'cron')
  const text = "<message to='nurse@localhost' type='chat' id='1'><body>wait</body></message>"
  bot.send(text)
  bot.send(text)
  await bot.ping()
  bot.cut('rst')
  await gone(server)
  const back = await authenticated(server, 'bot')
  assert.equal(await back.resume(bot.sm!), true)
  assert.ok(bot.sm!.unacked.length > 0)
  troubles.writes.open()
  await count(back)
  assert.equal(await server.server.host('localhost')!.queues.count('nurse'), 2)
})

test('a session that has ended keeps nothing of what its client might have sent again', async t => {
  const { server } = await stage(t)
  const last = () => [...server.server.host('localhost')!.sessions()].find(s => s.jid.local === 'bot') as C2SSession
  const bot = await login(server, 'cron')
  bot.send(unique('x1'))
  bot.send("<message to='bot@localhost' type='chat' id='x2'><body>x2</body></message>")
  await bot.ping()
  const again = await comesBack(server, bot)
  again.send(unique('x3'))
  await again.ping()
  const { run } = last().inbound.end
  assert.equal(run.expected?.size, 1, 'to itself')
  assert.equal(await again.close(), true)
  assert.equal(run.expected, undefined)
})
