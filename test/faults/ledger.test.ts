/** The ledger itself: every kind of fault it is there to see, it sees; and nothing else. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pluck } from '../support/pluck.ts'
import { type Counts, CRASH_WINDOW, Ledger, ON_ITS_WAY } from './ledger.ts'

interface Story {
  ledger: Ledger
  clock: { ms: number }
}

function story(): Story {
  const clock = { ms: 0 }
  return { ledger: new Ledger(() => clock.ms), clock }
}

/** Asserts the counts that are not zero (but for messages, acked, delivered). */
function counted({ ledger }: Story, expected: Partial<Counts>): void {
  const { messages, acked, delivered, ...rest } = ledger.counts()
  const seen = Object.fromEntries(Object.entries(rest).filter(([, count]) => count !== 0))
  assert.deepEqual(seen, expected)
}

test('a message sent, acknowledged and received is in order', () => {
  const s = story()
  const session = s.ledger.session('bob', 'bob#1')
  s.ledger.open('1', 'amy', 'bob')
  s.ledger.acked('1', 'a')
  s.ledger.received('1', session, 1, 'x')
  counted(s, {})
  assert.deepEqual(s.ledger.faults(s.ledger.messages.get('1')!), [])
})

test('acknowledged and never received is lost; unacknowledged is never acked', () => {
  const s = story()
  s.ledger.open('1', 'amy', 'bob')
  s.ledger.open('2', 'amy', 'bob')
  s.ledger.acked('1', 'failed')
  counted(s, { lost: 1, neverAcked: 1 })
  assert.deepEqual(pluck(s.ledger.missing(), 'id'), ['1'])
})

test('of messages that look the same as many must arrive as were acknowledged, and no more errors than missing ones', () => {
  const s = story()
  const pair = s.ledger.repeated('bot bob')
  Object.assign(pair, { sent: 5, acked: 4, refused: 1 })
  pair.copies.add('x').add('y')
  counted(s, { lostRepeats: 1 })
  pair.copies.add('z')
  counted(s, {})
})

test('an error is a refusal, or a false bounce when the message was received', () => {
  const s = story()
  const session = s.ledger.session('bob', 'bob#1')
  for (const id of ['1', '2']) {
    s.ledger.open(id, 'amy', 'bob')
    s.ledger.acked(id, 'a')
    s.ledger.bounced(id, 'resource-constraint')
  }
  s.ledger.received('2', session, 1, undefined)
  counted(s, { refused: 1, falseBounces: 1 })
})

test('disorder is counted per pair, on first copies only', () => {
  const s = story()
  const first = s.ledger.session('bob', 'bob#1')
  for (const id of ['1', '2', '3']) {
    s.ledger.open(id, 'amy', 'bob')
    s.ledger.acked(id, 'a')
  }
  s.ledger.open('other', 'eve', 'bob')
  s.ledger.acked('other', 'a')
  s.ledger.received('1', first, 1, undefined)
  s.ledger.received('3', first, 2, undefined)
  s.ledger.received('other', first, 3, undefined)
  s.ledger.received('2', first, 4, undefined)
  s.ledger.end(first)
  const second = s.ledger.session('bob', 'bob#2')
  s.ledger.received('1', second, 1, undefined)
  counted(s, { disorder: 1, unavoidable: 1 })
})

/** bob receives '1' as stanza 1 in bob#1; what happens then decides what a copy in bob#2 is. */
function twice(between: (s: Story, first: ReturnType<Ledger['session']>) => void, same = false): Story {
  const s = story()
  const first = s.ledger.session('bob', 'bob#1')
  s.ledger.open('1', 'amy', 'bob')
  s.ledger.acked('1', 'a')
  s.ledger.received('1', first, 1, 'x')
  between(s, first)
  s.clock.ms += 1000
  s.ledger.received('1', same ? first : s.ledger.session('bob', 'bob#2'), 2, 'x')
  return s
}

test('a copy is unavoidable after an unacknowledged one in a session given up', () => {
  counted(
    twice((s, first) => s.ledger.end(first)),
    { unavoidable: 1 },
  )
})

test('a copy is avoidable when the first was known to be acknowledged', () => {
  const acknowledged = (s: Story, first: ReturnType<Ledger['session']>): void => {
    s.ledger.confirm(first, 1)
    s.ledger.end(first)
  }
  counted(twice(acknowledged), { avoidable: 1 })
})

test('a copy is avoidable in the same session, or beside one still in use', () => {
  counted(
    twice(() => undefined, true),
    { avoidable: 1 },
  )
  counted(
    twice(() => undefined),
    { avoidable: 1 },
  )
})

test('a crash excuses a copy only right after the acknowledgement', () => {
  const crashAfter = (ms: number): Story =>
    twice((s, first) => {
      s.ledger.confirm(first, 1)
      s.clock.ms += ms
      s.ledger.crash()
      s.ledger.end(first)
    })
  counted(crashAfter(CRASH_WINDOW - 1), { unavoidable: 1, inCrash: 1 })
  counted(crashAfter(CRASH_WINDOW), { avoidable: 1 })
})

test('one unacknowledged copy excuses one copy, not two', () => {
  const s = twice((t, first) => t.ledger.end(first))
  s.ledger.received('1', s.ledger.session('bob', 'bob#3'), 1, 'x')
  counted(s, { unavoidable: 1, avoidable: 1 })
})

test('a copy with another stanza-id is a fault of its own', () => {
  const s = twice((t, first) => t.ledger.end(first))
  s.ledger.messages.get('1')!.copies[1]!.stanzaId = 'y'
  assert.deepEqual(s.ledger.faults(s.ledger.messages.get('1')!), ['other stanza-id'])
})

test('a stanza-id may change only when a crash came before the message was stored', () => {
  const s = story()
  s.ledger.open('1', 'amy', 'bob')
  const first = s.ledger.session('bob', 'bob#1')
  s.ledger.received('1', first, 1, 'x')
  s.clock.ms = 10
  s.ledger.crash()
  s.ledger.end(first)
  s.clock.ms = 20
  s.ledger.received('1', s.ledger.session('bob', 'bob#2'), 1, 'y')
  s.ledger.acked('1', 'a')
  const message = s.ledger.messages.get('1')!
  assert.deepEqual(s.ledger.faults(message), [])
  message.ackedAt = 5
  assert.deepEqual(s.ledger.faults(message), ['other stanza-id'])
})

test('what a killed server had sent may be read after the kill, but not long after', () => {
  const ids = (late: number) => {
    const s = story()
    s.ledger.open('1', 'amy', 'bob')
    s.ledger.crash()
    s.clock.ms += late
    const first = s.ledger.session('bob', 'bob#1')
    s.ledger.received('1', first, 1, 'x')
    s.ledger.end(first)
    s.clock.ms += 1000
    s.ledger.received('1', s.ledger.session('bob', 'bob#2'), 1, 'y')
    s.ledger.acked('1', 'a')
    return s.ledger.faults(s.ledger.messages.get('1')!)
  }
  assert.deepEqual(ids(ON_ITS_WAY), [])
  assert.deepEqual(ids(ON_ITS_WAY + 1), ['other stanza-id'])
})

/** amy of `one` writes to bob of `two`, who gets the message twice; between the copies a server is killed. */
function across(killed: string, { acked = 20, after = 5 } = {}): Story {
  const s = story()
  s.ledger.open('1', 'amy', 'bob', 'one')
  const first = s.ledger.session('bob', 'bob#1', 'two')
  s.ledger.received('1', first, 1, 'x')
  s.ledger.confirm(first, 1)
  s.clock.ms = after
  s.ledger.crash(killed)
  s.ledger.end(first)
  s.clock.ms = Math.max(acked, after + 1)
  s.ledger.acked('1', 'a')
  s.ledger.messages.get('1')!.ackedAt = acked
  s.ledger.received('1', s.ledger.session('bob', 'bob#2', 'two'), 1, 'y')
  return s
}

test('between servers, a crash of the recipient’s excuses a copy, one of the sender’s only before the sender was told', () => {
  counted(across('two'), { unavoidable: 1, inCrash: 1 })
  counted(across('one'), { unavoidable: 1, inCrash: 1 })
  counted(across('one', { acked: 2 }), { avoidable: 1 })
  counted(across('one', { after: CRASH_WINDOW, acked: CRASH_WINDOW + 1 }), { avoidable: 1 })
})

test('between servers, a stanza-id may change where either was killed before the sender was told, or the recipient’s before the other was', () => {
  const changed = (s: Story) => s.ledger.faults(s.ledger.messages.get('1')!).includes('other stanza-id')
  assert.equal(changed(across('one')), false)
  assert.equal(changed(across('two')), false)
  assert.equal(changed(across('one', { acked: 2 })), true)
  assert.equal(changed(across('two', { acked: 2 })), false)
  assert.equal(changed(across('two', { acked: 2, after: CRASH_WINDOW })), true)
})

test('a message for another account, or one nobody sent, is a violation', () => {
  const s = story()
  s.ledger.open('1', 'amy', 'bob')
  s.ledger.received('1', s.ledger.session('eve', 'eve#1'), 1, undefined)
  s.ledger.received('2', s.ledger.session('bob', 'bob#1'), 1, undefined)
  assert.equal(s.ledger.violations.length, 2)
})
