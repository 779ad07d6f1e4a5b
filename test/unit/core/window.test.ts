import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Entry } from '../../../src/core/entry.ts'
import { fingerprint, Run, SenderWindow } from '../../../src/core/window.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import { host, message, stanza, troubled } from './support.ts'

const SIZE = 256
const run = new Run()
const later = () => new Run()
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
  assert.equal(ring.copy('a', later()), undefined)
  const e = entry()
  ring.add('a', e, run)
  assert.equal(ring.copy('a', later())?.entry, e)
  ring.settle('a', entry('another'))
  assert.equal(ring.copy('a', later())?.entry, e)
  ring.settle('a', e)
  assert.equal(ring.copy('a', later())?.entry, undefined)
  assert.ok(ring.copy('a', later()))
  ring.settle('never seen', e)
})

test('what comes again in the run in which it came is no copy, in a later one it is', async () => {
  const { ring } = await window()
  const first = new Run()
  ring.add('a', entry(), first)
  assert.equal(ring.copy('a', first), undefined)
  ring.add('a', entry(), first)
  const second = new Run()
  assert.ok(ring.copy('a', second))
  assert.equal(ring.copy('a', second), undefined, 'sent twice on the new stream: the second is meant')
  assert.ok(ring.copy('a', new Run()), 'the new one may break too')
})

test('the window holds the last 256, in memory and in the store', async () => {
  const { ring, table } = await window()
  for (let i = 0; i < SIZE + 50; i++) ring.add(`p${i}`, entry(), run)
  assert.equal(ring.copy('p49', later()), undefined)
  for (let i = 50; i < SIZE + 50; i++) assert.ok(ring.copy(`p${i}`, later()), `p${i}`)
  assert.equal((await table.scan(['romeo'])).length, SIZE)
})

test('the window outlives the server, wherever in the ring it was', async () => {
  for (const count of [1, 10, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE + 7]) {
    const { ring, store } = await window()
    for (let i = 0; i < count; i++) ring.add(`p${i}`, entry(), run)
    const after = (await window(store)).ring
    const oldest = Math.max(0, count - SIZE)
    assert.equal(after.copy(`p${oldest - 1}`, later()), undefined)
    for (let i = oldest; i < count; i++) assert.ok(after.copy(`p${i}`, later()), `p${i} of ${count}`)
    for (let i = 0; i < SIZE; i++) after.add(`q${i}`, entry(), run)
    assert.equal(after.copy(`p${count - 1}`, later()), undefined, 'it goes on where it was')
    assert.ok(after.copy('q0', later()))
  }
})

test('what was forgotten is not found after a restart, and does not disturb its place', async () => {
  const { ring, store } = await window()
  const e = entry()
  ring.add('a', e, run)
  ring.add('b', entry(), run)
  ring.forget('b', e)
  ring.forget('a', e)
  const after = (await window(store)).ring
  assert.equal(after.copy('a', later()), undefined)
  assert.ok(after.copy('b', later()))
  for (let i = 0; i < SIZE - 1; i++) ring.add(`p${i}`, entry(), run)
  assert.ok(ring.copy('b', later()), 'one of 256 since')
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
