import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { TableRow } from '../../src/core/commands/command.ts'
import type { Device } from '../../src/core/devices.ts'
import { faultyStore } from '../support/faultystore.ts'
import { pluck } from '../support/pluck.ts'
import { detached } from '../support/resuming.ts'
import {
  agent,
  answer,
  authenticate,
  bind,
  byPassword,
  byToken,
  DESK,
  dial,
  enable,
  outcome,
  PHONE,
  plain,
  requestToken,
  slowBind,
  tokenOf,
} from '../support/sasl2client.ts'
import { closed, serve } from '../support/talk.ts'
import { type TestOptions, TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

async function people(t: TestContext, options: TestOptions = {}) {
  const clock = { now: 1_800_000_000_000 }
  const server = await serve(t, { ...options, now: () => clock.now })
  await server.register('juliet', 'romeo')
  return { server, clock }
}

const list = (server: TestServer, account = 'juliet@localhost') =>
  server.command<TableRow[]>('list_devices', { account })
const revoke = (server: TestServer, id: string, account = 'juliet@localhost') =>
  server.command('revoke_device', { account, id })

const devices = (server: TestServer) => server.server.host('localhost')!.services.use('devices')!

/** The devices of juliet once they are as expected: a login does not wait for the disk with them. */
function remembered(server: TestServer, expected: (list: Device[]) => boolean): Promise<Device[]> {
  return eventually(async () => {
    const found = await devices(server).list('juliet')
    return expected(found) ? found : undefined
  }, 'the devices are as expected')
}

const uuid = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

test('a client that says which device it is, is remembered, with what it says of itself', async t => {
  const { server, clock } = await people(t)
  const client = await dial(t, server, 'juliet')
  await byPassword(client, 'juliet', `${agent()}${requestToken()}${bind()}`)
  const anonymous = await dial(t, server, 'juliet')
  await byPassword(anonymous, 'juliet', bind())
  const when = new Date(clock.now).toISOString()
  assert.deepEqual(await list(server), [
    {
      id: PHONE,
      software: 'Talkative',
      device: 'Phone',
      first_seen: when,
      last_seen: when,
      ip: '127.0.0.1',
      mechanism: 'PLAIN',
      tokens: 1,
      sessions: 1,
    },
  ])
  assert.deepEqual(await list(server, 'romeo@localhost'), [])
  clock.now += 5000
  const secret = tokenOf(
    await byPassword(await dial(t, server), 'juliet', `${agent(PHONE, 'Renamed', '')}${requestToken()}`),
  )!
  const [renamed] = await devices(server).list('juliet')
  assert.equal(renamed!.software, 'Renamed')
  await byToken(await dial(t, server), 'juliet', secret)
  const [device] = await remembered(server, ([phone]) => phone!.mechanism !== 'PLAIN')
  assert.equal(device!.software, 'Talkative')
  assert.equal(device!.device, 'Phone', 'what it does not say again stays')
  assert.equal(device!.mechanism, 'HT-SHA-256-NONE')
  assert.deepEqual([device!.firstSeen, device!.lastSeen], [clock.now - 5000, clock.now])
  await assert.rejects(list(server, 'nobody@localhost'), /no account/)
})

test('what a client says of itself is cut to a length that people can read', async t => {
  const { server } = await people(t)
  const long = '😀'.repeat(300)
  await byPassword(await dial(t, server), 'juliet', `${agent(PHONE, long, ' ')}${requestToken()}`)
  const [device] = await devices(server).list('juliet')
  assert.equal(device!.software, '😀'.repeat(100))
  assert.equal(device!.device, undefined)
})

test('a login that failed leaves no device', async t => {
  const { server } = await people(t)
  const client = await dial(t, server)
  client.write(authenticate('PLAIN', plain('juliet', 'wrong'), `${agent()}${requestToken()}`))
  assert.equal(outcome(await answer(client)), 'not-authorized')
  assert.deepEqual(await list(server), [])
})

test('a device that is revoked: its sessions end, its token is void, and others stay', async t => {
  const { server } = await people(t)
  const phone = await dial(t, server, 'juliet')
  const secret = tokenOf(await byPassword(phone, 'juliet', `${agent()}${requestToken()}${bind(enable)}`))!
  const desk = await dial(t, server, 'juliet')
  await byPassword(desk, 'juliet', `${agent(DESK)}${bind()}`)
  const gone = closed(phone)
  assert.match(String(await revoke(server, PHONE)), /logged out/)
  assert.match(await gone, /not-authorized/)
  assert.equal(outcome(await byToken(await dial(t, server), 'juliet', secret)), 'not-authorized')
  await desk.ping()
  assert.deepEqual(pluck(await remembered(server, all => all.length === 1), 'id'), [DESK])
  await assert.rejects(revoke(server, PHONE), /no device/)
  await assert.rejects(revoke(server, PHONE, 'romeo@localhost'), /no device/)
  // Its session cannot be resumed, by password either.
  const again = await dial(t, server)
  await again.login({ user: 'juliet', password: 'secret' })
  assert.equal(await again.resume(phone.sm!), false)
})

test('the session of a device ends also where it was bound the old way, or waits to be resumed', async t => {
  const { server } = await people(t)
  const phone = await dial(t, server, 'juliet')
  await byPassword(phone, 'juliet', agent())
  await phone.receive(el => el.name === 'features')
  await phone.bind('balcony')
  await phone.enable()
  phone.cut()
  await detached(server, 'juliet@localhost/balcony')
  await revoke(server, PHONE)
  assert.equal(server.server.sessionCount, 0)
})

test('a device that is revoked while it logs in gets no session, and is not remembered', async t => {
  const { slow, arrived, gate } = slowBind()
  const { server } = await people(t, { extra: [slow] })
  const client = await dial(t, server, 'juliet')
  const gone = closed(client)
  const login = byPassword(client, 'juliet', `${agent()}${requestToken()}${bind()}`)
  await arrived.promise
  await revoke(server, PHONE)
  gate.resolve()
  await assert.rejects(login)
  assert.match(await gone, /not-authorized/)
  // Between the login and the bind of old.
  const other = await dial(t, server, 'juliet')
  const away = closed(other)
  await byPassword(other, 'juliet', `${agent(DESK)}${requestToken()}`)
  await revoke(server, DESK)
  await assert.rejects(other.bind())
  assert.match(await away, /not-authorized/)
  assert.equal(server.server.sessionCount, 0)
  assert.deepEqual(await list(server), [])
  await eventually(() => server.server.streams().length === 0, 'all streams gone')
  assert.equal((devices(server) as unknown as { pending: number }).pending, 0)
})

test('one device more than are remembered: the one goes that was unused for longest', async t => {
  const auth = { scram_iterations: 4096, max_devices: 3 }
  const { server, clock } = await people(t, { config: { auth } })
  const first = await dial(t, server)
  await byPassword(first, 'juliet', `${agent(uuid(1))}${requestToken()}${bind()}`)
  const secrets = new Map<number, string>()
  for (let n = 2; n <= 5; n++) {
    clock.now += 1000
    const success = await byPassword(await dial(t, server), 'juliet', `${agent(uuid(n))}${requestToken()}`)
    secrets.set(n, tokenOf(success)!)
  }
  const left = (await devices(server).list('juliet')).map(d => d.id)
  assert.deepEqual(left, [uuid(5), uuid(4), uuid(1)], 'the first has a session')
  const again = await byToken(await dial(t, server), 'juliet', secrets.get(3)!, { id: uuid(3) })
  assert.equal(outcome(again), 'not-authorized')
  const still = await byToken(await dial(t, server), 'juliet', secrets.get(4)!, { id: uuid(4) })
  assert.equal(outcome(still), 'success')
})

test('devices go with their account', async t => {
  const { server } = await people(t)
  await byPassword(await dial(t, server), 'juliet', `${agent()}${requestToken()}`)
  await server.server.host('localhost')!.removeAccount('juliet')
  assert.deepEqual(await devices(server).list('juliet'), [])
})

test('a session that was resumed after a restart is still that of its device', async t => {
  const { store } = faultyStore()
  const before = await TestServer.start({ store })
  await before.register('juliet')
  const phone = await dial(t, before, 'juliet')
  await byPassword(phone, 'juliet', `${agent()}${bind(enable)}`)
  await before.stop()
  const server = await serve(t, { store })
  assert.equal(server.server.sessionCount, 1)
  assert.match(String(await revoke(server, PHONE)), /logged out/)
  assert.equal(server.server.sessionCount, 0)
})
