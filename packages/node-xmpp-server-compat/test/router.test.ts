/** Other servers: routers, whose names a DNS server of the test knows, and a whole server of hermod. */
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { createRequire } from 'node:module'
import { describe, type TestContext, test } from 'node:test'
import { createLog } from 'hermod/engine'
import { Net } from '../../../test/support/federated.ts'
import { freeAddress } from '../../../test/support/loopback.ts'
import { child } from '../../../test/support/rawxml.ts'
import { eventually } from '../../../test/support/waiting.ts'
import { ltx, Message, Router, type RouterOptions, type Stanza } from '../src/index.ts'

const load = createRequire(import.meta.url)
const PORT = 5269

/** A router, what its domain hears, and what it logs. It ends with the test. */
async function serve(t: TestContext, name: string, net: Net, listener?: (stanza: Stanza, router: Router) => void) {
  const lines: string[] = []
  const ip = freeAddress()
  net.name(ip, name)
  const router = new Router(PORT, ip, optionsFor(net, lines))
  t.after(() => router.close())
  const stanzas = new EventEmitter<{ stanza: [Stanza] }>()
  router.register(name, stanza => {
    listener?.(stanza, router)
    stanzas.emit('stanza', stanza)
  })
  await once(router, 'listening')
  return { router, ip, lines, next: () => once(stanzas, 'stanza').then(([stanza]) => stanza as Stanza) }
}

function optionsFor({ dns }: Net, lines: string[] = []): RouterOptions {
  const log = createLog({ level: 'info', format: 'json', destination: { write: line => void lines.push(line) } })
  return { resolver: dns.address, privateAddresses: true, log }
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
    const net = await Net.start(t)
    await greet(await serve(t, 'example.com', net), await serve(t, 'nodexmpp.com', net), 'dialback')
  })

  test('authenticate outgoing and incoming using SASL EXTERNAL', async t => {
    const net = await Net.start(t)
    const { ca } = net
    const [example, nodexmpp] = [await serve(t, 'example.com', net), await serve(t, 'nodexmpp.com', net)]
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

  test('one of them a whole server: a user there talks with the router', async t => {
    const net = await Net.start(t)
    const server = await net.server(freeAddress(), ['montague.example'])
    await serve(t, 'example.com', net, (stanza, router) => {
      if (!stanza.is('message') || stanza.type === 'error') return
      router.send(new Message({ from: stanza.to, to: stanza.from, type: 'chat' }).c('body').t('Neither, fair maid'))
    })
    const [romeo] = await server.clients('romeo')
    romeo.send("<message to='echo@example.com' type='chat'><body>Art thou not Romeo?</body></message>")
    const heard = await romeo.receive(el => el.name === 'message')
    assert.deepEqual([heard.attrs['from'], child(heard, 'body')?.text], ['echo@example.com', 'Neither, fair maid'])
  })

  test('what cannot be delivered comes back: there is no such server', async t => {
    const { router, next } = await serve(t, 'example.com', await Net.start(t))
    const error = next()
    router.send(new Message({ from: 'a@example.com', to: 'b@nowhere.example', id: '1' }).c('body').t('Hello?'))
    const { type, id, from, to, ...stanza } = await error
    assert.deepEqual([type, id, from, to], ['error', '1', 'b@nowhere.example', 'a@example.com'])
    assert.match(stanza.children.join(''), /remote-server-not-found/)
  })

  test('a domain that was unregistered is not served any more', async t => {
    const net = await Net.start(t)
    const [example, nodexmpp] = [await serve(t, 'example.com', net), await serve(t, 'nodexmpp.com', net)]
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
    const { router, next } = await serve(t, 'example.com', await Net.start(t))
    const heard = next()
    router.send(new Message({ to: 'a@example.com' }).c('body').t('Hello'))
    assert.equal((await heard).getChildText('body'), 'Hello')
  })

  test('throws for what is from nobody; what is for nobody comes back, but an error does not', async t => {
    const { router, next } = await serve(t, 'example.com', await Net.start(t))
    assert.throws(() => router.send(new Message({ to: 'a@elsewhere.example' })), /has to be from a domain of ours/)
    const heard = next()
    router.send(new Message({ from: 'a@example.com', type: 'error' }))
    router.send(new Message({ from: 'a@example.com', id: '2' }))
    const error = await heard
    assert.deepEqual([error.type, error.id], ['error', '2'])
    assert.match(error.toString(), /jid-malformed/)
  })

  test('says what is wrong with its port by `error`', async t => {
    const net = await Net.start(t)
    const { ip } = await serve(t, 'example.com', net)
    const second = new Router(PORT, ip, optionsFor(net))
    const [error] = await once(second, 'error')
    assert.equal((error as NodeJS.ErrnoException).code, 'EADDRINUSE')
    await second.close()
  })

  test('takes no key that is none', async t => {
    const { router } = await serve(t, 'example.com', await Net.start(t))
    assert.throws(() => router.loadCredentials('example.com', 'nonsense', 'nonsense'))
  })

  test('a listener that throws costs that stanza, and its sender is told', async t => {
    const net = await Net.start(t)
    const example = await serve(t, 'example.com', net)
    await serve(t, 'nodexmpp.com', net, () => {
      throw new Error('a bug')
    })
    const error = example.next()
    example.router.send(ltx.parse(TO_NODEXMPP))
    assert.match((await error).toString(), /internal-server-error/)
  })

  test('closes its port, and calls back', async t => {
    const net = await Net.start(t)
    const ip = freeAddress()
    const router = new Router(PORT, ip, optionsFor(net))
    const closed = Promise.withResolvers<void>()
    await router.close(() => closed.resolve())
    await closed.promise
    const again = new Router(PORT, ip, optionsFor(net))
    await once(again, 'listening')
    await again.close()
  })
})

describe('examples', () => {
  test('s2s-echo', async t => {
    t.mock.method(console, 'log', () => {})
    const net = await Net.start(t)
    const { ca } = net
    const { key, cert } = ca.issue(['nodexmpp.com'])
    const host = freeAddress()
    net.name(host, 'nodexmpp.com')
    const echo = load('../examples/s2s-echo.cjs')({
      port: PORT,
      host,
      key,
      cert,
      ca: ca.pem,
      ...optionsFor(net),
    }) as Router
    t.after(() => echo.close())
    const example = await serve(t, 'example.com', net)
    const heard = example.next()
    example.router.send(ltx.parse(TO_NODEXMPP))
    const { from, to } = await heard
    assert.deepEqual([from, to], ['xiaoxin.lu@nodexmpp.com', 'test-user@example.com'])
  })
})
