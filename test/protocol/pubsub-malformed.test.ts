import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chance, SEED } from '../support/chance.ts'
import { itemIds, OWNER, PUBSUB, publish } from '../support/publishing.ts'
import { errorCondition } from '../support/rawxml.ts'
import { serve } from '../support/talk.ts'

const NAMES = [
  'affiliation',
  'affiliations',
  'configure',
  'create',
  'default',
  'delete',
  'item',
  'items',
  'options',
  'publish',
  'publish-options',
  'purge',
  'redirect',
  'retract',
  'subscribe',
  'subscription',
  'subscriptions',
  'unsubscribe',
  'x',
  'field',
  'value',
  'set',
  'max',
  '__proto__',
]
const ATTRS = ['node', 'jid', 'id', 'subscription', 'affiliation', 'max_items', 'notify', 'uri', 'type', 'var', 'subid']
const VALUES = [
  '',
  'n',
  'x'.repeat(2000),
  'alice@localhost',
  '@',
  '-1',
  'NaN',
  'owner',
  'subscribed',
  'submit',
  '__proto__',
  'constructor',
  'FORM_TYPE',
  'pubsub#__proto__',
  `${PUBSUB}#node_config`,
  `${PUBSUB}#publish-options`,
]

function tree(pick: (below: number) => number, depth: number): string {
  const name = NAMES[pick(NAMES.length)]!
  const attrs = new Map<string, string>()
  for (let i = pick(4); i > 0; i--) attrs.set(ATTRS[pick(ATTRS.length)]!, VALUES[pick(VALUES.length)]!)
  if (name === 'x') attrs.set('xmlns', 'jabber:x:data')
  if (name === 'set') attrs.set('xmlns', 'http://jabber.org/protocol/rsm')
  let content = pick(5) === 0 ? VALUES[pick(VALUES.length)]! : ''
  for (let i = depth > 3 ? 0 : pick(4); i > 0; i--) content += tree(pick, depth + 1)
  const written = [...attrs].map(([key, value]) => ` ${key}='${value}'`).join('')
  return `<${name}${written}>${content}</${name}>`
}

test('whatever is asked is answered, and nothing fails inside', async t => {
  const server = await serve(t)
  const alice = await server.client('alice')
  await publish(alice, 'n', "<p xmlns='urn:p'/>", 'kept', { access_model: 'whitelist' })
  const counts: Record<string, number> = {}
  const pick = chance(SEED).below
  for (let i = 0; i < 1500; i++) {
    const ns = pick(2) === 0 ? PUBSUB : OWNER
    const to = ['', " to='pubsub.localhost'", " to='nobody@localhost'"][pick(3)]
    const content = Array.from({ length: pick(4) }, () => tree(pick, 0)).join('')
    const type = pick(2) === 0 ? 'get' : 'set'
    alice.send(`<iq type='${type}' id='f${i}'${to}><pubsub xmlns='${ns}'>${content}</pubsub></iq>`)
    const answer = await alice.receive(el => el.name === 'iq' && el.attrs['id'] === `f${i}`)
    const outcome = answer.attrs['type'] === 'result' ? 'result' : errorCondition(answer)
    counts[outcome] = (counts[outcome] ?? 0) + 1
    assert.notEqual(outcome, 'internal-server-error', content)
  }
  assert.ok((counts['result'] ?? 0) > 20 && (counts['bad-request'] ?? 0) > 100, JSON.stringify(counts))
  await publish(alice, 'm', "<p xmlns='urn:p'/>", 'after')
  assert.deepEqual(await itemIds(alice, 'm'), ['after'])
})
