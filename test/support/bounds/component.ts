import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { RawComponent } from '../rawcomponent.ts'
import { child, errorCondition, type XmlElement } from '../rawxml.ts'
import { online, serve } from '../talk.ts'
import type { Bounds } from './bound.ts'

const NAME = 'bot.localhost'
const ALL = {
  max_queue_messages: 'infinity',
  max_queue_bytes: 'infinity',
  max_sender_messages: 'infinity',
  max_sender_bytes: 'infinity',
}
const one = (options: object) => ({ component: { hosts: { [NAME]: { password: 'secret', ...options } } } })
const isPing = (el: XmlElement): boolean => child(el, 'ping', 'urn:xmpp:ping') !== undefined

async function unconfirmed(t: TestContext): Promise<void> {
  const server = await serve(t, { ...one(ALL), config: { ack_timeout: 'infinity' } })
  const [romeo] = await online(server, 'romeo')
  const bot = await RawComponent.login({ port: server.componentPort, name: NAME, autoPong: false })
  for (let i = 0; i < 1500; i++) romeo.send(`<message to='${NAME}' type='chat' id='${i}'><body>${i}</body></message>`)
  await romeo.ping()
  const has = (id: number) => bot.receive(el => el.name === 'message' && el.attrs['id'] === `${id}`, 2000)
  await has(999)
  await bot.ping()
  await assert.rejects(bot.receive(el => el.attrs['id'] === '1000', 1))
  // What is asked first covers a part, what is asked then the rest.
  for (const covers of [1, 2]) {
    const { id } = (await bot.receive(isPing)).attrs
    bot.send(`<iq type='result' id='${id}' to='localhost'/>`)
    assert.ok(covers)
  }
  await has(1499)
}

/** Where there are others that could take more, one that does not confirm gets what is its share, but not without end. */
async function deaf(t: TestContext): Promise<void> {
  const server = await serve(t, { ...one({ ...ALL, conflict: 'balance' }), config: { ack_timeout: 'infinity' } })
  const [romeo] = await online(server, 'romeo')
  const login = () => RawComponent.login({ port: server.componentPort, name: NAME, autoPong: false })
  const bots = [await login(), await login()]
  const text = 'x'.repeat(10_000)
  let left: RawComponent[] = bots
  for (let i = 0; left.length === 2; i++) {
    assert.ok(i < 1000, 'the connection stays')
    romeo.send(`<message to='${NAME}' type='chat' id='${i}'><body>${text}</body></message>`)
    await romeo.ping()
    left = bots.filter(({ closed }) => !closed)
  }
}

async function waiting(t: TestContext): Promise<void> {
  const server = await serve(t, one({ max_queue_bytes: 20_000, max_sender_bytes: 10_000 }))
  const [romeo, juliet, nurse] = await online(server, 'romeo', 'juliet', 'nurse')
  const text = 'x'.repeat(8000)
  const tells = async (client: typeof romeo, id: string): Promise<string> => {
    client.send(`<message to='${NAME}' type='chat' id='${id}'><body>${text}</body></message>`)
    await client.ping()
    const error = await client.receive(el => el.attrs['id'] === id, 1).catch(() => undefined)
    return error === undefined ? 'waits' : errorCondition(error)
  }
  assert.equal(await tells(romeo, '1'), 'waits')
  assert.equal(await tells(romeo, '2'), 'resource-constraint')
  assert.equal(await tells(juliet, '3'), 'waits')
  assert.equal(await tells(nurse, '4'), 'resource-constraint')
}

async function connections(t: TestContext): Promise<void> {
  const server = await serve(t, one({ conflict: 'balance' }))
  const login = () => RawComponent.login({ port: server.componentPort, name: NAME })
  for (let i = 0; i < 100; i++) await login()
  const late = await RawComponent.connect({ port: server.componentPort, name: NAME })
  await assert.rejects(late.handshake())
  assert.equal(await late.ended(), 'resource-constraint')
}

export const BOUNDS: Bounds = {
  'messages that a component has not confirmed': { number: unconfirmed, bytes: deaf },
  'bytes that a component does not read': {
    bytes: 'costs so much memory and no more, and nobody else waits for it',
  },
  'messages that wait for a component': {
    number: 'go back when too many wait, and when their time is over',
    bytes: waiting,
  },
  'stanzas that wait for their place behind messages for a component': {
    number: 'what waits in its place goes back where the component goes first, and where it is too much',
    bytes: 'what waits in its place is bounded in bytes',
  },
  'requests that a component has not answered, remembered so that their senders are told when it goes':
    'so many requests are remembered, and none with a very long id',
  'requests of one sender that a component answers for the server (`mod_delegation`)': {
    number: 'so many at a time; who asks more waits',
    bytes: 'each',
  },
  'questions of a component in the name of users that are on their way (`mod_privilege`)': {
    number: 'may be for the component itself, which is not kept waiting, and so many at a time',
    bytes: 'each',
  },
  'presence of contacts elsewhere that is kept for components that see it (`mod_privilege`)':
    'so much is kept of contacts elsewhere, in number and in bytes',
  'connections of a component, where they are balanced': { number: connections, bytes: 'each' },
}
