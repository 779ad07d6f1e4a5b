import assert from 'node:assert/strict'
import { Resolver } from 'node:dns/promises'
import { type TestContext, test } from 'node:test'
import { DnsServer, type Zone } from '../../support/dns.ts'

/** The server, and Node's own resolver, which asks it. */
async function start(t: TestContext, zone: Zone): Promise<{ dns: DnsServer; resolver: Resolver }> {
  const dns = await DnsServer.start(t, zone)
  const resolver = new Resolver({ timeout: 1000, tries: 1 })
  resolver.setServers([dns.address])
  return { dns, resolver }
}

test('the DNS server of the tests answers as one does', async t => {
  const { dns, resolver } = await start(t, {
    'example.net': { A: ['127.0.0.2', '127.0.0.3'], AAAA: ['::1'] },
    'www.example.net': { CNAME: 'example.net' },
    '_xmpp-server._tcp.example.net': { SRV: [{ priority: 1, weight: 2, port: 5269, target: 'example.net' }] },
  })
  assert.deepEqual(await resolver.resolve4('Example.net'), ['127.0.0.2', '127.0.0.3'])
  assert.deepEqual(await resolver.resolve6('example.net'), ['::1'])
  assert.deepEqual(await resolver.resolve4('www.example.net'), ['127.0.0.2', '127.0.0.3'])
  const [srv] = await resolver.resolveSrv('_xmpp-server._tcp.example.net')
  assert.deepEqual({ ...srv }, { name: 'example.net', port: 5269, priority: 1, weight: 2, type: 'SRV' })
  await assert.rejects(resolver.resolve4('nobody.example.net'), { code: 'ENOTFOUND' })
  await assert.rejects(resolver.resolve4('_tcp.example.net'), { code: 'ENODATA' })
  assert.equal(dns.questions[0], 'A example.net udp')
})

test('it fails where it is told to, and what is too long for UDP comes by TCP', async t => {
  const many = Array.from({ length: 60 }, (_, i) => `127.0.1.${i}`)
  const { dns, resolver } = await start(t, { 'many.net': { A: many }, 'one.net': { A: ['127.0.0.1'] } })
  assert.deepEqual(await resolver.resolve4('many.net'), many)
  assert.deepEqual(dns.questions, ['A many.net udp', 'A many.net tcp'])
  dns.fault = ({ name }) => (name === 'one.net' ? 'servfail' : undefined)
  await assert.rejects(resolver.resolve4('one.net'), { code: 'ESERVFAIL' })
})
