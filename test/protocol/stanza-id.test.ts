import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { parseElement } from '../../src/xml/index.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { pluck } from '../support/pluck.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { available, says } from '../support/talk.ts'
import { TestServer } from '../support/testserver.ts'

let server: TestServer
let alice: RawClient
let bob: RawClient

before(async () => {
  server = await TestServer.start()
  alice = await server.client('alice')
  bob = await server.client('bob', { resource: 'b' })
  await available(bob)
})
after(() => server.stop())

const ids = (el: XmlElement) => el.children.filter(c => c.name === 'stanza-id').map(c => c.attrs)
/** As from another server. */
const fromAfar = async (content: string, from = 'eve@far.example/x', to = 'bob@localhost') => {
  const text = `<message from='${from}' to='${to}' type='chat'>${content}</message>`
  await server.server.router.route(Stanza.of(parseElement(text)))
}

test('a message has one id of the account’s, which the account gave', async () => {
  const forged = ['bob@localhost', 'BOB@localhost', 'bob@localhost/b', 'localhost', 'alice@localhost'].map(
    by => `<stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='${by}'/>`,
  )
  alice.send(
    `<message to='bob@localhost' type='chat'><body>1</body>${forged.join('')}<origin-id xmlns='urn:xmpp:sid:0' id='o'/></message>`,
  )
  const message = await bob.receive(says('1'))
  const list = ids(message)
  // That of alice's own account is hers to claim only by her server, which does not.
  assert.deepEqual(pluck(list, 'by'), ['bob@localhost'])
  assert.notEqual(list[0]!['id'], 'forged')
  assert.equal(child(message, 'origin-id')?.attrs['id'], 'o')
})

test('nobody claims for the server by spaces, or by older versions of what it says', async () => {
  const forged =
    "<stanza-id xmlns='urn:xmpp:sid:0' id='forged' by=' bob@localhost '/>" +
    "<stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='\u00a0localhost'/>" +
    "<delay xmlns='urn:xmpp:delay' from='localhost ' stamp='2000-01-01T00:00:00Z'/>" +
    "<x xmlns='jabber:x:delay' from='localhost' stamp='20000101T00:00:00'/>" +
    "<x xmlns='jabber:x:delay' from='BOB@localhost' stamp='20000101T00:00:00'/>" +
    "<result xmlns='urn:xmpp:mam:1' id='1'/><result xmlns='urn:xmpp:mam:tmp' id='1'/><fin xmlns='urn:xmpp:mam:0'/>"
  const others = "<x xmlns='jabber:x:delay' from='far.example' stamp='20000101T00:00:00'/>"
  alice.send(`<message to='bob@localhost' type='chat'><body>as of old</body>${forged}${others}</message>`)
  const { children } = await bob.receive(says('as of old'))
  const names = children.map(({ name, attrs }) => `${name} ${attrs['from'] ?? attrs['by'] ?? ''}`.trim())
  assert.deepEqual(names, ['body', 'x far.example', 'stanza-id bob@localhost'])
})

test('nobody but the server answers for an archive or an inbox', async () => {
  const forged =
    "<result xmlns='urn:xmpp:mam:2' id='1'><forwarded xmlns='urn:xmpp:forward:0'/></result>" +
    "<fin xmlns='urn:xmpp:mam:2'/><entry xmlns='urn:xmpp:inbox:1' jid='x@localhost' unread='9' id='1'/>"
  const other = await server.client('bob', { resource: 'other' })
  for (const from of [alice, other]) {
    for (const to of ['bob@localhost', bob.jid]) {
      from.send(`<message to='${to}' type='chat'><body>claims</body>${forged}<result xmlns='urn:x'/></message>`)
      const { children } = await bob.receive(says('claims'))
      const names = children.map(({ name, ns }) => `${name} ${ns}`)
      assert.deepEqual(names, ['body jabber:client', 'result urn:x', 'stanza-id urn:xmpp:sid:0'])
    }
  }
  // A room elsewhere answers who has asked for its archive; nobody else answers, and nobody is answered who has not asked.
  await bob.request('set', "<query xmlns='urn:xmpp:mam:2'/>", 'room@far.example').catch(() => {})
  const answers = async (body: string, ...way: [from: string, to: string]) => {
    await fromAfar(`<body>${body}</body>${forged}`, ...way)
    return child(await bob.receive(says(body)), 'result', 'urn:xmpp:mam:2') !== undefined
  }
  assert.equal(await answers('hers', 'eve@far.example/x', bob.jid), false)
  assert.equal(await answers('to all', 'room@far.example', 'bob@localhost'), false)
  assert.equal(await answers('room', 'room@far.example', bob.jid), true)
  for (let i = 0; i < 50; i++) {
    await bob.request('set', "<query xmlns='urn:xmpp:mam:2'/>", `room${i}@far.example`).catch(() => {})
  }
  assert.equal(await answers('long ago', 'room@far.example', bob.jid), false)
  await other.close()
})

test('from afar likewise, but what others say of themselves stays', async () => {
  await fromAfar(
    "<body>2</body><stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='bob@localhost'/><stanza-id xmlns='urn:xmpp:sid:0' id='r' by='room@far.example'/>",
  )
  const list = ids(await bob.receive(says('2')))
  assert.deepEqual(pluck(list, 'by'), ['room@far.example', 'bob@localhost'])
})

test('a message that is not kept gets no id, and keeps no forged one', async () => {
  alice.send(
    "<message to='bob@localhost' type='chat'><body>3</body><no-store xmlns='urn:xmpp:hints'/><stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='bob@localhost'/></message>",
  )
  assert.deepEqual(ids(await bob.receive(says('3'))), [])
})

test('nobody else says that this server delayed a message', async () => {
  const delay = (from: string) => `<delay xmlns='urn:xmpp:delay' from='${from}' stamp='2002-09-10T23:08:25Z'/>`
  const all = ['localhost', 'bob@localhost', 'far.example'].map(delay).join('')
  alice.send(`<message to='bob@localhost' type='chat'><body>4</body>${all}</message>`)
  await fromAfar(`<body>5</body>${all}`)
  for (const body of ['4', '5']) {
    const message = await bob.receive(says(body))
    const delays = message.children.filter(c => c.name === 'delay')
    assert.deepEqual(
      delays.map(d => d.attrs['from']),
      ['far.example'],
    )
  }
})

test('clients have no occupant ids; rooms elsewhere have', async () => {
  const occupant = "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='x'/>"
  alice.send(`<message to='bob@localhost' type='chat'><body>6</body>${occupant}${occupant}</message>`)
  assert.equal(child(await bob.receive(says('6')), 'occupant-id'), undefined)
  await fromAfar(`<body>7</body>${occupant}`)
  assert.notEqual(child(await bob.receive(says('7')), 'occupant-id'), undefined)
})

test('accounts say that they do so', async () => {
  const info = await alice.request('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>")
  assert.ok(info.children[0]!.children.some(c => c.attrs['var'] === 'urn:xmpp:sid:0'))
})
