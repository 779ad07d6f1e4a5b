// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references are what is tested
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pluck } from '../../support/pluck.ts'
import { errorsOf, load } from './support.ts'

test('options are set over the file and over the defaults', async () => {
  const text = 'hosts: [a.example]\nresume_timeout: 1m\nlisten: {port: 1}\n'
  const sets = [
    'resume_timeout=2m',
    'auth.scram_iterations=5000',
    'listen.0.tls=true',
    'listen[1].port=2',
    'modules.mod_register.welcome.subject="42"',
    'modules.mod_last=false',
  ]
  const { config } = await load(text, { sets })
  const host = config.perHost.get('a.example')
  assert.deepEqual([host?.resume_timeout, host?.auth.scram_iterations], [120_000, 5000])
  assert.deepEqual(
    config.listen.map(l => [l.port, l.tls]),
    [
      [1, true],
      [2, false],
    ],
  )
  assert.deepEqual(Object.keys(host?.modules ?? {}), ['mod_register'])
  assert.deepEqual(host?.modules['mod_register']?.['welcome'], { subject: '42', body: undefined })
})

test('a set into a list that is not written begins with its default', async () => {
  const { config } = await load('', { sets: ['listen.0.port=5300'] })
  assert.deepEqual(
    config.listen.map(l => [l.port, l.tls]),
    [
      [5300, false],
      [5223, true],
      [5443, true],
      [5269, false],
      [5270, true],
    ],
  )
  const again = await load('', { sets: [] })
  assert.equal(again.config.listen[0]?.port, 5222, 'the default itself is untouched')
})

test('names with dots are taken whole where they are known, or quoted', async () => {
  const text = 'hosts: [a.example, a.example.org]\nmodules: {./my.mod.js: {}}\n'
  const loadModule = () => Promise.resolve({ name: 'mod_my', options: {} })
  const sets = [
    'host_config.a.example.max_user_sessions=1',
    'host_config."a.example.org".max_user_sessions=2',
    'modules.mod_last.privacy=nobody',
  ]
  const { config } = await load(text, { sets, loadModule })
  assert.deepEqual(pluck([...config.perHost.values()], 'max_user_sessions'), [1, 2])
  const errors = await errorsOf(text, { sets: ['modules../my.mod.js.speed=1'], loadModule })
  assert.deepEqual(errors, ['--set modules../my.mod.js.speed  modules."./my.mod.js".speed  is not an option'])
})

test('the last of several sets wins, and an empty value is nothing', async () => {
  const { config } = await load('', { sets: ['loglevel=debug', 'loglevel=error', 'modules.mod_register='] })
  assert.equal(config.loglevel, 'error')
  assert.ok(config.perHost.get('localhost')?.modules['mod_register'])
})

test('errors name the set, without its value', async () => {
  const errors = await errorsOf('lisen: 1\n', {
    sets: [
      'modules.mod_register.password=[hush]',
      'loglevle=info',
      'listen.0.port=x',
      'listen.7.port=1',
      'listen.5.tls=true',
      'data.x=1',
      'data',
      '=1',
      'a..b=1',
      'hosts=[',
      'host_config.localhost.modules.mod_last.privacy=${NOPE}',
    ],
  })
  assert.deepEqual(errors, [
    'test.yml:1:1  lisen  is not an option; did you mean listen?',
    '--set listen.7.port  listen.7.port  has 5 items: wanted a number up to that, got 7',
    '--set data  wanted path.to.option=value',
    '--set   wanted path.to.option=value',
    '--set a..b  wanted names with dots between them; a name with dots goes in double quotes',
    errors[5],
    '--set host_config.localhost.modules.mod_last.privacy  host_config.localhost.modules.mod_last.privacy  the environment has no NOPE, and no default is given (${NOPE:-default})',
    '--set data.x  data  wanted a path, got a mapping',
    '--set listen.0.port  listen[0].port  wanted a port number, 0 to 65535, got "x"',
    '--set listen.5.tls  listen[5].port  is missing: wanted a port number, 0 to 65535',
    '--set loglevle  loglevle  is not an option; did you mean loglevel?',
    '--set modules.mod_register.password  modules.mod_register.password  wanted text, {env: NAME} or {file: PATH}, got something else',
  ])
  assert.match(errors[5] ?? '', /^--set hosts {2}hosts {2}\S/)
})
