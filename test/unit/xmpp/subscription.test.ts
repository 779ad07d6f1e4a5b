import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inbound, NONE, outbound, type Subscription, type SubscriptionType } from '../../../src/xmpp/subscription.ts'

/** The nine states of RFC 6121 A.1 by their names there. */
const STATES: Record<string, Partial<Subscription>> = {
  None: {},
  'None+Out': { out: true },
  'None+In': { in: true },
  'None+OutIn': { out: true, in: true },
  To: { to: true },
  'To+In': { to: true, in: true },
  From: { from: true },
  'From+Out': { from: true, out: true },
  Both: { to: true, from: true },
}

const state = (name: string): Subscription => ({ ...NONE, ...STATES[name] })
const nameOf = (s: Subscription): string => {
  const bare = (x: Partial<Subscription>) => [x.to, x.from, x.out, x.in].map(v => v === true).join()
  return Object.keys(STATES).find(name => bare(STATES[name]!) === bare(s)) ?? JSON.stringify(s)
}

/** RFC 6121 A.2: whether it is routed to the contact, and the new state. */
const OUTBOUND = `
             | subscribe    | unsubscribe | subscribed | unsubscribed
  None       | + None+Out   | + None      | - None     | - None
  None+Out   | + None+Out   | + None      | - None+Out | - None+Out
  None+In    | + None+OutIn | + None+In   | + From     | + None
  None+OutIn | + None+OutIn | + None+In   | + From+Out | + None+Out
  To         | + To         | + None      | - To       | - To
  To+In      | + To+In      | + None+In   | + Both     | + To
  From       | + From+Out   | + From      | - From     | + None
  From+Out   | + From+Out   | + From      | - From+Out | + None+Out
  Both       | + Both       | + From      | - Both     | + To`

/** RFC 6121 A.3: whether it is delivered to the user, and the new state. */
const INBOUND = `
             | subscribe    | unsubscribe | subscribed | unsubscribed
  None       | + None+In    | - None      | - None     | - None
  None+Out   | + None+OutIn | - None+Out  | + To       | + None
  None+In    | - None+In    | + None      | - None+In  | - None+In
  None+OutIn | - None+OutIn | + None+Out  | + To+In    | + None+In
  To         | + To+In      | - To        | - To       | + None
  To+In      | - To+In      | + To        | - To+In    | + None+In
  From       | - From       | + None      | - From     | - From
  From+Out   | - From+Out   | + None+Out  | + Both     | + From
  Both       | - Both       | + To        | - Both     | + From`

for (const [direction, table, step] of [
  ['outbound', OUTBOUND, outbound],
  ['inbound', INBOUND, inbound],
] as const) {
  const [[, ...types], ...rows] = table
    .split('\n')
    .slice(1)
    .map(line => line.split('|').map(cell => cell.trim())) as [[string, ...SubscriptionType[]], ...string[][]]
  test(`${direction}: the table is whole`, () => {
    assert.deepEqual([types.length, ...rows.map(([from]) => from)], [4, ...Object.keys(STATES)])
  })
  for (const [i, type] of types.entries()) {
    test(`${direction} ${type}, in every state`, () => {
      for (const [from, ...outcomes] of rows) {
        const { next, pass } = step(type, state(from!))
        assert.equal(`${pass ? '+' : '-'} ${nameOf(next)}`, outcomes[i], from)
      }
    })
  }
}

test('a user who may see already is answered for (A.3.1)', () => {
  assert.equal(inbound('subscribe', state('From')).reply, 'subscribed')
  assert.equal(inbound('subscribe', state('None')).reply, undefined)
})

test('a yes said before the question is given when it comes (3.4)', () => {
  const { next: approved, pass } = outbound('subscribed', state('None'))
  assert.deepEqual([approved.approved, pass], [true, false])
  const { next, pass: delivered, reply } = inbound('subscribe', approved)
  assert.deepEqual([next.from, next.approved, delivered, reply], [true, false, false, 'subscribed'])
  assert.equal(outbound('unsubscribed', approved).next.approved, false)
})
