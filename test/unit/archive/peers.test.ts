import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Archive } from '../../../src/archive/archive.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import { type Store, StoreError } from '../../../src/storage/store.ts'
import { IdGenerator } from '../../../src/util/ids.ts'
import { parseElement } from '../../../src/xml/index.ts'
import { Jid } from '../../../src/xmpp/jid.ts'
import { faultyStore } from '../../support/faultystore.ts'
import { archiveOf } from './support.ts'

const PEERS = ['romeo@example.org', 'nurse@example.org', 'tybalt@example.net'].map(Jid.from)
const JULIET = Jid.from('juliet@example.org')
const OWNERS = [JULIET, Jid.from('rosaline@example.org')]

/** A server that is started on what an earlier one left. */
async function start({ store, ids }: { store: Store; ids: IdGenerator }) {
  const archive = archiveOf(store, ids)
  await archive.open()
  const added = new Map<string, string[]>()
  return {
    archive,
    added,
    add(count: number): void {
      for (let i = 0; i < count; i++) {
        for (const owner of OWNERS) {
          const peer = PEERS[i % PEERS.length]!
          const id = ids.ordered()
          const xml = `<message from='${peer}/o' to='${owner}' id='${i}'><body>${i}</body></message>`
          void store.commit([archive.add(owner, id, peer, Buffer.from(xml), parseElement(xml))])
          const key = `${owner} ${peer}`
          added.set(key, [...(added.get(key) ?? []), id])
        }
      }
    },
  }
}

async function conversations(archive: Archive): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>()
  for (const owner of OWNERS) {
    for (const peer of PEERS) {
      const messages = await archive.read(owner, {
        peer,
        backwards: false,
        limit: 100_000,
        bytes: Number.POSITIVE_INFINITY,
      })
      found.set(
        `${owner} ${peer}`,
        messages.map(m => m.id),
      )
    }
  }
  return found
}

test('what was not written before a crash is found again in the archive, once', async () => {
  const world = { store: openMemoryStore(), ids: new IdGenerator() }
  const first = await start(world)
  first.add(900)
  await first.archive.flush()
  first.add(700)
  // Killed: no flush, no close.
  const second = await start(world)
  assert.deepEqual(await conversations(second.archive), first.added)
  second.add(5)
  const all = new Map([...first.added].map(([key, ids]) => [key, [...ids, ...(second.added.get(key) ?? [])]]))
  assert.deepEqual(await conversations(second.archive), all)
  const third = await start(world)
  assert.deepEqual(await conversations(third.archive), all)
  await third.archive.close()
  assert.deepEqual(await conversations((await start(world)).archive), all)
})

test('while the index cannot be written nobody is told of half a conversation; then it is whole', async () => {
  const { store, troubles } = faultyStore({ only: 'archive_peers' })
  const { archive, add, added } = await start({ store, ids: new IdGenerator() })
  add(10)
  await archive.flush()
  troubles.failWrites = true
  add(10)
  await archive.flush()
  add(10)
  await assert.rejects(conversations(archive), StoreError)
  await archive.flush()
  troubles.failWrites = false
  add(10)
  assert.deepEqual(await conversations(archive), added)
})

test('however much waits for a disk that takes nothing, memory is bounded and nothing is missing in the end', async () => {
  const { store, troubles } = faultyStore({ only: 'archive_peers' })
  troubles.failWrites = true
  const { archive, add, added } = await start({ store, ids: new IdGenerator() })
  add(30_000)
  await archive.flush()
  troubles.failWrites = false
  assert.deepEqual(await conversations(archive), added)
})

test('what comes while the index is mended is in it too, however much that is', async () => {
  const world = { store: openMemoryStore(), ids: new IdGenerator() }
  const first = await start(world)
  first.add(2000)
  const second = await start(world)
  const asked = second.archive.read(JULIET, {
    peer: PEERS[0],
    backwards: false,
    limit: 1,
    bytes: Number.POSITIVE_INFINITY,
  })
  second.add(25_000)
  await asked
  const all = new Map([...first.added].map(([key, ids]) => [key, [...ids, ...(second.added.get(key) ?? [])]]))
  assert.deepEqual(await conversations(second.archive), all)
})

test('what an older version noted the id of alone is counted and found by a look at the message', async () => {
  const world = { store: openMemoryStore(), ids: new IdGenerator() }
  const { archive, add } = await start(world)
  add(30)
  await archive.flush()
  const table = world.store.table<readonly (readonly [string])[]>('example.org', { name: 'archive_peers' })
  for (const { ck, value } of await table.scan(['juliet'])) {
    await table.put(
      ['juliet'],
      ck,
      value.map(([id]) => [id]),
    )
  }
  add(3)
  assert.equal(await archive.unread(JULIET, PEERS[0]!, '', 100), 11)
  const id = await archive.find(JULIET, PEERS[0]!, '3', false)
  assert.equal((await archive.get(JULIET, id!))?.parse().attrs['id'], '3')
  assert.equal(await archive.find(JULIET, PEERS[0]!, '3', true), undefined)
  assert.equal(await archive.find(JULIET, PEERS[0]!, '4', false), undefined, 'of another conversation')
})
