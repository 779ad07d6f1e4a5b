import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { StanzaError } from '../../src/xmpp/errors.ts'
import type { RawClient } from '../support/rawclient.ts'
import { errorCondition } from '../support/rawxml.ts'
import { available, closed, nothing, online, refused, says, serve } from '../support/talk.ts'
import { type TestServer, testModule } from '../support/testserver.ts'

async function authenticated(server: TestServer, user = 'juliet'): Promise<RawClient> {
  await server.register(user)
  const client = await server.connect()
  await client.login({ user, password: 'secret' })
  return client
}

function sessions(server: TestServer, user = 'juliet'): string[] {
  const account = server.server.host('localhost')!.accounts.get(user)
  return [...(account?.sessions.keys() ?? [])]
}

async function pair(t: TestContext, policy: string): Promise<{ server: TestServer; old: RawClient; late: RawClient }> {
  const server = await serve(t, { config: { resource_conflict: policy } })
  const old = await server.client('juliet', { resource: 'balcony' })
  return { server, old, late: await authenticated(server) }
}

test('a client gets the resource it asks for, prepared, or one that nobody can guess', async t => {
  const server = await serve(t)
  assert.equal(await (await authenticated(server)).bind('balcony'), 'juliet@localhost/balcony')
  assert.equal(await (await authenticated(server)).bind('Cafe\u0301'), 'juliet@localhost/Café')
  const random = await (await authenticated(server)).bind()
  assert.match(random, /^juliet@localhost\/[0-9a-f]{32}$/)
  assert.notEqual(await (await authenticated(server)).bind(), random)
})

test('a resource that cannot be one is refused, and another may be asked for', async t => {
  const server = await serve(t)
  const client = await authenticated(server)
  await refused('bad-request', client.bind('a\u0009b'))
  await refused('bad-request', client.bind('x'.repeat(1024)))
  assert.equal(await client.bind('x'.repeat(1023)), `juliet@localhost/${'x'.repeat(1023)}`)
})

for (const policy of ['closeold', 'acceptnew']) {
  test(`${policy}: the old session ends, and what it had not acknowledged goes to the new one`, async t => {
    const { server, old, late } = await pair(t, policy)
    await old.enable()
    old.options.autoAck = false
    await available(old)
    const romeo = await server.client('romeo')
    romeo.send("<message to='juliet@localhost' type='chat' id='1'><body>hi</body></message>")
    await old.receive(says('hi'))
    const gone = closed(old)
    assert.equal(await late.bind('balcony'), 'juliet@localhost/balcony')
    assert.match(await gone, /conflict/)
    assert.deepEqual(sessions(server), ['balcony'])
    await available(late)
    await late.receive(says('hi'))
  })
}

test('closenew: the new session is refused, and may take another resource', async t => {
  const { server, old, late } = await pair(t, 'closenew')
  await refused('conflict', late.bind('balcony'))
  assert.equal(await late.bind('chamber'), 'juliet@localhost/chamber')
  await old.ping()
  assert.deepEqual(sessions(server), ['balcony', 'chamber'])
})

test('setresource: the new session gets another name', async t => {
  const { server, old, late } = await pair(t, 'setresource')
  assert.match(await late.bind('balcony'), /^juliet@localhost\/[0-9a-f]{32}$/)
  await old.ping()
  assert.equal(sessions(server).length, 2)
})

test('one session more than an account may have ends the oldest', async t => {
  const server = await serve(t, { config: { max_user_sessions: 2 } })
  const first = await server.client('juliet', { resource: 'one' })
  const second = await server.client('juliet', { resource: 'two' })
  const gone = closed(first)
  await server.client('juliet', { resource: 'three' })
  assert.match(await gone, /conflict/)
  await second.ping()
  assert.deepEqual(sessions(server), ['two', 'three'])
  await server.client('romeo')
  await second.ping()
})

test('nothing is taken before a resource is bound', async t => {
  const server = await serve(t)
  const [romeo] = await online(server, 'romeo')
  for (const stanza of [
    "<message to='romeo@localhost' type='chat'><body>early</body></message>",
    '<presence/>',
    "<iq type='get' id='1' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>",
    "<iq type='get' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
    "<iq type='set'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
    "<r xmlns='urn:xmpp:sm:3'/>",
  ]) {
    const client = await authenticated(server)
    const gone = closed(client)
    client.write(stanza)
    assert.match(await gone, /not-authorized/, stanza)
  }
  await nothing(romeo, says('early'))
  assert.deepEqual(sessions(server), [])
})

test('a stream binds one resource', async t => {
  const server = await serve(t)
  const client = await server.client('juliet', { resource: 'balcony' })
  await refused('service-unavailable', client.bind('chamber'))
  assert.deepEqual(sessions(server), ['balcony'])
})

test('who asks for a session as well, which RFC 3921 wanted and is offered as optional, gets the answer of success', async t => {
  const server = await serve(t)
  const client = await server.client('juliet', { resource: 'balcony' })
  const session = "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>"
  for (const to of ['localhost', undefined]) {
    const answer = await client.request('set', session, to)
    assert.deepEqual([answer.attrs['type'], answer.children], ['result', []])
  }
  const mallory = await server.client('mallory')
  await refused('forbidden', mallory.request('set', session, 'juliet@localhost'))
})

test('an account that is removed between login and bind gets no session', async t => {
  const server = await serve(t)
  const client = await authenticated(server)
  const gone = closed(client)
  await server.server.host('localhost')!.removeAccount('juliet')
  await assert.rejects(client.bind('balcony'))
  assert.match(await gone, /not-authorized/)
})

test('stanzas that are none: what is wrong is told by an error stanza, and the stream lives', async t => {
  const server = await serve(t)
  const client = await server.client('juliet', { resource: 'balcony' })
  for (const [sent, condition] of [
    ["<message to='@' id='e'/>", 'jid-malformed'],
    ["<iq to='a@@b' type='get' id='e'><a xmlns='b'/></iq>", 'jid-malformed'],
    ["<iq to='localhost' type='fetch' id='e'><a xmlns='b'/></iq>", 'bad-request'],
    ["<iq to='localhost' id='e'><a xmlns='b'/></iq>", 'bad-request'],
    ["<iq to='localhost' type='get' id='e'/>", 'bad-request'],
    ["<iq to='localhost' type='get' id='e'><a xmlns='b'/><a xmlns='b'/></iq>", 'bad-request'],
    ["<presence type='here' id='e'/>", 'bad-request'],
    ["<presence type='available' id='e'/>", 'bad-request'],
  ] as const) {
    client.write(sent)
    const error = await client.receive(el => el.attrs['id'] === 'e')
    assert.deepEqual([error.attrs['type'], errorCondition(error)], ['error', condition], sent)
    assert.equal(error.attrs['to'], client.jid)
    // RFC 6120 8.3.1: from whom it was for, where that is an address; clients take no answer from elsewhere.
    if (sent.includes("to='localhost'")) assert.equal(error.attrs['from'], 'localhost', sent)
  }
  client.write("<iq to='localhost' type='get'><a xmlns='b'/></iq>")
  assert.equal(errorCondition(await client.receive(el => el.attrs['type'] === 'error')), 'bad-request')
  // What is an answer itself is never answered.
  client.write("<iq to='@' type='result' id='e'/><message to='@' type='error' id='e'/><iq type='error' id='e'/>")
  await nothing(client, el => el.attrs['id'] === 'e')
  client.write("<message to='juliet@localhost/balcony' type='gossip' id='m'><body>hi</body></message>")
  const message = await client.receive(says('hi'))
  assert.equal(message.attrs['type'], undefined, 'an unknown type of message is normal')
  assert.equal(message.attrs['from'], client.jid)
})

test('whoever a stanza says that it is from, it is from who sent it', async t => {
  const server = await serve(t)
  const client = await server.client('juliet', { resource: 'balcony' })
  for (const from of ['romeo@localhost', 'localhost', 'juliet@localhost/chamber', '@']) {
    client.write(`<message from='${from}' to='${client.jid}' id='m'><body>hi</body></message>`)
    assert.equal((await client.receive(says('hi'))).attrs['from'], client.jid)
  }
})

test('a stanza may say its namespace; in another it is none', async t => {
  const server = await serve(t)
  const client = await server.client('juliet', { resource: 'balcony' })
  client.write(`<message xmlns='jabber:client' to='${client.jid}' id='m'><body>hi</body></message>`)
  await client.receive(says('hi'))
  const gone = closed(client)
  client.write(`<message xmlns='jabber:server' to='${client.jid}' id='m'><body>hi</body></message>`)
  assert.match(await gone, /unsupported-stanza-type/)
})

test('an element that nobody knows ends the stream', async t => {
  const server = await serve(t)
  for (const nonza of ["<hello xmlns='urn:hello'/>", "<r xmlns='urn:xmpp:sm:3'/>", '<stanza/>']) {
    const client = await server.client('juliet')
    const gone = closed(client)
    client.write(nonza)
    assert.match(await gone, /unsupported-stanza-type/, nonza)
  }
})

test('a crash in a module costs the stanza an error, or nothing; never the stream', async t => {
  const crash = (): never => {
    throw new Error('broken')
  }
  const bad = testModule('mod_bad', ctx => {
    ctx.iq('server', 'get', 'urn:bad', 'now', crash)
    ctx.iq('account', 'get', 'urn:bad', 'now', crash)
    ctx.iq('account', 'get', 'urn:bad', 'later', async () => crash())
    ctx.iq('account', 'get', 'urn:bad', 'unwritable', ({ payload }) => {
      payload.append('\u0001')
      return payload
    })
    ctx.nonza('urn:bad', 'nonza', crash)
    ctx.hook('user_send_packet', crash)
    ctx.hook('user_receive_packet', crash)
    ctx.hook('user_receive_packet', () => {
      throw new StanzaError('forbidden')
    })
    ctx.hook('message_sent', crash)
    ctx.hook('deliver_message', crash)
    ctx.hook('message_delivered', crash)
    ctx.hook('session_opened', ({ session }) => {
      session.timer(1, crash)
      crash()
    })
    ctx.hook('session_closed', { order: 1 }, crash)
  })
  const server = await serve(t, { extra: [bad] })
  const client = await server.client('juliet', { resource: 'balcony' })
  await refused('internal-server-error', client.request('get', "<now xmlns='urn:bad'/>", 'localhost'))
  for (const name of ['now', 'later', 'unwritable']) {
    await refused('internal-server-error', client.request('get', `<${name} xmlns='urn:bad'/>`))
  }
  client.write("<nonza xmlns='urn:bad'/>")
  client.send(`<message to='${client.jid}' id='m' type='chat'><body>hi</body></message>`)
  await client.receive(says('hi'))
  await client.close()
  const again = await server.client('juliet', { resource: 'balcony' })
  await again.ping()
})
