import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Inbox } from '../../../src/archive/inbox.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import { Jid } from '../../../src/xmpp/jid.ts'

test('however many write to somebody: the most recent conversations are listed, the others forgotten', async () => {
  const store = openMemoryStore()
  const table = store.table<string>('localhost', { name: 'inbox' })
  const recent = store.table<string>('localhost', { name: 'inbox_recent' })
  const inbox = new Inbox(store, table, recent, 3)
  const note = (n: number, peer: number) => inbox.note('juliet', Jid.from(`s${peer}@example.net`), `id${1000 + n}`)
  for (let n = 0; n < 700; n++) note(n, n)
  await inbox.flush()
  note(700, 0)
  void inbox.flush()
  note(701, 0)
  const peers = async () => (await inbox.list('juliet')).map(one => `${one.peer.local} ${one.last}`)
  assert.deepEqual(await peers(), ['s0 id1701', 's699 id1699', 's698 id1698'])
  await inbox.sweep()
  assert.deepEqual(await peers(), ['s0 id1701', 's699 id1699', 's698 id1698'])
  assert.equal((await table.scan(['juliet'])).length, 3)
  assert.equal((await recent.scan(['juliet'])).length, 3)
})
