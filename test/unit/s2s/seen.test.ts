import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KnownPeers } from '../../../src/s2s/known.ts'
import { keyOf, type Seen, SeenRings } from '../../../src/s2s/seen.ts'
import type { Store } from '../../../src/storage/store.ts'
import { faultyStore } from '../../support/faultystore.ts'
import { settled } from '../../support/waiting.ts'
import { stanza } from '../core/support.ts'

const PAIR = 'capulet.example montague.example'
const DAY = 86_400_000

const rings = (store: Store, now = Date.now) => new SeenRings(store, new KnownPeers(store, now))
const ringOf = async (of: SeenRings): Promise<Seen> => {
  const ring = await of.of(PAIR)
  ring.users++
  return ring
}
/** A message of a peer that went to a client at once. */
const note = (ring: Seen, key: string) => ring.note(ring.add(key, undefined))

test('a message is known by the id that its server gave it, and by whom it is from and for', () => {
  const key = (id: string, by = 'montague.example', to = 'juliet@capulet.example', from = 'romeo@montague.example/r') =>
    keyOf(
      stanza(
        `<message from='${from}' to='${to}'><body>hi</body><stanza-id xmlns='urn:xmpp:sid:0' by='${by}' id='${id}'/></message>`,
      ),
    )
  const known = key('1')
  assert.equal(key('1'), known)
  assert.notEqual(key('2'), known)
  assert.notEqual(key('1', undefined, 'nurse@capulet.example'), known)
  assert.notEqual(key('1', undefined, undefined, 'paris@montague.example/r'), known)
  assert.equal(key('1', 'room@montague.example'), undefined, 'the id of a room is not that of the server')
  assert.equal(key('1', 'elsewhere.example'), undefined)
  assert.equal(key('x'.repeat(101)), undefined)
  assert.equal(keyOf(stanza("<message from='a@b' to='c@d'><body>hi</body></message>")), undefined)
})

test('the last 2048 of a pair are remembered, in memory and in the store', async () => {
  const { store } = faultyStore()
  const ring = await ringOf(rings(store))
  for (let i = 0; i < 3000; i++) note(ring, String(i))
  await settled()
  const check = (seen: Seen): void => {
    assert.equal(seen.size, 2048)
    assert.equal(seen.find('951'), undefined)
    assert.ok(seen.find('952'))
    assert.ok(seen.find('2999'))
  }
  check(ring)
  const later = await ringOf(rings(store))
  check(later)
  note(later, 'next')
  assert.equal(later.find('952'), undefined, 'the oldest gives way, wherever in the ring it is')
  assert.ok(later.find('953'))
})

test('what failed is forgotten: sending it again is a new attempt', async () => {
  const { store } = faultyStore()
  const ring = await ringOf(rings(store))
  const known = ring.add('1', undefined)
  ring.note(known)
  ring.forget(known)
  assert.equal(ring.find('1'), undefined)
  await settled()
  assert.equal((await ringOf(rings(store))).size, 0)
})

test('rings that nobody uses leave memory, and are there again', async () => {
  const { store } = faultyStore()
  const all = rings(store)
  for (let i = 0; i < 500; i++) note((await all.of(`capulet.example ${i}.example`)) as Seen, 'x')
  await settled(20)
  assert.ok(all.size <= 250, String(all.size))
  const again = await all.of('capulet.example 0.example')
  assert.ok(again.find('x'))
})

test('of a peer of which nothing has come for two months nothing is remembered', async () => {
  const { store } = faultyStore()
  let now = Date.now()
  note(await ringOf(rings(store, () => now)), '1')
  await settled()
  now += 59 * DAY
  await rings(store, () => now).sweep()
  assert.equal((await ringOf(rings(store, () => now - 59 * DAY))).size, 1)
  now += 2 * DAY
  await rings(store, () => now).sweep()
  assert.equal((await ringOf(rings(store, () => now))).size, 0)
})

test('whether a domain was reached is known after a restart, and written once a day', async () => {
  const { store, troubles } = faultyStore()
  let now = Date.now()
  const known = new KnownPeers(store, () => now)
  assert.equal(await known.has('reached', 'capulet.example'), false)
  for (let i = 0; i < 3; i++) known.note('reached', 'capulet.example')
  await settled()
  assert.equal(troubles.written, 1)
  now += DAY
  known.note('reached', 'capulet.example')
  await settled()
  assert.equal(troubles.written, 2)
  assert.equal(await new KnownPeers(store, () => now).has('reached', 'capulet.example'), true)
})
