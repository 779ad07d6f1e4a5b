/** What somebody with an account of their own, or with none, tries on the way to a session. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { RawClient } from '../support/rawclient.ts'
import { child, errorCondition } from '../support/rawxml.ts'
import { authenticated, detached, failed, isSm, managed } from '../support/resuming.ts'
import {
  agent,
  answer,
  authenticate,
  base64,
  bind,
  byPassword,
  byToken,
  DESK,
  dial,
  enable,
  outcome,
  people,
  plain,
  requestToken,
  SASL2,
  tokenOf,
} from '../support/sasl2client.ts'
import { closed, serve } from '../support/talk.ts'
import type { TestServer } from '../support/testserver.ts'

const SASL = 'urn:ietf:params:xml:ns:xmpp-sasl'
const BIND = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
const OTHER = 'other.test'

async function twoHosts(t: TestContext): Promise<TestServer> {
  const server = await serve(t, { hosts: ['localhost', OTHER] })
  for (const host of ['localhost', OTHER]) {
    for (const user of ['juliet', 'romeo']) await server.server.host(host)!.users.create(user, 'secret')
  }
  return server
}

async function at(t: TestContext, server: TestServer, domain: string): Promise<RawClient> {
  const client = await RawClient.connect({ port: server.port, domain, tls: 'starttls' })
  t.after(() => client.cut())
  return client
}

test('a token is of no use at another host, to another account, or to another device', async t => {
  const server = await twoHosts(t)
  const token = tokenOf(await byPassword(await at(t, server, 'localhost'), 'juliet', agent() + requestToken()))!
  const use = async (domain: string, user: string, id?: string) =>
    outcome(await byToken(await at(t, server, domain), user, token, id === undefined ? {} : { id }))
  assert.equal(await use(OTHER, 'juliet'), 'not-authorized')
  assert.equal(await use('localhost', 'romeo'), 'not-authorized')
  assert.equal(await use('localhost', 'juliet', DESK), 'not-authorized')
  assert.equal(await use('localhost', 'nobody'), 'not-authorized')
  assert.equal(await use('localhost', 'juliet'), 'success')
})

test('a session is taken up neither by another account nor by that of the same name at another host', async t => {
  const server = await twoHosts(t)
  const juliet = await managed(server, 'juliet', 'balcony')
  const { id } = juliet.sm!
  juliet.cut()
  await detached(server)
  for (const [user, domain] of [
    ['romeo', 'localhost'],
    ['juliet', OTHER],
  ] as const) {
    const thief = await at(t, server, domain)
    await thief.login({ user, password: 'secret' })
    const refusal = await failed(thief, id, 0)
    assert.equal(refusal.children[0]?.name, 'item-not-found')
    assert.equal(refusal.attrs['h'], undefined, 'nor does it say how far the session had come')
    const inline = await at(t, server, domain)
    const resume = `<resume xmlns='urn:xmpp:sm:3' previd='${id}' h='0'/>`
    const success = await byPassword(inline, user, resume + bind(enable))
    assert.equal(child(success, 'resumed'), undefined)
    assert.ok(child(success, 'failed'))
  }
  const back = await authenticated(server)
  assert.equal(await back.resume(juliet.sm!), true)
})

test('two logins in one flight, of either kind, are one at most', async t => {
  const server = await people(t)
  const auth = (user: string) => `<auth xmlns='${SASL}' mechanism='PLAIN'>${plain(user)}</auth>`
  const sasl2 = (user: string) => authenticate('PLAIN', plain(user), bind())
  for (const second of [auth('romeo'), sasl2('romeo')]) {
    const client = await dial(t, server)
    const seen: string[] = []
    client.on('element', el => seen.push(el.name))
    // What follows the success in the old stream belongs to none (RFC 6120 6.4.6).
    client.write(auth('juliet') + second)
    await client.receive(el => el.name === 'success')
    await client['openStream']()
    assert.match(await client.bind(), /^juliet@/)
    assert.equal(seen.filter(name => name === 'success').length, 1, second)

    const other = await dial(t, server)
    const gone = closed(other)
    other.on('element', el => seen.push(el.name))
    other.write(sasl2('juliet') + second)
    assert.match(await gone, /unsupported-stanza-type/)
    assert.equal(seen.filter(name => name === 'success').length, 2, second)
  }
  assert.equal(server.server.host('localhost')!.accounts.get('romeo')?.sessions.size ?? 0, 0)
})

test('a challenge of one kind is not answered in the other, nor with a stanza in between', async t => {
  const server = await people(t)
  const first = base64('n,,n=juliet,r=clientnonce')
  const begun: [string, string][] = [
    [`<auth xmlns='${SASL}' mechanism='SCRAM-SHA-256'>${first}</auth>`, SASL],
    [authenticate('SCRAM-SHA-256', first), SASL2],
  ]
  for (const [login, ns] of begun) {
    for (const next of [
      `<response xmlns='${ns === SASL ? SASL2 : SASL}'>${base64('c=biws,r=x,p=x')}</response>`,
      `<next xmlns='${SASL2}' task='UPGR-SCRAM-SHA-256'/>`,
      `<task-data xmlns='${SASL2}'/>`,
      `<iq type='set' id='b'>${BIND}</iq>`,
      `<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>`,
      "<message to='romeo@localhost'><body>x</body></message>",
    ]) {
      const client = await dial(t, server)
      client.write(login)
      await client.receive(el => el.name === 'challenge')
      const names: string[] = []
      client.on('element', el => names.push(el.name))
      const gone = closed(client)
      client.write(`${next}</stream:stream>`)
      await gone
      assert.ok(!names.includes('success') && !names.includes('iq'), `${login} ${next}`)
    }
  }
  assert.equal(server.server.sessionCount, 0)
})

test('a second resource, a resource before the login, and one after resuming', async t => {
  const server = await people(t)
  const twice = await authenticated(server)
  twice.send(`<iq type='set' id='one'>${BIND}</iq>`)
  twice.send(`<iq type='set' id='two'>${BIND}</iq>`)
  assert.equal((await twice.receive(el => el.attrs['id'] === 'one')).attrs['type'], 'result')
  assert.equal(errorCondition(await twice.receive(el => el.attrs['id'] === 'two')), 'service-unavailable')
  assert.equal(server.server.sessionCount, 1)

  const early = await dial(t, server)
  const gone = closed(early)
  early.write(`<iq type='set' id='b'>${BIND}</iq>`)
  assert.match(await gone, /not-authorized/)

  const juliet = await managed(server, 'juliet', 'balcony')
  const { sm } = juliet
  juliet.cut()
  await detached(server)
  const back = await authenticated(server)
  back.write(`<resume xmlns='urn:xmpp:sm:3' previd='${sm!.id}' h='${sm!.handled}'/><iq type='set' id='b'>${BIND}</iq>`)
  await back.receive(isSm('resumed'))
  assert.equal(errorCondition(await back.receive(el => el.attrs['id'] === 'b')), 'service-unavailable')
  back.write(`<resume xmlns='urn:xmpp:sm:3' previd='${sm!.id}' h='0'/>`)
  assert.ok(await back.receive(isSm('failed')))
})

test('everything at once that can come with a login, twice and contradictory, is one session', async t => {
  const server = await people(t)
  const client = await dial(t, server, 'juliet')
  const inner =
    agent() +
    agent(DESK) +
    `<resume xmlns='urn:xmpp:sm:3' previd='nothing' h='99999999999'/><resume xmlns='urn:xmpp:sm:3'/>` +
    requestToken() +
    requestToken('HT-SHA-256-EXPR') +
    requestToken('NONSENSE') +
    "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-MD5</upgrade>" +
    "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>" +
    "<fast xmlns='urn:xmpp:fast:0' count='1' invalidate='true'/>" +
    bind(`${enable}${enable}<enable xmlns='urn:xmpp:carbons:2'/><inactive xmlns='urn:xmpp:csi:0'/><x xmlns='urn:x'/>`) +
    bind('', 'Other')
  client.write(authenticate('PLAIN', plain('juliet'), inner))
  const success = await answer(client)
  assert.equal(success.name, 'success')
  assert.equal(server.server.sessionCount, 1)
  await dial(t, server)
})

test('odd names at the login are nobody, and cost the stream at most', async t => {
  const server = await people(t)
  const odd = [
    '',
    ' ',
    '\ud800',
    'juliet\u0000',
    'juliet@localhost',
    'a'.repeat(5000),
    '\u202ejuliet',
    'j\u0301'.repeat(600),
    '=',
    ',',
    '..',
    '\u2168',
    'ＪＵＬＩＥＴ',
  ]
  for (const name of odd) {
    const client = await dial(t, server)
    client.write(authenticate('PLAIN', base64(`\0${name}\0secret`)))
    const el = await client.receive(el => el.ns === SASL2 || el.name === 'error')
    // The last one is juliet in wide letters, who may come in so (RFC 8265 3.3).
    assert.equal(el.name, name === 'ＪＵＬＩＥＴ' ? 'success' : 'failure', JSON.stringify(name).slice(0, 40))
    client.cut()
  }
  const bystander = await server.client('romeo')
  await bystander.ping()
})
