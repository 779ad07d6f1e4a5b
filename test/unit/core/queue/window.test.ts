import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Entry } from '../../../../src/core/queue/entry.ts'
import { type Fingerprint, fingerprint, fingerprintOf } from '../../../../src/core/queue/fingerprint.ts'
import { Run, SENT_WINDOW, SenderWindow } from '../../../../src/core/queue/window.ts'
import { openMemoryStore } from '../../../../src/storage/memory.ts'
import { faultyStore } from '../../../support/faultystore.ts'
import { settled } from '../../../support/waiting.ts'
import { host, message, stanza } from '../support.ts'

const SIZE = 256
const entry = (id = 'e') => new Entry(id, Buffer.alloc(0), undefined)
const print = (id: string, to = 'juliet'): Fingerprint => fingerprintOf(`${id} ${to} content`)

async function window(store = openMemoryStore()) {
  const account = (await host().account('romeo'))!
  const table = store.table('example.org', SENT_WINDOW)
  const windows = new SenderWindow(table)
  const ring = await windows.of(account)
  /** Whether a message is taken for a copy by the next run of a device. */
  const copied = (id: string, device = 'phone'): boolean => {
    const run = new Run(device)
    ring.expect(run)
    return ring.copy(print(id), run, 1, true) !== undefined
  }
  /** A message is accepted, and written. */
  const add = (id: string, run: Run, n: number, e = entry()) => {
    const known = ring.add(print(id), e, run, n)
    const row = ring.row(known)
    if (row !== undefined) store.commit([row]).catch(() => {})
    return known
  }
  return { ring, table, store, account, windows, copied, add }
}

test('a copy is the same addressee, type, id and content; a stamp of its delay does not count', () => {
  const text = (xml: string) =>
    fingerprint(stanza(`<message from='romeo@example.org/o' to='juliet@example.org' ${xml}</message>`))?.text
  const one = text("id='1' type='chat'><body>hi</body>")
  assert.equal(text("id='1' type='chat'><body>hi</body>"), one)
  const delay = "<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/>"
  assert.equal(text(`id='1' type='chat'><body>hi</body>${delay}`), one)
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
    assert.notEqual(text(other), one, other)
  }
  assert.notEqual(text("id='1'><a xmlns='x'><b/><c/></a>"), text("id='1'><a xmlns='x'><b><c/></b></a>"))
  assert.notEqual(text("type='chat'><body>hi</body>"), one)
  assert.equal(text("type='chat'><body>hi</body>"), text("type='chat'><body>hi</body>"), 'also without an id')
  const long = 'x'.repeat(80)
  assert.notEqual(text(`id='${long}1'><body/>`), text(`id='${long}2'><body/>`), 'the end of a long id counts too')
})

test('a fingerprint is read back from its text, whatever is in the id', () => {
  for (const id of ['1', 'with  spaces ', ' ', '😀'.repeat(40)]) {
    const one = fingerprint(stanza(`<message from='romeo@example.org/o' to='juliet@example.org' id='${id}'/>`))!
    assert.deepEqual(fingerprintOf(one.text), one)
  }
  const none = fingerprint(stanza("<message from='romeo@example.org/o' to='juliet@example.org'/>"))
  assert.deepEqual(fingerprintOf(none.text), none)
})

test('to another addressee it is another message', () => {
  const to = (address: string) => fingerprint(message(address, 'chat'))!.text
  assert.notEqual(to('juliet@example.org'), to('nurse@example.org'))
  assert.notEqual(to('juliet@example.org'), to('juliet@example.org/b'))
})

test('fingerprints of many bodies under one id differ', () => {
  const prints = new Set(
    Array.from({ length: 20_000 }, (_, i) => fingerprint(message('juliet@example.org', 'chat', `${i}`))!.text),
  )
  assert.equal(prints.size, 20_000)
})

test('what was added is found by the next run of the device, with its entry until it is safe', async () => {
  const { ring, add } = await window()
  const e = entry()
  const known = add('a', new Run('phone'), 1, e)
  const next = () => {
    const run = new Run('phone')
    ring.expect(run)
    return ring.copy(print('a'), run, 1, true)
  }
  assert.equal(next(), known)
  assert.equal(next()?.entry, e, 'the new one may break too')
  ring.settle(known)
  assert.equal(next()?.entry, undefined)
})

test('in the run in which it came nothing is a copy, and in the next it is one once', async () => {
  const { ring, add } = await window()
  const first = new Run('phone')
  ring.expect(first)
  add('a', first, 1)
  assert.equal(ring.copy(print('a'), first, 2, true), undefined)
  const second = new Run('phone')
  ring.expect(second)
  assert.ok(ring.copy(print('a'), second, 1, true))
  assert.equal(ring.copy(print('a'), second, 2, true), undefined, 'sent twice on the new stream: the second is meant')
})

test('a session that was resumed sends again what it was told that we do not have', async () => {
  const { ring, add } = await window()
  const run = new Run('phone')
  for (const [i, id] of ['a', 'a', 'a'].entries()) add(id, run, i + 1)
  run.told = 1
  ring.expect(run)
  assert.ok(ring.copy(print('a'), run, 2, true))
  assert.ok(ring.copy(print('a'), run, 3, true))
  assert.equal(ring.copy(print('a'), run, 4, true), undefined)
})

test('what the client knows that we have is no copy when it comes again; nor after it closed in order', async () => {
  const { ring, copied, add } = await window()
  const run = new Run('phone')
  for (const [i, id] of ['a', 'b', 'c'].entries()) add(id, run, i + 1)
  run.told = 2
  assert.ok(ring.inDoubt(run))
  ring.knows(run, 2)
  assert.ok(!ring.inDoubt(run))
  assert.ok(!copied('a') && !copied('b'))
  assert.ok(copied('c'))
  add('d', run, 4)
  await ring.closed(run)
  assert.ok(!copied('d'))
})

/** Ids of a device that has a new one for each message. */
const MANY = ['m1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7', 'm8']

test('what it was told and may not have read is a copy only under an id that it has not used twice', async () => {
  const { copied, add } = await window()
  const run = new Run('phone')
  for (const [i, id] of ['a', 'b', 'b', ...MANY].entries()) add(id, run, i + 1)
  run.told = 3
  assert.ok(copied('a'))
  assert.ok(!copied('b'))
  run.told = 1
  assert.ok(copied('b'), 'of this one it was never told')
})

test('nor where its device has few ids, or gave none: better twice than never', async () => {
  const { copied, add } = await window()
  const [bot, phone] = [new Run('bot'), new Run('phone')]
  for (const [i, id] of ['alarm', 'all is well', ''].entries()) add(id, bot, i + 1)
  for (const [i, id] of MANY.entries()) add(id, phone, i + 1)
  add('', phone, 9)
  bot.told = 2
  phone.told = 9
  assert.ok(!copied('alarm', 'bot') && !copied('all is well', 'bot'), 'what others of the account send is not asked')
  assert.ok(copied('', 'bot'), 'of this one it was never told')
  assert.ok(copied('m8') && !copied(''))
})

test('nothing is a copy by a clock that has gone back', async () => {
  let now = Date.now()
  const account = (await host().account('romeo'))!
  const ring = await new SenderWindow(openMemoryStore().table('example.org', SENT_WINDOW), () => now).of(account)
  ring.add(print('a'), entry(), new Run('phone'), 1)
  now -= 11 * 60_000
  const run = new Run('phone')
  ring.expect(run)
  assert.equal(ring.copy(print('a'), run, 1, true), undefined)
})

test('what clients know is written down with a message that is safe, not with one that is not there after a crash', async () => {
  const { store, troubles } = faultyStore()
  const { ring, add } = await window(store)
  const run = new Run('phone')
  ring.settle(add('a', run, 1))
  troubles.failWrites = true
  const b = add('b', run, 2)
  await settled()
  troubles.failWrites = false
  ring.knows(run, 1)
  await ring.note()
  const crashed = await window(store)
  assert.ok(!crashed.copied('a'))
  assert.ok(!crashed.copied('b'), 'it was never written, so its copy is all there is')
  ring.settle(b)
  ring.knows(run, 2)
  await ring.note()
  assert.ok(!(await window(store)).copied('b'))
})

test('of an account that was removed nothing more is written', async () => {
  const { ring, table, account, windows, add } = await window()
  const run = new Run('phone')
  const known = add('a', run, 1)
  ring.settle(known)
  windows.end(account)
  await windows.clear('romeo')
  await ring.closed(run)
  add('b', run, 2)
  ring.forget(known)
  await settled()
  assert.deepEqual(await table.scan(['romeo']), [])
})

test('a connection that ended is asked what its client had read, before the device goes on', async () => {
  for (const read of [true, false]) {
    const { ring, copied, add } = await window()
    const run = new Run('phone')
    for (const [i, id] of ['a', ...MANY].entries()) add(id, run, i + 1)
    run.told = 9
    const answer = Promise.withResolvers<boolean>()
    ring.left(run, answer.promise, () => answer.resolve(read))
    await ring.sinceLeft('desk')
    await ring.sinceLeft('phone')
    assert.equal(copied('a'), !read)
  }
})

test('the window holds the last 256, in memory and in the store', async () => {
  const { table, copied, add } = await window()
  const run = new Run('phone')
  for (let i = 0; i < SIZE + 50; i++) add(`p${i}`, run, i)
  assert.ok(!copied('p49'))
  for (let i = 50; i < SIZE + 50; i++) assert.ok(copied(`p${i}`), `p${i}`)
  assert.equal((await table.scan(['romeo'])).length, SIZE)
})

test('the window outlives the server, wherever in the ring it was', async () => {
  for (const count of [1, 10, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE + 7]) {
    const { store, add } = await window()
    const run = new Run('phone')
    for (let i = 0; i < count; i++) add(`p${i}`, run, i)
    const after = await window(store)
    const oldest = Math.max(0, count - SIZE)
    assert.ok(!after.copied(`p${oldest - 1}`))
    for (let i = oldest; i < count; i++) assert.ok(after.copied(`p${i}`), `p${i} of ${count}`)
    for (let i = 0; i < SIZE; i++) after.add(`q${i}`, new Run('phone'), i)
    assert.ok(!after.copied(`p${count - 1}`), 'it goes on where it was')
    assert.ok(after.copied('q0'))
  }
})

test('what clients know outlives the server, device by device', async () => {
  const { ring, store, add } = await window()
  const [phone, desk] = [new Run('phone'), new Run('desk')]
  for (const [i, id] of ['a', 'b'].entries()) {
    ring.settle(add(`phone ${id}`, phone, i + 1))
    ring.settle(add(`desk ${id}`, desk, i + 1))
  }
  ring.knows(phone, 1)
  await ring.closed(desk)
  const { copied } = await window(store)
  assert.ok(!copied('phone a'))
  assert.ok(copied('phone b'))
  assert.ok(!copied('desk a', 'desk') && !copied('desk b', 'desk'))
  assert.ok(!copied('phone b', 'desk'))
})

test('what was forgotten is not found after a restart, and does not disturb its place', async () => {
  const { ring, store, copied, add } = await window()
  const run = new Run('phone')
  const a = add('a', run, 1)
  add('b', run, 2)
  const c = add('c', run, 3)
  ring.forget(c)
  ring.forget(a)
  const after = await window(store)
  assert.ok(!after.copied('a') && !after.copied('c'))
  assert.ok(after.copied('b'))
  for (let i = 0; i < SIZE - 2; i++) add(`p${i}`, run, i + 4)
  assert.ok(copied('b'), 'one of 256 since')
})

test('what is remembered no more is not written, though its message may be', async () => {
  const { ring, add } = await window()
  const run = new Run('phone')
  const [first, forgotten] = [add('first', run, 1), add('forgotten', run, 2)]
  ring.forget(forgotten)
  assert.equal(ring.row(forgotten), undefined)
  for (let i = 0; i < SIZE - 2; i++) add(`p${i}`, run, i + 3)
  assert.ok(ring.row(first) !== undefined)
  add('in its place', run, SIZE + 2)
  assert.equal(ring.row(first), undefined)
})

test('rows of the first version recognise nothing', async () => {
  const store = openMemoryStore()
  await store.table<[number, string]>('example.org', { name: 'sent_window' }).put(['romeo'], [7], [7, '1 abc'])
  const { copied, add } = await window(store)
  assert.ok(!copied('1'))
  add('a', new Run('phone'), 1)
  assert.ok(copied('a'))
})

test('an account has one window, read once; a read that failed is tried again', async () => {
  const { store, troubles } = faultyStore()
  const windows = new SenderWindow(store.table('example.org', SENT_WINDOW))
  const account = (await host().account('romeo'))!
  troubles.failReads = true
  await assert.rejects(async () => windows.of(account))
  troubles.failReads = false
  const [one, other] = await Promise.all([windows.of(account), windows.of(account)])
  assert.equal(one, other)
  assert.equal(await windows.of(account), one)
  assert.equal(troubles.reads.calls, 2)
})
