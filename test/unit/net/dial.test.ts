import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { type Dialled, Dialler, type DialSettings } from '../../../src/net/dial.ts'
import { parseServer, Resolver } from '../../../src/net/dns/resolver.ts'
import { DialError } from '../../../src/net/targets.ts'
import { DnsServer, type SrvRecord, type Zone } from '../../support/dns.ts'

interface World {
  dns: DnsServer
  dialler: Dialler
  /** Dials until it is over: the connections as `host ip:port`, and what was said at the end. */
  all: (domain: string) => Promise<{ connected: string[]; error: DialError }>
  /** The first connection. */
  first: (domain: string) => Promise<Dialled>
}

async function start(t: TestContext, zone: Zone, settings: Partial<DialSettings> = {}): Promise<World> {
  const dns = await DnsServer.start(t, zone)
  const resolver = new Resolver({ server: parseServer(dns.address), rounds: [2000] })
  t.after(() => resolver.close())
  const dialler = new Dialler(resolver, { privateAddresses: true, listeners: () => [], ...settings })
  const signal = AbortSignal.timeout(20_000)
  const all = async (domain: string): Promise<{ connected: string[]; error: DialError }> => {
    const connected: string[] = []
    try {
      for await (const { socket, host, direct, peer } of dialler.connect(domain, { signal })) {
        connected.push(`${direct ? 'tls ' : ''}${host} ${peer.ip}:${peer.port}`)
        socket.destroy()
      }
    } catch (error) {
      assert.ok(error instanceof DialError, String(error))
      return { connected, error }
    }
    assert.fail('it does not end by itself')
  }
  const first = async (domain: string): Promise<Dialled> => {
    for await (const dialled of dialler.connect(domain, { signal })) {
      t.after(() => dialled.socket.destroy())
      return dialled
    }
    assert.fail('it does not end by itself')
  }
  return { dns, dialler, all, first }
}

interface Listening {
  port: number
  /** Connections that are open. */
  open: Set<Socket>
}

/** Listens on one address. */
async function listen(t: TestContext, ip: string, port = 0): Promise<Listening> {
  const open = new Set<Socket>()
  const server: Server = createServer(socket => {
    open.add(socket)
    socket
      .on('error', () => {})
      .once('close', () => open.delete(socket))
      .resume()
  })
  await once(server.listen(port, ip), 'listening')
  t.after(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, open }
}

/** An address and port where connections are not answered: its queue of them is full, and nobody takes one out. */
async function blackHole(t: TestContext, host: string, port: number): Promise<void> {
  const program = `require('node:net').createServer().listen({ host: '${host}', port: ${port}, backlog: 1 }, () => {
    require('node:fs').writeSync(1, 'ready')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  })`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  const filling = Array.from({ length: 4 }, () => connect({ host, port }).on('error', () => {}))
  t.after(() => {
    for (const socket of filling) socket.destroy()
  })
  await Promise.all(filling.slice(0, 2).map(socket => once(socket, 'connect')))
}

const srv = (domain: string, ...SRV: SrvRecord[]): Zone => ({ [`_xmpp-server._tcp.${domain}`]: { SRV } })
const direct = (domain: string, ...SRV: SrvRecord[]): Zone => ({ [`_xmpps-server._tcp.${domain}`]: { SRV } })

test('connects to the server of a domain', async t => {
  const { port } = await listen(t, '127.0.0.2')
  const { first } = await start(t, {
    ...direct('example.net', { port, target: 'x.net' }),
    'x.net': { A: ['127.0.0.2'] },
  })
  const { socket, ...dialled } = await first('example.net')
  assert.deepEqual(dialled, { direct: true, host: 'x.net', peer: { ip: '127.0.0.2', port } })
  assert.equal(socket.remoteAddress, '127.0.0.2')
  assert.equal(socket.destroyed, false)
})

test('gives one place after the other, and says in the end what came of each', async t => {
  const { port } = await listen(t, '127.0.0.2')
  await listen(t, '127.0.0.3', port)
  await listen(t, '::1', port)
  const { all } = await start(t, {
    ...srv(
      'example.net',
      { priority: 1, port, target: 'one.net' },
      { priority: 2, port, target: 'two.net' },
      { priority: 3, port, target: 'none.net' },
      { priority: 4, port, target: 'away.net' },
    ),
    'one.net': { A: ['127.0.0.2', '127.0.0.3'], AAAA: ['::1'] },
    'two.net': { A: ['127.0.0.3'] }, // tried already
    'away.net': { A: ['127.0.0.4'] },
  })
  const { connected, error } = await all('example.net')
  assert.deepEqual(connected, [`one.net ::1:${port}`, `one.net 127.0.0.2:${port}`, `one.net 127.0.0.3:${port}`])
  assert.equal(error.condition, 'remote-server-timeout')
  const nothing = 'was connected to, and nothing came of it'
  assert.equal(
    error.message,
    `example.net: ${[
      `one.net ([::1]:${port}) ${nothing}`,
      `one.net (127.0.0.2:${port}) ${nothing}`,
      `one.net (127.0.0.3:${port}) ${nothing}`,
      `away.net (127.0.0.4:${port}) refused the connection (nobody listens there)`,
      'none.net, which its SRV records name, has no address',
    ].join('; ')}`,
  )
})

test('goes on at once where an address refuses', async t => {
  const { port } = await listen(t, '127.0.0.9')
  const { first } = await start(t, {
    ...srv('example.net', { priority: 1, port, target: 'a.net' }, { priority: 2, port, target: 'b.net' }),
    'a.net': { A: ['127.0.0.5', '127.0.0.6', '127.0.0.7'], AAAA: ['::1'] },
    'b.net': { A: ['127.0.0.9'] },
  })
  const begun = performance.now()
  assert.equal((await first('example.net')).host, 'b.net')
  assert.ok(performance.now() - begun < 1000)
})

test('an address that does not answer does not hold up the next, of whichever family', async t => {
  const { port, open } = await listen(t, '127.0.0.3')
  await blackHole(t, '127.0.0.2', port)
  const { first } = await start(t, {
    ...srv('example.net', { port, target: 'x.net' }),
    'x.net': { A: ['127.0.0.2', '127.0.0.3'] },
  })
  const begun = performance.now()
  const { peer } = await first('example.net')
  assert.equal(peer.ip, '127.0.0.3')
  assert.ok(performance.now() - begun >= 245)
  assert.equal(open.size, 1)
})

test('a place where nothing answers is given up for the next, and said to be', async t => {
  const { port } = await listen(t, '127.0.0.3')
  await blackHole(t, '127.0.0.2', port)
  const { all } = await start(t, {
    ...srv('example.net', { priority: 1, port, target: 'hole.net' }, { priority: 2, port, target: 'x.net' }),
    'hole.net': { A: ['127.0.0.2'] },
    'x.net': { A: ['127.0.0.3'] },
  })
  const { connected, error } = await all('example.net')
  assert.deepEqual(connected, [`x.net 127.0.0.3:${port}`])
  assert.match(error.message, new RegExp(`hole\\.net \\(127\\.0\\.0\\.2:${port}\\) did not answer in 5 s; `))
})

test('what was cut short is tried again where the winner is of no use', async t => {
  const { port } = await listen(t, '127.0.0.3')
  await blackHole(t, '127.0.0.2', port)
  const { dialler } = await start(t, {
    ...srv('example.net', { port, target: 'x.net' }),
    'x.net': { A: ['127.0.0.2', '127.0.0.3'] },
  })
  const dialling = dialler.connect('example.net', { signal: AbortSignal.timeout(20_000) })
  const { value } = await dialling.next()
  assert.equal(value.peer.ip, '127.0.0.3')
  value.socket.destroy()
  await assert.rejects(dialling.next(), /x\.net \(127\.0\.0\.2:\d+\) did not answer/)
})

test('IPv6 is waited for a little, and comes first', async t => {
  const { port } = await listen(t, '127.0.0.2')
  await listen(t, '::1', port)
  const { dns, first } = await start(t, {
    ...srv('soon.net', { port, target: 'x.net' }),
    ...srv('late.net', { port, target: 'y.net' }),
    'x.net': { A: ['127.0.0.2'], AAAA: ['::1'] },
    'y.net': { A: ['127.0.0.2'], AAAA: ['::1'] },
  })
  dns.fault = ({ type, name }) => (type === 'AAAA' ? { late: name === 'x.net' ? 15 : 1500 } : undefined)
  assert.equal((await first('soon.net')).peer.ip, '::1')
  const begun = performance.now()
  assert.equal((await first('late.net')).peer.ip, '127.0.0.2')
  assert.ok(performance.now() - begun < 1000)
})

test('DNS that does not tell of one family does not keep us from the other', async t => {
  const { port } = await listen(t, '::1')
  const { dns, all } = await start(t, { ...srv('example.net', { port, target: 'x.net' }), 'x.net': { AAAA: ['::1'] } })
  dns.fault = ({ type }) => (type === 'A' ? 'servfail' : undefined)
  const { connected, error } = await all('example.net')
  assert.deepEqual(connected, [`x.net ::1:${port}`])
  assert.match(error.message, /x\.net \(A\): .* answered SERVFAIL/)
})

test('a domain that is not there, and one that DNS cannot tell of, are two things', async t => {
  const { dns, all } = await start(t, { ...srv('some.net', { port: 1, target: 'gone.net' }) })
  const none = (await all('nobody.net')).error
  assert.equal(none.condition, 'remote-server-not-found')
  assert.equal(none.message, 'nobody.net: nobody.net has neither SRV records nor an address')
  const gone = (await all('some.net')).error
  assert.equal(gone.condition, 'remote-server-not-found')
  assert.equal(gone.message, 'some.net: gone.net, which its SRV records name, has no address')
  dns.fault = () => 'servfail'
  const unknown = (await all('other.net')).error
  assert.equal(unknown.condition, 'remote-server-timeout')
  assert.match(
    unknown.message,
    /^other\.net: _xmpp-server\._tcp\.other\.net \(SRV\): 127\.0\.0\.1:\d+ answered SERVFAIL; /,
  )
  // Its addresses are known, and there are none: that is no reason to give up.
  dns.fault = ({ type }) => (type === 'SRV' ? 'servfail' : undefined)
  assert.equal((await all('third.net')).error.condition, 'remote-server-timeout')
})

test('no private address is connected to, unless it may be', async t => {
  const { port, open } = await listen(t, '127.0.0.2')
  const zone = {
    ...srv('example.net', { port, target: 'x.net' }),
    'x.net': {
      A: ['127.0.0.2', '10.0.0.1', '169.254.169.254'],
      AAAA: ['fd00::1', '::ffff:127.0.0.2', '64:ff9b::7f00:2'],
    },
  }
  const { all, dialler, first } = await start(t, zone, { privateAddresses: false })
  const { connected, error } = await all('example.net')
  assert.deepEqual(connected, [])
  assert.equal(error.condition, 'remote-server-not-found')
  const allow = 'is no public address (s2s.private_addresses would allow it)'
  assert.ok(error.message.includes(`x.net (127.0.0.2:${port}) ${allow}`), error.message)
  assert.ok(error.message.includes(`x.net ([64:ff9b::7f00:2]:${port}) ${allow}`), error.message)
  assert.match((await all('127.0.0.2')).error.message, /^127\.0\.0\.2: 127\.0\.0\.2:5269 is no public address/)
  assert.match((await all('[::1]')).error.message, /^\[::1\]: \[::1\]:5269 is no public address/)
  assert.match((await all('localhost')).error.message, /localhost \(127\.0\.0\.1:5269\) is no public address/)
  assert.equal(open.size, 0)
  dialler.update({ privateAddresses: true, listeners: () => [] })
  assert.equal((await first('example.net')).host, 'x.net')
})

test('nobody connects to himself', async t => {
  const { port, open } = await listen(t, '127.0.0.2')
  const zone = { ...srv('example.net', { port, target: 'x.net' }), 'x.net': { A: ['127.0.0.2'], AAAA: ['::1'] } }
  const { all } = await start(t, zone, { listeners: () => [{ ip: '::', port }] })
  const { connected, error } = await all('example.net')
  assert.deepEqual(connected, [])
  assert.equal(error.condition, 'remote-server-not-found')
  assert.ok(error.message.includes(`x.net (127.0.0.2:${port}) is where this server itself listens`), error.message)
  assert.equal(open.size, 0)
})

test('a zone with a thousand records costs twenty addresses', async t => {
  const many = Array.from({ length: 1000 }, (_, i) => ({ priority: i, port: 1, target: `x${i}.net` }))
  const hosts = many.map(({ target }, i) => {
    const A = Array.from({ length: 20 }, (_, j) => `127.${(i >> 8) + 1}.${i & 255}.${j + 1}`)
    return [target, { A, AAAA: ['::1'] }]
  })
  const { dns, all } = await start(t, { ...srv('example.net', ...many), ...Object.fromEntries(hosts) })
  const { error } = await all('example.net')
  assert.equal(error.message.match(/refused the connection/g)?.length, 20)
  assert.ok(dns.questions.length <= 3 + 8 * 3)
})

test('on abort nothing is left open: while DNS is asked, and while addresses are tried', async t => {
  const { port } = await listen(t, '127.0.0.3')
  await blackHole(t, '127.0.0.2', port)
  const { dns, dialler } = await start(t, { ...srv('a.net', { port, target: 'x.net' }), 'x.net': { A: ['127.0.0.2'] } })
  const reason = new Error('enough')
  const aborts = async (domain: string, after: number): Promise<void> => {
    const control = new AbortController()
    const dialling = dialler.connect(domain, { signal: control.signal }).next()
    setTimeout(() => control.abort(reason), after)
    await assert.rejects(dialling, error => error === reason)
  }
  const sockets = (): number => process.getActiveResourcesInfo().filter(kind => kind === 'TCPSocketWrap').length
  const before = sockets()
  await aborts('a.net', 100)
  dns.fault = () => 'never'
  await aborts('b.net', 10)
  await aborts('b.net', 0)
  await new Promise(resolve => setImmediate(resolve))
  assert.equal(sockets(), before)
})
