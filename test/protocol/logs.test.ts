/** What an operator finds in the log, and what nobody finds there. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RawClient } from '../support/rawclient.ts'
import { authenticated, detached, isSm, JULIET, managed, NS } from '../support/resuming.ts'
import {
  agent,
  answer,
  authenticate,
  bind,
  byPassword,
  byToken,
  dial,
  outcome,
  plain,
  requestToken,
  tokenOf,
} from '../support/sasl2client.ts'
import { available, closed, says, serve } from '../support/talk.ts'

type Line = Record<string, unknown> & { level: string; msg: string }

function collected() {
  const lines: string[] = []
  const parsed = (): Line[] => lines.map(line => JSON.parse(line) as Line)
  return {
    to: { write: (line: string) => void lines.push(line) },
    text: () => lines.join(''),
    parsed,
    /** The lines with this message, without what differs from run to run. */
    said: (msg: string) =>
      parsed()
        .filter(line => line.msg === msg)
        .map(({ time: _, module: __, host: ___, msg: ____, ...rest }) => rest),
  }
}

const OPEN = { mod_register: { registration: 'open', require_tls: false, max_per_ip: 'infinity' } }

test('at info: logins, sessions with their reason and duration; no stanzas', async t => {
  const log = collected()
  const server = await serve(t, { logTo: log.to, config: { loglevel: 'info' }, modules: OPEN })
  await server.register('romeo')
  const romeo = await dial(t, server, 'romeo')
  await byPassword(romeo, 'romeo', `${agent()}${bind()}`)
  const { jid } = romeo
  const tls = 'TLSv1.3'
  assert.deepEqual(log.said('logged in'), [
    { level: 'info', jid: 'romeo@localhost', ip: '127.0.0.1', tls, mechanism: 'PLAIN', device: 'Talkative' },
  ])
  const [began] = log.said('a session began')
  assert.deepEqual([began?.['jid'], began?.['tls'], began?.['mechanism']], [jid, tls, 'PLAIN'])
  await romeo.close()
  const juliet = await server.client('juliet')
  await juliet.ping()
  const [ended] = log.said('a session ended')
  assert.deepEqual(ended, { level: 'info', jid, ip: '127.0.0.1', reason: 'closed by the client', seconds: 0 })
  const mercutio = await dial(t, server)
  mercutio.write(authenticate('PLAIN', plain('romeo', 'wrong')))
  await answer(mercutio)
  const [failed] = log.said('a login failed')
  assert.deepEqual([failed?.['level'], failed?.['account'], failed?.['ip']], ['info', 'romeo@localhost', '127.0.0.1'])
  assert.ok(!log.text().includes('<'), 'no XML')
})

test('at trace: stanzas in and out', async t => {
  const log = collected()
  const server = await serve(t, { logTo: log.to, config: { loglevel: 'trace' } })
  const [romeo, juliet] = await server.clients('romeo', 'juliet')
  await available(juliet)
  romeo.send("<message to='juliet@localhost' type='chat' id='a'><body>shall I hear more?</body></message>")
  await juliet.receive(says('shall I hear more?'))
  const ways = log.parsed().filter(line => /<message.*shall I hear more\?/.test(String(line['xml'])))
  assert.deepEqual(
    ways.map(line => [line.level, line.msg, line['jid']]),
    [
      ['trace', 'from a client', romeo.jid],
      ['trace', 'to a client', juliet.jid],
    ],
  )
})

test('commands are in the log at debug, without secrets', async t => {
  const log = collected()
  const server = await serve(t, { logTo: log.to, config: { loglevel: 'debug' } })
  const { commands, log: logger } = server.server
  const run = (name: string, ...words: string[]) => commands.run(name, words, { by: 'hermodctl', log: logger })
  await run('register', 'romeo@localhost', 'wonderland-1')
  assert.deepEqual(log.said('a command'), [
    { level: 'debug', by: 'hermodctl', command: 'register "romeo@localhost" ***' },
  ])
  await assert.rejects(run('register', 'romeo@localhost', 'wonderland-1'))
  assert.ok(!log.text().includes('wonderland'))
})

/** Remembers what proves a secret: what went over the line in SASL and the like, in either direction. */
function tap(client: RawClient, proofs: Set<string>): RawClient {
  const remember = (xml: string): void => {
    for (const [, text = ''] of xml.matchAll(/>([A-Za-z0-9+/]{16,}={0,2})</g)) proofs.add(text)
  }
  const write = client.write.bind(client)
  client.write = (text: string) => {
    remember(text)
    return write(text)
  }
  client.on('element', el => {
    if (/sasl/.test(el.ns ?? '')) remember(`>${el.text}<${el.children.map(c => `>${c.text}<`).join('')}`)
  })
  return client
}

test('no secret is in any log at any level', async t => {
  const log = collected()
  const secrets = ['wonderland-1', 'wonderland-2', 'wonderland-3', 'wrong-guess']
  const proofs = new Set<string>()
  const server = await serve(t, {
    logTo: log.to,
    config: { loglevel: 'trace', acl: { admin: { user: ['admin@localhost'] } } },
    modules: OPEN,
  })
  const stranger = tap(await dial(t, server), proofs)
  await stranger.request(
    'set',
    "<query xmlns='jabber:iq:register'><username>romeo</username><password>wonderland-1</password></query>",
    'localhost',
  )
  for (const mechanism of ['SCRAM-SHA-1', 'SCRAM-SHA-256', 'PLAIN'] as const) {
    const client = tap(await dial(t, server), proofs)
    await client.login({ user: 'romeo', password: 'wonderland-1', mechanism })
    await client.bind()
    await client.ping()
  }
  for (const write of [
    (c: RawClient) => c.write(authenticate('PLAIN', plain('romeo', 'wrong-guess'))),
    (c: RawClient) =>
      c.write(
        `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${plain('romeo', 'wrong-guess')}</auth>`,
      ),
    (c: RawClient) =>
      c.write(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>wrong-guess not base64</auth>`),
  ]) {
    const client = tap(await dial(t, server), proofs)
    write(client)
    await client.receive(el => el.name === 'failure')
  }
  const phone = tap(await dial(t, server, 'romeo'), proofs)
  phone.write(authenticate('PLAIN', plain('romeo', 'wonderland-1'), `${agent()}${requestToken()}`))
  const success = await answer(phone)
  assert.equal(outcome(success), 'success')
  const token = tokenOf(success)!
  const again = tap(await dial(t, server, 'romeo'), proofs)
  assert.equal(outcome(await byToken(again, 'romeo', token, { inner: bind() })), 'success')
  const bye = closed(again).catch(() => '')
  again.send(
    "<iq type='set' id='pw'><query xmlns='jabber:iq:register'><username>romeo</username><password>wonderland-2</password></query></iq>",
  )
  await Promise.race([again.receive(el => el.attrs['id'] === 'pw').catch(() => undefined), bye])

  await server.server.host('localhost')!.users.create('admin', 'wonderland-3')
  const admin = tap(await dial(t, server), proofs)
  await admin.login({ user: 'admin', password: 'wonderland-3' })
  await admin.bind()
  const node = 'http://jabber.org/protocol/admin#change-user-password'
  const form = (sessionid: string) =>
    `<command xmlns='http://jabber.org/protocol/commands' node='${node}' sessionid='${sessionid}'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/admin</value></field><field var='accountjid'><value>romeo@localhost</value></field><field var='password'><value>wonderland-1</value></field></x></command>`
  const first = await admin.request(
    'set',
    `<command xmlns='http://jabber.org/protocol/commands' node='${node}'/>`,
    'localhost',
  )
  await admin.request('set', form(first.children[0]!.attrs['sessionid']!), 'localhost')

  const text = log.text()
  assert.match(text, /<auth[^>]*>\*\*\*<\/auth>/, 'a login is to be seen')
  assert.match(text, /<password>\*\*\*<\/password>/)
  for (const secret of [...secrets, token, ...secrets.flatMap(s => [plain('romeo', s), plain('admin', s)])]) {
    assert.ok(!text.includes(secret), `${secret}: ${text.split('\n').find(line => line.includes(secret))}`)
  }
  assert.ok(proofs.size > 10, 'the proofs were seen')
  for (const proof of proofs) {
    assert.ok(!text.includes(proof), `${proof}: ${text.split('\n').find(line => line.includes(proof))}`)
  }
})

test('a session that broke and came back', async t => {
  const log = collected()
  const server = await serve(t, { logTo: log.to, config: { loglevel: 'debug' } })
  const juliet = await managed(server, 'juliet', 'balcony')
  const { id } = juliet.sm!
  juliet.cut()
  await detached(server)
  const again = await authenticated(server)
  again.write(`<resume xmlns='${NS}' previd='${id}' h='0'/>`)
  await again.receive(isSm('resumed'))
  const about = { jid: JULIET, ip: '127.0.0.1' }
  assert.deepEqual(log.said('the connection of a session broke; it can be resumed'), [{ level: 'debug', ...about }])
  assert.deepEqual(log.said('a session was resumed'), [{ level: 'info', ...about, seconds: 0 }])
  again.cut()
})
