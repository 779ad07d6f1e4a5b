/** Calls: Jingle Message Initiation (XEP-0353) and the Jingle session (XEP-0166) that follows, as the server carries them. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { PushService } from '../support/pushservice.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { authenticated, detached, managed } from '../support/resuming.ts'
import { available, copied, nothing, refused, serve } from '../support/talk.ts'

const JMI = 'urn:xmpp:jingle-message:0'
const JULIET = 'juliet@localhost'

type Act = 'propose' | 'ringing' | 'proceed' | 'reject' | 'retract' | 'finish'

/** XEP-0353 3: type chat, and a hint that it is to be stored. */
const jmi = (act: Act, to: string, id = 'c1') =>
  `<message to='${to}' type='chat' id='${act}-${id}'><${act} xmlns='${JMI}' id='${id}'/><store xmlns='urn:xmpp:hints'/></message>`
const is = (act: Act) => (el: XmlElement) => el.name === 'message' && child(el, act, JMI) !== undefined
const copyOf = (kind: 'sent' | 'received', act: Act) => (el: XmlElement) =>
  el.name === 'message' && child(copied(el, kind), act, JMI) !== undefined
const initiate = "<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='c1'/>"
const carbons = (client: RawClient) => client.request('set', "<enable xmlns='urn:xmpp:carbons:2'/>")

/** Romeo with a phone and a tablet; juliet with a phone and a desk. All of them want copies. */
async function couples(t: TestContext) {
  const server = await serve(t)
  const clients = []
  for (const [user, resource] of [
    ['romeo', 'phone'],
    ['romeo', 'tablet'],
    ['juliet', 'phone'],
    ['juliet', 'desk'],
  ] as const) {
    const client = await server.client(user, { resource })
    await available(client)
    await carbons(client)
    clients.push(client)
  }
  const [romeo, tablet, phone, desk] = clients as [RawClient, RawClient, RawClient, RawClient]
  return { server, romeo, tablet, phone, desk }
}

test('a call rings everywhere, is taken on one device, and all others see that', async t => {
  const { romeo, tablet, phone, desk } = await couples(t)
  romeo.send(jmi('propose', JULIET))
  await phone.receive(is('propose'))
  await desk.receive(is('propose'))
  await tablet.receive(copyOf('sent', 'propose'))
  phone.send(jmi('ringing', romeo.jid))
  await romeo.receive(is('ringing'))
  phone.send(jmi('proceed', romeo.jid))
  await romeo.receive(is('proceed'))
  await desk.receive(copyOf('sent', 'proceed')) // stops ringing
  await tablet.receive(copyOf('received', 'proceed'))

  const answer = romeo.request('set', initiate, phone.jid)
  const iq = await phone.receive(el => child(el, 'jingle') !== undefined)
  phone.send(`<iq type='result' id='${iq.attrs['id']}' to='${romeo.jid}'/>`)
  await answer
  await nothing(desk, el => child(el, 'jingle') !== undefined, romeo)

  romeo.send(jmi('finish', phone.jid))
  await phone.receive(is('finish'))
  await desk.receive(copyOf('received', 'finish'))
  await tablet.receive(copyOf('sent', 'finish'))
})

test('a call that is declined stops ringing on the other devices', async t => {
  const { romeo, tablet, phone, desk } = await couples(t)
  romeo.send(jmi('propose', JULIET))
  await phone.receive(is('propose'))
  desk.send(jmi('reject', romeo.jid))
  await romeo.receive(is('reject'))
  await tablet.receive(copyOf('received', 'reject'))
  await phone.receive(copyOf('sent', 'reject'))
})

test('a device with negative priority rings too', async t => {
  const { server, romeo } = await couples(t)
  const car = await server.client('juliet', { resource: 'car' })
  await carbons(car)
  await available(car, '<presence><priority>-1</priority></presence>')
  romeo.send(jmi('propose', JULIET))
  await car.receive(copyOf('received', 'propose'))
})

test('a missed call is seen later: proposal and retraction wait, in order, with the time of each', async t => {
  const server = await serve(t)
  const romeo = await server.client('romeo')
  await server.register('juliet')
  romeo.send(jmi('propose', JULIET))
  romeo.send(jmi('retract', JULIET))
  await romeo.ping()
  const juliet = await server.client('juliet')
  const seen: string[] = []
  juliet.on('stanza', el => {
    const act = el.children.find(c => c.ns === JMI)
    if (act !== undefined && child(el, 'delay') !== undefined) seen.push(act.name)
  })
  await available(juliet)
  await juliet.receive(is('retract'))
  assert.deepEqual(seen, ['propose', 'retract'])
})

test('the phone of a call that nobody takes is woken once, and finds it when it comes', async t => {
  const server = await serve(t)
  const service = await PushService.start(server)
  const romeo = await server.client('romeo')
  const phone = await managed(server, 'juliet', 'phone')
  await phone.request('set', service.enable('n1'))
  phone.cut()
  await detached(server, phone.jid)
  romeo.send(jmi('propose', JULIET))
  assert.equal((await service.next()).priority, 'high')
  const again = await authenticated(server)
  assert.ok(await again.resume(phone.sm!))
  await again.receive(is('propose'))
  romeo.send(jmi('retract', JULIET))
  await again.receive(is('retract'))
  again.ack()
  await again.ping()
  await service.none(romeo)
})

test('a session with a device that is gone is refused', async t => {
  const { romeo, phone } = await couples(t)
  await phone.close()
  await refused('service-unavailable', romeo.request('set', initiate, phone.jid))
})

test('a call to nobody is refused like any message', async t => {
  const { romeo } = await couples(t)
  romeo.send(jmi('propose', 'nobody@localhost'))
  const error = await romeo.receive(el => el.attrs['type'] === 'error')
  assert.ok(is('propose')(error))
})
