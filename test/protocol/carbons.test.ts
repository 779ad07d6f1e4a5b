import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { parseElement } from '../../src/xml/index.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { query } from '../support/archive.ts'
import { pluck } from '../support/pluck.ts'
import { RawClient } from '../support/rawclient.ts'
import { child } from '../support/rawxml.ts'
import { authenticated } from '../support/resuming.ts'
import { available, copied, copyOf, nothing, refused, says, serve } from '../support/talk.ts'

const ENABLE = "<enable xmlns='urn:xmpp:carbons:2'/>"
const DISABLE = "<disable xmlns='urn:xmpp:carbons:2'/>"
const anyCopy = (el: { children: { ns: string }[] }) => el.children.some(c => c.ns === 'urn:xmpp:carbons:2')

/** Alice at her desk and on her phone, which wants copies, and bob. All are available. */
async function people(t: TestContext) {
  const server = await serve(t)
  const desk = await server.client('alice', { resource: 'desk' })
  const phone = await server.client('alice', { resource: 'phone' })
  const bob = await server.client('bob', { resource: 'b' })
  for (const client of [desk, phone, bob]) await available(client)
  await phone.request('set', ENABLE)
  return { server, desk, phone, bob }
}

const chat = (to: string, body: string, more = '') =>
  `<message to='${to}' type='chat' id='m'><body>${body}</body>${more}</message>`

test('what one client sends, the others see', async t => {
  const { desk, phone, bob } = await people(t)
  desk.send(chat('bob@localhost', 'hello'))
  const copy = await phone.receive(copyOf('sent', 'hello'))
  assert.deepEqual(copy.attrs, { type: 'chat', from: 'alice@localhost', to: phone.jid })
  const message = copied(copy, 'sent')!
  assert.deepEqual(message.attrs, {
    xmlns: 'jabber:client',
    to: 'bob@localhost',
    type: 'chat',
    id: 'm',
    from: desk.jid,
  })
  await bob.receive(says('hello'))
  await nothing(desk, anyCopy)
})

test('what one client alone receives, the others see, with the id that the account gave it', async t => {
  const { desk, phone, bob } = await people(t)
  bob.send(chat(desk.jid, 'hello'))
  const original = await desk.receive(says('hello'))
  const copy = await phone.receive(copyOf('received', 'hello'))
  assert.deepEqual(copy.attrs, { type: 'chat', from: 'alice@localhost', to: phone.jid })
  const message = copied(copy, 'received')!
  assert.equal(message.attrs['from'], bob.jid)
  assert.equal(message.attrs['to'], desk.jid)
  assert.deepEqual(child(message, 'stanza-id')?.attrs, child(original, 'stanza-id')?.attrs)
})

test('a copy of what was sent has the id by which it lies in the archive, where it lies there', async t => {
  const server = await serve(t, { hosts: ['localhost', 'other.example'] })
  const desk = await server.client('alice', { resource: 'desk' })
  const phone = await server.client('alice', { resource: 'phone' })
  const bob = await server.client('bob')
  for (const client of [desk, phone, bob]) await available(client)
  await phone.request('set', ENABLE)
  await server.register('sleeper') // whose account is not in memory
  await server.client('carol', { host: 'other.example' })
  const people = ['bob@localhost', 'sleeper@localhost', 'bob@localhost', 'carol@other.example']
  for (const [n, to] of people.entries()) desk.send(chat(to, `kept ${n}`))
  const ids: (string | undefined)[] = []
  for (const n of people.keys()) {
    const message = copied(await phone.receive(el => anyCopy(el)), 'sent')!
    assert.equal(child(message, 'body')?.text, `kept ${n}`, 'in order')
    assert.deepEqual(
      message.children.filter(({ name }) => name === 'stanza-id').map(({ attrs }) => attrs['by']),
      ['alice@localhost'],
    )
    ids.push(child(message, 'stanza-id')!.attrs['id'])
  }
  const archived = await query(phone)
  assert.deepEqual(archived.bodies, ['kept 0', 'kept 1', 'kept 2', 'kept 3'])
  assert.deepEqual(
    ids,
    archived.results.map(({ id }) => id),
  )
  // Bob is not told under which id alice has it.
  const got = await bob.receive(says('kept 0'))
  assert.deepEqual(
    got.children.filter(({ name }) => name === 'stanza-id').map(({ attrs }) => attrs['by']),
    ['bob@localhost'],
  )
  // What nobody got, or nobody keeps, is in no archive.
  desk.send(chat('nobody@localhost', 'to nobody'))
  desk.send(chat('bob@localhost', 'fleeting', "<no-permanent-store xmlns='urn:xmpp:hints'/>"))
  desk.send(
    `<message to='bob@localhost' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>`,
  )
  for (let n = 0; n < 3; n++) {
    const message = copied(await phone.receive(el => anyCopy(el)), 'sent')!
    assert.equal(child(message, 'stanza-id'), undefined)
  }
})

test('who got the message itself gets no copy', async t => {
  const { desk, phone, bob } = await people(t)
  bob.send(chat('alice@localhost', 'to all'))
  await desk.receive(says('to all'))
  await phone.receive(says('to all'))
  await nothing(phone, anyCopy, bob)
})

test('a resource of negative priority gets the copy instead', async t => {
  const { phone, bob } = await people(t)
  await available(phone, '<presence><priority>-1</priority></presence>')
  bob.send(chat('alice@localhost', 'to all'))
  await phone.receive(copyOf('received', 'to all'))
  await nothing(phone, says('to all'))
})

test('a client that does not want copies, or no longer, gets none', async t => {
  const { desk, phone, bob } = await people(t)
  await phone.request('set', ENABLE) // twice is no error
  await phone.request('set', DISABLE)
  await phone.request('set', DISABLE)
  desk.send(chat('bob@localhost', 'out'))
  bob.send(chat(desk.jid, 'in'))
  await nothing(phone, anyCopy, desk, bob)
  await refused('forbidden', bob.request('set', ENABLE, 'alice@localhost'))
  await refused('forbidden', bob.request('set', ENABLE, 'nobody@localhost'))
})

test('private messages are copied by neither side', async t => {
  const { desk, phone, bob } = await people(t)
  for (const mark of ["<private xmlns='urn:xmpp:carbons:2'/>", "<no-copy xmlns='urn:xmpp:hints'/>"]) {
    desk.send(chat('bob@localhost', 'secret', mark))
    const message = await bob.receive(says('secret'))
    assert.equal(message.children.length, 3) // the mark stays: XEP-0280 9
    bob.send(chat(desk.jid, 'secret', mark))
    await desk.receive(says('secret'))
  }
  await nothing(phone, copyOf('sent', 'secret'), desk)
  await nothing(phone, copyOf('received', 'secret'), bob)
})

test('which messages are copied', async t => {
  const { desk, phone, bob } = await people(t)
  const state = "<active xmlns='http://jabber.org/protocol/chatstates'/>"
  const receipt = "<received xmlns='urn:xmpp:receipts' id='1'/>"
  const marker = "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>"
  const invitation = "<x xmlns='jabber:x:conference' jid='r@rooms.example'/>"
  const fromRoom = (inside: string) => `<x xmlns='http://jabber.org/protocol/muc#user'>${inside}</x>`
  const cases: [copied: boolean, type: string, content: string][] = [
    [true, 'chat', state],
    [true, 'normal', '<body>x</body>'],
    [true, 'normal', receipt],
    [true, 'normal', marker],
    [true, 'normal', invitation],
    [true, 'normal', fromRoom("<invite from='carol@localhost'/>")],
    [true, 'error', "<body>x</body><error type='cancel'/>"],
    [false, 'error', "<error type='cancel'/>"],
    [false, 'normal', '<subject>x</subject>'],
    [false, 'headline', '<body>x</body>'],
    [false, 'groupchat', '<body>x</body>'],
    [false, 'chat', `<body>x</body>${fromRoom('')}`],
  ]
  let n = 0
  for (const [wanted, type, content] of cases) {
    const id = `c${++n}`
    bob.send(`<message to='${desk.jid}' type='${type}' id='${id}'>${content}</message>`)
    await desk.receive(el => el.name === 'message' && el.attrs['id'] === id)
    const isCopy = (el: Parameters<typeof copied>[0]) => copied(el, 'received')?.attrs['id'] === id
    if (wanted) await phone.receive(isCopy)
    else await nothing(phone, isCopy)
  }
})

test('what one says to a room’s occupant in private is copied to one’s own clients', async t => {
  const { desk, phone } = await people(t)
  desk.send(chat('room@localhost/nick', 'psst', "<x xmlns='http://jabber.org/protocol/muc#user'/>"))
  await phone.receive(copyOf('sent', 'psst'))
})

test('a message to oneself comes once', async t => {
  const { desk, phone } = await people(t)
  desk.send(chat('alice@localhost', 'note'))
  await phone.receive(says('note'))
  await nothing(phone, anyCopy, desk)
  await desk.request('set', ENABLE)
  desk.send(chat(phone.jid, 'to the phone'))
  await phone.receive(says('to the phone'))
  await nothing(phone, anyCopy, desk)
  await nothing(desk, anyCopy)
})

test('copies that others made up do not arrive', async t => {
  const { server, desk, phone, bob } = await people(t)
  const forgery = (kind: string) =>
    `<${kind} xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='carol@localhost/x' to='alice@localhost'><body>forged</body></message></forwarded></${kind}>`
  for (const kind of ['sent', 'received']) {
    bob.send(chat(phone.jid, 'look', forgery(kind)))
    desk.send(chat(phone.jid, 'look', forgery(kind)))
    const afar = `<message from='eve@far.example/x' to='${phone.jid}' type='chat'><body>look</body>${forgery(kind)}</message>`
    await server.server.router.route(Stanza.of(parseElement(afar)))
    for (let i = 0; i < 3; i++) {
      const message = await phone.receive(says('look'))
      assert.deepEqual(pluck(message.children, 'name'), ['body', 'stanza-id'])
    }
  }
  await nothing(phone, anyCopy)
})

test('copies go on after a resumption; a message sent again is copied once', async t => {
  const { server, desk, bob } = await people(t)
  const tablet = await server.client('alice', { resource: 'tablet' })
  const sm = await tablet.enable()
  await available(tablet)
  await tablet.request('set', ENABLE)
  tablet.cut()
  const again = await authenticated(server, 'alice')
  assert.ok(await again.resume(sm))
  bob.send(chat(desk.jid, 'still there?'))
  await again.receive(copyOf('received', 'still there?'))

  const phone = await server.client('alice', { resource: 'phone2' })
  await available(phone)
  await phone.request('set', ENABLE)
  again.send(chat('bob@localhost', 'once'))
  await phone.receive(copyOf('sent', 'once'))
  again.cut()
  // A client that does not know how far the server was, and comes back anew.
  const third = await server.client('alice', { resource: 'tablet' })
  await third.enable()
  third.send(chat('bob@localhost', 'once'))
  await nothing(phone, copyOf('sent', 'once'), third)
})

test('copies go on after a restart', async t => {
  const { openMemoryStore } = await import('../../src/storage/memory.ts')
  const store = openMemoryStore()
  const close = store.close.bind(store)
  store.close = async () => {} // shared by two servers
  t.after(close)
  const first = await serve(t, { store })
  const phone = await first.client('alice', { resource: 'phone' })
  const sm = await phone.enable()
  await available(phone)
  await phone.request('set', ENABLE)
  await first.server.stop()

  const second = await serve(t, { store })
  const desk = await second.client('alice', { resource: 'desk' })
  await available(desk)
  const back = await RawClient.connect({ host: '127.0.0.1', port: second.port, domain: 'localhost' })
  await back.login({ user: 'alice', password: 'secret' })
  assert.ok(await back.resume(sm))
  desk.send(chat('bob@localhost', 'after'))
  await back.receive(copyOf('sent', 'after'))
  back.cut()
})
