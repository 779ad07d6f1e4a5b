/** Gateways as contacts (XEP-0100): the domain itself, and those behind it. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import type { RawClient } from '../support/rawclient.ts'
import { RawComponent } from '../support/rawcomponent.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { available, nothing, online, presenceFrom, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'

const NAME = 'gate.localhost'
const FRIEND = `friend@${NAME}`
const component = { hosts: { [NAME]: { password: 'secret' } } }
const ROSTER = 'jabber:iq:roster'

const login = (server: TestServer) => RawComponent.login({ port: server.componentPort, name: NAME })
/** Presence that has come for an address of the component. */
const comes = (from: string, to: string, type?: string) => (el: XmlElement) =>
  el.name === 'presence' && el.attrs['from'] === from && el.attrs['to'] === to && el.attrs['type'] === type

async function gate(t: TestContext) {
  const server = await serve(t, { component })
  const gateway = await login(server)
  const [romeo] = await online(server, 'romeo')
  await romeo.request('get', `<query xmlns='${ROSTER}'/>`)
  return { server, gateway, romeo }
}

async function subscriptions(client: RawClient): Promise<Record<string, string>> {
  const answer = await client.request('get', `<query xmlns='${ROSTER}'/>`)
  return Object.fromEntries(
    child(answer, 'query')!.children.map(({ attrs }) => [
      attrs['jid'],
      attrs['subscription']! + (attrs['ask'] ? ' asked' : ''),
    ]),
  )
}

/** Both see each other: the user and this address of the gateway. */
async function befriends(romeo: RawClient, gateway: RawComponent, address: string): Promise<void> {
  romeo.send(`<presence to='${address}' type='subscribe'/>`)
  await gateway.receive(comes('romeo@localhost', address, 'subscribe'))
  gateway.send("<presence to='romeo@localhost' type='subscribed'/>", address)
  gateway.send("<presence to='romeo@localhost' type='subscribe'/>", address)
  await romeo.receive(presenceFrom(address, 'subscribed'))
  await romeo.receive(presenceFrom(address, 'subscribe'))
  romeo.send(`<presence to='${address}' type='subscribed'/>`)
  await gateway.receive(comes('romeo@localhost', address, 'subscribed'))
  await gateway.receive(comes(romeo.jid, address))
}

for (const address of [NAME, FRIEND]) {
  describe(`a contact ${address}`, () => {
    test('is asked, agrees, asks back; it sees the user come and go, and is seen', async t => {
      const { server, gateway, romeo } = await gate(t)
      await befriends(romeo, gateway, address)
      assert.deepEqual(await subscriptions(romeo), { [address]: 'both' })
      const shows = address === NAME ? address : `${address}/phone`
      gateway.send("<presence to='romeo@localhost'><show>away</show></presence>", shows)
      assert.equal(child(await romeo.receive(presenceFrom(shows)), 'show')?.text, 'away')

      await available(romeo, '<presence><show>dnd</show></presence>')
      await gateway.receive(el => comes(romeo.jid, address)(el) && child(el, 'show')?.text === 'dnd')
      const other = await server.client('romeo', { resource: 'garden' })
      other.send('<presence/>')
      await gateway.receive(comes(other.jid, address))
      // Who comes online asks how the contact is.
      await gateway.receive(
        el => comes(other.jid, address, 'probe')(el) || comes('romeo@localhost', address, 'probe')(el),
      )
      gateway.send("<presence to='romeo@localhost'/>", shows)
      await other.receive(presenceFrom(shows))
      other.cut()
      await gateway.receive(comes(other.jid, address, 'unavailable'))
    })

    test('asks how the user is, and is answered as who may know', async t => {
      const { gateway, romeo } = await gate(t)
      gateway.send("<presence to='romeo@localhost' type='probe'/>", address)
      await gateway.ping()
      await assert.rejects(gateway.receive(el => el.name === 'presence' && el.attrs['from'] === romeo.jid, 1))
      await befriends(romeo, gateway, address)
      gateway.send("<presence to='romeo@localhost' type='probe'/>", address)
      await gateway.receive(comes(romeo.jid, address))
      romeo.send("<presence type='unavailable'/>")
      await gateway.receive(comes(romeo.jid, address, 'unavailable'))
      gateway.send("<presence to='romeo@localhost' type='probe'/>", address)
      await gateway.receive(comes('romeo@localhost', address, 'unavailable'))
    })

    test('is taken out of the roster, and told so', async t => {
      const { gateway, romeo } = await gate(t)
      await befriends(romeo, gateway, address)
      await romeo.request('set', `<query xmlns='${ROSTER}'><item jid='${address}' subscription='remove'/></query>`)
      await gateway.receive(comes('romeo@localhost', address, 'unsubscribe'))
      await gateway.receive(comes('romeo@localhost', address, 'unsubscribed'))
      assert.deepEqual(await subscriptions(romeo), {})
      gateway.send("<presence to='romeo@localhost'/>", address)
      await gateway.ping()
      await available(romeo)
      await gateway.ping()
      await assert.rejects(gateway.receive(comes(romeo.jid, address), 1))
    })

    test('ends it itself', async t => {
      const { gateway, romeo } = await gate(t)
      await befriends(romeo, gateway, address)
      gateway.send("<presence to='romeo@localhost' type='unsubscribed'/>", address)
      gateway.send("<presence to='romeo@localhost' type='unsubscribe'/>", address)
      await romeo.receive(presenceFrom(address, 'unsubscribed'))
      await gateway.ping()
      assert.deepEqual(await subscriptions(romeo), { [address]: 'none' })
    })
  })
}

test('a request that waits for a user who is away is there when the user comes, over a restart of the gateway', async t => {
  const server = await serve(t, { component })
  await server.register('romeo')
  const first = await login(server)
  first.send("<presence to='romeo@localhost' type='subscribe'/>", FRIEND)
  await first.ping()
  await first.close()
  const again = await login(server)
  const [romeo] = await online(server, 'romeo')
  await romeo.receive(presenceFrom(FRIEND, 'subscribe'))
  romeo.send(`<presence to='${FRIEND}' type='subscribed'/>`)
  await again.receive(comes('romeo@localhost', FRIEND, 'subscribed'))
})

test('registration, contacts to add (XEP-0144) and a prompt go both ways as they are', async t => {
  const { gateway, romeo } = await gate(t)
  const registering = romeo.request('set', "<query xmlns='jabber:iq:register'><username>romeo</username></query>", NAME)
  const request = await gateway.receive(el => child(el, 'query', 'jabber:iq:register') !== undefined)
  gateway.send(`<iq type='result' id='${request.attrs['id']}' to='${romeo.jid}'/>`)
  await registering
  const RIE = 'http://jabber.org/protocol/rosterx'
  gateway.send(
    `<message to='romeo@localhost'><x xmlns='${RIE}'><item action='add' jid='${FRIEND}' name='Friend'/></x></message>`,
  )
  const message = await romeo.receive(el => child(el, 'x', RIE) !== undefined)
  assert.equal(child(child(message, 'x', RIE), 'item')?.attrs['jid'], FRIEND)
})

test('a room at a component is joined by presence to it alone, and left with the connection', async t => {
  const { server, gateway } = await gate(t)
  const juliet = await server.client('juliet')
  const room = `#verona@${NAME}/juliet`
  juliet.send(`<presence to='${room}'><x xmlns='http://jabber.org/protocol/muc'/></presence>`)
  await gateway.receive(comes(juliet.jid, room))
  gateway.send(`<message to='${juliet.jid}' type='groupchat'><body>welcome</body></message>`, `#verona@${NAME}/nurse`)
  await juliet.receive(el => child(el, 'body')?.text === 'welcome')
  juliet.cut()
  await gateway.receive(comes(juliet.jid, room, 'unavailable'))
})

test('what a component says of a user’s presence to others is its own business: it cannot say it in the user’s name', async t => {
  const { server, gateway, romeo } = await gate(t)
  const [juliet] = await online(server, 'juliet')
  gateway.send("<presence to='juliet@localhost'/>", 'romeo@localhost')
  assert.equal(await gateway.ended(), 'invalid-from')
  await nothing(juliet, presenceFrom(romeo.jid), romeo)
})
