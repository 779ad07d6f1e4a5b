import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import {
  type DestinationLimits,
  type DestinationQueue,
  DestinationQueues,
} from '../../../../src/core/queue/destinationqueue.ts'
import type { Store } from '../../../../src/storage/store.ts'
import { IdGenerator } from '../../../../src/util/ids.ts'
import { StanzaError } from '../../../../src/xmpp/errors.ts'
import { faultyStore } from '../../../support/faultystore.ts'
import { eventually, settled } from '../../../support/waiting.ts'
import { FakeHolder, FakeOrigin, message, silent } from '../support.ts'

const HOUR = 3_600_000
const KEY = 'example.org example.net'
const LIMITS: DestinationLimits = {
  messages: 100,
  bytes: 100_000,
  senderMessages: 50,
  senderBytes: 50_000,
  lifetime: HOUR,
}

/** The queues of a server; with the same store, of the server after a restart. */
function server({ store = faultyStore().store, limits = {}, now = Date.now }: Partial<Given> = {}) {
  const bounced: string[] = []
  const acknowledged: string[] = []
  const queues = new DestinationQueues({
    store,
    table: 's2s_queue',
    ids: new IdGenerator(now),
    log: silent,
    limits: () => ({ ...LIMITS, ...limits }),
    bounced: (_key, stanza, { condition }) => void bounced.push(`${stanza.from} ${condition}`),
    acknowledged: (_key, { about }) => void acknowledged.push(about?.from ?? 'unknown'),
    now,
  })
  return { queues, bounced, acknowledged, store }
}

interface Given {
  store: Store
  limits: Partial<DestinationLimits>
  now: () => number
}

function send(queue: DestinationQueue, from = 'romeo@example.org/orchard', holder?: FakeHolder, origin?: FakeOrigin) {
  return queue.push(message('juliet@example.net', 'chat', 'hi', from), 'example.org', origin, holder)
}

/** Who takes what there is, and confirms or releases as a queue of an account would have it. */
function confirm(queue: DestinationQueue, holder: FakeHolder): void {
  for (const entry of holder.held.splice(0)) queue.confirm(entry, holder)
}

/** As time goes by for timers and ids. */
function clock(t: TestContext) {
  let now = 1_700_000_000_000
  t.mock.timers.enable({ apis: ['setTimeout'] })
  return {
    now: () => now,
    async pass(ms: number) {
      now += ms
      t.mock.timers.tick(ms)
      await settled(10)
    },
  }
}

test('a message waits for a destination that is away, and goes when it has been acknowledged', async () => {
  const { queues, acknowledged } = server()
  const queue = await queues.open(KEY)
  const origin = new FakeOrigin()
  const entry = send(queue, undefined, undefined, origin)
  assert.ok(
    entry.bytes.toString().endsWith(`<stanza-id xmlns='urn:xmpp:sid:0' by='example.org' id='${entry.id}'/></message>`),
  )
  assert.deepEqual(origin.safeIds, [])
  await eventually(() => origin.safeIds.length === 1)
  assert.deepEqual(await queues.keys(), [KEY])

  const holder = new FakeHolder()
  await queue.attach(holder)
  assert.deepEqual(holder.ids, [entry.id])
  assert.equal(queue.messages, 1)
  confirm(queue, holder)
  assert.deepEqual([queue.messages, queue.bytes, queues.total.messages], [0, 0, 0])
  assert.deepEqual(acknowledged, ['romeo@example.org'])
  queue.detach(holder)
  assert.equal(queue.idle, true)
  await settled()
  assert.deepEqual(await queues.keys(), [])
})

test('what comes while it is there goes to it at once; what it had not acknowledged comes again, in order', async () => {
  const { queues } = server()
  const queue = await queues.open(KEY)
  const first = new FakeHolder()
  await queue.attach(first)
  const sent = [send(queue, undefined, first), send(queue, undefined, first)].map(({ id }) => id)
  assert.deepEqual(first.ids, sent)
  queue.detach(first)
  queue.release(first, first.held.splice(0))
  sent.push(send(queue).id)
  const second = new FakeHolder()
  await queue.attach(second)
  assert.deepEqual(second.ids, sent)
})

test('after a restart it is all there, and is counted', async () => {
  const { queues, store } = server()
  const queue = await queues.open(KEY)
  const ids = [send(queue), send(queue, 'nurse@example.org/r')].map(({ id }) => id)
  const { bytes } = queue
  await settled()
  const later = await server({ store }).queues.open(KEY)
  assert.deepEqual([later.messages, later.bytes], [2, bytes])
  const holder = new FakeHolder()
  await later.attach(holder)
  assert.deepEqual(holder.ids, ids)
  confirm(later, holder)
  assert.deepEqual([later.messages, later.bytes], [0, 0])
})

test('it takes so many messages and bytes, so many of one sender, and says so; a restart changes nothing', async () => {
  const limits = { messages: 3, senderMessages: 2 }
  const { queues, store } = server({ limits })
  const queue = await queues.open(KEY)
  send(queue, 'romeo@example.org/a')
  send(queue, 'romeo@example.org/b')
  assert.throws(() => send(queue), /resource-constraint: too many of your messages/)
  await settled()
  const again = server({ store, limits })
  const later = await again.queues.open(KEY)
  assert.throws(() => send(later), /too many of your messages/)
  send(later, 'nurse@example.org')
  assert.throws(() => send(later, 'paris@example.org'), /resource-constraint: too many messages wait/)
  assert.equal(later.messages, 3)

  const { queues: small } = server({ limits: { bytes: 500 } })
  const tiny = await small.open(KEY)
  send(tiny)
  assert.throws(() => {
    for (;;) send(tiny)
  }, /too many messages wait/)
  assert.ok(tiny.bytes <= 500)
})

test('who writes to one destination after the other is stopped too', async () => {
  const { queues } = server({ limits: { senderMessages: 1 } })
  for (let i = 0; i < 10; i++) send(await queues.open(`example.org ${i}.example.net`))
  const last = await queues.open('example.org last.example.net')
  assert.throws(() => send(last), /too many of your messages/)
  send(last, 'nurse@example.org')
})

test('a message that has waited its time comes back to its sender, once', async t => {
  const time = clock(t)
  const { queues, bounced, store } = server(time)
  const queue = await queues.open(KEY)
  send(queue)
  await time.pass(HOUR / 2)
  send(queue, 'nurse@example.org')
  await time.pass(HOUR / 2 - 1)
  assert.deepEqual(bounced, [])
  for (let i = 0; i < 10; i++) await time.pass(1000)
  assert.deepEqual(bounced, ['romeo@example.org/orchard remote-server-timeout'])
  assert.equal(queue.messages, 1)

  queue.close()
  await time.pass(HOUR)
  assert.equal(bounced.length, 1, 'it was in no memory')
  const later = server({ ...time, store })
  const reopened = await later.queues.open(KEY)
  await time.pass(1000)
  assert.deepEqual(later.bounced, ['nurse@example.org remote-server-timeout'])
  assert.deepEqual([reopened.messages, reopened.idle], [0, true])
  assert.deepEqual(await later.queues.keys(), [])
})

test('what is in flight is not given up: the destination may have it', async t => {
  const time = clock(t)
  const { queues, bounced } = server(time)
  const queue = await queues.open(KEY)
  const holder = new FakeHolder()
  await queue.attach(holder)
  send(queue, undefined, holder, new FakeOrigin())
  for (let i = 0; i < 10; i++) await time.pass(HOUR / 4)
  assert.deepEqual(bounced, [])
  queue.detach(holder)
  queue.release(holder, holder.held.splice(0))
  for (let i = 0; i < 10; i++) await time.pass(1000)
  assert.deepEqual(bounced, ['romeo@example.org/orchard remote-server-timeout'])
})

test('a queue is looked into, and dropped: every sender hears of it', async () => {
  const { queues, bounced } = server()
  const queue = await queues.open(KEY)
  const entries = [send(queue), send(queue), send(queue, 'nurse@example.org')]
  await settled()
  entries.push(send(queue))
  const seen = await queue.peek(3)
  assert.deepEqual(
    seen.map(({ id }) => id),
    entries.slice(0, 3).map(({ id }) => id),
  )
  assert.equal(await queue.drop(new StanzaError('service-unavailable')), 4)
  assert.equal(bounced.length, 4)
  assert.ok(bounced.every(line => line.endsWith('service-unavailable')))
  assert.deepEqual(await queue.peek(3), [])
  assert.equal(queue.idle, true)
})

test('a disk that fails is an error to the sender, and nothing is counted any more', async () => {
  const { store, troubles } = faultyStore()
  const { queues, bounced } = server({ store })
  const queue = await queues.open(KEY)
  troubles.failWrites = true
  const origin = new FakeOrigin()
  send(queue, undefined, undefined, origin)
  await settled()
  assert.deepEqual(bounced, ['romeo@example.org/orchard resource-constraint'])
  assert.deepEqual([queue.messages, queue.idle, origin.safeIds.length], [0, true, 1])
})

test('a holder learns when it has been given everything', async () => {
  const { queues } = server()
  const queue = await queues.open(KEY)
  for (let i = 0; i < 5; i++) send(queue)
  await settled()
  let caughtUp = 0
  class Told extends FakeHolder {
    caughtUp(): void {
      caughtUp++
    }
  }
  const holder = new Told()
  holder.limit = 2
  const attached = queue.attach(holder)
  await settled()
  assert.deepEqual([holder.held.length, queue.isLive(holder), caughtUp], [2, false, 0])
  holder.limit = 10
  holder.confirm({ confirm: (entry: never) => queue.confirm(entry, holder) } as never)
  await attached
  assert.deepEqual([holder.held.length, queue.isLive(holder), caughtUp], [3, true, 1])
})

test('what becomes durable while all is given up goes back once', async () => {
  for (const held of [false, true]) {
    for (let turns = 0; turns < 8; turns++) {
      const faulty = faultyStore()
      const { queues, bounced } = server({ store: faulty.store })
      const queue = await queues.open(KEY)
      const written = held ? faulty.troubles.writes.holdNext() : () => {}
      send(queue)
      await settled(turns)
      const dropped = queue.drop(new StanzaError('remote-server-not-found'))
      written()
      assert.equal(await dropped, 1)
      assert.deepEqual(bounced, ['romeo@example.org/orchard remote-server-not-found'])
      assert.deepEqual([queue.messages, queue.bytes], [0, 0])
    }
  }
})

test('what was acknowledged and could not be removed yet is counted no more when it comes into memory again', async () => {
  const { store, troubles } = faultyStore()
  const { queues } = server({ store })
  const queue = await queues.open(KEY)
  const holder = new FakeHolder()
  send(queue)
  await queues.flush()
  await queue.attach(holder)
  troubles.failDeletes = true
  confirm(queue, holder)
  await settled()
  queue.detach(holder)
  assert.equal(queue.idle, true)
  queue.close()
  const again = await queues.open(KEY)
  assert.deepEqual([again.messages, queues.total.messages, again.idle], [0, 0, true])
})
