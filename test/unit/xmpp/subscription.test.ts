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

type Rows = Record<string, [pass: boolean, next: string]>

/** RFC 6121 A.2: [routed to the contact, new state]. */
const OUTBOUND: Record<SubscriptionType, Rows> = {
  subscribe: {
    None: [true, 'None+Out'],
    'None+Out': [true, 'None+Out'],
    'None+In': [true, 'None+OutIn'],
    'None+OutIn': [true, 'None+OutIn'],
    To: [true, 'To'],
    'To+In': [true, 'To+In'],
    From: [true, 'From+Out'],
    'From+Out': [true, 'From+Out'],
    Both: [true, 'Both'],
  },
  unsubscribe: {
    None: [true, 'None'],
    'None+Out': [true, 'None'],
    'None+In': [true, 'None+In'],
    'None+OutIn': [true, 'None+In'],
    To: [true, 'None'],
    'To+In': [true, 'None+In'],
    From: [true, 'From'],
    'From+Out': [true, 'From'],
    Both: [true, 'From'],
  },
  subscribed: {
    None: [false, 'None'],
    'None+Out': [false, 'None+Out'],
    'None+In': [true, 'From'],
    'None+OutIn': [true, 'From+Out'],
    To: [false, 'To'],
    'To+In': [true, 'Both'],
    From: [false, 'From'],
    'From+Out': [false, 'From+Out'],
    Both: [false, 'Both'],
  },
  unsubscribed: {
    None: [false, 'None'],
    'None+Out': [false, 'None+Out'],
    'None+In': [true, 'None'],
    'None+OutIn': [true, 'None+Out'],
    To: [false, 'To'],
    'To+In': [true, 'To'],
    From: [true, 'None'],
    'From+Out': [true, 'None+Out'],
    Both: [true, 'To'],
  },
}

/** RFC 6121 A.3: [delivered to the user, new state]. */
const INBOUND: Record<SubscriptionType, Rows> = {
  subscribe: {
    None: [true, 'None+In'],
    'None+Out': [true, 'None+OutIn'],
    'None+In': [false, 'None+In'],
    'None+OutIn': [false, 'None+OutIn'],
    To: [true, 'To+In'],
    'To+In': [false, 'To+In'],
    From: [false, 'From'],
    'From+Out': [false, 'From+Out'],
    Both: [false, 'Both'],
  },
  unsubscribe: {
    None: [false, 'None'],
    'None+Out': [false, 'None+Out'],
    'None+In': [true, 'None'],
    'None+OutIn': [true, 'None+Out'],
    To: [false, 'To'],
    'To+In': [true, 'To'],
    From: [true, 'None'],
    'From+Out': [true, 'None+Out'],
    Both: [true, 'To'],
  },
  subscribed: {
    None: [false, 'None'],
    'None+Out': [true, 'To'],
    'None+In': [false, 'None+In'],
    'None+OutIn': [true, 'To+In'],
    To: [false, 'To'],
    'To+In': [false, 'To+In'],
    From: [false, 'From'],
    'From+Out': [true, 'Both'],
    Both: [false, 'Both'],
  },
  unsubscribed: {
    None: [false, 'None'],
    'None+Out': [true, 'None'],
    'None+In': [false, 'None+In'],
    'None+OutIn': [true, 'None+In'],
    To: [true, 'None'],
    'To+In': [true, 'None+In'],
    From: [false, 'From'],
    'From+Out': [true, 'From'],
    Both: [true, 'From'],
  },
}

for (const [direction, tables, step] of [
  ['outbound', OUTBOUND, outbound],
  ['inbound', INBOUND, inbound],
] as const) {
  for (const [type, rows] of Object.entries(tables)) {
    test(`${direction} ${type}, in every state`, () => {
      for (const [from, [pass, to]] of Object.entries(rows)) {
        const { next, pass: passed } = step(type as SubscriptionType, state(from))
        assert.deepEqual([passed, nameOf(next)], [pass, to], from)
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
