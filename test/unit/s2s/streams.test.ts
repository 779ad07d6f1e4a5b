import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freeAddress } from '../../support/loopback.ts'
import { engine, world } from './support.ts'

const PAIR = { local: 'capulet.example', remote: 'montague.example' }
const MESSAGE =
  "<message from='juliet@capulet.example/balcony' to='romeo@montague.example' type='chat'><body>hi</body></message>"

test('a stream by certificates on both sides', async t => {
  const ip = freeAddress()
  const at = await world(t)
  const capulet = await engine(t, at, { domains: [PAIR.local], ip: freeAddress() })
  const montague = await engine(t, at, { domains: [PAIR.remote], ip })
  const talk = await capulet.federating.connector.connect(PAIR, undefined, new AbortController().signal)
  assert.ok(talk.sends.has(PAIR.local, PAIR.remote))
  assert.equal(capulet.talks.begun[0]!.how, 'sm')
  const { wire } = capulet.talks.begun[0]!
  assert.deepEqual(
    { ...wire!.info, since: 0, port: 0 },
    { direction: 'out', ip, port: 0, tls: 'TLSv1.3', method: 'external', bidi: true, sm: true, since: 0 },
  )
  wire!.send(MESSAGE)
  const heard = await montague.talks.hears('<message')
  assert.deepEqual(heard.heard, ['open sm', MESSAGE])
})

test('a stream by dialback, where there are no certificates', async t => {
  const at = await world(t)
  const capulet = await engine(t, at, { domains: [PAIR.local], ip: freeAddress(), certificate: 'self' })
  const montague = await engine(t, at, { domains: [PAIR.remote], ip: freeAddress(), certificate: 'self' })
  await capulet.federating.connector.connect(PAIR, undefined, new AbortController().signal)
  const { wire } = capulet.talks.begun[0]!
  assert.equal(wire!.info.method, 'dialback')
  wire!.send(MESSAGE)
  const heard = await montague.talks.hears('<message')
  assert.deepEqual(heard.heard, ['open sm', MESSAGE])
})
