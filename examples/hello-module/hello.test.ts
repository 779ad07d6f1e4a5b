import assert from 'node:assert/strict'
import { test } from 'node:test'
import { available, lastingStore, nothing, says, serve } from 'hermod/testing'
import { hello } from './hello.ts'

test('users are greeted when they come online, once a day', async t => {
  const server = await serve(t, { extra: [hello], modules: { mod_hello: { greeting: 'Good day' } } })
  const alice = await server.client('alice', { resource: 'phone' })
  await available(alice)
  await alice.receive(says('Good day, alice!'))

  const again = await server.client('alice', { resource: 'desk' })
  await available(again)
  await nothing(again, says('Good day, alice!'))
  assert.equal(await server.command('greeted', { account: 'alice@localhost' }), 1)
})

test('and whoever asks', async t => {
  const server = await serve(t, { extra: [hello] })
  const alice = await server.client('alice')
  const answer = await alice.request('get', "<hello xmlns='urn:example:hello' name='Bob'/>", 'localhost')
  assert.equal(answer.children[0]?.text, 'Hello, Bob!')
})

test('who was greeted is known after a restart, and forgotten with the account', async t => {
  const store = lastingStore()
  const first = await serve(t, { extra: [hello], store })
  const alice = await first.client('alice')
  await available(alice)
  await alice.receive(says('Hello, alice!'))
  await first.stop()

  const second = await serve(t, { extra: [hello], store })
  assert.equal(await second.command('greeted', { account: 'alice@localhost' }), 1)
  await second.command('unregister', { account: 'alice@localhost' })
  assert.deepEqual(await store.table('localhost', { name: 'hello' }).partitions(), [])
})
