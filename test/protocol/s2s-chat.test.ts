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

test('domains that no certificate is for are told of, once a start', async t => {
  const net = await Net.start(t)
  const lines: string[] = []
  const logTo = { write: (line: string) => void lines.push(line) }
  const told = (): unknown[] =>
    lines
      .map(line => JSON.parse(line))
      .flatMap(({ msg, domains }) => (/^no certificate is for these/.test(msg) ? [domains] : []))
  const config = { loglevel: 'warn' as const }
  await net.server('127.0.13.1', ['capulet.example'], { logTo, config })
  assert.deepEqual(told(), [])
  const certificate = net.ca.issue(['montague.example', 'pubsub.montague.example'])
  await net.server('127.0.13.2', ['montague.example'], { logTo, config, certificate, http: {} })
  assert.deepEqual(told(), [['upload.montague.example']])
})
