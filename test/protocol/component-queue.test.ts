/** What is for a component that is away, or has not said that it has it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Jid } from '../../src/xmpp/jid.ts'
import { faultyStore, lastingStore } from '../support/faultystore.ts'
import type { RawClient } from '../support/rawclient.ts'
import { RawComponent } from '../support/rawcomponent.ts'
import { child, errorCondition, type XmlElement, xmlText } from '../support/rawxml.ts'
import { managed } from '../support/resuming.ts'
import { nothing, online, says, serve } from '../support/talk.ts'
import { type TestOptions, TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const NAME = 'bot.localhost'
const ofOne = (options: object = {}): TestOptions => ({
  component: { hosts: { [NAME]: { password: 'secret', ...options } } },
})

const login = (server: TestServer, options: { name?: string; autoPong?: boolean } = {}) =>
  RawComponent.login({ port: server.componentPort, name: NAME, ...options })

async function waits(server: TestServer): Promise<number> {
  const [row] = await server.command<{ queue: number }[]>('components')
  return row!.queue
}

const drained = (server: TestServer) => eventually(async () => (await waits(server)) === 0, 'nothing waits any more')

async function tell(client: RawClient, ...texts: string[]): Promise<void> {
  for (const text of texts) {
    client.send(`<message to='task@${NAME}' type='chat' id='${text}'><body>${xmlText(text)}</body></message>`)
  }
  await client.ping()
}

const isMessage = (el: XmlElement) => el.name === 'message'
const isPing = (el: XmlElement) => child(el, 'ping', 'urn:xmpp:ping') !== undefined

async function bodies(component: RawComponent, count: number): Promise<(string | undefined)[]> {
  const found: (string | undefined)[] = []
  while (found.length < count) found.push(child(await component.receive(isMessage), 'body')?.text)
  return found
}

const nothingMore = async (component: RawComponent): Promise<void> => {
  await component.ping()
  await assert.rejects(component.receive(isMessage, 1), /nothing that matches/)
}

describe('messages for a component that is away', () => {
  test('wait, and come in order when it logs in, with the time when they were sent', async t => {
    const server = await serve(t, ofOne())
    const [romeo] = await online(server, 'romeo')
    await tell(romeo, 'one', 'two', 'three')
    assert.equal(await waits(server), 3)
    const bot = await login(server)
    const first = await bot.receive(isMessage)
    assert.equal(child(first, 'body')?.text, 'one')
    assert.equal(first.attrs['from'], romeo.jid)
    assert.ok(child(first, 'delay', 'urn:xmpp:delay')?.attrs['stamp'])
    assert.deepEqual(await bodies(bot, 2), ['two', 'three'])
    await tell(romeo, 'four')
    const last = await bot.receive(says('four'))
    assert.equal(child(last, 'delay'), undefined)
    await drained(server)
    await nothingMore(bot)
    await nothing(romeo, isMessage)
  })

  test('that say nothing of worth do not', async t => {
    const server = await serve(t, ofOne())
    const [romeo] = await online(server, 'romeo')
    romeo.send(`<message to='${NAME}' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>`)
    romeo.send(`<message to='${NAME}' type='headline'><body>news</body></message>`)
    await nothing(romeo, isMessage)
    assert.equal(await waits(server), 0)
  })

  test('are there after a restart of the server, and come once', async t => {
    const store = lastingStore()
    const options = { ...ofOne(), store }
    const before = await TestServer.start(options)
    const [romeo] = await online(before, 'romeo')
    await tell(romeo, 'one', 'two')
    await before.stop()
    const server = await serve(t, options)
    assert.equal(await waits(server), 2)
    const bot = await login(server)
    assert.deepEqual(await bodies(bot, 2), ['one', 'two'])
    await drained(server)
    bot.cut()
    await nothingMore(await login(server))
  })

  test('go back when too many wait, and when their time is over', async t => {
    const server = await serve(t, ofOne({ max_queue_messages: 3, max_sender_messages: 2, queue_lifetime: '1s' }))
    const [romeo, juliet, nurse] = await online(server, 'romeo', 'juliet', 'nurse')
    const refusal = async (client: RawClient, id: string) =>
      errorCondition(await client.receive(el => el.attrs['type'] === 'error' && el.attrs['id'] === id))
    await tell(romeo, 'one', 'two', 'too many of romeo')
    assert.equal(await refusal(romeo, 'too many of romeo'), 'resource-constraint')
    await tell(juliet, 'three')
    await tell(nurse, 'too many of all')
    assert.equal(await refusal(nurse, 'too many of all'), 'resource-constraint')
    assert.equal(await refusal(romeo, 'one'), 'remote-server-timeout')
    assert.equal(await refusal(juliet, 'three'), 'remote-server-timeout')
    await drained(server)
  })

  test('go back at once where nothing is to wait', async t => {
    const server = await serve(t, ofOne({ queue: false }))
    const [romeo] = await online(server, 'romeo')
    await tell(romeo, 'one')
    const error = await romeo.receive(el => el.attrs['type'] === 'error')
    assert.equal(errorCondition(error), 'remote-server-timeout')
    assert.equal(child(error, 'body')?.text, 'one')
    const bot = await login(server)
    await tell(romeo, 'two')
    await bot.receive(says('two'))
    assert.equal(await waits(server), 0)
  })

  test('wait for it though it is configured no more, and go back in the end', async t => {
    const store = lastingStore()
    const before = await TestServer.start({ ...ofOne(), store })
    const [romeo] = await online(before, 'romeo')
    await tell(romeo, 'one')
    await before.reload({})
    await before.stop()
    const without = await TestServer.start({ store })
    await without.stop()
    const server = await serve(t, { ...ofOne(), store })
    assert.deepEqual(await bodies(await login(server), 1), ['one'])
  })
})

describe('a message that was sent', () => {
  test('waits until the component has answered a ping: what a broken connection took with it comes again', async t => {
    const server = await serve(t, ofOne())
    const [romeo] = await online(server, 'romeo')
    const bot = await login(server, { autoPong: false })
    await tell(romeo, 'one', 'two')
    assert.deepEqual(await bodies(bot, 2), ['one', 'two'])
    const ping = await bot.receive(el => child(el, 'ping', 'urn:xmpp:ping') !== undefined)
    assert.equal(ping.attrs['from'], 'localhost')
    assert.equal(ping.attrs['to'], NAME)
    assert.equal(await waits(server), 2)
    bot.cut()
    const again = await login(server)
    assert.deepEqual(await bodies(again, 2), ['one', 'two'])
    await drained(server)
  })

  test('has arrived too where the ping is answered with an error, and it may be answered late', async t => {
    const server = await serve(t, ofOne())
    const [romeo] = await online(server, 'romeo')
    const bot = await login(server, { autoPong: false })
    await tell(romeo, 'one')
    const ping = await bot.receive(el => child(el, 'ping', 'urn:xmpp:ping') !== undefined)
    await tell(romeo, 'two')
    bot.send(
      `<iq type='error' id='${ping.attrs['id']}' to='localhost'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`,
    )
    await eventually(async () => (await waits(server)) === 1, 'one of the two is confirmed')
    const next = await bot.receive(el => child(el, 'ping', 'urn:xmpp:ping') !== undefined)
    bot.send(`<iq type='result' id='${next.attrs['id']}' to='localhost'/>`)
    await drained(server)
  })

  test('is not confirmed by another answer, nor by another component', async t => {
    const hosts = { [NAME]: { password: 'secret' }, 'other.localhost': { password: 'secret' } }
    const server = await serve(t, { component: { hosts } })
    const [romeo] = await online(server, 'romeo')
    const bot = await login(server, { autoPong: false })
    const other = await login(server, { name: 'other.localhost' })
    await tell(romeo, 'one')
    const { id } = (await bot.receive(el => child(el, 'ping', 'urn:xmpp:ping') !== undefined)).attrs
    other.send(`<iq type='result' id='${id}' to='localhost'/>`)
    bot.send(`<iq type='result' id='${id}' to='localhost'/>`, `task@${NAME}`)
    bot.send(`<iq type='result' id='${id}' to='romeo@localhost'/>`)
    bot.send(`<iq type='result' id='${id}x' to='localhost'/>`)
    await other.ping()
    await bot.ping()
    assert.equal(await waits(server), 1)
  })

  test('has arrived where the component closes its stream in order', async t => {
    const server = await serve(t, ofOne())
    const [romeo] = await online(server, 'romeo')
    const bot = await login(server, { autoPong: false })
    await tell(romeo, 'one')
    await bodies(bot, 1)
    await bot.close()
    await drained(server)
    await nothingMore(await login(server))
  })

  test('counts as arrived at a component that never answers pings, after a while', async t => {
    const server = await serve(t, { ...ofOne(), config: { ack_timeout: '1s' } })
    const [romeo] = await online(server, 'romeo')
    const bot = await login(server, { autoPong: false })
    await tell(romeo, 'one')
    await bodies(bot, 1)
    assert.equal(await waits(server), 1)
    await drained(server)
    await bot.ping()
  })

  test('waits at one that has answered before; when it is silent for long it is dead', async t => {
    const server = await serve(t, { ...ofOne(), config: { ack_timeout: '1s' } })
    const [romeo] = await online(server, 'romeo')
    const bot = await login(server)
    await tell(romeo, 'one')
    await drained(server)
    bot.options.autoPong = false
    await tell(romeo, 'two')
    await bot.ended()
    assert.equal(await waits(server), 1)
    assert.deepEqual(await bodies(await login(server), 1), ['two'])
  })

  test('goes to another connection of the component where its own breaks', async t => {
    const server = await serve(t, ofOne({ conflict: 'balance' }))
    const [romeo] = await online(server, 'romeo')
    const bots = [await login(server, { autoPong: false }), await login(server, { autoPong: false })]
    await tell(romeo, 'one', 'two')
    const told = bots.map(async bot => {
      await bot.receive(says('one'))
      return bot
    })
    const having = await Promise.race(told)
    await having.receive(says('two'))
    having.cut()
    const other = bots.find(bot => bot !== having)!
    await Promise.all(told)
    await other.receive(says('two'))
  })

  test('... also where the others have had enough just then', async t => {
    const unbounded = { max_queue_bytes: 'infinity', max_sender_bytes: 'infinity' }
    const server = await serve(t, ofOne({ conflict: 'balance', ...unbounded }))
    const people = await online(server, ...Array.from({ length: 20 }, (_, n) => `person${n}`))
    const first = await login(server, { autoPong: false })
    const second = await login(server, { autoPong: false })
    const [component] = [...server.server.components]
    const [one, two] = component!.connections
    const of = (connection: unknown) =>
      people.find(({ jid }) => component!.shareOf(() => Jid.parse(jid)) === connection) ?? assert.fail('try again')
    const text = 'x'.repeat(100_000)
    const bodiesOf = (name: string) => Array.from({ length: 25 }, (_, n) => `${name} ${n} ${text}`)
    const [firsts, seconds] = [bodiesOf('first'), bodiesOf('second')]
    for (const body of firsts) await tell(of(one), body)
    for (const body of seconds) await tell(of(two), body)
    assert.ok(component!.backlog.full)
    await tell(of(two), 'last')
    first.cut()
    await eventually(() => component!.connections.length === 1, 'one is gone')
    second.options.autoPong = true
    const ping = await second.receive(isPing)
    second.send(`<iq type='result' id='${ping.attrs['id']}' to='${ping.attrs['from']}'/>`)
    const got = await bodies(second, firsts.length + seconds.length + 1)
    assert.deepEqual(
      got.filter(body => body!.startsWith('first')),
      firsts,
    )
    await drained(server)
  })
})

test('a component that does not read gets no more for now; the rest waits on the disk', async t => {
  const server = await serve(t, ofOne({ max_queue_bytes: 'infinity', max_sender_bytes: 'infinity' }))
  const [romeo] = await online(server, 'romeo')
  const bot = await login(server)
  bot.pause()
  const text = 'x'.repeat(100_000)
  for (let i = 0; i < 100; i++) {
    romeo.send(`<message to='${NAME}' type='chat' id='${i}'><body>${i} ${text}</body></message>`)
    if (i % 10 === 0) await romeo.ping()
  }
  await romeo.ping()
  const [component] = [...server.server.components]
  assert.equal(component!.connections.length, 1)
  assert.ok(component!.connections[0]!.stream.transport.backlog < 4 * 1024 * 1024)
  assert.equal(await waits(server), 100)
  bot.resumeReading()
  for (let i = 0; i < 100; i++) {
    const message = await bot.receive(isMessage)
    assert.match(child(message, 'body')!.text, new RegExp(`^${i} `))
  }
  await drained(server)
})

test('what is not queued comes in its place behind what is: presence, and iqs that ask', async t => {
  const { store, troubles } = faultyStore({ only: 'component_queue' })
  const server = await serve(t, { ...ofOne(), store })
  const [romeo] = await online(server, 'romeo')
  await tell(romeo, 'one', 'two')
  troubles.reads.close()
  const bot = await login(server)
  romeo.send(`<presence to='task@${NAME}' type='unavailable' id='leaves'/>`)
  romeo.send(`<iq to='task@${NAME}' type='get' id='asks'><query xmlns='urn:x'/></iq>`)
  romeo.send(`<message to='task@${NAME}' type='chat' id='three'><body>three</body></message>`)
  romeo.send(`<presence to='task@${NAME}' id='comes'/>`)
  await romeo.ping()
  // What the component itself has asked is answered meanwhile.
  await bot.ping()
  troubles.reads.open()
  const order: (string | undefined)[] = []
  while (order.length < 6)
    order.push((await bot.receive(el => ['message', 'presence', 'iq'].includes(el.name) && !isPing(el))).attrs['id'])
  assert.deepEqual(order, ['one', 'two', 'leaves', 'asks', 'three', 'comes'])
})

test('what waits in its place goes back where the component goes first, and where it is too much', async t => {
  const { store, troubles } = faultyStore({ only: 'component_queue' })
  const server = await serve(t, { ...ofOne(), store })
  const [romeo] = await online(server, 'romeo')
  await tell(romeo, 'one')
  troubles.reads.close()
  const bot = await login(server)
  const ask = (id: number) => romeo.send(`<iq to='task@${NAME}' type='get' id='q${id}'><query xmlns='urn:x'/></iq>`)
  for (let i = 0; i <= 1000; i++) ask(i)
  const refused = async (id: string) =>
    errorCondition(await romeo.receive(el => el.attrs['type'] === 'error' && el.attrs['id'] === id))
  assert.equal(await refused('q1000'), 'resource-constraint')
  bot.cut()
  assert.equal(await refused('q0'), 'remote-server-timeout')
  assert.equal(await refused('q999'), 'remote-server-timeout')
  troubles.reads.open()
})

test('what waits in its place is bounded in bytes', async t => {
  const { store, troubles } = faultyStore({ only: 'component_queue' })
  const server = await serve(t, { ...ofOne(), store })
  const [romeo] = await online(server, 'romeo')
  await tell(romeo, 'one')
  troubles.reads.close()
  await login(server)
  const text = 'x'.repeat(200_000)
  for (let i = 0; i < 6; i++)
    romeo.send(`<iq to='${NAME}' type='get' id='q${i}'><query xmlns='urn:x'>${text}</query></iq>`)
  const error = await romeo.receive(el => el.attrs['type'] === 'error')
  assert.deepEqual([error.attrs['id'], errorCondition(error)], ['q5', 'resource-constraint'])
  troubles.reads.open()
})

describe('who waits for an answer', () => {
  test('a client is told that its message is safe when it is on the disk', async t => {
    const { store, troubles } = faultyStore({ only: 'component_queue' })
    const { writes } = troubles
    const server = await serve(t, { ...ofOne(), store })
    const romeo = await managed(server, 'romeo')
    writes.close()
    romeo.send(`<message to='${NAME}' type='chat' id='1'><body>one</body></message>`, 'one')
    romeo.askAck()
    await assert.rejects(
      romeo.receive(el => el.name === 'a' && el.attrs['h'] === '1', 300),
      /nothing that matches/,
    )
    writes.open()
    await eventually(() => romeo.sm!.unacked.length === 0, 'the message is acknowledged')
  })

  test('a component that pings the server is answered when what it sent before is safe', async t => {
    const { store, troubles } = faultyStore({ only: 'queue' })
    const { writes } = troubles
    const server = await serve(t, { ...ofOne(), store })
    await server.register('romeo')
    const bot = await login(server)
    writes.close()
    bot.send("<message to='romeo@localhost' type='chat' id='1'><body>for the disk</body></message>")
    const pinged = bot.ping()
    const early = await Promise.race([
      pinged.then(() => 'answered'),
      eventually(() => writes.calls > 0).then(() => 'waits'),
    ])
    assert.equal(early, 'waits')
    writes.open()
    await pinged
  })
})

test('administrators see what waits, give it up, and end connections', async t => {
  const server = await serve(t, ofOne())
  const [romeo] = await online(server, 'romeo')
  await tell(romeo, 'one', 'two')
  const rows = await server.command<Record<string, unknown>[]>('component_queue', { component: NAME, limit: 1 })
  assert.equal(rows.length, 1)
  assert.deepEqual([rows[0]!['from'], rows[0]!['to']], [romeo.jid, `task@${NAME}`])
  await assert.rejects(server.command('component_queue', { component: 'irc.localhost' }), /there is no component/)
  const { commands } = server.server
  assert.equal(await commands.run('component_drop', { component: NAME }, { yes: true }), 2)
  assert.equal(await waits(server), 0)
  for (const id of ['one', 'two']) await romeo.receive(el => el.attrs['type'] === 'error' && el.attrs['id'] === id)
  const bot = await login(server)
  const [row] = await server.command<Record<string, unknown>[]>('components')
  assert.deepEqual([row!['component'], row!['connections'], row!['ip']], [NAME, 1, ['127.0.0.1']])
  assert.equal(await server.command('component_reset', { component: NAME }), 1)
  assert.equal(await bot.ended(), 'reset')
})

test('its sender may ask what became of a message: it waits, the component has it, it went back', async t => {
  const server = await serve(t, ofOne({ queue_lifetime: '1s' }))
  const [romeo] = await online(server, 'romeo')
  const STATES = 'urn:hermod:message-states:0'
  const stateOf = async (id: string) => {
    const payload = `<states xmlns='${STATES}' with='task@${NAME}'><message id='${id}'/></states>`
    const answer = await romeo.request('get', payload)
    return child(child(answer, 'states'), 'message')?.attrs['state']
  }
  await tell(romeo, 'one')
  assert.equal(await stateOf('one'), 'queued')
  const bot = await login(server)
  await bodies(bot, 1)
  await eventually(async () => (await stateOf('one')) === 'accepted', 'the component has it')
  await bot.close()
  await tell(romeo, 'two')
  await romeo.receive(el => el.attrs['type'] === 'error' && el.attrs['id'] === 'two')
  await eventually(async () => (await stateOf('two')) === 'failed', 'it went back')
})
