import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Net } from '../support/federated.ts'
import { freeAddress } from '../support/loopback.ts'
import { child } from '../support/rawxml.ts'

for (const [how, certificate] of [
  ['certificates', {}],
  ['dialback', { certificate: 'self' as const }],
] as const) {
  test(`users of two servers chat, authenticated by ${how}`, async t => {
    const net = await Net.start(t)
    const capulet = await net.server(freeAddress(), ['capulet.example'], certificate)
    const montague = await net.server(freeAddress(), ['montague.example'], certificate)
    const [juliet] = await capulet.clients('juliet')
    const [romeo] = await montague.clients('romeo')
    romeo.send('<presence/>')
    juliet.send('<presence/>')
    juliet.send("<message to='romeo@montague.example' type='chat' id='1'><body>Art thou not Romeo?</body></message>")
    const heard = await romeo.receive(el => el.name === 'message')
    assert.deepEqual([heard.attrs['from'], child(heard, 'body')?.text], [juliet.jid, 'Art thou not Romeo?'])
    romeo.send(`<message to='${juliet.jid}' type='chat' id='2'><body>Neither, fair maid</body></message>`)
    const answer = await juliet.receive(el => el.name === 'message')
    assert.deepEqual([answer.attrs['from'], child(answer, 'body')?.text], [romeo.jid, 'Neither, fair maid'])
  })
}
