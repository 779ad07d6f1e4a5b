import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { parseServer, Resolver } from '../../../src/net/dns/resolver.ts'
import { DialError, findTargets, type Targets } from '../../../src/net/targets.ts'
import { DnsServer, type SrvRecord, type Zone } from '../../support/dns.ts'

interface World {
  dns: DnsServer
  find: (domain: string) => Promise<Targets>
  /** As `host:port`, with `tls` before it where TLS is direct. */
  targets: (domain: string) => Promise<string[]>
}

async function start(t: TestContext, zone: Zone): Promise<World> {
  const dns = await DnsServer.start(t, zone)
  const resolver = new Resolver({ server: parseServer(dns.address), rounds: [100] })
  t.after(() => resolver.close())
  const find = (domain: string): Promise<Targets> => findTargets(resolver, domain)
  const targets = async (domain: string): Promise<string[]> =>
    (await find(domain)).targets.map(({ host, port, direct }) => `${direct ? 'tls ' : ''}${host}:${port}`)
  return { dns, find, targets }
}

const starttls = (domain: string, ...SRV: SrvRecord[]): Zone => ({ [`_xmpp-server._tcp.${domain}`]: { SRV } })
const direct = (domain: string, ...SRV: SrvRecord[]): Zone => ({ [`_xmpps-server._tcp.${domain}`]: { SRV } })

const notFound = (message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof DialError)
  assert.equal(error.condition, 'remote-server-not-found')
  assert.match(error.message, message)
  return true
}

test('records of both kinds are one list, by priority', async t => {
  const { targets } = await start(t, {
    ...starttls(
      'example.net',
      { priority: 30, port: 5269, target: 'c.example.net' },
      { priority: 10, port: 5269, target: 'A.Example.net' },
    ),
    ...direct(
      'example.net',
      { priority: 20, port: 443, target: 'b.example.net' },
      { priority: 40, port: 5270, target: 'd.example.net' },
    ),
  })
  assert.deepEqual(await targets('example.net'), [
    'a.example.net:5269',
    'tls b.example.net:443',
    'c.example.net:5269',
    'tls d.example.net:5270',
  ])
})

test('of one priority each comes first as often as its weight says', async t => {
  const { targets } = await start(t, {
    ...starttls(
      'example.net',
      { weight: 75, port: 1, target: 'heavy.net' },
      { weight: 0, port: 2, target: 'none.net' },
    ),
    ...direct('example.net', { weight: 25, port: 3, target: 'light.net' }),
  })
  const first = new Map<string, number>()
  for (let i = 0; i < 2000; i++) {
    const order = await targets('example.net')
    assert.equal(new Set(order).size, 3)
    first.set(order[0]!, (first.get(order[0]!) ?? 0) + 1)
  }
  const between = (name: string, least: number, most: number): void => {
    const count = first.get(name) ?? 0
    assert.ok(count >= least && count <= most, `${name} came first ${count} times of 2000`)
  }
  // Of 2000, seven standard deviations on both sides.
  between('heavy.net:1', 1350, 1620)
  between('tls light.net:3', 360, 640)
  between('none.net:2', 0, 60)
})

test('without any record it is the domain itself; with one of either kind it is not', async t => {
  const { targets } = await start(t, {
    'plain.net': { A: ['127.0.0.1'] },
    'tls.net': { A: ['127.0.0.1'] },
    ...direct('tls.net', { port: 443, target: 'xmpp.tls.net' }),
  })
  assert.deepEqual(await targets('plain.net'), ['plain.net:5269'])
  assert.deepEqual(await targets('nobody.net'), ['nobody.net:5269'])
  assert.deepEqual(await targets('tls.net'), ['tls xmpp.tls.net:443'])
})

test('a dot says that there is no such service', async t => {
  const none = { port: 0, target: '.' }
  const { find, targets } = await start(t, {
    ...starttls('none.net', none),
    ...direct('none.net', none),
    ...direct('half.net', none),
    ...starttls('starttls.net', { port: 5269, target: 'xmpp.starttls.net' }),
    ...direct('starttls.net', none),
  })
  await assert.rejects(find('none.net'), notFound(/^none\.net: its SRV records say that it takes no servers/))
  await assert.rejects(find('half.net'), notFound(/takes no servers/))
  assert.deepEqual(await targets('starttls.net'), ['xmpp.starttls.net:5269'])
})

test('a zone with a thousand records gives eight places; those said twice are one', async t => {
  const many = Array.from({ length: 1000 }, (_, i) => ({ port: 5269, target: `x${i}.net` }))
  const same = { port: 5269, target: 'same.net' }
  const { targets } = await start(t, { ...starttls('many.net', ...many), ...starttls('twice.net', same, same) })
  assert.equal((await targets('many.net')).length, 8)
  assert.deepEqual(await targets('twice.net'), ['same.net:5269'])
})

test('names are asked for as A-labels', async t => {
  const { dns, targets } = await start(t, starttls('xn--bcher-kva.example', { port: 1, target: 'xmpp.example' }))
  assert.deepEqual(await targets('bücher.example'), ['xmpp.example:1'])
  assert.ok(dns.questions.includes('SRV _xmpps-server._tcp.xn--bcher-kva.example udp'))
})

test('addresses, this machine, and names that are nowhere: DNS is not asked', async t => {
  const { dns, find, targets } = await start(t, {})
  assert.deepEqual(await targets('192.0.2.1'), ['192.0.2.1:5269'])
  assert.deepEqual(await targets('[2001:db8::1]'), ['2001:db8::1:5269'])
  assert.deepEqual(await targets('localhost'), ['localhost:5269'])
  assert.deepEqual(await targets('xmpp.localhost'), ['xmpp.localhost:5269'])
  await assert.rejects(find('example.invalid'), notFound(/there are no servers below \.invalid/))
  await assert.rejects(find('abc.onion'), notFound(/below \.onion/))
  await assert.rejects(find(`${'a'.repeat(64)}.net`), notFound(/no name that DNS can have/))
  await assert.rejects(find('a b.net'), notFound(/no name/))
  assert.deepEqual(dns.questions, [])
})

test('where DNS does not tell of one kind, the other counts, and it is said', async t => {
  const { dns, find } = await start(t, starttls('example.net', { port: 5269, target: 'xmpp.example.net' }))
  dns.fault = ({ name }) => (name.startsWith('_xmpps') ? 'servfail' : undefined)
  const { targets, unknown } = await find('example.net')
  assert.deepEqual(targets, [{ host: 'xmpp.example.net', port: 5269, direct: false }])
  assert.deepEqual(unknown, [`_xmpps-server._tcp.example.net (SRV): ${dns.address} answered SERVFAIL`])
})

test('where DNS tells of neither, the domain itself is tried; a dot of one kind with the other unknown is no answer', async t => {
  const { dns, find } = await start(t, starttls('dot.net', { port: 0, target: '.' }))
  dns.fault = ({ name }) => (name.endsWith('.dot.net') && !name.startsWith('_xmpps') ? undefined : 'refused')
  const { targets, unknown } = await find('example.net')
  assert.deepEqual(targets, [{ host: 'example.net', port: 5269, direct: false }])
  assert.equal(unknown.length, 2)
  await assert.rejects(find('dot.net'), { condition: 'remote-server-timeout' })
})
