import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { child } from '../support/rawxml.ts'
import { refused, serve } from '../support/talk.ts'

const GET = "<vCard xmlns='vcard-temp'/>"
const card = (name: string) => `<vCard xmlns='vcard-temp'><FN>${name}</FN></vCard>`

const server = await serve({ after }, { modules: { mod_vcard: { max_size: 2048 } } })

test('what a user tells of herself, she and others read', async () => {
  const [alice, bob] = await server.clients('alice', 'bob')
  await refused('item-not-found', alice.request('get', GET))
  await alice.request('set', card('Alice &amp; co'))
  for (const answer of [await alice.request('get', GET), await bob.request('get', GET, 'alice@localhost')]) {
    assert.equal(child(child(answer, 'vCard', 'vcard-temp'), 'FN', 'vcard-temp')?.text, 'Alice & co')
  }
  await alice.request('set', card('Al'))
  assert.equal((await bob.request('get', GET, 'alice@localhost')).children[0]!.children[0]!.text, 'Al')
})

test('no vCard and no account give the same answer, without a word more', async () => {
  const bob = await server.client('bob')
  await server.register('carol')
  const answers = []
  for (const jid of ['carol@localhost', 'nobody@localhost']) {
    bob.send(`<iq type='get' id='v' to='${jid}'>${GET}</iq>`)
    const answer = await bob.receive(el => el.attrs['id'] === 'v')
    assert.equal(answer.attrs['from'], jid)
    answers.push(answer.children)
  }
  assert.deepEqual(answers[0], answers[1])
  await refused('service-unavailable', bob.request('get', GET, 'carol@localhost'))
})

test('nobody writes another’s', async () => {
  const bob = await server.client('bob')
  await server.register('carol')
  await refused('forbidden', bob.request('set', card('Mallory'), 'carol@localhost'))
  await refused('forbidden', bob.request('set', card('Mallory'), 'nobody@localhost'))
})

test('a vCard at the bound is kept, one beyond is not', async () => {
  const dave = await server.client('dave')
  const empty = "<vCard xmlns='vcard-temp'><FN></FN></vCard>".length
  await dave.request('set', card('x'.repeat(2048 - empty)))
  await refused('policy-violation', dave.request('set', card('y'.repeat(2049 - empty))))
  assert.match((await dave.request('get', GET)).children[0]!.children[0]!.text, /^x+$/)
})

test('it goes with the account', async () => {
  const erin = await server.client('erin')
  await erin.request('set', card('Erin'))
  await erin.close()
  await server.server.host('localhost')!.removeAccount('erin')
  const again = await server.client('erin')
  await refused('item-not-found', again.request('get', GET))
})
