/** A component and people on another server: nothing has to be set up for it but its name in DNS. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Net } from '../support/federated.ts'
import { freeAddress } from '../support/loopback.ts'
import { RawComponent } from '../support/rawcomponent.ts'
import { child, errorCondition } from '../support/rawxml.ts'
import { available, presenceFrom, refused, says } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'

const NAME = 'gate.capulet.example'

async function two(t: TestContext, options: object = {}) {
  const net = await Net.start(t)
  const ip = freeAddress()
  const component = { hosts: { [NAME]: { password: 'secret', ...options } } }
  const capulet = await net.server(ip, ['capulet.example'], { component })
  net.name(ip, NAME)
  const montague = await net.server(freeAddress(), ['montague.example'])
  const romeo = await montague.client('romeo')
  await available(romeo)
  return { capulet, romeo }
}
const login = (server: TestServer) => RawComponent.login({ port: server.componentPort, name: NAME })

test('stanzas go both ways', async t => {
  const { capulet, romeo } = await two(t)
  const gateway = await login(capulet)
  romeo.send(`<message to='friend@${NAME}' type='chat' id='1'><body>good morrow</body></message>`)
  assert.equal((await gateway.receive(says('good morrow'))).attrs['from'], romeo.jid)
  gateway.send(`<message to='${romeo.jid}' type='chat'><body>and to you</body></message>`, `friend@${NAME}/x`)
  assert.equal((await romeo.receive(says('and to you'))).attrs['from'], `friend@${NAME}/x`)

  const asked = romeo.request('get', "<query xmlns='jabber:iq:version'/>", NAME)
  const { id } = (await gateway.receive(el => child(el, 'query', 'jabber:iq:version') !== undefined)).attrs
  gateway.send(`<iq type='result' id='${id}' to='${romeo.jid}'><query xmlns='jabber:iq:version'/></iq>`)
  await asked

  romeo.send(`<presence to='friend@${NAME}' type='subscribe'/>`)
  await gateway.receive(presenceFrom('romeo@montague.example', 'subscribe'))
  gateway.send("<presence to='romeo@montague.example' type='subscribed'/>", `friend@${NAME}`)
  await romeo.receive(presenceFrom(`friend@${NAME}`, 'subscribed'))
})

test('a message waits for a component that is away', async t => {
  const { capulet, romeo } = await two(t)
  romeo.send(`<message to='friend@${NAME}' type='chat' id='1'><body>are you there?</body></message>`)
  await refused('remote-server-timeout', romeo.request('get', "<query xmlns='jabber:iq:version'/>", NAME))
  const gateway = await login(capulet)
  await gateway.receive(says('are you there?'))
})

test('who elsewhere may not reach it is told so', async t => {
  const { capulet, romeo } = await two(t, { access: 'local' })
  await login(capulet)
  romeo.send(`<message to='friend@${NAME}' type='chat' id='1'><body>let me in</body></message>`)
  const error = await romeo.receive(el => el.attrs['type'] === 'error' && el.attrs['id'] === '1')
  assert.equal(errorCondition(error), 'forbidden')
})
