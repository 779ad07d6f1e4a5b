import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Entry } from '../../../src/core/queue.ts'
import { fingerprint, SenderWindow } from '../../../src/core/window.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import { host, message, stanza, troubled } from './support.ts'

const SIZE = 256
const entry = (id = 'e') => new Entry(id, Buffer.alloc(0), undefined)

async function window(store = openMemoryStore()) {
  const account = (await host().account('romeo'))!
  const table = store.table<[number, string]>('example.org', { name: 'sent_window' })
  return { ring: await new SenderWindow(table).of(account), table, store, account }
}

test('a copy is the same addressee, type, id and content; a stamp of its delay does not count', () => {
  const print = (xml: string) =>
    fingerprint(stanza(`<message from='romeo@example.org/o' to='juliet@example.org' ${xml}</message>`))
  const one = print("id='1' type='chat'><body>hi</body>")
  assert.equal(print("id='1' type='chat'><body>hi</body>"), one)
  const delay = "<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/>"
  assert.equal(print(`id='1' type='chat'><body>hi</body>${delay}`), one)
  for (const other of [
    "id='2' type='chat'><body>hi</body>",
    "id='1' type='normal'><body>hi</body>",
    "id='1' type='chat'><body>ho</body>",
    "id='1' type='chat'><body xml:lang='en'>hi</body>",
    "id='1' type='chat'><subject>hi</subject>",
    "id='1' type='chat'><body>hi</body><body>hi</body>",
    "id='1' type='chat'><body/><thread>hi</thread>",
    "id='1' type='chat'><a xmlns='x'><b/><c/></a>",
    "id='1' type='chat'><a xmlns='x'><b><c/></b></a>",
  ]) {
    assert.notEqual(print(other), one, other)
  }
  assert.notEqual(print("id='1'><a xmlns='x'><b/><c/></a>"), print("id='1'><a xmlns='x'><b><c/></b></a>"))
  assert.equal(fingerprint(message('juliet@example.org', 'chat'))?.startsWith('m1 '), true)
  assert.equal(print("type='chat'><body>hi</body>"), undefined, 'without an id nothing is a copy')
})

test('to another addressee it is another message', () => {
  assert.notEqual(fingerprint(message('juliet@example.org', 'chat')), fingerprint(message('nurse@example.org', 'chat')))
  assert.notEqual(
    fingerprint(message('juliet@example.org', 'chat')),
    fingerprint(message('juliet@example.org/b', 'chat')),
  )
})

test('fingerprints of many bodies under one id differ', () => {
  const prints = new Set(
    Array.from({ length: 20_000 }, (_, i) => fingerprint(message('juliet@example.org', 'chat', `${i}`))),
  )
  assert.equal(prints.size, 20_000)
})

test('what was added is found, with its entry until it is safe', async () => {
  const { ring } = await window()
  assert.equal(ring.find('a'), undefined)
  const e = entry()
  ring.add('a', e)
  assert.equal(ring.find('a')?.entry, e)
  ring.settle('a')
  assert.equal(ring.find('a')?.entry, undefined)
  assert.ok(ring.find('a'))
  ring.settle('never seen')
  ring.forget('a')
  assert.equal(ring.find('a'), undefined)
  ring.forget('a')
})

test('the window holds the last 256, in memory and in the store', async () => {
  const { ring, table } = await window()
  for (let i = 0; i < SIZE + 50; i++) ring.add(`p${i}`, entry())
  assert.equal(ring.find('p49'), undefined)
  for (let i = 50; i < SIZE + 50; i++) assert.ok(ring.find(`p${i}`), `p${i}`)
  assert.equal((await table.scan(['romeo'])).length, SIZE)
})

test('the window outlives the server, wherever in the ring it was', async () => {
  for (const count of [1, 10, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE + 7]) {
    const { ring, store } = await window()
    for (let i = 0; i < count; i++) ring.add(`p${i}`, entry())
    const after = (await window(store)).ring
    const oldest = Math.max(0, count - SIZE)
    assert.equal(after.find(`p${oldest - 1}`), undefined)
    for (let i = oldest; i < count; i++) assert.ok(after.find(`p${i}`), `p${i} of ${count}`)
    for (let i = 0; i < SIZE; i++) after.add(`q${i}`, entry())
    assert.equal(after.find(`p${count - 1}`), undefined, 'it goes on where it was')
    assert.ok(after.find('q0'))
  }
})

test('what was forgotten is not found after a restart, and does not disturb its place', async () => {
  const { ring, store } = await window()
  ring.add('a', entry())
  ring.add('b', entry())
  ring.forget('a')
  const after = (await window(store)).ring
  assert.equal(after.find('a'), undefined)
  assert.ok(after.find('b'))
  for (let i = 0; i < SIZE - 1; i++) ring.add(`p${i}`, entry())
  assert.ok(ring.find('b'), 'one of 256 since')
})

test('an account has one window, read once; a read that failed is tried again', async () => {
  const { store, troubles } = troubled()
  const windows = new SenderWindow(store.table('example.org', { name: 'sent_window' }))
  const account = (await host().account('romeo'))!
  troubles.failScans = true
  await assert.rejects(async () => windows.of(account))
  troubles.failScans = false
  const [one, other] = await Promise.all([windows.of(account), windows.of(account)])
  assert.equal(one, other)
  assert.equal(await windows.of(account), one)
  assert.equal(troubles.scans.calls, 2)
})
