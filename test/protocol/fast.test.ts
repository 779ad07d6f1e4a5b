import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { PASSWD } from '../../src/auth/record.ts'
import { faultyStore } from '../support/faultystore.ts'
import { child, type XmlElement } from '../support/rawxml.ts'
import { NS } from '../support/resuming.ts'
import {
  agent,
  answer,
  authenticate,
  BIND2,
  base64,
  bind,
  byPassword,
  byToken,
  DESK,
  dial,
  enable,
  FAST,
  ht,
  outcome,
  PHONE,
  requestToken,
  tokenOf,
} from '../support/sasl2client.ts'
import { serve } from '../support/talk.ts'
import { type TestOptions, TestServer } from '../support/testserver.ts'

const DAY = 86_400_000
const MECHANISMS = ['HT-SHA-256-EXPR', 'HT-SHA-256-ENDP', 'HT-SHA-256-NONE']

/** A server with a clock that tests move. */
async function people(t: TestContext, options: TestOptions = {}) {
  const clock = { now: Date.now() }
  const server = await serve(t, { ...options, now: () => clock.now })
  await server.register('juliet', 'romeo')
  return { server, clock }
}

/** juliet logs in by her password and gets a token. */
async function token(t: TestContext, server: TestServer, mechanism?: string, id = PHONE): Promise<string> {
  const success = await byPassword(await dial(t, server, 'juliet'), 'juliet', `${agent(id)}${requestToken(mechanism)}`)
  const got = tokenOf(success)
  assert.ok(got !== undefined)
  return got
}

/** juliet logs in by a token, on a connection of its own. */
async function use(
  t: TestContext,
  server: TestServer,
  secret: string,
  options: Parameters<typeof byToken>[3] = {},
): Promise<XmlElement> {
  return byToken(await dial(t, server, 'juliet'), 'juliet', secret, options)
}

async function result(...args: Parameters<typeof use>): Promise<string> {
  return outcome(await use(...args))
}

test('a token lets its client in, in one round trip, with everything that can be had inline', async t => {
  const { server, clock } = await people(t)
  for (const mechanism of MECHANISMS) {
    const first = await dial(t, server, 'juliet')
    const got = child(await byPassword(first, 'juliet', `${agent()}${requestToken(mechanism)}`), 'token', FAST)!
    assert.equal(Date.parse(got.attrs['expiry']!), clock.now + 30 * DAY)
    const secret = got.attrs['token']!
    assert.match(secret, /^secret-token:[\w-]{43}$/)
    const client = await dial(t, server, 'juliet')
    const { proof } = ht(client, mechanism, 'juliet', secret)
    const success = await byToken(client, 'juliet', secret, { mechanism, inner: bind(enable) })
    assert.equal(success.name, 'success', mechanism)
    assert.equal(child(success, 'additional-data')?.text, proof)
    assert.ok(child(child(success, 'bound', BIND2), 'enabled', NS))
    assert.equal(tokenOf(success), undefined, 'it is not old')
    await client.ping()
  }
})

test('a token is given to who asks, names its client, and asks for a mechanism that is offered', async t => {
  const { server } = await people(t)
  for (const inner of [
    agent(),
    requestToken(),
    `${agent()}${requestToken('HT-SHA-256-UNIQ')}`,
    `${agent()}${requestToken('PLAIN')}`,
    `${agent()}<request-token xmlns='${FAST}'/>`,
    `<user-agent/>${requestToken()}`,
  ]) {
    assert.equal(tokenOf(await byPassword(await dial(t, server), 'juliet', inner)), undefined, inner)
  }
  const wrong = await dial(t, server)
  await assert.rejects(byPassword(wrong, 'nobody', `${agent()}${requestToken()}`), /not-authorized/)
})

test('a token is good for its client, its account and its mechanism alone', async t => {
  const { server } = await people(t)
  const secret = await token(t, server, 'HT-SHA-256-EXPR')
  await token(t, server, 'HT-SHA-256-NONE', DESK)
  assert.equal(await result(t, server, secret, { mechanism: 'HT-SHA-256-NONE' }), 'not-authorized')
  assert.equal(await result(t, server, secret, { mechanism: 'HT-SHA-256-ENDP' }), 'not-authorized')
  assert.equal(await result(t, server, secret, { mechanism: 'HT-SHA-256-EXPR', id: DESK }), 'not-authorized')
  const romeo = await dial(t, server, 'romeo')
  const fast = { mechanism: 'HT-SHA-256-EXPR' }
  assert.equal(outcome(await byToken(romeo, 'romeo', secret, fast)), 'not-authorized')
  assert.equal(outcome(await byToken(await dial(t, server), 'nobody', secret, fast)), 'not-authorized')
  const nobodys = await dial(t, server, 'romeo')
  assert.equal(outcome(await byToken(nobodys, 'juliet', secret, fast)), 'invalid-authzid')
  assert.equal(await result(t, server, `${secret}x`, fast), 'not-authorized')
  assert.equal(await result(t, server, secret, { ...fast, id: PHONE.toUpperCase() }), 'success')
})

test('what is said on one connection is of no use on another, where it is bound to the first', async t => {
  const { server } = await people(t)
  const secret = await token(t, server, 'HT-SHA-256-EXPR')
  const one = await dial(t, server, 'juliet')
  const { initial } = ht(one, 'HT-SHA-256-EXPR', 'juliet', secret)
  const other = await dial(t, server, 'juliet')
  const fast = `${agent()}<fast xmlns='${FAST}'/>`
  other.write(authenticate('HT-SHA-256-EXPR', initial, fast))
  assert.equal(outcome(await answer(other)), 'not-authorized')
  one.write(authenticate('HT-SHA-256-EXPR', initial, fast))
  assert.equal(outcome(await answer(one)), 'success')
})

test('what is no use of a token, by name', async t => {
  const { server } = await people(t)
  await token(t, server)
  const client = await dial(t, server, 'juliet')
  const none = 'HT-SHA-256-NONE'
  const fast = `<fast xmlns='${FAST}'/>`
  for (const [initial, inner, expected] of [
    [base64(`juliet\0${'x'.repeat(32)}`), fast, 'malformed-request'], // no client is named
    [base64(`juliet\0${'x'.repeat(32)}`), `<user-agent/>${fast}`, 'malformed-request'],
    [base64(`juliet\0${'x'.repeat(31)}`), `${agent()}${fast}`, 'malformed-request'],
    [base64(`\0${'x'.repeat(32)}`), `${agent()}${fast}`, 'malformed-request'],
    [base64('juliet'), `${agent()}${fast}`, 'malformed-request'],
    [base64(Buffer.concat([Buffer.from([0xff, 0]), Buffer.alloc(32)])), `${agent()}${fast}`, 'malformed-request'],
    [undefined, `${agent()}${fast}`, 'malformed-request'],
    [base64(`juliet\0${'x'.repeat(32)}`), agent(), 'invalid-mechanism'], // no <fast/>
    [base64(`@\0${'x'.repeat(32)}`), `${agent()}${fast}`, 'not-authorized'],
  ] as const) {
    const other = await dial(t, server)
    other.write(authenticate(none, initial, inner))
    assert.equal(outcome(await answer(other)), expected, `${initial} ${inner}`)
  }
  client.write(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='${none}'>=</auth>`)
  await client.receive(el => el.name === 'failure' && el.children[0]!.name === 'invalid-mechanism')
})

test('a count that does not rise is a login that was heard before', async t => {
  const { server } = await people(t)
  const secret = await token(t, server)
  assert.equal(await result(t, server, secret, { fast: "count='1'" }), 'success')
  assert.equal(await result(t, server, secret, { fast: "count='1'" }), 'not-authorized')
  assert.equal(await result(t, server, secret, { fast: "count='7'" }), 'success')
  assert.equal(await result(t, server, secret, { fast: "count='3'" }), 'not-authorized')
  assert.equal(await result(t, server, secret), 'success', 'without 0-RTT it may be left out')
  assert.equal(await result(t, server, secret, { fast: "count='8'" }), 'success')
  const two = await Promise.all([1, 2].map(() => result(t, server, secret, { fast: "count='9'" })))
  assert.deepEqual(two.sort(), ['not-authorized', 'success'], 'at the same time, too')
})

test('an old token is replaced when it is used; until the new one is used both are good', async t => {
  const { server, clock } = await people(t)
  const first = await token(t, server)
  clock.now += DAY
  const second = tokenOf(await use(t, server, first))
  assert.ok(second !== undefined && second !== first)
  // The client has lost the answer: it comes with the first again, and gets another.
  const third = tokenOf(await use(t, server, first))
  assert.ok(third !== undefined && third !== second)
  assert.equal(await result(t, server, second), 'not-authorized', 'never used, and replaced')
  assert.equal(await result(t, server, third), 'success')
  assert.equal(await result(t, server, first), 'not-authorized', 'its successor was used')
  assert.equal(await result(t, server, third), 'success')
})

test('a token is replaced for who asks, also by one of another mechanism', async t => {
  const { server } = await people(t)
  const first = await token(t, server)
  const inner = requestToken('HT-SHA-256-ENDP')
  const second = tokenOf(await use(t, server, first, { inner }))!
  assert.equal(await result(t, server, second), 'not-authorized')
  assert.equal(await result(t, server, second, { mechanism: 'HT-SHA-256-ENDP' }), 'success')
  assert.equal(await result(t, server, first), 'not-authorized')
})

test('a token ends: by its time, and by the wish of its client', async t => {
  const { server, clock } = await people(t, { config: { auth: { scram_iterations: 4096, token_lifetime: '2d' } } })
  const first = await token(t, server)
  clock.now += 2 * DAY
  assert.equal(await result(t, server, first), 'credentials-expired')
  const second = await token(t, server)
  clock.now += DAY
  const out = await use(t, server, second, { fast: "count='1' invalidate='true'" })
  assert.equal(out.name, 'success')
  assert.equal(tokenOf(out), undefined, 'not replaced though it is old')
  assert.equal(await result(t, server, second), 'not-authorized')
  const third = await token(t, server)
  const again = await use(t, server, third, { fast: "invalidate='1'", inner: requestToken() })
  assert.equal(await result(t, server, third), 'not-authorized')
  assert.equal(await result(t, server, tokenOf(again)!), 'success')
})

test('a token ends with the password, with the account, and when the account is disabled', async t => {
  const { server } = await people(t)
  const { users } = server.server.host('localhost')!
  const first = await token(t, server)
  await users.setPassword('juliet', 'secret')
  assert.equal(await result(t, server, first), 'credentials-expired')
  const second = await token(t, server)
  await users.disable('juliet')
  assert.equal(await result(t, server, second), 'credentials-expired')
  await users.enable('juliet')
  assert.equal(await result(t, server, second), 'credentials-expired')
  const third = await token(t, server)
  await server.server.host('localhost')!.removeAccount('juliet')
  assert.equal(await result(t, server, third), 'not-authorized')
  await server.register('juliet')
  assert.equal(await result(t, server, third), 'not-authorized')
})

test('wrong tokens are failed logins, of which no token suffers; one that has expired is not', async t => {
  const { server, clock } = await people(t, { config: { max_failures_per_account: 2 } })
  const old = await token(t, server)
  assert.equal(await result(t, server, old), 'success')
  clock.now += 31 * DAY
  const fresh = await token(t, server)
  for (let i = 0; i < 3; i++) assert.equal(await result(t, server, old), 'credentials-expired')
  assert.equal(await result(t, server, fresh), 'success')
  for (let i = 0; i < 2; i++) assert.equal(await result(t, server, 'wrong'), 'not-authorized')
  const guesser = await dial(t, server)
  await assert.rejects(byPassword(guesser, 'juliet'), /temporary-auth-failure/, 'passwords have to wait')
  assert.equal(await result(t, server, fresh), 'success', 'who guesses keeps nobody out who has a token')
})

test('who has a token cannot add keys to the account', async t => {
  const { store } = faultyStore()
  const before = await TestServer.start({ store })
  await before.register('juliet')
  const secret = await token(t, before)
  await before.stop()
  const table = store.table('localhost', PASSWD)
  const record = (await table.get(['juliet'], []))!
  await table.put(['juliet'], [], { ...record, scram: { 'SHA-1': record.scram['SHA-1']! } })
  const server = await serve(t, { store })
  const inner = "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade>"
  assert.equal(await result(t, server, secret, { inner }), 'success')
  assert.deepEqual(Object.keys((await table.get(['juliet'], []))!.scram), ['SHA-1'])
})

test('tokens and their counts outlive the server', async t => {
  const { store } = faultyStore()
  const before = await TestServer.start({ store })
  await before.register('juliet')
  const secret = await token(t, before)
  assert.equal(await result(t, before, secret, { fast: "count='4'" }), 'success')
  await before.stop()
  const server = await serve(t, { store })
  assert.equal(await result(t, server, secret, { fast: "count='4'" }), 'not-authorized')
  assert.equal(await result(t, server, secret, { fast: "count='5'" }), 'success')
})

test('a token that could not be stored is not given; its client is let in all the same', async t => {
  const { store, troubles } = faultyStore({ only: 'device' })
  const server = await serve(t, { store })
  await server.register('juliet')
  const secret = await token(t, server)
  troubles.failWrites = true
  const success = await byPassword(await dial(t, server, 'juliet'), 'juliet', `${agent()}${requestToken()}`)
  assert.equal(tokenOf(success), undefined)
  // What has to be durable before the answer, and cannot be: nobody is blamed.
  assert.equal(await result(t, server, secret, { fast: "count='1'" }), 'temporary-auth-failure')
  troubles.failWrites = false
  assert.equal(await result(t, server, secret, { fast: "count='2'" }), 'success')
})

test('a device that was not let in leaves no trace on who logs in next on that stream', async t => {
  const { server } = await people(t)
  const secret = await token(t, server)
  server.server.listeners[0]!.update({
    ...server.server.listeners[0]!.settings,
    access: ({ user }) => user !== 'juliet',
  })
  const client = await dial(t, server)
  assert.equal(outcome(await byToken(client, 'juliet', secret)), 'not-authorized')
  await byPassword(client, 'romeo', bind())
  const revoked = await server.server.host('localhost')!.services.use('devices')!.revoke('juliet', PHONE)
  assert.equal(revoked, true)
  await client.ping()
  assert.match(client.jid, /^romeo@localhost\/Talkative\/[0-9a-f]{32}$/, 'it is no device')
})

test('where it is switched off there are no tokens', async t => {
  const { server } = await people(t, { config: { auth: { scram_iterations: 4096, fast: false } } })
  const client = await dial(t, server, 'juliet')
  const inline = child(child(client.features, 'authentication'), 'inline')!
  assert.equal(child(inline, 'fast', FAST), undefined)
  const success = await byPassword(client, 'juliet', `${agent()}${requestToken()}`)
  assert.equal(tokenOf(success), undefined)
})
