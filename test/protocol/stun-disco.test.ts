import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { after, before, test } from 'node:test'
import { Secret } from '../../src/config/secret.ts'
import { pluck } from '../support/pluck.ts'
import type { RawClient } from '../support/rawclient.ts'
import { refused, serve } from '../support/talk.ts'
import { TestServer } from '../support/testserver.ts'

const NS = 'urn:xmpp:extdisco:2'
const NOW = Date.UTC(2026, 0, 1, 12)
const services = [
  { host: 'stun.example', type: 'stun' },
  { host: 'turn.example', type: 'turn' },
  { host: 'turn.example', type: 'turn', port: 443, transport: 'tcp' },
  { host: 'turns.example', type: 'turns', secret: new Secret('another') },
]

let server: TestServer
let alice: RawClient

before(async () => {
  const mod_stun_disco = { secret: new Secret('north'), credentials_lifetime: '1h', services }
  server = await TestServer.start({
    hosts: ['localhost', 'other.example'],
    now: () => NOW,
    modules: { mod_stun_disco },
  })
  alice = await server.client('alice')
})
after(() => server.stop())

const ask = async (client: RawClient, payload: string) =>
  (await client.request('get', payload, 'localhost')).children[0]!.children.map(el => el.attrs)
const credentials = (service: string) => ask(alice, `<credentials xmlns='${NS}'>${service}</credentials>`)

/** The password that coturn expects for this name. */
const password = (secret: string, username: string) => createHmac('sha1', secret).update(username).digest('base64')

test('all services are listed, with passwords where they are wanted, which expire', async () => {
  const list = await ask(alice, `<services xmlns='${NS}'/>`)
  assert.deepEqual(
    list.map(({ type, host, port, transport, restricted }) => [type, host, port, transport, restricted]),
    [
      ['stun', 'stun.example', '3478', 'udp', undefined],
      ['turn', 'turn.example', '3478', 'udp', 'true'],
      ['turn', 'turn.example', '443', 'tcp', 'true'],
      ['turns', 'turns.example', '5349', 'tcp', 'true'],
    ],
  )
  const [stun, turn, , turns] = list
  assert.equal(stun!['username'], undefined)
  assert.equal(stun!['password'], undefined)
  const expires = NOW / 1000 + 3600
  assert.equal(turn!['expires'], '2026-01-01T13:00:00Z')
  assert.match(turn!['username']!, new RegExp(`^${expires}:[0-9a-f]{16}$`))
  assert.equal(turn!['password'], password('north', turn!['username']!))
  assert.equal(turns!['password'], password('another', turns!['username']!))
})

test('the name tells one user from another, and not who it is', async () => {
  const bob = await server.client('bob')
  const [one] = await ask(alice, `<services xmlns='${NS}' type='turn'/>`)
  const [other] = await ask(bob, `<services xmlns='${NS}' type='turn'/>`)
  assert.notEqual(one!['username'], other!['username'])
})

test('services of one type are asked for; of a type that there is not, there are none', async () => {
  const answer = await alice.request('get', `<services xmlns='${NS}' type='turn'/>`, 'localhost')
  assert.equal(answer.children[0]!.attrs['type'], 'turn')
  assert.equal(answer.children[0]!.children.length, 2)
  assert.deepEqual(await ask(alice, `<services xmlns='${NS}' type='ftp'/>`), [])
})

test('credentials are asked for one service, by its port if need be', async () => {
  const both = await credentials("<service host='TURN.example' type='turn'/>")
  assert.deepEqual(pluck(both, 'port'), ['3478', '443'])
  const [one] = await credentials("<service host='turn.example' type='turn' port='443'/>")
  assert.equal(one!['port'], '443')
  assert.equal(one!['password'], password('north', one!['username']!))
})

test('there are no credentials for what is not known, or wants none', async () => {
  await refused('item-not-found', credentials("<service host='nowhere.example' type='turn'/>"))
  await refused('item-not-found', credentials("<service host='turn.example' type='turn' port='1'/>"))
  await refused('item-not-found', credentials("<service host='stun.example' type='stun'/>"))
  await refused('bad-request', credentials("<service host='turn.example'/>"))
  await refused('bad-request', credentials(''))
})

test('strangers are told nothing; clients of the older version are', async t => {
  assert.equal((await ask(alice, "<services xmlns='urn:xmpp:extdisco:1'/>")).length, 4)
  const other = await serve(t, { modules: { mod_stun_disco: { access: 'none', services: [] } } })
  const bob = await other.client('bob')
  await refused('forbidden', ask(bob, `<services xmlns='${NS}'/>`))
  await refused('forbidden', ask(bob, `<credentials xmlns='${NS}'><service host='x' type='turn'/></credentials>`))
})

test('without a secret the service is named, without a password', async t => {
  const other = await serve(t, { modules: { mod_stun_disco: { services: [{ host: 't.example', type: 'turn' }] } } })
  const bob = await other.client('bob')
  const [turn] = await ask(bob, `<services xmlns='${NS}'/>`)
  assert.deepEqual([turn!['restricted'], turn!['password']], ['true', undefined])
})
