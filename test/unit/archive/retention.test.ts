import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readPage } from '../../../src/archive/page.ts'
import { readQuery } from '../../../src/archive/query.ts'
import { type Limits, sweep } from '../../../src/archive/retention.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import type { Store } from '../../../src/storage/store.ts'
import { IdGenerator } from '../../../src/util/ids.ts'
import { parseElement } from '../../../src/xml/index.ts'
import { Jid } from '../../../src/xmpp/jid.ts'
import { pluck } from '../../support/pluck.ts'
import { archiveOf } from './support.ts'

const JULIET = Jid.from('juliet@example.org')
const ROMEO = Jid.from('romeo@example.org')
const FOREVER = Number.POSITIVE_INFINITY

function world() {
  let now = Date.parse('2026-01-01T00:00:00Z')
  const ids = new IdGenerator(() => now)
  const store = openMemoryStore()
  const archive = archiveOf(store, ids)
  return {
    store,
    archive,
    sweep: ({ retention = FOREVER, ...limits }: Partial<Limits> & { retention?: number }): Promise<number> => {
      const all = { before: now - retention, maxMessages: FOREVER, maxBytes: FOREVER, ...limits }
      return sweep(archive, all, () => Promise.resolve(undefined))
    },
    later: (ms: number) => {
      now += ms
    },
    add(count: number, peer = ROMEO): string[] {
      return Array.from({ length: count }, (_, i) => {
        const id = ids.ordered()
        const xml = `<message from='${peer}/o' to='${JULIET}' id='${i}'><body>${i % 7 === 0 ? 'needle' : 'hay'}</body></message>`
        void store.commit([archive.add(JULIET, id, peer, Buffer.from(xml), parseElement(xml))])
        return id
      })
    },
    async left(): Promise<string[]> {
      return (await archive.read(JULIET, { backwards: false, limit: 100_000, bytes: Number.POSITIVE_INFINITY })).map(
        m => m.id,
      )
    },
  }
}

async function indexed(store: Store, peer: Jid): Promise<string[]> {
  const rows = await store
    .table<readonly (readonly [string])[]>('example.org', { name: 'archive_peers' })
    .scan(['juliet'], { gte: [peer.toString()], lte: [peer.toString()] })
  return rows.flatMap(({ value }) => value.map(([id]) => id))
}

test('of more than max_messages the oldest go, with their places in the conversations', async () => {
  const { store, archive, add, left, sweep } = world()
  const all = [...add(700), ...add(600, Jid.from('nurse@example.org'))]
  assert.equal(await sweep({ maxMessages: 1300 }), 0)
  assert.equal(await sweep({ maxMessages: 610 }), 690)
  assert.deepEqual(await left(), all.slice(690))
  assert.equal((await archive.size(JULIET)).count, 610)
  const more = add(5)
  assert.equal(await sweep({ maxMessages: 610 }), 5, 'counted on from where it was')
  assert.deepEqual(await left(), [...all.slice(695), ...more])
  const romeo = await archive.read(JULIET, {
    peer: ROMEO,
    backwards: false,
    limit: 1000,
    bytes: Number.POSITIVE_INFINITY,
  })
  assert.deepEqual(pluck(romeo, 'id'), [...all.slice(695, 700), ...more])
  const ids = await indexed(store, ROMEO)
  assert.deepEqual(ids, [...all.slice(695, 700), ...more], 'five old ones, and five new ones')
})

test('what is older than retention goes; nothing does where both are infinite', async () => {
  const { add, later, left, sweep } = world()
  add(3)
  later(10_000)
  const kept = add(2)
  later(1000)
  assert.equal(await sweep({}), 0)
  assert.equal(await sweep({ retention: 5000 }), 3)
  assert.deepEqual(await left(), kept)
})

test('a search that finds little gives up after a while and is gone on with, until all was seen', async () => {
  const { archive, add } = world()
  const all = add(12_000)
  let after: string | undefined
  const found: string[] = []
  let rounds = 0
  for (;;) {
    const set = `<set xmlns='http://jabber.org/protocol/rsm'><max>5000</max>${after === undefined ? '' : `<after>${after}</after>`}</set>`
    const form = `<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field><field var='{urn:xmpp:fulltext:0}fulltext'><value>needle</value></field></x>`
    const query = readQuery(parseElement(`<query xmlns='urn:xmpp:mam:2'>${form}${set}</query>`))
    const page = await readPage(archive, JULIET, query, { messages: 5000, bytes: Number.POSITIVE_INFINITY })
    found.push(...page.messages.map(m => m.id))
    rounds++
    if (page.complete) break
    after = page.last
  }
  assert.equal(rounds, 3)
  assert.deepEqual(
    found,
    all.filter((_, i) => i % 7 === 0),
  )
})

test('of more than max_bytes the oldest go; what a tombstone gave back counts no longer', async () => {
  const { archive, add, left, sweep } = world()
  const all = add(100)
  const { count, bytes } = await archive.size(JULIET)
  assert.equal(count, 100)
  assert.equal(await sweep({ maxBytes: bytes }), 0)
  const one = (await archive.get(JULIET, all[0]!))!.size
  assert.equal(await sweep({ maxBytes: bytes - one - 1 }), 2)
  assert.deepEqual(await left(), all.slice(2))
  const after = await archive.size(JULIET)
  const before = (await archive.get(JULIET, all[2]!))!
  const stone = Buffer.from("<message id='2'/>")
  await archive.replace(JULIET, all[2]!, ROMEO, stone, parseElement(stone))
  const less = { count: 98, bytes: after.bytes - before.size + stone.length }
  assert.deepEqual(await archive.size(JULIET), less)
  add(10)
  assert.equal((await archive.size(JULIET)).count, 108)
  // Counted anew, it is the same.
  const sizes = (await archive.read(JULIET, { backwards: false, limit: 1000, bytes: FOREVER })).map(m => m.size)
  assert.equal(
    (await archive.size(JULIET)).bytes,
    sizes.reduce((a, b) => a + b),
  )
})
