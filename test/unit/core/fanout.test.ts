import assert from 'node:assert/strict'
import { test } from 'node:test'
import { faultyStore } from '../../support/faultystore.ts'
import { settled } from '../../support/waiting.ts'
import { FakeSession, host, Jid, message } from './support.ts'

const users = (count: number) => Array.from({ length: count }, (_, i) => Jid.from(`u${i}@example.org`))

test('what is sent to many is written in portions: the next one goes when the last one is durable', async () => {
  const { store, troubles } = faultyStore({ only: 'queue' })
  const at = host({ store })
  troubles.writes.close()
  const done = at.fanout.send('k', message('example.org', 'chat', 'x'.repeat(100_000)), users(200))
  assert.ok(done instanceof Promise)
  await settled(50)
  assert.equal(troubles.writes.calls, 10, 'a MiB waits for the disk, not twenty')
  // Others are not kept from writing, nor do they wait.
  void at.fanout.send('other', message('juliet@example.org', 'chat'), [Jid.from('juliet@example.org')])
  await settled(20)
  assert.equal(troubles.writes.calls, 11)
  troubles.writes.open()
  await done
  assert.equal(troubles.written, 201)
})

test('however many send to many, little of it waits for the disk', async () => {
  const { store, troubles } = faultyStore({ only: 'queue' })
  const at = host({ store })
  troubles.writes.close()
  const big = message('example.org', 'chat', 'x'.repeat(100_000))
  const all = Array.from({ length: 30 }, (_, i) => at.fanout.send(`k${i}`, big, users(20)))
  await settled(50)
  assert.equal(troubles.writes.calls, 40)
  troubles.writes.open()
  await Promise.all(all)
  assert.equal(troubles.written, 600)
})

test('many addresses are no reason to keep others waiting, and order holds', async () => {
  const at = host()
  const juliet = (await at.account('juliet'))!
  const session = new FakeSession(juliet, 'balcony', 0)
  await juliet.queue.attach(session)
  const to = [...users(950), juliet.jid]
  let turns = 0
  const count = () => {
    turns++
    if (session.stanzas.length < 2) setImmediate(count)
  }
  count()
  const first = at.fanout.send('k', message('example.org', 'headline', 'one'), to)
  const second = at.fanout.send('k', message('example.org', 'headline', 'two'), [juliet.jid])
  assert.ok(first instanceof Promise && second instanceof Promise)
  await Promise.all([first, second])
  assert.deepEqual(
    session.stanzas.map(stanza => stanza.el.getChildText('body')),
    ['one', 'two'],
  )
  assert.ok(turns >= 9, `${turns} turns of the loop for ten portions`)
  // Few get it at once.
  assert.equal(at.fanout.send('k', message('example.org', 'headline', 'three'), [juliet.jid]), undefined)
  assert.equal(session.stanzas.length, 3)
})

test('who is to be told may be found on the way; a message that cannot be stored holds up nobody', async () => {
  const { store, troubles } = faultyStore({ only: 'queue' })
  const at = host({ store })
  troubles.failWrites = true
  async function* everybody() {
    yield* users(250)
  }
  assert.equal(await at.fanout.sendAll('k', message('example.org', 'chat'), everybody()), 250)
  troubles.failWrites = false
  assert.equal(await at.fanout.sendAll('k', message('example.org', 'chat'), everybody()), 250)
  assert.equal(troubles.written, 250)
})

test('where much waits under a key, what can be spared is left out, by number and by bytes; the rest is not', async () => {
  for (const [length, kept] of [
    [10, 1000],
    [100_000, 41],
  ] as const) {
    const { store, troubles } = faultyStore({ only: 'queue' })
    const at = host({ store })
    const session = new FakeSession((await at.account('juliet'))!, 'balcony', 0)
    troubles.writes.close()
    const { jid } = session.account
    const first = at.fanout.send('k', message('example.org', 'chat', 'x'.repeat(length)), users(200))
    const spare = Array.from({ length: 1100 }, () =>
      at.fanout.send('k', message('example.org', 'headline', 'x'.repeat(length)), [jid], true),
    )
    const last = at.fanout.send('k', message('example.org', 'headline', 'the last'), [jid])
    troubles.writes.open()
    await Promise.all([first, ...spare, last])
    const bodies = session.stanzas.map(stanza => stanza.el.getChildText('body'))
    assert.equal(bodies.at(-1), 'the last')
    assert.equal(bodies.length, kept)
  }
})
