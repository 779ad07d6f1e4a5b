/** Who got in by what is no longer so is out: with a session, on the way to one, or waiting for a connection. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { SaslExchange } from '../../src/auth/exchange.ts'
import { PASSWD } from '../../src/auth/record.ts'
import { run } from '../support/commands.ts'
import { faultyStore } from '../support/faultystore.ts'
import { RawClient } from '../support/rawclient.ts'
import { authenticated, detached, failed, JULIET, managed } from '../support/resuming.ts'
import {
  agent,
  authenticate,
  base64,
  bind,
  byPassword,
  byToken,
  dial,
  outcome,
  overSasl2,
  people,
  plain,
  requestToken,
  SASL2,
  SCRAM_UPGRADE,
  scram,
  slowBind,
  tokenOf,
  UPGRADE,
} from '../support/sasl2client.ts'
import { scramClient } from '../support/scram.ts'
import { closed, serve } from '../support/talk.ts'
import { TestServer } from '../support/testserver.ts'
import { eventually } from '../support/waiting.ts'

const SASL = 'urn:ietf:params:xml:ns:xmpp-sasl'

interface Around {
  server: TestServer
  admin: RawClient
  /** A session of juliet's, which asks. */
  own: RawClient
}

const command = ({ server }: Around, name: string, args: Record<string, unknown>) => server.command(name, args)
const ADMIN = (name: string) => `http://jabber.org/protocol/admin#${name}`
const account = 'juliet@localhost'
const password = 'another one'
const register = (content: string) => `<query xmlns='jabber:iq:register'>${content}</query>`

const WAYS: Record<string, (around: Around) => Promise<unknown>> = {
  'a ban by command': around => command(around, 'ban_account', { account }),
  'a new password by command': around => command(around, 'change_password', { account, password }),
  'removal by command': around => command(around, 'unregister', { account }),
  'removal later, by command': around => command(around, 'unregister_later', { account }),
  'a ban by form': ({ admin }) => run(admin, ADMIN('disable-user'), { accountjids: account }),
  'a new password by form': ({ admin }) => run(admin, ADMIN('change-user-password'), { accountjid: account, password }),
  'removal by form': ({ admin }) => run(admin, ADMIN('delete-user'), { accountjids: account }),
  'a new password by the user': ({ own }) =>
    own.request('set', register(`<username>juliet</username><password>${password}</password>`)),
  'removal by the user': ({ own }) => own.request('set', register('<remove/>')),
}

async function around(t: TestContext): Promise<Around & { arrived: Promise<void>; go: () => void }> {
  const { slow, arrived, gate } = slowBind()
  const server = await people(t, {
    config: { acl: { admin: { user: ['admin@localhost'] } } },
    modules: { mod_register: { require_tls: false }, mod_unregister_later: {} },
    extra: [slow],
  })
  const admin = await server.client('admin')
  const own = await server.client('juliet', { resource: 'own' })
  return { server, admin, own, arrived: arrived.promise, go: () => gate.resolve() }
}

for (const [name, happens] of Object.entries(WAYS)) {
  test(`${name}: every stream of the account ends, whatever it was doing`, async t => {
    const all = await around(t)
    const { server } = all
    const away = await managed(server, 'juliet', 'balcony')
    const { sm } = away
    away.cut()
    await detached(server, JULIET)
    const bound = await server.client('juliet')
    const loggedIn = await authenticated(server)
    const loggedIn2 = await dial(t, server, 'juliet')
    await byPassword(loggedIn2, 'juliet', agent())
    const binding = await dial(t, server, 'juliet')
    binding.write(authenticate('PLAIN', plain('juliet'), bind()))
    await all.arrived
    const gone = [bound, loggedIn, loggedIn2, binding].map(closed)

    await happens(all)
    for (const why of await Promise.all(gone)) assert.match(why, /not-authorized/)
    all.go()
    const left = () => [...(server.server.host('localhost')!.accounts.get('juliet')?.sessions.keys() ?? [])]
    const expected = name === 'a new password by the user' ? ['own'] : []
    await eventually(() => left().join() === expected.join(), 'sessions end')
    await eventually(() => server.server.streams().length === expected.length + 1, 'streams end')

    if (!name.includes('password')) return
    const back = await server.connect()
    await back.login({ user: 'juliet', password })
    const answered = await failed(back, sm!.id)
    assert.equal(answered.children[0]?.name, 'item-not-found')
  })
}

test('a login that was begun before a new password is none after it', async t => {
  const { server, admin } = await around(t)
  const client = await dial(t, server)
  const users = server.server.host('localhost')!.users
  const exchange = overSasl2(client, 'SCRAM-SHA-256')
  let steps = 0
  const slow: SaslExchange = {
    async step(input) {
      if (++steps === 2) await users.setPassword('juliet', password)
      return exchange.step(input)
    },
  }
  const options = { mechanism: 'SCRAM-SHA-256', username: 'juliet', password: 'secret' }
  assert.deepEqual((await scramClient(slow, options)).result, { failure: 'not-authorized' })
  assert.equal(steps, 2)
  await admin.ping()
})

test('while a client brings keys to its account, a ban ends its stream', async t => {
  const server = await people(t, { config: { auth: { mechanisms: ['SCRAM-SHA-1'] } } })
  await server.reload({ config: { auth: { mechanisms: ['SCRAM-SHA-256', 'SCRAM-SHA-1'] } } })
  const client = await dial(t, server, 'juliet')
  await scram(client, 'SCRAM-SHA-1', {}, `<upgrade xmlns='${UPGRADE}'>UPGR-SCRAM-SHA-256</upgrade>`)
  client.write(`<next xmlns='${SASL2}' task='UPGR-SCRAM-SHA-256'/>`)
  await client.receive(el => el.children.some(child => child.ns === SCRAM_UPGRADE))
  const gone = closed(client)
  await server.server.host('localhost')!.users.disable('juliet')
  assert.match(await gone, /not-authorized/)
})

test('a token that is used while its account is banned lets nobody in', async t => {
  const server = await people(t)
  const first = await dial(t, server, 'juliet')
  const token = tokenOf(await byPassword(first, 'juliet', `${agent()}${requestToken()}`))!
  const { users } = server.server.host('localhost')!
  const client = await dial(t, server)
  const [used] = await Promise.all([byToken(client, 'juliet', token).catch(String), users.disable('juliet')])
  if (typeof used !== 'string' && used.name === 'success') assert.match(await closed(client), /^$|not-authorized/)
  assert.equal(server.server.sessionCount, 0)
  await users.enable('juliet')
  assert.equal(outcome(await byToken(await dial(t, server), 'juliet', token)), 'credentials-expired')
})

test('other accounts, and the same name at another host, notice nothing', async t => {
  const server = await serve(t, { hosts: ['localhost', 'other.test'] })
  await server.client('juliet')
  const romeo = await server.client('romeo')
  const namesake = await server.client('juliet', { host: 'other.test' })
  const unbound = await server.connect({ host: 'other.test' })
  await unbound.login({ user: 'juliet', password: 'secret' })
  await server.server.host('localhost')!.users.disable('juliet')
  await romeo.ping()
  await namesake.ping()
  assert.match(await unbound.bind(), /^juliet@other.test/)
})

test('a login that was begun before STARTTLS ends there: it is no login at the host of the next stream', async t => {
  const { store } = faultyStore() // which is not closed with its server
  const hosts = ['localhost', 'other.test']
  const before = await TestServer.start({ store, hosts })
  await before.server.host('localhost')!.users.create('juliet', 'hers')
  await before.server.host('other.test')!.users.create('juliet', 'of somebody else')
  await before.stop()
  for (const host of hosts) {
    const table = store.table(host, PASSWD)
    await table.put(['juliet'], [], { ...(await table.get(['juliet'], []))!, createdAt: 1 })
  }
  const server = await serve(t, { store, hosts })
  const client = await RawClient.connect({ port: server.port, domain: 'localhost' })
  t.after(() => client.cut())
  let steps = 0
  const exchange: SaslExchange = {
    async step(input) {
      if (++steps === 1) {
        client.write(`<auth xmlns='${SASL}' mechanism='SCRAM-SHA-256'>${base64(input!)}</auth>`)
      } else {
        client.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        await client.receive(el => el.name === 'proceed')
        client.options.domain = 'other.test'
        await client['encrypt']()
        await client['openStream']()
        client.write(`<response xmlns='${SASL}'>${base64(input!)}</response>`)
      }
      const el = await client.receive(el => el.ns === SASL || el.name === 'error')
      if (el.name === 'challenge') return { challenge: Buffer.from(el.text, 'base64') }
      if (el.name === 'success') return { success: { user: 'juliet', stamp: '' } }
      return { failure: 'not-authorized' }
    },
  }
  const options = { mechanism: 'SCRAM-SHA-256', username: 'juliet', password: 'hers' }
  assert.deepEqual((await scramClient(exchange, options)).result, { failure: 'not-authorized' })
  assert.equal(steps, 2)
})

test('streams that are looked after leave no trace: with a session, gone before one, or not let in after all', async t => {
  const server = await people(t)
  const { entering, devices } = server.server.parts.c2s.hosts.get('localhost')!
  const bound = await dial(t, server, 'juliet')
  await byPassword(bound, 'juliet', agent() + bind())
  const left = await authenticated(server)
  const cut = await dial(t, server, 'juliet')
  await byPassword(cut, 'juliet', agent())
  assert.equal(entering.size, 2)
  await left.close()
  cut.cut()
  for (let n = 0; n < 3; n++) {
    const wrong = await dial(t, server, 'juliet')
    wrong.write(authenticate('PLAIN', plain('juliet', 'wrong'), agent()))
    await wrong.receive(el => el.ns === SASL2)
  }
  await eventually(() => entering.size === 0 && devices.pending === 0, 'nothing is left')
})
