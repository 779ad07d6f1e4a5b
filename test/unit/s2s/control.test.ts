import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LinksControl } from '../../../src/s2s/control.ts'
import { eventually, settled } from '../../support/waiting.ts'
import { Net, Side } from './net.ts'

function world() {
  const net = new Net({ sm: true, bidi: false })
  const montague = new Side(net, 'montague.example')
  const capulet = new Side(net, 'capulet.example')
  const say = (n: number) =>
    montague.route(
      `<message type='chat' from='romeo@montague.example/r' to='juliet@capulet.example'><body>${n}</body></message>`,
    )
  return {
    net,
    montague,
    capulet,
    control: new LinksControl(montague.links),
    theirs: new LinksControl(capulet.links),
    say,
  }
}

test('what is sent and what comes, with the streams on which it does', async () => {
  const { montague, capulet, control, theirs, say } = world()
  await say(1)
  await eventually(async () => (await montague.link('capulet.example')).state === 'connected')
  await eventually(async () => (await montague.link('capulet.example')).queue.messages === 0)
  const [out] = control.outgoing()
  assert.deepEqual(
    [out?.domain, out?.local, out?.state, out?.method],
    ['capulet.example', 'montague.example', 'connected', 'external'],
  )
  assert.deepEqual([out?.messages, out?.reason, out?.retry], [0, null, null])
  assert.deepEqual(control.incoming(), [])
  const [into] = theirs.incoming()
  assert.deepEqual(
    [into?.domain, into?.local, into?.state, into?.sm],
    ['montague.example', 'capulet.example', 'connected', true],
  )
  await montague.links.stop(100)
  await capulet.links.stop(100)
})

test('a queue is looked into and dropped: the senders are told', async () => {
  const { net, montague, control, say } = world()
  net.down = 'remote-server-timeout'
  const romeo = await montague.client('romeo')
  for (let n = 1; n <= 3; n++) await say(n)
  await settled()
  const waiting = await control.peek('capulet.example', 2)
  assert.deepEqual(
    waiting.map(({ from, to }) => `${from} ${to}`),
    new Array(2).fill('romeo@montague.example/r juliet@capulet.example'),
  )
  assert.equal(await control.drop('capulet.example'), 3)
  assert.equal(await control.drop('elsewhere.example'), 0)
  await settled()
  assert.equal(romeo.stanzas.length, 3)
  for (const { type } of romeo.stanzas) assert.equal(type, 'error')
  await montague.links.stop(100)
})

test('a stream is ended, and what waits goes on another; a peer is tried at once', async () => {
  const { net, montague, capulet, control, say } = world()
  montague.retryMax = 3_600_000
  net.down = 'remote-server-timeout'
  await say(1)
  const link = await montague.link('capulet.example')
  await eventually(() => link.state === 'waiting')
  const [out] = control.outgoing()
  assert.equal(out?.reason, 'capulet.example cannot be reached')
  assert.ok(out!.retry! > Date.now())
  net.down = undefined
  assert.equal(control.retry(undefined), 1)
  await eventually(() => link.queue.messages === 0)
  assert.equal(control.retry('capulet.example'), 0, 'there is a connection')
  assert.equal(control.reset('capulet.example'), 1)
  assert.equal(net.ends.size, 0)
  await say(2)
  await eventually(() => link.queue.messages === 0)
  const juliet = await capulet.client('juliet')
  assert.equal(juliet.stanzas.length, 2)
  await montague.links.stop(100)
  await capulet.links.stop(100)
})
