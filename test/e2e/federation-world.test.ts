/** The world itself: ejabberd and Prosody federate in it, before hermod has to. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { missing, PeerWorld, person } from '../support/peers/world.ts'
import { befriend, presenceFrom, says } from '../support/talk.ts'

const PAIRS = [
  { strict: true, found: 'srv', by: 'certificates' },
  { strict: true, found: 'address', by: 'certificates, and addresses without SRV' },
  { strict: true, found: 'srv-tls', by: 'certificates, over direct TLS' },
  { strict: false, found: 'srv', certificate: 'self-signed', by: 'dialback' },
] as const

for (const { by, ...options } of PAIRS) {
  test(`ejabberd and Prosody federate, by ${by}`, async t => {
    const why = missing('ejabberd') || missing('prosody')
    if (why) return t.skip(why)
    const world = await PeerWorld.start(t)
    const [verona, mantua] = await Promise.all([
      world.server('ejabberd', 'verona.example', options),
      world.server('prosody', 'mantua.example', options),
    ])
    const [juliet, romeo] = await Promise.all([person(verona, 'juliet'), person(mantua, 'romeo')])
    await befriend(juliet, romeo)
    romeo.send(`<message to='${juliet.jid}' type='chat' id='1'><body>Lady, by yonder blessed moon</body></message>`)
    await juliet.receive(says('Lady, by yonder blessed moon'))
    juliet.send(`<message to='${romeo.jid}' type='chat' id='2'><body>O, swear not by the moon</body></message>`)
    await romeo.receive(says('O, swear not by the moon'))
    await juliet.close()
    await romeo.receive(presenceFrom(juliet.jid, 'unavailable'))
    romeo.cut()
  })
}

test('who is strict does not talk with a server that nobody vouches for', async t => {
  const why = missing('ejabberd') || missing('prosody')
  if (why) return t.skip(why)
  const world = await PeerWorld.start(t)
  for (const [strict, other] of [
    ['ejabberd', 'prosody'],
    ['prosody', 'ejabberd'],
  ] as const) {
    const careful = await world.server(strict, `${strict}-careful.example`, { strict: true })
    const stranger = await world.server(other, `${other}-stranger.example`, { certificate: 'self-signed' })
    const juliet = await person(careful, 'juliet')
    const ping = "<ping xmlns='urn:xmpp:ping'/>"
    await assert.rejects(juliet.request('get', ping, stranger.domain), /remote-server/)
    juliet.cut()
  }
})
