import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { z } from 'zod'
import { generate } from '../../../scripts/docs.ts'
import { hostOptions, serverOptions } from '../../../src/config/core.ts'
import { exampleConfig } from '../../../src/config/example.ts'
import { configJsonSchema } from '../../../src/config/jsonschema.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { configReference, moduleReference } from '../../../src/config/reference.ts'
import { sameValue } from '../../../src/config/same.ts'
import type { OptionShape } from '../../../src/config/schema.ts'
import { builtinModules } from '../../../src/modules.ts'
import { load, MODULES } from './support.ts'

const PRESET = path.resolve(import.meta.dirname, '../../../config/test.yml')

/** Takes the # off every option, as the head of the file tells people to. */
function uncommented(example: string): string {
  return example.replaceAll(/^#(?! |$)|^#(?= {2})/gm, '')
}

function undocumented(shape: OptionShape, base = ''): string[] {
  return Object.entries(shape).flatMap(([name, option]) => {
    const below = { ...option.fields, ...option.item?.fields, ...option.item?.item?.fields }
    return [...(/\.$/.test(option.doc) ? [] : [base + name]), ...undocumented(below, `${base}${name}.`)]
  })
}

test('every option is documented, in sentences', async () => {
  assert.deepEqual(undocumented({ ...serverOptions, ...hostOptions }), [])
  for (const module of await builtinModules()) {
    assert.deepEqual(undocumented(module.options), [], module.name)
    assert.match(module.summary ?? '', /\.$/, module.name)
  }
})

test('the example loads as it is, and is the defaults', async () => {
  const modules = await builtinModules()
  const example = exampleConfig(modules)
  const { config } = await load(example, { modules })
  const defaults = await load('', { modules })
  assert.ok(sameValue(config, defaults.config))
  assert.ok(sameValue([...config.perHost], [...defaults.config.perHost]))
})

test('the example loads with every option uncommented', async () => {
  const modules = await builtinModules()
  const text = uncommented(exampleConfig(modules))
  for (const name of [...Object.keys(serverOptions), ...Object.keys(hostOptions), 'modules', 'host_config']) {
    assert.match(text, new RegExp(`^${name}:`, 'm'))
  }
  const { certfiles, jwt_key: jwtKey, ...written } = parse(text) as Record<string, unknown>
  assert.ok(certfiles && jwtKey, 'they name files that are not on this machine')
  const { config } = await load(JSON.stringify(written), { modules })
  const host = config.perHost.get('localhost')
  assert.equal(host?.max_user_sessions, 5)
  assert.deepEqual(
    Object.keys(host?.modules ?? {}).sort(),
    modules.map(module => module.name),
  )
  assert.equal(config.listen[0]?.keepalive_interval, 300_000)
})

test('the JSON Schema takes the example and the preset, and refuses what loading refuses', async () => {
  const modules = await builtinModules()
  const schema = z.fromJSONSchema(configJsonSchema(modules) as Parameters<typeof z.fromJSONSchema>[0])
  const takes = (value: unknown) => schema.safeParse(value).success
  const example = parse(uncommented(exampleConfig(modules))) as Record<string, unknown>
  assert.deepEqual(schema.safeParse(example).error?.issues ?? [], [])
  assert.ok(takes(parse(await readFile(PRESET, 'utf8'))))
  assert.ok(takes({}))
  assert.ok(takes({ modules: { mod_last: null, './other.js': { x: 1 } }, hosts: 'a.example' }))
  for (const wrong of [
    { lisen: [] },
    { listen: [{ prt: 1 }] },
    { listen: [{ tls: true }] },
    { listen: [{ port: 70_000 }] },
    { loglevel: 5 },
    { auth: { scram_iterations: 1 } },
    { modules: { mod_last: { privacy: 5 } } },
    { host_config: { 'a.example': { hosts: ['x'] } } },
  ]) {
    assert.ok(!takes({ ...example, ...wrong }), JSON.stringify(wrong))
  }
})

test('the preset for harnesses loads with nothing set', async () => {
  const { config, diagnostics } = await loadConfig({ file: PRESET, env: {}, modules: await builtinModules() })
  const host = config.perHost.get('localhost')!
  assert.deepEqual(
    config.listen.map(l => [l.port, l.tls, l.starttls, l.starttls_required, l.shaper]),
    [
      [5222, false, undefined, false, 'none'],
      [5223, true, undefined, undefined, 'none'],
      [0, false, undefined, undefined, undefined],
    ],
  )
  assert.equal(config.data, path.resolve('data-test'))
  assert.deepEqual([host.certfiles, host.resume_timeout, host.auth.plain_without_tls], [[], 300_000, true])
  assert.equal(config.max_failures_per_ip, Number.POSITIVE_INFINITY)
  const { registration, max_per_ip } = host.modules['mod_register'] ?? {}
  assert.deepEqual([registration, max_per_ip], ['open', Number.POSITIVE_INFINITY])
  assert.deepEqual(diagnostics, [])
})

test('the preset takes what differs from the environment', async () => {
  const env = {
    HERMOD_DOMAIN: 'a.example',
    HERMOD_DATA: '/tmp/d',
    HERMOD_PORT: '1',
    HERMOD_TLS_PORT: '0',
    HERMOD_HTTP_PORT: '3',
    HERMOD_CERT: PRESET,
    HERMOD_KEY: PRESET,
    HERMOD_RESUME_TIMEOUT: '3s',
    HERMOD_MAM: '1',
    HERMOD_IP: '127.0.0.9',
    HERMOD_S2S_PORT: '5',
    HERMOD_S2S_TLS_PORT: '6',
    HERMOD_CA: PRESET,
    HERMOD_RESOLVER: '127.0.0.8:5353',
    HERMOD_S2S_RETRY: '2s',
    HERMOD_COMPONENT_PORT: '4',
    HERMOD_COMPONENT: 'bot.a.example',
    HERMOD_COMPONENT_SECRET: 'a secret',
  }
  const { config } = await loadConfig({ file: PRESET, env, modules: await builtinModules() })
  const host = config.perHost.get('a.example')
  assert.deepEqual(
    [config.hosts, config.data, config.listen.map(l => l.port)],
    [['a.example'], '/tmp/d', [1, 0, 3, 5, 6, 4]],
  )
  assert.ok(config.listen.every(({ ip }) => ip === '127.0.0.9'))
  const { ca_file, resolver, retry_max, private_addresses } = config.s2s
  assert.deepEqual([ca_file, resolver, retry_max, private_addresses], [PRESET, '127.0.0.8:5353', 2000, true])
  const { hosts } = config.listen.at(-1)!
  assert.deepEqual([Object.keys(hosts), hosts['bot.a.example']?.password.reveal()], [['bot.a.example'], 'a secret'])
  assert.deepEqual([host?.certfiles, host?.resume_timeout], [[{ cert: PRESET, key: PRESET }], 3000])
})

test('reference pages name every option, module and XEP', () => {
  const page = configReference(MODULES)
  for (const name of [
    'listen[].port',
    'auth.scram_iterations',
    'acl.NAME.user',
    'access_rules.NAME[].allow',
    'mod_register',
  ]) {
    assert.ok(page.includes(name), name)
  }
  const last = moduleReference(MODULES[0]!)
  assert.match(last, /\[XEP-0012\]\(https:\/\/xmpp\.org\/extensions\/xep-0012\.html\): Last Activity, version 2\.0/)
  assert.match(last, /\| `privacy` \| `everyone`, `contacts`, `nobody` \| `contacts` \| Who is told\. \|/)
  assert.match(moduleReference(MODULES[1]!), /Optional: it runs only where/)
  assert.deepEqual([...generate(MODULES).keys()].slice(-2), [
    'docs/reference/modules/mod_last.md',
    'docs/reference/modules/mod_register.md',
  ])
})
