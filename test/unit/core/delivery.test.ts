import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Account } from '../../../src/core/account.ts'
import {
  DELIVERY,
  delayElement,
  deliverMessage,
  deliverPresence,
  keeps,
  type Verdict,
} from '../../../src/core/delivery.ts'
import { STOP } from '../../../src/core/hooks.ts'
import type { Host } from '../../../src/core/host.ts'
import { StanzaError } from '../../../src/xmpp/errors.ts'
import type { Stanza } from '../../../src/xmpp/stanza.ts'
import { settled } from '../../support/waiting.ts'
import { FakeSession, host, message, stanza } from './support.ts'

type Place = 'no_account' | 'none' | 'some' | 'match'

/** RFC 6121 8.5.4, of what it allows: [address, who is there, normal, chat, groupchat, headline, error]. */
const TABLE: ['bare' | 'full', Place, Verdict, Verdict, Verdict, Verdict, Verdict][] = [
  ['bare', 'no_account', 'bounce', 'bounce', 'bounce', 'drop', 'drop'],
  ['bare', 'none', 'queue', 'queue', 'bounce', 'drop', 'drop'],
  ['bare', 'some', 'all', 'all', 'bounce', 'all', 'drop'],
  ['full', 'no_account', 'bounce', 'bounce', 'bounce', 'drop', 'drop'],
  ['full', 'none', 'bounce', 'queue', 'bounce', 'drop', 'drop'],
  ['full', 'some', 'bounce', 'all', 'bounce', 'drop', 'drop'],
  ['full', 'match', 'session', 'session', 'session', 'session', 'session'],
]
const TYPES = ['normal', 'chat', 'groupchat', 'headline', 'error'] as const

async function juliet(at: Host = host()): Promise<Account> {
  return (await at.account('juliet'))!
}

/** The sessions of the account, by what takes messages and what does not. */
function populate(
  account: Account,
  place: Place,
): { takers: FakeSession[]; others: FakeSession[]; match?: FakeSession } {
  const negative = new FakeSession(account, 'negative', -1)
  const silent = new FakeSession(account, 'connected')
  if (place === 'none') return { takers: [], others: [negative, silent] }
  const takers = [new FakeSession(account, 'balcony', 5), new FakeSession(account, 'chamber', 0)]
  if (place === 'some') return { takers, others: [negative, silent] }
  const match = new FakeSession(account, 'here')
  return { takers, others: [negative, silent], match }
}

const codes = (session: FakeSession) => session.stanzas.map(s => s.type)

test('the table is that of RFC 6121 8.5.4, cell by cell', () => {
  let cells = 0
  for (const [address, place, ...verdicts] of TABLE) {
    for (const [i, type] of TYPES.entries()) {
      assert.equal(DELIVERY[address][place]?.[type], verdicts[i], `${address} ${place} ${type}`)
      cells++
    }
  }
  const has = Object.values(DELIVERY).flatMap(places => Object.values(places).flatMap(row => Object.keys(row)))
  assert.equal(has.length, cells, 'there is no cell beyond these')
})

for (const [address, place, ...verdicts] of TABLE) {
  for (const [i, type] of TYPES.entries()) {
    const verdict = verdicts[i]!
    test(`${type} to a ${address} address, ${place}: ${verdict}`, async () => {
      const at = host()
      const to = `${place === 'no_account' ? 'nobody' : 'juliet'}@example.org${address === 'full' ? '/here' : ''}`
      const errors: string[] = []
      const sent = message(to, type === 'normal' ? undefined : type)
      const account = await juliet(at)
      const people = place === 'no_account' ? { takers: [], others: [] } : populate(account, place)
      try {
        await at.destination.deliver(sent, {})
      } catch (error) {
        assert.ok(error instanceof StanzaError)
        errors.push(error.condition)
      }
      assert.deepEqual(errors, verdict === 'bounce' ? ['service-unavailable'] : [])
      const getters = verdict === 'all' ? people.takers : verdict === 'session' ? [people.match!] : []
      for (const session of account.sessions.values() as Iterable<FakeSession>) {
        assert.deepEqual(codes(session), getters.includes(session) ? [type] : [], session.name)
      }
      await settled(1)
      await at.queues.flush()
      const kept =
        (verdict === 'all' || verdict === 'session' || verdict === 'queue') && (type === 'chat' || type === 'normal')
      assert.equal(await at.queues.count('juliet'), kept ? 1 : 0)
    })
  }
}

test('only what people write, and what tells of it, is kept', () => {
  const kept = (children: string, type = 'chat') =>
    keeps(stanza(`<message from='a@b/c' to='d@e' type='${type}'>${children}</message>`))
  const BODY = '<body>hi</body>'
  const STATE = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
  const hint = (name: string) => `<${name} xmlns='urn:xmpp:hints'/>`
  assert.equal(kept(BODY), true)
  assert.equal(kept(BODY, 'normal'), true)
  for (const type of ['groupchat', 'headline', 'error']) assert.equal(kept(BODY, type), false, type)
  assert.equal(kept(STATE), false, 'chat states make sense only now')
  assert.equal(kept(`${STATE}<thread>t</thread>`), false)
  assert.equal(kept(''), false, 'there is nothing in it')
  assert.equal(kept(STATE + BODY), true)
  assert.equal(kept("<received xmlns='urn:xmpp:receipts' id='1'/>"), true)
  assert.equal(kept("<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>"), true)
  assert.equal(kept(BODY + hint('no-store')), false)
  assert.equal(kept(BODY + hint('no-permanent-store')), true)
  assert.equal(kept(STATE + hint('store')), true)
  assert.equal(kept('<subject>only</subject>'), true)
})

test('a queued message has one stanza-id, of its account, the same for all; the sender’s tree is not touched', async () => {
  const account = await juliet()
  const { takers } = populate(account, 'some')
  const sent = message('juliet@example.org', 'chat')
  const before = sent.toString()
  deliverMessage(account, sent, undefined)
  const texts = takers.map(t => t.stanzas[0]!.toString())
  assert.equal(texts[0], texts[1])
  assert.match(texts[0]!, /<stanza-id xmlns='urn:xmpp:sid:0' by='juliet@example.org' id='[0-9a-f-]{36}'\/><\/message>$/)
  assert.equal(sent.toString(), before)
  assert.equal(takers[0]!.held[0]!.bytes.toString(), texts[0])
})

test('deliver_message may take a message or put another in its place; offline_message may refuse it', async () => {
  const at = host()
  const account = await juliet(at)
  const undo = at.hooks.add('m', 'deliver_message', () => STOP)
  deliverMessage(account, message('juliet@example.org', 'chat'), undefined)
  undo()
  assert.equal(account.queue.size, 0)
  at.hooks.add('m', 'offline_message', () => {
    throw new StanzaError('resource-constraint')
  })
  assert.throws(() => deliverMessage(account, message('juliet@example.org', 'chat'), undefined), {
    condition: 'resource-constraint',
  })
  assert.equal(account.queue.size, 0, 'what is refused is not kept')
  const session = new FakeSession(account, 'balcony', 0)
  at.hooks.add('m', 'deliver_message', event => {
    event.stanza = message('juliet@example.org', 'chat', 'other')
  })
  deliverMessage(account, message('juliet@example.org', 'chat'), undefined)
  assert.match(session.stanzas[0]!.toString(), /<body>other<\/body>/)
})

test('message_delivered tells to whom it went, and cannot turn what was accepted into an error', async () => {
  const at = host()
  const account = await juliet(at)
  const told: [string, number][] = []
  at.hooks.add('m', 'message_delivered', ({ stanza, sessions }) => {
    told.push([stanza.type, sessions.length])
    throw new StanzaError('forbidden')
  })
  deliverMessage(account, message('juliet@example.org', 'chat'), undefined)
  populate(account, 'some')
  deliverMessage(account, message('juliet@example.org', 'headline'), undefined)
  deliverMessage(account, message('juliet@example.org/balcony', 'chat'), undefined)
  assert.deepEqual(told, [
    ['chat', 0],
    ['headline', 2],
    ['chat', 1],
  ])
})

test('presence goes to all that are available, of whatever priority', async () => {
  const account = await juliet()
  const { takers, others } = populate(account, 'some')
  deliverPresence(account, stanza("<presence from='romeo@example.org/o' to='juliet@example.org'/>"))
  assert.deepEqual(
    [...takers, ...others].map(s => s.stanzas.length),
    [1, 1, 1, 0],
  )
})

test('a stamp says since when a message waited, unless this host has said so already', () => {
  const plain: Stanza = message('juliet@example.org', 'chat')
  assert.equal(
    delayElement(plain, 'example.org', 0)?.toString(),
    '<delay xmlns="urn:xmpp:delay" from="example.org" stamp="1970-01-01T00:00:00.000Z"/>',
  )
  const stamped = (from: string) =>
    stanza(
      `<message from='a@b/c' to='d@e'><delay xmlns='urn:xmpp:delay' from='${from}' stamp='2020-01-01T00:00:00Z'/></message>`,
    )
  assert.equal(delayElement(stamped('example.org'), 'example.org', 0), undefined)
  assert.notEqual(delayElement(stamped('example.com'), 'example.org', 0), undefined)
})
