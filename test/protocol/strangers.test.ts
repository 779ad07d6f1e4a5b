import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { RawClient } from '../support/rawclient.ts'
import { errorCondition } from '../support/rawxml.ts'
import { available, befriend, nothing, says, serve } from '../support/talk.ts'

interface People {
  alice: RawClient
  /** Of another server. */
  eve: RawClient
  say(body: string, from?: RawClient, more?: string): void
}

/** Users of localhost may write to those of other.example, and not the other way. */
const ONE_WAY = { acl: { here: { server: ['localhost'] } }, access_rules: { here: [{ allow: 'here' }] } }

async function start(t: TestContext, options: Record<string, unknown> = {}, config: object = ONE_WAY): Promise<People> {
  const server = await serve(t, {
    hosts: ['localhost', 'other.example'],
    config: { ...config },
    modules: {
      mod_block_strangers: { allow_local_users: false, access: config === ONE_WAY ? 'here' : 'none', ...options },
    },
  })
  const alice = await server.client('alice')
  const eve = await server.client('eve', { host: 'other.example' })
  await available(alice)
  await available(eve)
  const say = (body: string, from = eve, more = '') =>
    from.send(`<message to='alice@localhost' type='chat' id='${body}'><body>${body}</body>${more}</message>`)
  return { alice, eve, say }
}

const answer = async (client: RawClient, id: string) =>
  errorCondition(await client.receive(el => el.attrs['id'] === id && el.attrs['type'] === 'error'))

test('a stranger’s message does not get through, and tells nothing of the account', async t => {
  const { alice, eve, say } = await start(t)
  say('Buy')
  assert.equal(await answer(eve, 'Buy'), 'service-unavailable')
  eve.send("<message to='nobody@localhost' type='chat' id='n'><body>x</body></message>")
  assert.equal(await answer(eve, 'n'), 'service-unavailable') // the same
  await nothing(alice, says('Buy'), eve)
})

test('contacts are no strangers', async t => {
  const { alice, eve, say } = await start(t)
  await befriend(alice, eve)
  say('Hi')
  await alice.receive(says('Hi'))
})

test('who was written to may answer', async t => {
  const { alice, eve, say } = await start(t)
  alice.send(`<message to='${eve.jid}' type='chat'><body>Is this for sale?</body></message>`)
  await eve.receive(says('Is this for sale?'))
  say('Yes')
  await alice.receive(says('Yes'))
})

test('of whom one wrote to, the latest are remembered', async t => {
  const { alice, eve, say } = await start(t)
  alice.send("<message to='eve@other.example' type='chat'><body>Hello</body></message>")
  await eve.receive(says('Hello'))
  for (let i = 0; i < 200; i++)
    alice.send(`<message to='x${i}@other.example' type='chat' id='x'><body>x</body></message>`)
  await alice.ping()
  say('Too late')
  assert.equal(await answer(eve, 'Too late'), 'service-unavailable')
})

test('so many characters of them, too', async t => {
  const { alice, eve, say } = await start(t)
  alice.send("<message to='eve@other.example' type='chat'><body>Hello</body></message>")
  await eve.receive(says('Hello'))
  for (let i = 0; i < 17; i++) {
    alice.send(`<message to='${String(i).padEnd(1000, 'x')}@other.example' type='chat' id='x'><body>x</body></message>`)
  }
  await alice.ping()
  say('Too late')
  assert.equal(await answer(eve, 'Too late'), 'service-unavailable')
})

test('what has no text gets through: requests, receipts, invitations to rooms', async t => {
  const { alice, eve } = await start(t)
  eve.send("<message to='alice@localhost' id='r'><received xmlns='urn:xmpp:receipts' id='1'/></message>")
  await alice.receive(el => el.attrs['id'] === 'r')
  eve.send("<presence to='alice@localhost' type='subscribe'/>")
  await alice.receive(el => el.attrs['type'] === 'subscribe')
})

test('by option messages are dropped without an answer', async t => {
  const { alice, eve, say } = await start(t, { drop: true })
  say('Buy')
  await nothing(alice, says('Buy'), eve)
  await nothing(eve, el => el.attrs['type'] === 'error', alice)
})

test('users of the server are no strangers unless it is said; some strangers are let through', async t => {
  const local = await start(t, { allow_local_users: true })
  local.say('Neighbour')
  await local.alice.receive(says('Neighbour'))
  const known = await start(
    t,
    { access: 'friends' },
    { acl: { friends: { server: ['other.example'] } }, access_rules: { friends: [{ allow: 'friends' }] } },
  )
  known.say('Friend')
  await known.alice.receive(says('Friend'))
})

test('one’s own clients and server are never strangers', async t => {
  const { alice, say } = await start(t, { allow_transports: false })
  say('Note to self', alice)
  await alice.receive(says('Note to self'))
})
