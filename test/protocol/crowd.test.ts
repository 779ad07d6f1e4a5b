/** Many stanzas at once: what one client sends keeps nobody else waiting, whatever it costs and in however few bytes it comes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { serve } from '../support/talk.ts'
import { testModule } from '../support/testserver.ts'

/** What is handled of one client in one turn of the event loop, at most. */
const PORTION = 32

test('of thousands of stanzas that come in one piece a portion is handled, then others have their turn', async t => {
  const turns = turnsOf('mallory')
  const server = await serve(t, { extra: [turns.module] })
  const [mallory, bob] = await server.clients('mallory', 'bob')
  mallory.write('<presence/>'.repeat(2000))
  await mallory.ping()
  await bob.ping()
  assert.ok(turns.handled >= 2000, `all of them were handled: ${turns.handled}`)
  // Two portions, where the count begins anew after the next one was handled.
  assert.ok(turns.most <= 2 * PORTION, `${turns.most} stanzas were handled in one turn`)
})

test('many clients with much to be handled take turns, and one with little does not wait for them', async t => {
  const turns = turnsOf('mallory')
  const server = await serve(t, { extra: [turns.module], config: { max_user_sessions: 50 } })
  const crowd = await Promise.all(Array.from({ length: 20 }, () => server.client('mallory')))
  const bob = await server.client('bob')
  for (const client of crowd) client.write('<presence/>'.repeat(1000))
  // The crowd has had its first portions when bob is read: nearly all of it is still to come when he has his answer.
  await bob.ping()
  assert.ok(turns.handled < 10_000, `${turns.handled} of 20,000 stanzas were handled before bob had his answer`)
  await Promise.all(crowd.map(client => client.ping()))
  assert.ok(turns.handled >= 20_000)
})

test('who sends more than allowed in one piece has to wait within it', async t => {
  const turns = turnsOf('mallory')
  const slow = { rate: 1_000_000, burst_size: 1_000_000, stanza_rate: 100, stanza_burst: 100 }
  const server = await serve(t, { extra: [turns.module], config: { shaper: { slow } }, listen: { shaper: 'slow' } })
  const [mallory, bob] = await server.clients('mallory', 'bob')
  mallory.write('<presence/>'.repeat(2000))
  const began = performance.now()
  while (turns.handled < 100) await bob.ping()
  for (let i = 0; i < 5; i++) await bob.ping()
  const most = 100 + 100 * ((performance.now() - began) / 1000) + PORTION
  assert.ok(turns.handled <= most, `${turns.handled} stanzas were handled, ${Math.round(most)} are allowed`)
})

test('many clients with one stanza each that is much work: who has little is answered between them', async t => {
  let handled = 0
  const work = testModule('mod_work', ctx => {
    ctx.iq('own', 'set', 'urn:work', 'work', () => {
      const until = performance.now() + 30
      while (performance.now() < until);
      handled++
    })
  })
  const server = await serve(t, { extra: [work], config: { max_user_sessions: 50 } })
  const crowd = await Promise.all(Array.from({ length: 20 }, () => server.client('mallory')))
  const bob = await server.client('bob')
  const heavy = `<work xmlns='urn:work'>${'x'.repeat(5000)}</work>`
  const all = Promise.all(crowd.map(client => client.request('set', heavy)))
  await bob.ping()
  assert.ok(handled <= 5, `${handled} of 20 were handled before bob had his answer`)
  await all
  assert.equal(handled, 20)
})

test('what a client sent before it ended its connection is handled to the last', async t => {
  const server = await serve(t)
  const [alice, bob] = await server.clients('alice', 'bob')
  bob.send('<presence/>')
  await bob.ping()
  const one = (i: number) => `<message to='bob@localhost' type='chat' id='m${i}'><body>number ${i}</body></message>`
  alice.write(Array.from({ length: 500 }, (_, i) => one(i)).join(''))
  alice.cut()
  await bob.receive(el => el.name === 'message' && el.attrs['id'] === 'm499')
})

/** How many stanzas of a user were handled, and how many of them in one turn of the event loop. */
function turnsOf(user: string) {
  const seen = { handled: 0, most: 0, now: 0 }
  const module = testModule('mod_turns', ctx => {
    ctx.hook('user_send_packet', ({ session }) => {
      if (session.account.user !== user) return
      seen.handled++
      if (seen.now++ === 0) setImmediate(() => void (seen.now = 0))
      seen.most = Math.max(seen.most, seen.now)
    })
  })
  return Object.assign(seen, { module })
}
