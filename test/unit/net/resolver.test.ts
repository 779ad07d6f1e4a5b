import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { DnsError, parseServer, Resolver, type ResolverOptions } from '../../../src/net/dns/resolver.ts'
import { DnsServer, type Zone } from '../../support/dns.ts'
import { emptyFolder } from '../../support/folder.ts'

interface World {
  dns: DnsServer
  resolver: Resolver
  /** The clock of the resolver, in ms. */
  clock: { now: number }
}

async function start(t: TestContext, zone: Zone, options: ResolverOptions = {}): Promise<World> {
  const dns = await DnsServer.start(t, zone)
  const clock = { now: 1_000_000 }
  const resolver = new Resolver({
    server: parseServer(dns.address),
    now: () => clock.now,
    rounds: [150, 150],
    ...options,
  })
  t.after(() => resolver.close())
  return { dns, resolver, clock }
}

const fails = (message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof DnsError, String(error))
  assert.match(error.message, message)
  return true
}

test('finds records of each type', async t => {
  const { resolver } = await start(t, {
    'example.net': { A: ['192.0.2.1', '192.0.2.2'], AAAA: ['2001:db8::1'] },
    '_xmpp-server._tcp.example.net': { SRV: [{ priority: 1, weight: 2, port: 3, target: 'XMPP.example.net' }] },
  })
  assert.deepEqual(await resolver.addresses('example.net', 4), ['192.0.2.1', '192.0.2.2'])
  assert.deepEqual(await resolver.addresses('example.net', 6), ['2001:db8::1'])
  assert.deepEqual(await resolver.srv('_xmpp-server._tcp.example.net'), [
    { priority: 1, weight: 2, port: 3, target: 'xmpp.example.net' },
  ])
  assert.deepEqual(await resolver.srv('example.net'), [])
  assert.deepEqual(await resolver.addresses('nobody.net', 4), [])
})

test('follows aliases, those that the server leaves to be asked for too', async t => {
  const { dns, resolver, clock } = await start(t, {
    'a.net': { CNAME: 'B.net', ttl: 20 },
    'b.net': { CNAME: 'c.net' },
    'c.net': { A: ['192.0.2.1'] },
    'dangling.net': { CNAME: 'nobody.net' },
  })
  assert.deepEqual(await resolver.addresses('a.net', 4), ['192.0.2.1'])
  assert.deepEqual(await resolver.addresses('dangling.net', 4), [])
  assert.deepEqual(dns.questions, ['A a.net udp', 'A dangling.net udp'])
  dns.chases = false
  clock.now += 21_000 // the alias lives shortest
  assert.deepEqual(await resolver.addresses('a.net', 4), ['192.0.2.1'])
  assert.deepEqual(dns.questions.slice(2), ['A a.net udp', 'A b.net udp', 'A c.net udp'])
})

test('aliases in a circle end, whoever follows them', async t => {
  const { dns, resolver } = await start(t, { 'a.net': { CNAME: 'b.net' }, 'b.net': { CNAME: 'a.net' } })
  await assert.rejects(resolver.addresses('a.net', 4), fails(/aliases of a\.net lead nowhere/))
  dns.chases = false
  await assert.rejects(resolver.addresses('b.net', 4), fails(/b\.net \(A\): its aliases lead nowhere/))
  assert.ok(dns.questions.length < 15)
})

test('asks by TCP for what is too long for UDP', async t => {
  const SRV = Array.from({ length: 40 }, (_, i) => ({ port: i + 1, target: `host${i}.example.net` }))
  const { dns, resolver } = await start(t, {
    '_xmpp-server._tcp.example.net': { SRV },
    'cut.net': { A: ['192.0.2.1'] },
  })
  assert.equal((await resolver.srv('_xmpp-server._tcp.example.net')).length, 40)
  dns.fault = () => 'truncated'
  assert.deepEqual(await resolver.addresses('cut.net', 4), ['192.0.2.1'])
  assert.deepEqual(dns.questions.slice(2), ['A cut.net udp', 'A cut.net tcp'])
})

test('a TCP connection that is closed, hangs, or says something else is no answer', async t => {
  const { dns, resolver } = await start(t, { 'a.net': { A: ['192.0.2.1'] }, 'b.net': {}, 'c.net': {} })
  for (const [name, fault, said] of [
    ['a.net', 'reset', /closed before an answer/],
    ['b.net', 'never', /gave no answer/],
    ['c.net', 'wrong-id', /an answer to something else/],
  ] as const) {
    dns.fault = (_, carrier) => (carrier === 'udp' ? 'truncated' : fault)
    await assert.rejects(resolver.addresses(name, 4), fails(said))
  }
})

test('believes only the answer to its question, from who was asked', async t => {
  for (const fault of ['wrong-id', 'wrong-name', 'wrong-port', 'garbage'] as const) {
    const { dns, resolver } = await start(t, { 'example.net': { A: ['192.0.2.1'] } })
    dns.fault = () => fault
    await assert.rejects(resolver.addresses('example.net', 4), fails(/gave no answer/), fault)
    assert.equal(dns.questions.length, 2, fault) // it was asked again
  }
})

test('an answer that is cut in the middle is said to be', async t => {
  const { dns, resolver } = await start(t, { 'example.net': { A: ['192.0.2.1'] } })
  dns.fault = () => 'half'
  await assert.rejects(resolver.addresses('example.net', 4), fails(/failed \(an answer that cannot be read\)/))
})

test('asks by TCP where somebody guesses', async t => {
  const { dns, resolver } = await start(t, { 'example.net': { A: ['192.0.2.1'] } })
  dns.fault = () => 'forged'
  assert.deepEqual(await resolver.addresses('example.net', 4), ['192.0.2.1'])
  assert.deepEqual(dns.questions, ['A example.net udp', 'A example.net tcp'])
})

test('each question has its own id and port', async t => {
  const { dns, resolver } = await start(t, {})
  await Promise.all(Array.from({ length: 20 }, (_, i) => resolver.addresses(`n${i}.net`, 4)))
  assert.equal(new Set(dns.asked.map(({ port }) => port)).size, 20)
  const ids = dns.asked.map(({ id }) => id)
  assert.ok(new Set(ids).size > 15)
  assert.ok(ids.some((id, i) => i > 0 && Math.abs(id - ids[i - 1]!) > 100))
})

test('asks again where nothing comes, and takes an answer that is late', async t => {
  const { dns, resolver } = await start(t, { 'lost.net': { A: ['192.0.2.1'] }, 'late.net': { A: ['192.0.2.2'] } })
  let asked = 0
  dns.fault = () => (asked++ === 0 ? 'never' : undefined)
  assert.deepEqual(await resolver.addresses('lost.net', 4), ['192.0.2.1'])
  assert.equal(dns.questions.length, 2)
  asked = 0
  dns.fault = () => (asked++ === 0 ? { late: 200 } : 'never')
  assert.deepEqual(await resolver.addresses('late.net', 4), ['192.0.2.2'])
})

test('a server that cannot tell is not asked again at once; why is said, and kept for a little while', async t => {
  const { dns, resolver, clock } = await start(t, { 'example.net': { A: ['192.0.2.1'] } })
  dns.fault = () => 'servfail'
  const said = new RegExp(`^example\\.net \\(A\\): ${dns.address} answered SERVFAIL$`)
  await assert.rejects(resolver.addresses('example.net', 4), fails(said))
  dns.fault = () => undefined
  await assert.rejects(resolver.addresses('example.net', 4), fails(said))
  assert.equal(dns.questions.length, 1)
  clock.now += 5001
  assert.deepEqual(await resolver.addresses('example.net', 4), ['192.0.2.1'])
})

test('nobody listens where the server should be: that is known at once', async t => {
  const { dns, resolver } = await start(t, {}, { rounds: [60_000] })
  dns.stop()
  await assert.rejects(resolver.addresses('example.net', 4), fails(/failed \(.*ECONNREFUSED/))
})

test('keeps an answer as long as it lives, within bounds', async t => {
  const { dns, resolver, clock } = await start(t, {
    'minute.net': { A: ['192.0.2.1'], ttl: 60 },
    'none.net': { A: ['192.0.2.1'], ttl: 0 },
    'long.net': { A: ['192.0.2.1'], ttl: 1_000_000 },
  })
  const asks = async (name: string): Promise<boolean> => {
    const before = dns.questions.length
    await resolver.addresses(name, 4)
    return dns.questions.length > before
  }
  for (const [name, life] of [
    ['minute.net', 60_000],
    ['none.net', 10_000],
    ['long.net', 3_600_000],
  ] as const) {
    assert.ok(await asks(name), name)
    clock.now += life - 1
    assert.ok(!(await asks(name)), name)
    clock.now += 1
    assert.ok(await asks(name), name)
  }
})

test('keeps that there is nothing as long as the zone says', async t => {
  const { dns, resolver, clock } = await start(t, { 'example.net': { A: ['192.0.2.1'] } })
  for (const [negativeTtl, life] of [
    [60, 60_000],
    [undefined, 10_000],
    [86_400, 300_000],
  ] as const) {
    dns.negativeTtl = negativeTtl
    dns.asked.length = 0
    const ask = async (): Promise<void> => {
      assert.deepEqual(await resolver.addresses('nobody.net', 4), [])
      assert.deepEqual(await resolver.addresses('example.net', 6), [])
    }
    clock.now += 1_000_000
    await ask()
    clock.now += life - 1
    await ask()
    assert.equal(dns.questions.length, 2)
    clock.now += 1
    await ask()
    assert.equal(dns.questions.length, 4)
  }
})

test('the same question is asked once at a time', async t => {
  const { dns, resolver } = await start(t, { 'example.net': { A: ['192.0.2.1'] } })
  const all = await Promise.all(Array.from({ length: 50 }, () => resolver.addresses('example.net', 4)))
  assert.ok(all.every(([ip]) => ip === '192.0.2.1'))
  assert.deepEqual(dns.questions, ['A example.net udp'])
})

test('so many questions are open at a time, and so many wait', async t => {
  const { dns, resolver } = await start(t, {}, { rounds: [60_000] })
  dns.fault = () => 'never'
  const asked = Array.from({ length: 1070 }, (_, i) =>
    resolver.addresses(`n${i}.net`, 4).catch((error: unknown) => error),
  )
  for (const error of await Promise.all(asked.slice(1064))) fails(/too many questions are open/)(error)
  resolver.close()
  await Promise.all(asked)
  assert.ok(dns.questions.length <= 64)
})

test('of answers so many are kept, and so many bytes: the one unused for longest goes', async t => {
  const { dns, resolver } = await start(t, {}, { rounds: [20_000] })
  const ask = async (count: number, ask: (i: number) => Promise<unknown>): Promise<void> => {
    for (let i = 0; i < count; i += 50) await Promise.all(Array.from({ length: 50 }, (_, j) => ask(i + j)))
  }
  await ask(4150, i => resolver.addresses(`n${i}.net`, 4))
  assert.equal(resolver.kept.number, 4096)
  dns.asked.length = 0
  await resolver.addresses('n4149.net', 4)
  await resolver.addresses('n0.net', 4)
  assert.deepEqual(dns.questions, ['A n0.net udp'])

  // Answers of a zone that fills them as much as it can.
  const target = `${'x'.repeat(60)}.${'y'.repeat(60)}.${'z'.repeat(60)}.net`
  const SRV = Array.from({ length: 200 }, (_, port) => ({ port: port + 1, target }))
  dns.zone = Object.fromEntries(Array.from({ length: 250 }, (_, i) => [`s${i}.net`, { SRV }]))
  await ask(250, i => resolver.srv(`s${i}.net`))
  const { number, bytes } = resolver.kept
  assert.ok(number < 250 && bytes <= 4 * 1024 * 1024 && bytes > 3 * 1024 * 1024, `${number} answers, ${bytes} bytes`)
})

test('where no server is set, the list of hosts comes first, and is read again when it has changed', async t => {
  const hosts = path.join(await emptyFolder(t), 'hosts')
  const resolver = new Resolver({ hosts })
  t.after(() => resolver.close())
  writeFileSync(hosts, '# names\n192.0.2.1  Example.test alias.test # here\n2001:db8::1\talias.test\nnonsense line\n')
  assert.deepEqual(await resolver.addresses('example.test', 4), ['192.0.2.1'])
  assert.deepEqual(await resolver.addresses('example.test', 6), [])
  assert.deepEqual(await resolver.addresses('alias.test', 6), ['2001:db8::1'])
  writeFileSync(hosts, '192.0.2.99 example.test other.test more.test\n')
  assert.deepEqual(await resolver.addresses('example.test', 4), ['192.0.2.99'])
  rmSync(hosts)
  assert.deepEqual(await resolver.addresses('localhost', 4), ['127.0.0.1'])
  assert.deepEqual(await resolver.addresses('xmpp.localhost', 6), ['::1'])
})

test('where a server is set, the list of hosts says nothing', async t => {
  const hosts = path.join(await emptyFolder(t), 'hosts')
  writeFileSync(hosts, '192.0.2.1 example.net\n')
  const { resolver } = await start(t, { 'example.net': { A: ['192.0.2.2'] } }, { hosts })
  assert.deepEqual(await resolver.addresses('example.net', 4), ['192.0.2.2'])
})

test('closing gives up what is asked', async t => {
  const { dns, resolver } = await start(t, {}, { rounds: [60_000] })
  dns.fault = () => 'never'
  const asked = resolver.addresses('example.net', 4)
  resolver.close()
  await assert.rejects(asked, fails(/the server stops/))
  await assert.rejects(resolver.addresses('other.net', 4), fails(/the server stops/))
})

test('a server is named by address and port', () => {
  assert.deepEqual(parseServer('192.0.2.1:5353'), { ip: '192.0.2.1', port: 5353 })
  assert.deepEqual(parseServer('[2001:db8::1]:53'), { ip: '2001:db8::1', port: 53 })
  assert.deepEqual(parseServer('2001:db8::1', 53), { ip: '2001:db8::1', port: 53 })
  assert.deepEqual(parseServer('192.0.2.1', 53), { ip: '192.0.2.1', port: 53 })
  for (const text of ['', 'localhost:53', '192.0.2.1', '192.0.2.1:0', '192.0.2.1:65536', '2001:db8::1:x', '1.2.3:53']) {
    assert.equal(parseServer(text), undefined, text)
  }
})
