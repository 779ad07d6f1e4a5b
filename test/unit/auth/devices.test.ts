import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DeviceSettings, Devices, type UserAgent } from '../../../src/auth/devices.ts'
import { TokenExchange, tokenMechanisms, tokenProof } from '../../../src/auth/token.ts'
import { DEVICE } from '../../../src/core/devices.ts'
import { NO_BINDINGS } from '../../../src/net/channelbinding.ts'
import { openMemoryStore } from '../../../src/storage/memory.ts'
import { Jid } from '../../../src/xmpp/jid.ts'
import { pluck } from '../../support/pluck.ts'
import { FakeSession, host as makeHost } from '../core/support.ts'
import { bindingsOf, CLEAR, EXPORTER, PROXIED, TLS } from './support.ts'

const SETTINGS: DeviceSettings = { maxDevices: 3, tokenLifetime: 1000, tokenRefreshAge: 100 }
const PHONE: UserAgent = { id: 'phone', software: 'Talkative' }
const FROM = { ip: '192.0.2.1', mechanism: 'PLAIN' }
const NONE = 'HT-SHA-256-NONE'
const NOTHING = Buffer.alloc(0)

function setUp() {
  const clock = { now: 5000 }
  const store = openMemoryStore()
  const host = makeHost({ store, now: () => clock.now })
  return { host, store, clock, devices: new Devices(host, SETTINGS) }
}

const attempt = (secret: string, more: object = {}) => ({
  mechanism: NONE,
  proof: tokenProof('Initiator', secret, NOTHING),
  binding: NOTHING,
  count: undefined,
  invalidate: false,
  ...more,
})

async function issue(devices: Devices, stamp = 'one', agent = PHONE): Promise<string> {
  const login = devices.begin('juliet', agent.id)
  const token = await devices.seen(login, agent, FROM, { mechanism: NONE, stamp })
  devices.ended(login)
  assert.ok(token !== undefined)
  return token.secret
}

const verdict = async (devices: Devices, secret: string, more: object = {}, stamp = 'one') => {
  const answer = await devices.verify('juliet', 'phone', stamp, attempt(secret, more))
  if ('failure' in answer) return answer.failure
  devices.ended(answer.login)
  return answer.due ? 'due' : 'right'
}

test('a token is taken while it holds, and is due when it is old', async () => {
  const { devices, clock } = setUp()
  const secret = await issue(devices)
  clock.now += 99
  assert.equal(await verdict(devices, secret), 'right')
  clock.now += 1
  assert.equal(await verdict(devices, secret), 'due')
  assert.equal(await verdict(devices, secret, {}, 'two'), 'credentials-expired')
  const gone = await devices.verify('juliet', 'phone', undefined, attempt(secret))
  assert.deepEqual(gone, { failure: 'credentials-expired' })
  assert.equal(await verdict(devices, secret, { mechanism: 'HT-SHA-256-EXPR' }), 'not-authorized')
  assert.equal(await verdict(devices, secret, { proof: NOTHING }), 'not-authorized')
  assert.equal(await verdict(devices, secret, { proof: tokenProof('Responder', secret, NOTHING) }), 'not-authorized')
  clock.now += 899
  assert.equal(await verdict(devices, secret), 'due')
  clock.now += 1
  assert.equal(await verdict(devices, secret), 'credentials-expired')
})

test('the proof of nothing lets nobody in', async () => {
  const { devices } = setUp()
  for (const secret of ['', 'secret-token:']) assert.equal(await verdict(devices, secret), 'not-authorized')
  const login = devices.begin('juliet', 'phone')
  await devices.seen(login, PHONE, FROM)
  for (const secret of ['', 'secret-token:']) {
    assert.equal(await verdict(devices, secret), 'not-authorized')
    assert.equal(await verdict(devices, secret, { mechanism: '' }), 'not-authorized')
  }
})

test('a revocation finds those that are logging in, and what they would leave', async () => {
  const { devices } = setUp()
  const secret = await issue(devices)
  const answer = await devices.verify('juliet', 'phone', 'one', attempt(secret))
  assert.ok('login' in answer)
  assert.equal(devices.pending, 1)
  assert.equal(await devices.revoke('juliet', 'phone'), true)
  assert.equal(answer.login.revoked, true)
  assert.equal(await devices.seen(answer.login, PHONE, FROM, { mechanism: NONE, stamp: 'one' }), undefined)
  assert.deepEqual(await devices.list('juliet'), [])
  assert.equal(await devices.revoke('juliet', 'phone'), false)
  devices.ended(answer.login)
  assert.equal(devices.pending, 0)
})

test('an account that is removed leaves no device, of a login that still goes on either', async () => {
  const { devices, host } = setUp()
  await issue(devices)
  const login = devices.begin('juliet', 'desk')
  await host.removeAccount('juliet')
  await devices.seen(login, { id: 'desk' }, FROM)
  assert.deepEqual(await devices.list('juliet'), [])
})

test('the number of devices is bounded; those with sessions stay longest', async () => {
  const { devices, host, clock } = setUp()
  const account = (await host.account('juliet'))!
  for (const id of ['a', 'b', 'c', 'd', 'e']) {
    clock.now++
    await issue(devices, 'one', { id })
    if (id === 'a') new FakeSession(account, id).slots.set(DEVICE, id)
  }
  assert.deepEqual(pluck(await devices.list('juliet'), 'id'), ['e', 'd', 'a'])
  devices.settings = { ...SETTINGS, maxDevices: 1 }
  clock.now++
  await issue(devices, 'one', { id: 'f' })
  assert.deepEqual(pluck(await devices.list('juliet'), 'id'), ['f', 'a'])
})

test('a token is secret: two are never alike', async () => {
  const { devices } = setUp()
  const secrets = new Set<string>()
  for (let i = 0; i < 50; i++) secrets.add(await issue(devices))
  assert.equal(secrets.size, 50)
})

test('mechanisms for tokens follow from the connection', () => {
  assert.deepEqual(tokenMechanisms(TLS), ['HT-SHA-256-EXPR', 'HT-SHA-256-ENDP', NONE])
  assert.deepEqual(tokenMechanisms({ secure: true, bindings: bindingsOf({ 'tls-exporter': EXPORTER }) }), [
    'HT-SHA-256-EXPR',
    NONE,
  ])
  assert.deepEqual(tokenMechanisms(PROXIED), [NONE])
  assert.deepEqual(tokenMechanisms(CLEAR), [])
})

test('HT, as the draft has it: the name, a zero, and the proof', async () => {
  const { devices } = setUp()
  const secret = await issue(devices)
  const credentials = { stamp: () => 'one' }
  const exchange = (mechanism: 'HT-SHA-256-NONE' | 'HT-SHA-256-EXPR' = NONE, context = TLS) =>
    new TokenExchange({
      mechanism,
      context,
      device: 'phone',
      count: undefined,
      invalidate: false,
      devices,
      credentials,
    })
  const message = (name: string, proof: Buffer) => Buffer.concat([Buffer.from(`${name}\0`), proof])
  const right = tokenProof('Initiator', secret, NOTHING)
  const answer = await exchange().step(message('JULIET', right))
  assert.ok('success' in answer)
  assert.equal(answer.success.user, 'juliet')
  assert.deepEqual(answer.success.data, tokenProof('Responder', secret, NOTHING))
  assert.deepEqual(await exchange().step(message('romeo', right)), { failure: 'not-authorized', user: 'romeo' })
  assert.deepEqual(await exchange().step(undefined), { failure: 'malformed-request' })
  // A proof with zeros in it is one all the same: the first zero ends the name.
  assert.deepEqual(await exchange().step(message('juliet', Buffer.alloc(32))), {
    failure: 'not-authorized',
    user: 'juliet',
  })
  const unbound = { secure: true, bindings: NO_BINDINGS }
  assert.deepEqual(await exchange('HT-SHA-256-EXPR', unbound).step(message('juliet', right)), {
    failure: 'not-authorized',
    user: 'juliet',
  })
})

test('so many logins with devices of one account at a time, and no more; whoever takes its name finds nothing all the same', async () => {
  const { devices, host } = setUp()
  const secret = await issue(devices)
  const logins = Array.from({ length: 100 }, () => verdict(devices, secret))
  await assert.rejects(verdict(devices, secret), { name: 'BusyError' })
  const removed = host.hooks.run('remove_user', { user: Jid.of('juliet', host.name) })
  for (const login of await Promise.all(logins)) assert.equal(login, 'right')
  await removed
  assert.deepEqual(await devices.list('juliet'), [])
  assert.equal(await verdict(devices, secret), 'not-authorized')
})

test('who has no token keeps nobody waiting, and who has one keeps it from no revocation', async () => {
  const { devices } = setUp()
  const secret = await issue(devices)
  const strangers = Array.from({ length: 200 }, () => verdict(devices, 'a guess'))
  assert.equal(await verdict(devices, secret), 'right')
  for (const stranger of await Promise.all(strangers)) assert.equal(stranger, 'not-authorized')
  const thief = Array.from({ length: 200 }, () => verdict(devices, secret).catch(() => 'busy'))
  await devices.list('juliet') // by then they all wait
  assert.equal(await devices.revoke('juliet', 'phone'), true)
  await Promise.all(thief)
  assert.equal(await verdict(devices, secret), 'not-authorized')
})
