/**
 * Every option of src/config/core.ts, one by one: a reload changes it, so that the server is as after a start with it, or
 * names it. A new option fails here until it is one or the other.
 */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:tls'
import { PASSWD } from '../../src/auth/record.ts'
import { hostOptions, listenOptions, serverOptions } from '../../src/config/core.ts'
import type { Opt } from '../../src/config/schema.ts'
import { selfSigned } from '../../src/net/selfsigned.ts'
import { Jid } from '../../src/xmpp/jid.ts'
import { emptyFolder } from '../support/folder.ts'
import { jwt } from '../support/jwt.ts'
import { serve } from '../support/talk.ts'
import type { TestOptions, TestServer } from '../support/testserver.ts'

/** How to see an option at work: what is seen after a reload is what is seen after a start. */
interface Live {
  options: TestOptions
  /** What runs before, where that is not the default. */
  before?: TestOptions
  see?: (server: TestServer) => unknown
}

/** What most options come to, as the parts of the server have it. */
function state({ server }: TestServer): unknown {
  const { listeners, http, hosts, counter } = server.parts
  const access = ({ port: _, ...settings }: (typeof listeners)[number]['settings']) => ({
    ...settings,
    access: settings.access({ user: 'romeo', host: 'localhost', ip: '127.0.0.1' }),
  })
  return structuredClone({
    level: [server.log.level, [...hosts.values()][0]!.host.log.level],
    listeners: listeners.map(l => access(l.settings)),
    http: http.map(l => ({ ...l.settings, port: undefined, operations: l.settings.operations?.('127.0.0.1') })),
    perAddress: counter.limit,
    drain: server.config.drain,
    hosts: [...hosts].map(([name, { c2s, accounts }]) => ({
      name,
      settings: c2s.settings,
      devices: c2s.devices.settings,
      methods: accounts.methods.map(method => (typeof method === 'string' ? method : method.name)),
      mechanisms: c2s.sasl.offered({ secure: true, bindings: { types: [] } } as never),
      tokens: c2s.sasl.tokens({ secure: true, bindings: { types: [] } } as never),
    })),
  })
}

/** Tries that are heard before an address, or an account from there, has to wait; and how long. */
function tries({ server }: TestServer): unknown {
  const { failures } = server.parts.c2s
  const count = (address: string, account: (n: number) => string): number => {
    let n = 0
    while (n < 100 && failures.check(address, account(n)).allowed) failures.failed(address, account(n++))
    return n
  }
  // Addresses that nobody has tried from: it is looked twice.
  const [a, b] = [randomUUID(), randomUUID()]
  const many = count(a, n => `user${n}@localhost`)
  const one = count(b, () => 'romeo@localhost')
  const verdict = failures.check(b, 'romeo@localhost')
  const attacked = `${randomUUID()}@localhost`
  let total = 0
  while (total < 300 && failures.attacked(attacked) === 0) failures.failed(`${total++}`, attacked)
  return { many, one, total, wait: verdict.allowed ? 0 : Math.round(verdict.retryAfter / 60_000) }
}

/** What a client of TLS 1.2 gets. */
function handshake(server: TestServer): Promise<unknown> {
  return new Promise(resolve => {
    const socket = connect({ port: server.port, host: '127.0.0.1', rejectUnauthorized: false, maxVersion: 'TLSv1.2' })
    socket.once('secureConnect', () => {
      resolve(socket.getCipher().name)
      socket.destroy()
    })
    socket.once('error', () => resolve('refused'))
  })
}

const DIRECT = { listen: { tls: true } }

async function iterations(server: TestServer): Promise<unknown> {
  const user = randomUUID()
  await server.register(user)
  const row = await server.server.store.table('localhost', PASSWD).get([user])
  return JSON.stringify(row).match(/"?i(?:terations)?"?:\d+/g)
}

const KEYS = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)] as const

async function keyFile(t: TestContext, key: Buffer): Promise<string> {
  const folder = await emptyFolder(t)
  const file = path.join(folder, 'jwt.jwk')
  await writeFile(file, JSON.stringify({ kty: 'oct', k: key.toString('base64url') }))
  return file
}

/** Which tokens open the door. */
async function tokens({ server }: TestServer): Promise<unknown> {
  const { accounts } = server.parts.hosts.get('localhost')!
  const exp = Math.floor(Date.now() / 1000) + 60
  const seen: boolean[] = []
  for (const key of KEYS) {
    for (const claim of ['jid', 'sub']) {
      seen.push(await accounts.verify('romeo', jwt('HS256', key, { [claim]: 'romeo@localhost', exp })))
    }
  }
  return seen
}

async function service(t: TestContext): Promise<string> {
  const server = createServer((request, response) => {
    if (request.url!.includes('/silent/')) return
    response.end(String(request.headers.authorization === undefined || request.url!.includes('/named/')))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const asked = ({ server }: TestServer): Promise<unknown> =>
  server.parts.hosts.get('localhost')!.accounts.verify('romeo', 'secret')

/** How soon a silent service is given up, and how many may wait for it. */
async function patience({ server }: TestServer): Promise<unknown> {
  const { accounts } = server.parts.hosts.get('localhost')!
  const second = sleep(1000, 'later')
  const all = Promise.all(Array.from({ length: 20 }, () => accounts.verify('a', 'b').catch(() => 'failed')))
  const given = await Promise.race([all.then(() => 'within a second'), second])
  return { given, all: (await all).length }
}

async function refusedAtOnce({ server }: TestServer): Promise<unknown> {
  const { methods } = server.parts.hosts.get('localhost')!.accounts
  const [source] = methods as unknown as { check(user: string, password: string): Promise<boolean> }[]
  const ends = await Promise.all(
    Array.from({ length: 15 }, () => source!.check('a', 'b').catch((error: Error) => error.name)),
  )
  return ends.filter(end => end === 'BusyError').length
}

const may =
  (rule: string) =>
  ({ server }: TestServer): boolean =>
    server.parts.around.allowed(rule, Jid.from('romeo@localhost'), 'localhost')

async function live(t: TestContext): Promise<Record<string, Live>> {
  const folder = await emptyFolder(t)
  const made = await selfSigned(['localhost'])
  const cert = path.join(folder, 'cert.pem')
  await writeFile(cert, made.cert + made.key)
  const url = await service(t)
  const http = (more: object, base = url): TestOptions => ({
    config: { auth_method: ['http'], auth_http: { url: base, ...more } },
  })
  const config = (value: Record<string, unknown>): Live => ({ options: { config: value } })
  const auth = (value: Record<string, unknown>): Live =>
    config({ auth: { plain_without_tls: true, scram_iterations: 4096, ...value } })
  const listen = (value: Record<string, unknown>): Live => ({ options: { listen: value } })
  /** Whoever talks with other servers asks for these each time. */
  const s2s = (value: Record<string, unknown>): Live => ({
    ...config({ s2s: { enabled: false, ...value } }),
    see: ({ server }) => server.config.s2s,
  })
  const key = await keyFile(t, KEYS[0])
  const otherKey = await keyFile(t, KEYS[1])
  const jwtBefore = { config: { auth_method: ['jwt'], jwt_key: key } }
  return {
    hosts: { options: { hosts: ['localhost', 'verona.example'] } },
    loglevel: config({ loglevel: 'fatal' }),
    shaper: {
      before: { listen: { shaper: 'own' }, config: { shaper: { own: {} } } },
      options: {
        listen: { shaper: 'own' },
        config: { shaper: { own: { rate: 5000, burst_size: 5000, stanza_rate: 5, stanza_burst: 5 } } },
      },
    },
    tls_min_version: {
      before: DIRECT,
      options: { ...DIRECT, config: { tls_min_version: 'TLSv1.3' } },
      see: handshake,
    },
    tls_ciphers: {
      before: DIRECT,
      options: { ...DIRECT, config: { tls_ciphers: 'ECDHE-ECDSA-AES128-SHA256' } },
      see: handshake,
    },
    max_failures_per_ip: { ...config({ max_failures_per_ip: 7 }), see: tries },
    max_failures_per_account: { ...config({ max_failures_per_account: 7 }), see: tries },
    max_failures_per_account_total: { ...config({ max_failures_per_account_total: 7 }), see: tries },
    pre_auth_memory: {
      ...config({ pre_auth_memory: '8 MiB' }),
      see: ({ server }: TestServer) => server.parts.c2s.prelogin.limit,
    },
    failure_window: { ...config({ failure_window: '1h' }), see: tries },
    'drain.timeout': config({ drain: { timeout: '1s' } }),
    'drain.see_other_host': config({ drain: { see_other_host: 'b.example' } }),
    'listen.tls': listen({ tls: true }),
    'listen.starttls': listen({ starttls: false }),
    'listen.starttls_required': listen({ starttls_required: true }),
    'listen.use_proxy_protocol': listen({ use_proxy_protocol: true }),
    'listen.max_stanza_size': listen({ max_stanza_size: 20_000 }),
    'listen.max_depth': listen({ max_depth: 10 }),
    'listen.max_elements': listen({ max_elements: 500 }),
    'listen.max_attributes': listen({ max_attributes: 10 }),
    'listen.pre_auth_timeout': listen({ pre_auth_timeout: '2s' }),
    'listen.pre_auth_bytes': listen({ pre_auth_bytes: 20_000 }),
    'listen.max_connections_per_ip': listen({ max_connections_per_ip: 3 }),
    'listen.keepalive_interval': listen({ keepalive_interval: '2s' }),
    'listen.metrics': { before: { http: {} }, options: { http: { metrics: 'loopback' } } },
    'listen.shaper': listen({ shaper: 'normal' }),
    'listen.access': listen({ access: 'none' }),
    'listen.hosts': {
      before: { component: { hosts: { 'irc.localhost': { password: 'a' } } } },
      options: {
        component: {
          hosts: {
            'irc.localhost': { password: 'b', name: 'IRC', access: 'local', conflict: 'closenew' },
            'bot.example': { password: 'c', items_of: ['localhost'] },
          },
        },
      },
      see: ({ server }) => [...server.components].map(({ settings }) => ({ ...settings, allowed: undefined })),
    },
    's2s.enabled': s2s({ enabled: true }),
    's2s.policy': s2s({ policy: 'require_valid_certificate' }),
    's2s.access': s2s({ access: 'none' }),
    's2s.domains': s2s({ domains: { 'b.example': { policy: 'required' } } }),
    's2s.ca_file': s2s({ ca_file: cert }),
    's2s.private_addresses': s2s({ private_addresses: true }),
    's2s.resolver': s2s({ resolver: '127.0.0.1:5300' }),
    's2s.queue_lifetime': s2s({ queue_lifetime: '1h' }),
    's2s.max_queue_messages': s2s({ max_queue_messages: 7 }),
    's2s.max_queue_bytes': s2s({ max_queue_bytes: 20_000 }),
    's2s.max_sender_messages': s2s({ max_sender_messages: 7 }),
    's2s.max_sender_bytes': s2s({ max_sender_bytes: 20_000 }),
    's2s.retry_max': s2s({ retry_max: '1m' }),
    's2s.connect_timeout': s2s({ connect_timeout: '2s' }),
    's2s.idle_timeout': s2s({ idle_timeout: '2s' }),
    certfiles: {
      options: { config: { certfiles: [{ cert, key: undefined }] } },
      see: ({ server }) => server.certificates().map(c => c.file),
    },
    'auth.mechanisms': auth({ mechanisms: ['SCRAM-SHA-1', 'PLAIN'] }),
    'auth.scram_iterations': { ...auth({ scram_iterations: 5000 }), see: iterations },
    'auth.plain_without_tls': auth({ plain_without_tls: false }),
    'auth.tls_unique_on_tls13': {
      ...auth({ tls_unique_on_tls13: true }),
      see: ({ server }: TestServer) => server.parts.c2s.hosts.get('localhost')!.settings.uniqueOnTls13,
    },
    'auth.fast': auth({ fast: false }),
    'auth.token_lifetime': auth({ token_lifetime: '70s' }),
    'auth.token_refresh_age': auth({ token_refresh_age: '70s' }),
    'auth.max_devices': auth({ max_devices: 3 }),
    auth_method: config({ auth_method: ['internal', 'jwt'], jwt_key: key }),
    jwt_key: { before: jwtBefore, options: { config: { ...jwtBefore.config, jwt_key: otherKey } }, see: tokens },
    jwt_jid_field: {
      before: jwtBefore,
      options: { config: { ...jwtBefore.config, jwt_jid_field: 'sub' } },
      see: tokens,
    },
    'auth_http.url': {
      before: http({ basic_auth: 'a:b' }),
      options: http({ basic_auth: 'a:b' }, `${url}/named`),
      see: asked,
    },
    'auth_http.basic_auth': { before: http({}), options: http({ basic_auth: 'a:b' }), see: asked },
    'auth_http.timeout': {
      before: http({ timeout: '1500ms' }, `${url}/silent`),
      options: http({ timeout: '100ms' }, `${url}/silent`),
      see: patience,
    },
    'auth_http.max_requests': {
      before: http({ timeout: '100ms' }, `${url}/silent`),
      options: http({ timeout: '100ms', max_requests: 1 }, `${url}/silent`),
      see: refusedAtOnce,
    },
    resource_conflict: config({ resource_conflict: 'closenew' }),
    max_user_sessions: config({ max_user_sessions: 3 }),
    resume_timeout: config({ resume_timeout: '1s' }),
    max_ack_queue: config({ max_ack_queue: 20 }),
    ack_timeout: config({ ack_timeout: '2s' }),
    acl: {
      ...config({ acl: { admin: { user: ['romeo@localhost'], server: [], ip: [] } } }),
      see: may('configure'),
    },
    access_rules: { ...config({ access_rules: { own: [{ allow: 'all' }] } }), see: may('own') },
  }
}

const S3 = { endpoint: 'http://127.0.0.1:1', region: 'x', bucket: 'other', path_style: false, timeout: '1s' }

/** What needs a restart, and what the answer calls it. */
const RESTART: Record<string, { options: TestOptions; called: string }> = {
  data: { options: { config: { data: '/nowhere' } }, called: 'data' },
  'listen.port': { options: { listen: { port: 1 } }, called: 'listen (ports)' },
  'listen.ip': { options: { listen: { ip: '127.0.0.2' } }, called: 'listen (ports)' },
  'listen.module': { options: { http: {} }, called: 'listen (ports)' },
  'storage.driver': { options: { config: { storage: { driver: 'level' } } }, called: 'storage.driver' },
  'storage.commit_delay': {
    options: { config: { storage: { driver: 'memory', commit_delay: '9ms' } } },
    called: 'storage.commit_delay',
  },
  'storage.cache_size': {
    options: { config: { storage: { driver: 'memory', cache_size: 99_999 } } },
    called: 'storage.cache_size',
  },
  'blobs.driver': { options: { config: { blobs: { driver: 'memory' } } }, called: 'blobs.driver' },
  'blobs.path': { options: { config: { blobs: { path: '/nowhere' } } }, called: 'blobs.path' },
  'blobs.url': { options: { config: { blobs: { url: '/other' } } }, called: 'blobs.url' },
  ...Object.fromEntries(
    [...Object.entries(S3), ['access_key', 'a'], ['secret_key', 'b'], ['public_url', 'http://c.example']].map(
      ([name, value]) => [
        `blobs.s3.${name}`,
        { options: { config: { blobs: { s3: { [String(name)]: value } } } }, called: 'blobs.s3' },
      ],
    ),
  ),
}

/** Looked at elsewhere: they are matters of the process. */
const ELSEWHERE = {
  ctl_socket: 'test/unit/cli/controlport.test.ts',
  log_format: 'test/unit/core/log.test.ts',
}

/** Names of all options: those of groups, and of entries of `listen`, one by one. */
function names(shape: Record<string, Opt<unknown>>, prefix = ''): string[] {
  return Object.entries(shape).flatMap(([name, option]) => {
    if (prefix === '' && name === 'listen') return names(listenOptions, 'listen.')
    return option.kind === 'object' ? names(option.fields!, `${prefix}${name}.`) : [`${prefix}${name}`]
  })
}

test('every option is followed, or named by those that need a restart', async t => {
  const followed = await live(t)
  const all = names({ ...serverOptions, ...hostOptions })
  assert.deepEqual(
    [...Object.keys(followed), ...Object.keys(RESTART), ...Object.keys(ELSEWHERE)].sort(),
    [...all].sort(),
    'an option was added or removed: say here whether a reload follows it',
  )
  for (const [name, { before = {}, options, see = state }] of Object.entries(followed)) {
    await t.test(`${name} is followed`, async t => {
      const server = await serve(t, before)
      const was = await see(server)
      assert.deepEqual(await server.reload(options), [])
      const is = await see(server)
      const fresh = await serve(t, options)
      assert.notDeepEqual(is, was, 'nothing has changed')
      assert.deepEqual(is, await see(fresh), 'it is not as after a start')
    })
  }
  for (const [name, { options, called }] of Object.entries(RESTART)) {
    await t.test(`${name} is named until it is true`, async t => {
      const server = await serve(t)
      const was = state(server)
      const { data, storage, blobs } = server.server.config
      assert.deepEqual(await server.reload(options), [called])
      assert.deepEqual(await server.reload(options), [called], 'it is pending still')
      assert.deepEqual(state(server), was)
      const { config } = server.server
      assert.deepEqual([config.data, config.storage, config.blobs], [data, storage, blobs])
      assert.deepEqual(await server.reload({}), [], 'what was taken back is not pending')
    })
  }
})
