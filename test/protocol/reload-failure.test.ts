import assert from 'node:assert/strict'
import { test } from 'node:test'
import { opt } from '../../src/config/schema.ts'
import { defineModule } from '../../src/core/module.ts'
import { child } from '../support/rawxml.ts'
import { available, online, says, serve } from '../support/talk.ts'
import type { TestOptions, TestServer } from '../support/testserver.ts'

/** All of which the order may depend on who came first. */
function orders({ server }: TestServer): unknown {
  return server.hosts.map(host => ({
    host: host.name,
    hooks: host.hooks.list(),
    modules: server.modules().filter(m => m.host === host.name),
    features: [host.disco.features('server'), host.disco.features('account')],
    identities: [host.disco.identities('server'), host.disco.identities('account')],
    items: host.disco.items,
    streamFeatures: host.disco.streamFeatures().map(String),
    commands: server.commands.list().map(command => command.name),
  }))
}

const BOTH = ['localhost', 'verona.example']
const INVITES = { mod_invites: {}, mod_last: { privacy: 'nobody' } }

test('after any number of reloads everything runs in the order of a fresh start', async t => {
  const server = await serve(t, {})
  const [client] = await online(server, 'romeo')
  // A client in the background: mod_csi adds a handler for it while it is.
  client.send("<inactive xmlns='urn:xmpp:csi:0'/>")
  await client.ping()
  const steps: TestOptions[] = [
    { modules: { mod_blocking: false, mod_carbons: false, mod_disco: false } },
    { modules: { mod_mam: { max_page: 7 }, mod_pubsub: false, ...INVITES } },
    { hosts: BOTH, modules: { mod_roster: { max_items: 70 } } },
    { hosts: ['verona.example', 'localhost'], modules: { mod_time: false, ...INVITES } },
    { hosts: BOTH, modules: { mod_block_strangers: {}, mod_mam: { max_page: 9 } } },
    {},
  ]
  for (const options of steps) {
    await server.reload(options)
    const fresh = await serve(t, options)
    const there = await fresh.client('romeo', { host: 'localhost' })
    await available(there)
    there.send("<inactive xmlns='urn:xmpp:csi:0'/>")
    await there.ping()
    assert.deepEqual(orders(server), orders(fresh))
  }
})

/** A module that starts only with `works`, and says when it runs. */
function fickle(runs: string[]) {
  return defineModule({
    name: 'mod_zz_fickle',
    summary: 'Starts or not.',
    optional: true,
    options: { works: opt.bool(true, 'Whether it starts.'), mark: opt.text('', 'Told when it runs.') },
    start(ctx) {
      if (!ctx.options.works) throw new Error('the moon is full')
      runs.push(`${ctx.options.mark} starts`)
      ctx.onStop(() => void runs.push(`${ctx.options.mark} stops`))
    },
  })
}

test('a module that does not start: all is as it was, and runs', async t => {
  const runs: string[] = []
  const extra = [fickle(runs)]
  const before: TestOptions = { extra, modules: { mod_mam: { max_page: 3 }, mod_zz_fickle: { mark: 'first' } } }
  const server = await serve(t, before)
  const [romeo, juliet] = await server.clients('romeo', 'juliet')
  for (const client of [romeo, juliet]) await available(client)
  await juliet.request('set', "<block xmlns='urn:xmpp:blocking'><item jid='tybalt@localhost'/></block>")
  const was = orders(server)
  const config = server.server.config
  const broken: TestOptions = {
    extra,
    hosts: BOTH,
    listen: { max_stanza_size: 10_000 },
    config: { loglevel: 'fatal', max_failures_per_ip: 1, max_user_sessions: 1, tls_min_version: 'TLSv1.3' },
    modules: {
      mod_blocking: { max_items: 50 },
      mod_mam: { max_page: 4 },
      mod_ping: false,
      mod_zz_fickle: { works: false },
    },
  }
  await assert.rejects(server.reload(broken), /mod_zz_fickle did not start on .*: the moon is full/)
  assert.deepEqual(orders(server), was)
  assert.deepEqual(server.server.config, config)
  assert.equal(server.server.log.level, 'silent')
  assert.equal(server.server.listeners[0]!.settings.limits.stanzaBytes, 262_144)
  assert.equal(server.server.parts.hosts.get('localhost')!.c2s.settings.maxUserSessions, 10)
  assert.deepEqual(runs.at(-1), 'first starts', 'it was never without its predecessor at the end')

  romeo.send("<message to='juliet@localhost' type='chat' id='a'><body>a</body></message>")
  await juliet.receive(says('a'))
  await juliet.ping()
  const [tybalt] = await online(server, 'tybalt')
  tybalt.send("<message to='juliet@localhost' type='chat' id='b'><body>b</body></message>")
  await tybalt.receive(el => el.attrs['id'] === 'b' && el.attrs['type'] === 'error')
  juliet.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>")
  await juliet.receive(el => child(el, 'result') !== undefined)
  await juliet.receive(el => el.attrs['id'] === 'q')

  assert.deepEqual(await server.reload({ ...broken, modules: { mod_zz_fickle: { mark: 'second' } } }), [])
  assert.equal(server.server.listeners[0]!.settings.limits.stanzaBytes, 10_000)
  assert.deepEqual(runs.slice(-3), ['second starts', 'first stops', 'second starts'], 'one for each host')
})

test('what is wrong outside of the modules changes nothing either', async t => {
  const server = await serve(t)
  const was = { orders: orders(server), config: server.server.config, certificates: server.server.certificates() }
  const wrong: [Record<string, unknown>, RegExp][] = [
    [{ certfiles: [{ cert: '/nonexistent.pem' }] }, /nonexistent/],
    [{ tls_ciphers: 'NO-SUCH-CIPHER' }, /tls_ciphers/],
    [{ auth_method: ['jwt'] }, /jwt_key/],
  ]
  for (const [config, message] of wrong) {
    await assert.rejects(server.reload({ hosts: BOTH, config, modules: { mod_ping: false } }), message)
    const { config: now } = server.server
    assert.deepEqual({ orders: orders(server), config: now, certificates: server.server.certificates() }, was)
  }
  const romeo = await server.client('romeo')
  await romeo.ping()
})

test('what clients send while modules change places waits, and misses none of them', async t => {
  const { promise: go, resolve } = Promise.withResolvers<void>()
  const { promise: began, resolve: begin } = Promise.withResolvers<void>()
  const slow = defineModule({
    name: 'mod_a_slow', // before mod_mam
    summary: 'Takes its time.',
    optional: true,
    options: { slow: opt.bool(false, 'Whether it does.') },
    async start(ctx) {
      if (!ctx.options.slow) return
      begin()
      await go
    },
  })
  const server = await serve(t, { extra: [slow] })
  const [romeo, juliet] = await server.clients('romeo', 'juliet')
  for (const client of [romeo, juliet]) await available(client)
  const done = server.reload({ extra: [slow], modules: { mod_a_slow: { slow: true }, mod_mam: { max_page: 5 } } })
  await began
  romeo.send("<message to='juliet@localhost' type='chat' id='a'><body>a</body></message>")
  romeo.send("<iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
  const { accounts } = server.server.host('localhost')!
  assert.equal(accounts.get('juliet')!.queue.size, 0)
  resolve()
  await done
  await juliet.receive(says('a'))
  await romeo.receive(el => el.attrs['id'] === 'p')
  juliet.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>")
  const kept = await juliet.receive(el => child(el, 'result') !== undefined || el.attrs['id'] === 'q')
  assert.ok(child(kept, 'result') !== undefined, 'it is archived')
})

test('two reloads at once come one after the other; none comes to a server that leaves', async t => {
  const server = await serve(t)
  const { config, definitions } = server.server.parts
  const to = (loglevel: 'fatal' | 'silent') => server.server.reload({ ...config, loglevel }, definitions)
  assert.deepEqual(await Promise.all([to('fatal'), to('silent'), to('fatal')]), [[], [], []])
  assert.equal(server.server.log.level, 'fatal')
  server.server.drain()
  await assert.rejects(server.reload({}), /draining/)
})
