import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DialbackKeys } from '../../../src/s2s/dialback.ts'
import { PairSet } from '../../../src/s2s/pair.ts'
import { Pairing } from '../../../src/s2s/pairing.ts'
import type { S2SStream } from '../../../src/s2s/stream.ts'
import type { Finding } from '../../../src/s2s/verifier.ts'
import { parseElement } from '../../../src/xml/index.ts'

const US = 'capulet.example'

/** Dialback on a stream that keeps what is sent on it. */
function pairing(verify: () => Promise<Finding>) {
  const sent: string[] = []
  const receives = new PairSet()
  const stream = {
    xmpp: {
      id: 'id',
      send: (text: string) => void sent.push(text),
      failWith: (error: unknown) => assert.fail(String(error)),
    },
    server: {
      keys: new DialbackKeys('secret'),
      serves: (domain: string) => domain === US,
      settings: { allows: () => true, policyFor: () => 'required' },
      verifier: { verify },
      notices: { isNew: () => false },
      log: { debug() {} },
    },
    secured: true,
    closing: false,
    mayAsk: true,
    mayRequest: () => true,
    talk: { receives, sends: new PairSet() },
    admit: (pair: { local: string; remote: string }) => receives.add(pair),
    admitted() {},
    granted() {},
  }
  const dialback = new Pairing(stream as unknown as S2SStream)
  const ask = (remote: string): void => {
    dialback.handle(parseElement(`<result xmlns='jabber:server:dialback' from='${remote}' to='${US}'>key</result>`))
  }
  return { dialback, ask, sent, receives }
}

test('the key of XEP-0185 3', () => {
  const keys = new DialbackKeys('s3cr3tf0rd14lb4ck')
  const pair = { local: 'example.org', remote: 'xmpp.example.com' }
  const key = '37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643'
  assert.equal(keys.keyFor(pair, 'D60000229F'), key)
  assert.ok(keys.matches(pair, 'D60000229F', key))
  // CVE-2016-0756: nothing of one field is taken for a part of another.
  assert.notEqual(
    keys.keyFor({ local: 'b.example', remote: 'a.example' }, 'c'),
    keys.keyFor({ local: 'example c', remote: 'a.example b.' }, ''),
  )
})

test('a stream has so many pairs, and no more', async () => {
  const { ask, sent, receives } = pairing(async () => ({ verdict: 'valid', reason: '' }))
  for (let i = 0; i < 1010; i++) {
    ask(`d${i}.example`)
    await null
    await null
    await null
  }
  await new Promise(setImmediate)
  assert.equal(receives.size, 1000)
  assert.equal(sent.filter(text => text.includes('resource-constraint')).length, 10)
})

test('so many keys of a stream are verified at a time, and so many pairs asked for', async () => {
  const { dialback, ask, sent } = pairing(() => new Promise(() => {}))
  for (let i = 0; i < 55; i++) ask(`d${i}.example`)
  assert.equal(sent.filter(text => text.includes('resource-constraint')).length, 5)
  const asked = Array.from({ length: 55 }, (_, i) => dialback.request({ local: US, remote: `d${i}.example` }))
  assert.deepEqual(await Promise.all(asked.slice(50)), Array(5).fill('resource-constraint'))
  dialback.parted()
  assert.equal(await asked[0], 'remote-server-timeout')
})
