import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Entry } from '../../../src/core/queue/entry.ts'
import { Router, type Source } from '../../../src/core/router.ts'
import { Conversation, type Society } from '../../../src/s2s/conversation.ts'
import { KnownPeers } from '../../../src/s2s/known.ts'
import { Pings } from '../../../src/s2s/pings.ts'
import { Resumable } from '../../../src/s2s/resumable.ts'
import { SeenRings } from '../../../src/s2s/seen.ts'
import type { Wire } from '../../../src/s2s/wire.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import { IdGenerator } from '../../../src/util/ids.ts'
import { parseElement } from '../../../src/xml/index.ts'
import { StreamError } from '../../../src/xmpp/errors.ts'
import type { Stanza } from '../../../src/xmpp/stanza.ts'
import { faultyStore } from '../../support/faultystore.ts'
import { settled } from '../../support/waiting.ts'
import { silent, stanza } from '../core/support.ts'

const PAIR = { local: 'capulet.example', remote: 'montague.example' }

class FakeWire implements Wire {
  readonly maxBytes = Number.POSITIVE_INFINITY
  readonly sent: string[] = []
  readonly info
  backlog = 0
  ended: string | undefined

  constructor(sm: boolean, direction: 'in' | 'out') {
    this.info = { direction, ip: '', port: 0, tls: undefined, method: 'external' as const, bidi: false, sm, since: 0 }
  }

  send(data: string | Buffer): void {
    this.sent.push(data.toString())
  }
  fail(error: StreamError): void {
    this.ended = error.condition
  }
  abandon(reason: string): void {
    this.ended = reason
  }
  close(): void {}
  authenticate(): Promise<boolean> {
    return Promise.resolve(false)
  }
}

/** A server of one domain that keeps what comes, until a test says that it is safe. */
function world({ resumable = new Resumable(), store = openMemoryStore() } = {}) {
  const ids = new IdGenerator()
  const router = new Router(silent)
  const came: { stanza: Stanza; safe(): void }[] = []
  const unanswered: Conversation[] = []
  let answer: Promise<void> | undefined
  router.add({
    name: PAIR.local,
    filter: undefined,
    deliver(stanza: Stanza, { origin }: Source) {
      const entry = new Entry(ids.ordered(), Buffer.from(String(stanza)), origin)
      if (stanza.kind === 'message' && stanza.type === 'chat') origin?.accepted(entry)
      came.push({ stanza, safe: () => entry.settle() })
      return stanza.kind === 'iq' ? answer : undefined
    },
  })
  const society: Society = {
    router,
    seen: new SeenRings(store, new KnownPeers(store, Date.now)),
    pings: new Pings(ids),
    counters: { received: { value: 0 }, again: { value: 0 } },
    resumable,
    opened() {},
    ended() {},
    unanswered: talk => void unanswered.push(talk),
  }
  const begin = (sm = true, direction: 'in' | 'out' = 'in') => {
    const talk = new Conversation(society)
    talk.receives.add(PAIR)
    talk.sends.add(PAIR)
    const wire = new FakeWire(sm, direction)
    talk.resumeId = sm ? ids.random() : undefined
    talk.open(wire, sm ? 'sm' : 'ping')
    return { talk, wire }
  }
  return { society, came, unanswered, begin, answerWith: (promise: Promise<void> | undefined) => (answer = promise) }
}

const message = (n: number, type = 'chat') =>
  stanza(
    `<message type='${type}' from='romeo@montague.example/r' to='juliet@capulet.example' id='${n}'><body>${n}</body>` +
      `<stanza-id xmlns='urn:xmpp:sid:0' by='montague.example' id='id${n}'/></message>`,
  )
const iq = (
  id: string,
  from = 'romeo@montague.example/r',
  payload = "<query xmlns='jabber:iq:last'/>",
  to = 'juliet@capulet.example',
) => stanza(`<iq type='get' id='${id}' from='${from}' to='${to}'>${payload}</iq>`)
/** What a peer was told: the last `h`. */
const told = ({ sent }: FakeWire) => sent.map(xml => /<a [^>]*h='(\d+)'/.exec(xml)?.[1]).findLast(h => h !== undefined)

/** Who sends, with what it is to hear of the conversation. */
function rider() {
  const heard: string[] = []
  const give = (entry: Entry): void => void heard.push(`confirmed ${entry.id}`)
  return {
    heard,
    ...{
      pair: PAIR,
      trying: false,
      full: false,
      room: () => Promise.resolve(true),
      take: () => {},
      committed: () => {},
    },
    confirm: give,
    givenUp: () => void heard.push('given up'),
    parted: () => void heard.push('parted'),
    resumed: () => void heard.push('resumed'),
    ended: (_talk: Conversation, entries: readonly Entry[]) => void heard.push(`ended ${entries.map(({ id }) => id)}`),
  }
}
const entry = (id: string): Entry => Entry.delivered(id, Buffer.from(`<message id='${id}'/>`))

test('a peer is told of what is safe, and of no more', async () => {
  const { begin, came } = world()
  const { talk, wire } = begin()
  for (let n = 1; n <= 3; n++) await talk.receive(message(n))
  await talk.receive(iq('1'))
  assert.equal(talk.h, 0)
  talk.requested()
  assert.equal(told(wire), undefined)
  came[1]!.safe()
  assert.equal(talk.h, 0)
  came[0]!.safe()
  assert.equal(talk.h, 2)
  came[2]!.safe()
  assert.equal(told(wire), '4')
})

test('... when it waits for long, of what is safe by then; and of every hundredth stanza without asking', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { begin, came } = world()
  const { talk, wire } = begin()
  await talk.receive(message(1))
  await talk.receive(message(2))
  came[0]!.safe()
  talk.requested()
  t.mock.timers.tick(3000)
  assert.equal(told(wire), '1')
  came[1]!.safe()
  for (let i = 3; i <= 102; i++) await talk.receive(undefined)
  assert.equal(told(wire), '102')
})

test('... and of the rest when it is safe, without asking again', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { begin, came } = world()
  const { talk, wire } = begin()
  await talk.receive(message(1))
  await talk.receive(message(2))
  talk.requested()
  t.mock.timers.tick(3000)
  assert.equal(told(wire), '0')
  came[0]!.safe()
  came[1]!.safe()
  assert.equal(told(wire), '2')
})

test('a message that could not be handled is not counted: the peer sends it again', async () => {
  const { store, troubles } = faultyStore()
  const { begin, came } = world({ store })
  const { talk, wire } = begin()
  troubles.failReads = true
  await assert.rejects(async () => talk.receive(message(1)))
  talk.parted(wire, 'it broke')
  assert.equal(talk.h, 0)
  troubles.failReads = false
  talk.resumed(new FakeWire(true, 'in'), 0)
  await talk.receive(message(1))
  came[0]!.safe()
  assert.deepEqual([came.length, talk.h], [1, 1])
})

test('what comes again is recognised, and waits for what came first', async () => {
  const { society, begin, came } = world()
  const { talk } = begin()
  await talk.receive(message(1))
  await talk.receive(message(1))
  assert.deepEqual([came.length, talk.h, society.counters.again.value], [1, 0, 1])
  came[0]!.safe()
  assert.equal(talk.h, 2)
  const { talk: another } = begin()
  await another.receive(message(1))
  await another.receive(message(2, 'headline'))
  await another.receive(message(2, 'headline'))
  assert.deepEqual([came.length, another.h], [2, 3])
})

test('a peer that sends for very many domains has little of them kept in memory', async () => {
  const { society, begin } = world()
  const { talk } = begin()
  for (let round = 0; round < 2; round++) {
    for (let n = 0; n < 300; n++) {
      const domain = `${n}.montague.example`
      const id = `<stanza-id xmlns='urn:xmpp:sid:0' by='${domain}' id='1'/>`
      await talk.receive(
        stanza(
          `<message type='headline' from='romeo@${domain}' to='juliet@capulet.example'><body>hi</body>${id}</message>`,
        ),
      )
    }
    await settled()
  }
  assert.ok(society.seen.size <= 230, `${society.seen.size} rings`)
  assert.equal(society.counters.again.value, 300, 'they are known all the same')
})

test('who waits for an answer keeps nobody waiting but who asks or tells the same', async () => {
  const { begin, came, answerWith } = world()
  const { talk } = begin()
  const { promise, resolve } = Promise.withResolvers<void>()
  answerWith(promise)
  await talk.receive(iq('slow'))
  await talk.receive(iq('2', 'nurse@montague.example/r'))
  const done = talk.receive(message(1))
  await settled()
  assert.equal(came.length, 2, 'romeo has asked juliet')
  resolve()
  await done
  assert.equal(came.length, 3)
})

test('... so many at a time, and then it waits', async () => {
  const { begin, came, answerWith } = world()
  const { talk } = begin()
  const { promise, resolve } = Promise.withResolvers<void>()
  answerWith(promise)
  let last: unknown
  for (let n = 1; n <= 51; n++) last = talk.receive(iq(String(n), `${n}@montague.example/r`))
  assert.equal(came.length, 50)
  assert.ok(last instanceof Promise)
  resolve()
  await last
  assert.equal(came.length, 51)
})

test('a ping is answered when what came before it is safe', async () => {
  const { begin, came } = world()
  const { talk } = begin(false)
  await talk.receive(message(1))
  const done = talk.receive(iq('ping', 'montague.example', "<ping xmlns='urn:xmpp:ping'/>", 'capulet.example'))
  await settled()
  assert.equal(came.length, 1)
  came[0]!.safe()
  await done
  assert.equal(came.length, 2)
})

test('a peer that never answers a ping keeps its connection, for another would be no better', t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { society, begin, unanswered } = world()
  const { talk, wire } = begin(false)
  const link = rider()
  talk.join(link)
  talk.send('<message/>', entry('1'), link, undefined)
  for (let passed = 0; passed < 10 * 60_000; passed += 1000) t.mock.timers.tick(1000)
  assert.equal(wire.ended, undefined)
  const ids = wire.sent.flatMap(xml => /<iq type='get' id='([^']+)'/.exec(xml)?.[1] ?? [])
  assert.ok(ids.length > 12 && ids.length < 30, String(ids.length))
  assert.ok(unanswered.includes(talk))
  const pong = stanza(`<iq type='result' id='${ids.at(-1)}' from='montague.example' to='capulet.example'/>`)
  assert.equal(society.pings.answered(pong), true)
  assert.deepEqual(link.heard, ['confirmed 1'])
  talk.send('<message/>', entry('2'), link, undefined)
  for (let passed = 0; passed < 2 * 60_000; passed += 1000) t.mock.timers.tick(1000)
  assert.equal(wire.ended, 'the server does not answer', 'it did before')
})

test('what is sent is confirmed as it is counted, whatever it was; what is left goes back', () => {
  const { begin } = world()
  const { talk, wire } = begin()
  const link = rider()
  talk.join(link)
  let lost = 0
  talk.send('<message/>', entry('1'), link, undefined)
  talk.send('<iq/>', undefined, link, () => lost++)
  talk.send('<message/>', entry('2'), link, undefined)
  talk.send('<message/>', entry('3'), link, undefined)
  talk.acknowledged(parseElement("<a h='3'/>"))
  assert.deepEqual(link.heard, ['confirmed 1', 'confirmed 2'])
  talk.send('<iq/>', undefined, link, () => lost++)
  talk.parted(wire, 'it broke')
  talk.over()
  assert.deepEqual(link.heard.slice(2), ['parted', 'ended 3'])
  assert.equal(lost, 1)
})

test('it is resumed: the rest is sent again, but for questions that were given up', () => {
  const { begin } = world()
  const { talk, wire } = begin(true, 'out')
  const link = rider()
  talk.join(link)
  for (const id of ['1', '2', '3']) talk.send(`<message id='${id}'/>`, entry(id), link, undefined)
  talk.send("<iq id='4'/>", undefined, link, () => link.heard.push('lost'))
  talk.parted(wire, 'it broke')
  talk.giveUp({} as never)
  const next = new FakeWire(true, 'out')
  talk.resumed(next, 1)
  assert.deepEqual(link.heard, ['parted', 'lost', 'given up', 'confirmed 1', 'resumed'])
  assert.deepEqual(next.sent.slice(0, 2), ["<message id='2'/>", "<message id='3'/>"])
  assert.ok(!next.sent.join('').includes('iq'))
  talk.acknowledged(parseElement("<a h='3'/>"))
  assert.equal(talk.quiet, true)
  talk.parted(next, 'again')
  assert.throws(() => talk.resumed(new FakeWire(true, 'out'), 9), /acknowledged 9/)
})

test('a peer that acknowledges nothing of what is not queued is taken for dead', () => {
  const { begin } = world()
  const { talk, wire } = begin()
  const link = rider()
  for (let i = 0; i < 8 * 512; i++) talk.send('<presence/>', undefined, link, undefined)
  assert.equal(wire.ended, undefined)
  talk.send('<presence/>', undefined, link, undefined)
  assert.equal(wire.ended, 'the server does not acknowledge')

  const { talk: large, wire: other } = begin()
  for (let i = 0; i < 17; i++) large.send('x'.repeat(1_000_000), undefined, link, undefined)
  assert.equal(other.ended, 'the server does not acknowledge')
  const { talk: unread, wire: full } = begin(false)
  full.backlog = 5_000_000
  unread.send('<presence/>', undefined, link, undefined)
  assert.equal(full.ended, 'the server does not read')
})

test('conversations that wait for their peers are bounded: who waits longest is over', () => {
  const resumable = new Resumable(3, 1000)
  const { begin } = world({ resumable })
  const parted = (bytes: number) => {
    const { talk, wire } = begin()
    const link = rider()
    talk.join(link)
    talk.send('x'.repeat(bytes), undefined, link, undefined)
    talk.parted(wire, 'it broke')
    return talk
  }
  const many = [10, 10, 10, 10].map(parted)
  assert.deepEqual(
    many.map(({ isOver }) => isOver),
    [true, false, false, false],
  )
  assert.equal(resumable.size, 3)
  const large = parted(900)
  assert.equal(large.isOver, false)
  const larger = parted(900)
  assert.deepEqual([large.isOver, larger.isOver], [true, false])
})

test('who comes back for one that is over is told how far it was', async () => {
  const { society, begin } = world()
  const { talk, wire } = begin()
  for (let i = 0; i < 5; i++) await talk.receive(undefined)
  const id = talk.resumeId!
  assert.equal(society.resumable.find(id, PAIR), talk)
  assert.equal(society.resumable.find(id, { ...PAIR, remote: 'paris.example' }), undefined)
  talk.parted(wire, 'it broke')
  talk.over()
  assert.equal(society.resumable.find(id, PAIR), undefined)
  assert.equal(society.resumable.endOf(id, PAIR), 5)
  assert.equal(society.resumable.endOf(id, { ...PAIR, remote: 'paris.example' }), undefined)
})

test('a connection that we still believe in gives way to the one on which the peer comes back', async () => {
  const { begin } = world()
  const { talk, wire } = begin()
  await talk.receive(undefined)
  talk.detach()
  assert.equal(wire.ended, 'conflict')
  const next = new FakeWire(true, 'in')
  assert.equal(talk.h, 1)
  talk.resumed(next, 0)
  talk.parted(wire, 'the old one is gone')
  assert.equal(talk.connected, true)
})

test('one whose peer comes back with a count that cannot be is over, and what was sent on it goes back', () => {
  const { begin } = world()
  const { talk, wire } = begin()
  const sender = rider()
  talk.join(sender)
  talk.send('<message/>', new Entry('a', Buffer.from('<message/>'), undefined), sender, undefined)
  talk.parted(wire, 'it broke')
  assert.throws(() => talk.resumed(new FakeWire(true, 'in'), 99), StreamError)
  assert.equal(talk.isOver, true)
  assert.deepEqual(sender.heard, ['parted', 'ended a'])
})
