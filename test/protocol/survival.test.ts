/** What a client sends, or what is sent to it, ends at most its own stream: a bystander never notices. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { C2SSession } from '../../src/c2s/session.ts'
import type { SocketTransport } from '../../src/net/transport.ts'
import { xml } from '../../src/xml/index.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import type { RawClient } from '../support/rawclient.ts'
import { available, closed, nothing, refused, says, serve } from '../support/talk.ts'
import { type TestOptions, type TestServer, testModule } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'
import { header, Wire } from '../support/wire.ts'

/** A letter beyond the first plane: two units of a string. Names may have it (XML 1.0, production 4). */
const LETTER = '\u{20000}'

async function start(t: TestContext, options: TestOptions = {}) {
  const server = await serve(t, options)
  const [mallory, bystander] = await server.clients('mallory', 'bystander')
  return { server, mallory, bystander, session: sessionOf(server, 'mallory') }
}

function sessionOf(server: TestServer, user: string): C2SSession {
  return [...server.server.host('localhost')!.accounts.get(user)!.sessions.values()][0] as C2SSession
}

test('a name that is cut in the middle of a letter is cut before it', async t => {
  const { server, mallory, bystander } = await start(t)
  const gone = closed(mallory)
  mallory.write(`<${'a'.repeat(49)}${LETTER}/>`)
  assert.match(await gone, /unsupported-stanza-type/)
  await bystander.ping()
  await (await server.client('mallory')).ping()
})

test('whatever is quoted in an error, its answer can be read', async t => {
  const { mallory, bystander } = await start(t)
  const at = (n: number): string => `${'x'.repeat(n)}${LETTER}${'x'.repeat(50)}`
  for (const text of [at(39), at(40), at(49), at(50), at(59), at(60), at(99), at(100)]) {
    mallory.send(`<iq type='get' id='1' to='@${text}'><a xmlns='b'/></iq>`)
    mallory.send(`<iq type='${text}' id='2'><a xmlns='b'/></iq>`)
    mallory.send(`<presence type='${text}'/>`)
    const form = (field: string): string =>
      `<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>${field}</x>`
    await refused(
      'feature-not-implemented',
      mallory.request(
        'set',
        `<query xmlns='urn:xmpp:mam:2'>${form(`<field var='${text}'><value>1</value></field>`)}</query>`,
      ),
    )
    await refused(
      'bad-request',
      mallory.request(
        'set',
        `<query xmlns='urn:xmpp:mam:2'>${form(`<field var='start'><value>${text}</value></field>`)}</query>`,
      ),
    )
    await refused(
      'bad-request',
      mallory.request(
        'set',
        `<command xmlns='http://jabber.org/protocol/commands' node='x' action='${text}'/>`,
        'localhost',
      ),
    )
  }
  await bystander.ping()
})

test('before the login too', async t => {
  const { server, bystander } = await start(t)
  for (const sent of [
    `<${'a'.repeat(49)}${LETTER}/>`,
    `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='${LETTER}'/></stream:stream>`,
  ]) {
    const wire = await Wire.connect(server.port)
    wire.write(header() + sent)
    assert.match(await wire.end(), /<\/stream:stream>$/)
  }
  await bystander.ping()
})

test('what fails while a stream is read ends that stream, and tells the log where', async t => {
  const failures: { err: Error; message: string }[] = []
  const cases: [
    name: string,
    spoil: (session: C2SSession, boom: () => never) => void,
    act: (client: RawClient) => void,
  ][] = [
    ['an element', (s, boom) => Object.assign(s, { handle: boom }), c => c.write('<presence/>')],
    [
      'an element that takes its time',
      (s, boom) => Object.assign(s, { handle: () => Promise.resolve().then(boom) }),
      c => c.write('<presence/>'),
    ],
    [
      'what follows one that took its time',
      (s, boom) => {
        const { handle } = s
        s.handle = el => {
          Object.assign(s, { handle: boom })
          return Promise.resolve(handle.call(s, el))
        }
      },
      c => c.write('<presence/><presence/>'),
    ],
    [
      'the end of the stream',
      (s, boom) => Object.assign(s, { closedByClient: boom }),
      c => c.write('</stream:stream>'),
    ],
    ['room in the socket', (s, boom) => Object.assign(s, { drained: boom }), () => {}],
    ['bytes', (s, boom) => Object.defineProperty(s.stream, 'bytesRead', { get: boom, set: boom }), c => c.write(' ')],
  ]
  for (const [name, spoil, act] of cases) {
    const { server, mallory, bystander, session } = await start(t)
    const { stream } = session
    const log = server.server.log as unknown as { error(fields: { err: Error }, message: string): void }
    log.error = (fields, message) => failures.push({ ...fields, message })
    const gone = closed(mallory)
    spoil(session, () => {
      throw new Error(`boom: ${name}`)
    })
    act(mallory)
    if (name === 'room in the socket') (stream!.transport as SocketTransport).socket.emit('drain')
    const how = await gone
    if (name !== 'the end of the stream') assert.match(how, /internal-server-error/, name)
    assert.ok(
      failures.some(f => f.message === 'a stream failed' && f.err.stack?.includes(`boom: ${name}`)),
      name,
    )
    await bystander.ping()
    await (await server.client('mallory')).ping()
  }
})

test('what fails when a connection is gone leaves nothing of it behind', async t => {
  const { server, mallory, bystander, session } = await start(t, { listen: { max_connections_per_ip: 2 } })
  Object.assign(session, {
    lost() {
      throw new Error('boom')
    },
  })
  mallory.cut()
  await eventually(() => server.server.streams().length === 1, 'the end of her stream')
  await bystander.ping()
  await (await server.client('romeo')).ping()
})

/** A module whose answers and stanzas cannot be written. */
const broken = testModule('mod_broken', ctx => {
  ctx.iq('server', 'get', 'urn:broken', 'answer', () => xml('answer', { xmlns: 'urn:broken' }, '\ud800'))
  ctx.hook('user_receive_packet', event => {
    const { stanza, session } = event
    if (session.jid.local !== 'victim' || !stanza.el.children.some(c => typeof c !== 'string' && c.name === 'spoil'))
      return
    event.stanza = Stanza.make(
      xml(stanza.kind, { type: stanza.el.attrs['type'], id: stanza.id }, '\ud800'),
      stanza.from,
      stanza.to,
    )
  })
})

test('an answer that cannot be written is an error for who asked', async t => {
  const { mallory, bystander } = await start(t, { extra: [broken] })
  await refused('internal-server-error', mallory.request('get', "<answer xmlns='urn:broken'/>", 'localhost'))
  await mallory.ping()
  await bystander.ping()
})

test('what cannot be written to a client hurts neither its sender nor what comes after it, and no message is lost', async t => {
  const { server, mallory, bystander } = await start(t, { extra: [broken] })
  const victim = await server.client('victim', { resource: 'one' })
  await available(victim)
  const spoil = "<spoil xmlns='urn:broken'/>"
  mallory.send(`<message to='${victim.jid}' type='headline' id='h'><body>h</body>${spoil}</message>`)
  mallory.send(`<message to='victim@localhost' type='chat' id='c'><body>c</body>${spoil}</message>`)
  mallory.send(`<presence to='${victim.jid}'>${spoil}</presence>`)
  await refused('service-unavailable', mallory.request('get', spoil, victim.jid))
  mallory.send(`<message to='${victim.jid}' type='chat'><body>after</body></message>`)
  await victim.receive(says('c'))
  await victim.receive(says('after'))
  await nothing(mallory, el => el.attrs['id'] === 'c')
  await bystander.ping()
})

test('a queued message that cannot be given to a session at all waits for the next one', async t => {
  const { server, mallory, bystander } = await start(t)
  const victim = await server.client('victim', { resource: 'one' })
  await available(victim)
  const { stream } = sessionOf(server, 'victim')
  const gone = closed(victim)
  stream!.send = () => {
    Object.assign(stream!, { send: Object.getPrototypeOf(stream).send })
    throw new Error('boom')
  }
  mallory.send(`<message to='victim@localhost' type='chat' id='c'><body>kept</body></message>`)
  await gone
  await nothing(mallory, el => el.attrs['id'] === 'c')
  const next = await server.client('victim', { resource: 'two' })
  await available(next)
  await next.receive(says('kept'))
  await bystander.ping()
})
