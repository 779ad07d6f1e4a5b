/** Other servers: two routers, whose names a DNS server of the test knows. Addresses of this file: 127.0.47.0/24. */
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { createRequire } from 'node:module'
import { describe, type TestContext, test } from 'node:test'
import { createLog } from 'hermod/engine'
import { TestCa } from '../../../test/support/ca.ts'
import { DnsServer } from '../../../test/support/dns.ts'
import { eventually } from '../../../test/support/waiting.ts'
import { ltx, Message, Router, type RouterOptions, type Stanza } from '../src/index.ts'

const load = createRequire(import.meta.url)
const PORT = 5269
const ADDRESSES = { 'example.com': '127.0.47.1', 'nodexmpp.com': '127.0.47.2' }
type Name = keyof typeof ADDRESSES

/** A router, what its domain hears, and what it logs. It ends with the test. */
async function serve(t: TestContext, name: Name, dns: DnsServer, listener?: (stanza: Stanza, router: Router) => void) {
  const lines: string[] = []
  const router = new Router(PORT, ADDRESSES[name], optionsFor(dns, lines))
  t.after(() => router.close())
  const stanzas = new EventEmitter<{ stanza: [Stanza] }>()
  router.register(name, stanza => {
    listener?.(stanza, router)
    stanzas.emit('stanza', stanza)
  })
  await once(router, 'listening')
  return { router, lines, next: () => once(stanzas, 'stanza').then(([stanza]) => stanza as Stanza) }
}

function optionsFor(dns: DnsServer, lines: string[] = []): RouterOptions {
  const log = createLog({ level: 'info', format: 'json', destination: { write: line => void lines.push(line) } })
  return { resolver: dns.address, privateAddresses: true, log }
}

function zone(t: TestContext): Promise<DnsServer> {
  const names = Object.entries(ADDRESSES).map(([name, ip]) => [name, { A: [ip] }])
  return DnsServer.start(t, Object.fromEntries(names))
}

const TO_EXAMPLE =
  '<message to="test-user@example.com" from="xiaoxin.lu@nodexmpp.com" type="chat" xml:lang="en"><body>Hi. This is a test message.</body></message>'
const TO_NODEXMPP =
  '<message to="xiaoxin.lu@nodexmpp.com" from="test-user@example.com" type="chat" xml:lang="en"><body>Hello. This is my message.</body></message>'

type Served = Awaited<ReturnType<typeof serve>>

/** Each sends to the other; both hear. */
async function greet(example: Served, nodexmpp: Served, method: string): Promise<void> {
  const heard = [example.next(), nodexmpp.next()]
  example.router.send(ltx.parse(TO_NODEXMPP))
  nodexmpp.router.send(ltx.parse(TO_EXAMPLE))
  const [there, here] = await Promise.all(heard)
  assert.equal(there!.getChildText('body'), 'Hi. This is a test message.')
  assert.deepEqual([there!.from, there!.to], ['xiaoxin.lu@nodexmpp.com', 'test-user@example.com'])
  assert.equal(here!.getChildText('body'), 'Hello. This is my message.')
  const connected = [...example.lines, ...nodexmpp.lines].filter(line => line.includes('another server is connected'))
  assert.ok(connected.length > 0)
  for (const line of connected) assert.match(line, new RegExp(`"method":"${method}","tls":"TLSv1.3"`))
}

describe('two servers', () => {
  test('authenticate outgoing and incoming using dialback over TLS', async t => {
    const dns = await zone(t)
    await greet(await serve(t, 'example.com', dns), await serve(t, 'nodexmpp.com', dns), 'dialback')
  })

  test('authenticate outgoing and incoming using SASL EXTERNAL', async t => {
    const dns = await zone(t)
    const ca = TestCa.create()
    const [example, nodexmpp] = [await serve(t, 'example.com', dns), await serve(t, 'nodexmpp.com', dns)]
    for (const [name, { router }] of [
      ['example.com', example],
      ['nodexmpp.com', nodexmpp],
    ] as const) {
      const { key, cert } = ca.issue([name])
      router.loadCredentials(name, key, cert, ca.pem)
      router.addSecureDomain(name)
    }
    await greet(example, nodexmpp, 'external')
  })

  test('what cannot be delivered comes back: there is no such server', async t => {
    const { router, next } = await serve(t, 'example.com', await zone(t))
    const error = next()
    router.send(new Message({ from: 'a@example.com', to: 'b@nowhere.example', id: '1' }).c('body').t('Hello?'))
    const { type, id, from, to, ...stanza } = await error
    assert.deepEqual([type, id, from, to], ['error', '1', 'b@nowhere.example', 'a@example.com'])
    assert.match(stanza.children.join(''), /remote-server-not-found/)
  })

  test('a domain that was unregistered is not served any more', async t => {
    const dns = await zone(t)
    const [example, nodexmpp] = [await serve(t, 'example.com', dns), await serve(t, 'nodexmpp.com', dns)]
    await greet(example, nodexmpp, 'dialback')
    nodexmpp.router.unregister('nodexmpp.com')
    assert.equal(nodexmpp.router.hasContext('nodexmpp.com'), false)
    const error = example.next()
    await eventually(() => example.lines.some(line => line.includes('host-gone')))
    example.router.send(
      ltx.parse('<iq type="get" id="1" to="nodexmpp.com" from="a@example.com"><query xmlns="q"/></iq>'),
    )
    assert.equal((await error).type, 'error')
  })
})

describe('a router', () => {
  test('hands on what is between its own domains', async t => {
    const { router, next } = await serve(t, 'example.com', await zone(t))
    const heard = next()
    router.send(new Message({ to: 'a@example.com' }).c('body').t('Hello'))
    assert.equal((await heard).getChildText('body'), 'Hello')
  })

  test('throws for what is from nobody; what is for nobody comes back, but an error does not', async t => {
    const { router, next } = await serve(t, 'example.com', await zone(t))
    assert.throws(() => router.send(new Message({ to: 'a@elsewhere.example' })), /has to be from a domain of ours/)
    const heard = next()
    router.send(new Message({ from: 'a@example.com', type: 'error' }))
    router.send(new Message({ from: 'a@example.com', id: '2' }))
    const error = await heard
    assert.deepEqual([error.type, error.id], ['error', '2'])
    assert.match(error.toString(), /jid-malformed/)
  })

  test('says what is wrong with its port by `error`', async t => {
    const dns = await zone(t)
    await serve(t, 'example.com', dns)
    const second = new Router(PORT, ADDRESSES['example.com'], optionsFor(dns))
    const [error] = await once(second, 'error')
    assert.equal((error as NodeJS.ErrnoException).code, 'EADDRINUSE')
    await second.close()
  })

  test('takes no key that is none', async t => {
    const { router } = await serve(t, 'example.com', await zone(t))
    assert.throws(() => router.loadCredentials('example.com', 'nonsense', 'nonsense'))
  })

  test('a listener that throws costs that stanza, and its sender is told', async t => {
    const dns = await zone(t)
    const example = await serve(t, 'example.com', dns)
    await serve(t, 'nodexmpp.com', dns, () => {
      throw new Error('a bug')
    })
    const error = example.next()
    example.router.send(ltx.parse(TO_NODEXMPP))
    assert.match((await error).toString(), /internal-server-error/)
  })

  test('closes its port, and calls back', async t => {
    const dns = await zone(t)
    const router = new Router(PORT, '127.0.47.3', optionsFor(dns))
    const closed = Promise.withResolvers<void>()
    await router.close(() => closed.resolve())
    await closed.promise
    const again = new Router(PORT, '127.0.47.3', optionsFor(dns))
    await once(again, 'listening')
    await again.close()
  })
})

describe('examples', () => {
  test('s2s-echo', async t => {
    t.mock.method(console, 'log', () => {})
    const dns = await zone(t)
    const ca = TestCa.create()
    const { key, cert } = ca.issue(['nodexmpp.com'])
    const options = { port: PORT, host: ADDRESSES['nodexmpp.com'], key, cert, ca: ca.pem, ...optionsFor(dns) }
    const echo = load('../examples/s2s-echo.cjs')(options) as Router
    t.after(() => echo.close())
    const example = await serve(t, 'example.com', dns)
    const heard = example.next()
    example.router.send(ltx.parse(TO_NODEXMPP))
    const { from, to } = await heard
    assert.deepEqual([from, to], ['xiaoxin.lu@nodexmpp.com', 'test-user@example.com'])
  })
})
