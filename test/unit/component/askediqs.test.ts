import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AskedIqs } from '../../../src/component/askediqs.ts'
import { xml } from '../../../src/xml/index.ts'
import { Jid } from '../../../src/xmpp/jid.ts'
import { Stanza } from '../../../src/xmpp/stanza.ts'

const [asker, asked] = [Jid.from('romeo@localhost/orchard'), Jid.from('irc.localhost')]
const iq = (id: string, type = 'get') =>
  type === 'get'
    ? Stanza.make(xml('iq', { id, type }), asker, asked)
    : Stanza.make(xml('iq', { id, type }), asked, asker)

test('what was asked and not answered is answered with an error, to who asked', () => {
  const iqs = new AskedIqs<number>()
  iqs.add(iq('1'), 1)
  iqs.add(iq('2'), 2)
  assert.equal(iqs.answered(iq('1', 'result')), 1)
  assert.equal(iqs.answered(iq('1', 'result')), undefined)
  // Only who was asked may answer, and only who asked is answered.
  assert.equal(
    iqs.answered(Stanza.make(xml('iq', { id: '2', type: 'result' }), Jid.from('a.localhost'), asker)),
    undefined,
  )
  assert.equal(iqs.answered(Stanza.make(xml('iq', { id: '2', type: 'result' }), asked, asker.bare)), undefined)
  const [error, ...more] = iqs.giveUp()
  assert.deepEqual(more, [])
  assert.equal(error!.type, 'error')
  assert.deepEqual(
    [error!.id, String(error!.from), String(error!.to)],
    ['2', 'irc.localhost', 'romeo@localhost/orchard'],
  )
  assert.deepEqual(iqs.giveUp(), [])
})

test('so many requests are remembered, and none with a very long id', () => {
  const iqs = new AskedIqs<true>()
  for (let i = 0; i <= 10_000; i++) iqs.add(iq(`${i}`), true)
  iqs.add(iq('x'.repeat(257)), true)
  const left = iqs.giveUp()
  assert.deepEqual([left.length, left[0]!.id, left.at(-1)!.id], [10_000, '1', '10000'])
})
