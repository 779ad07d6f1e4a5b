import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OptionError } from '../../../src/config/diagnostics.ts'
import { errorsOf, load, MODULES } from './support.ts'

test('an empty file is every default', async () => {
  const { config, modules, diagnostics } = await load('')
  assert.deepEqual(config.hosts, ['localhost'])
  assert.deepEqual(
    config.listen.map(l => [l.port, l.tls, l.max_stanza_size]),
    [
      [5222, false, undefined],
      [5223, true, undefined],
      [5443, true, undefined],
      [5269, false, undefined],
      [5270, true, undefined],
    ],
  )
  assert.deepEqual([config.s2s.enabled, config.s2s.policy, config.s2s.queue_lifetime], [true, 'required', 172_800_000])
  assert.equal(config.perHost.get('localhost')?.resume_timeout, 300_000)
  assert.deepEqual(config.perHost.get('localhost')?.modules, { mod_last: { privacy: 'contacts' } })
  assert.deepEqual([...modules.keys()], ['mod_last'])
  assert.deepEqual(diagnostics, [])
})

test('every error is told at once, in the order of the file, with its place', async () => {
  const errors = await errorsOf(`# a comment
hosts: [a.example, b.example, a.example]
lisen: []
listen:
  - prt: 5222
    tls: maybe
    shaper: nrmal
    port: 77777
  - {port: 1}
  - port: 1
  - ip: 1.2.3
modules:
  mod_lst:
  mod_last:
    privacy: evryone
  mod_register: {interval: 5x, access: foo, welcome: {subjct: x}}
acl: {admin: {user: [nobody], ip: [10.0.0.0/33]}}
access_rules: {x: [{allow: admn}, {}, {allow: all, deny: all}]}
host_config:
  c.example: {}
  b.example:
    loglevel: info
    auth: {scram_iterations: 5}
    modules: {mod_zz: {}}
`)
  assert.deepEqual(errors, [
    'test.yml:2:31  hosts[2]  a.example is there twice',
    'test.yml:3:1  lisen  is not an option; did you mean listen?',
    'test.yml:5:5  listen[0].prt  is not an option; did you mean port?',
    'test.yml:6:10  listen[0].tls  wanted true or false, got "maybe"',
    'test.yml:7:13  listen[0].shaper  wanted the name of a shaper, got "nrmal"; did you mean normal?',
    'test.yml:8:11  listen[0].port  wanted a port number, 0 to 65535, got 77777',
    'test.yml:10:11  listen[2].port  is taken by listen[1]',
    'test.yml:11:5  listen[3].port  is missing: wanted a port number, 0 to 65535',
    'test.yml:11:9  listen[3].ip  wanted an IP address, got "1.2.3"',
    'test.yml:13:3  modules.mod_lst  is not a module; did you mean mod_last?',
    'test.yml:15:14  modules.mod_last.privacy  wanted everyone, contacts or nobody, got "evryone"; did you mean everyone?',
    'test.yml:16:28  modules.mod_register.interval  wanted a duration such as 30s, 5m or 1h 30m, or infinity, got "5x"',
    'test.yml:16:40  modules.mod_register.access  wanted the name of an access rule, got "foo"',
    'test.yml:16:55  modules.mod_register.welcome.subjct  is not an option; did you mean subject?',
    'test.yml:17:22  acl.admin.user[0]  wanted user@host, got "nobody"',
    'test.yml:17:36  acl.admin.ip[0]  wanted an address or network such as 10.0.0.0/8, got "10.0.0.0/33"',
    'test.yml:18:28  access_rules.x[0].allow  wanted the name of an acl, got "admn"; did you mean admin?',
    'test.yml:18:35  access_rules.x[1]  wanted either allow or deny',
    'test.yml:18:39  access_rules.x[2]  wanted either allow or deny',
    'test.yml:20:3  host_config."c.example"  is not one of the hosts; did you mean a.example?',
    'test.yml:22:5  host_config."b.example".loglevel  is an option of the whole server',
    'test.yml:23:30  host_config."b.example".auth.scram_iterations  wanted a whole number, 4096 to 10000000, got 5',
    'test.yml:24:15  host_config."b.example".modules.mod_zz  is not a module',
  ])
})

test('YAML that cannot be read is told with its line', async () => {
  const [error] = await errorsOf('hosts:\n  - a.example\n b: [1\n')
  assert.match(error ?? '', /^test\.yml:[34]:\d+ {2}\S/)
  const [tab] = await errorsOf('hosts:\n\t- a.example\n')
  assert.match(tab ?? '', /^test\.yml:2:1 /)
  assert.match((await errorsOf('a: 1\n---\nb: 1\n'))[0] ?? '', /^test\.yml:2:1 /)
})

test('a name that is there twice is told where the second stands', async () => {
  assert.deepEqual(await errorsOf('hosts: [a.example]\ndata: x\nhosts: [b.example]\n'), [
    'test.yml:3:1  hosts  is there twice',
  ])
  assert.deepEqual(await errorsOf('drain:\n  timeout: 1s\n  timeout: 2s\n'), [
    'test.yml:3:3  drain.timeout  is there twice',
  ])
})

test('shapes other than mappings are told', async () => {
  assert.deepEqual(await errorsOf('- a\n'), [
    'test.yml:1:1  wanted options, each with a colon after its name, got a list',
  ])
  assert.deepEqual(await errorsOf('modules: [mod_last]\n'), [
    'test.yml:1:10  modules  wanted names with options below, got a list',
  ])
  assert.deepEqual(await errorsOf('modules: {mod_last: on}\n'), [
    'test.yml:1:21  modules.mod_last  wanted options, or false to switch it off, got "on"',
  ])
  assert.deepEqual(await errorsOf('__proto__: {a: 1}\n'), ['test.yml:1:1  wanted a name before the colon'])
})

test('a number where a text is wanted is told to be quoted', async () => {
  assert.deepEqual(await errorsOf('modules: {mod_register: {welcome: {subject: 42}}}'), [
    'test.yml:1:45  modules.mod_register.welcome.subject  wanted text, got 42 (put it in quotes)',
  ])
})

test('a file that is too large, too deep or multiplied by aliases is refused', async () => {
  assert.match((await errorsOf(`hosts: [a.example]\n#${'x'.repeat(1_048_576)}`))[0] ?? '', /is too long/)
  const deep = await errorsOf(`a: ${'['.repeat(100)}${']'.repeat(100)}`)
  assert.match(deep[0] ?? '', /is more than a configuration may hold/)
  const bomb = ['a0: &a0 [x]', ...Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`)]
  const errors = await errorsOf(bomb.join('\n'))
  assert.match(errors[0] ?? '', /is more than a configuration may hold/)
  assert.ok(errors.length < 20, `${errors.length} errors`)
})

test('a file that cannot be read is an error with its name', async () => {
  assert.deepEqual(await errorsOf('', { file: '/nowhere/h.yml', text: undefined }), [
    '/nowhere/h.yml  cannot be read: there is no such file',
  ])
})

test('certificates that cannot be read are told before anything starts', async () => {
  const errors = await errorsOf('certfiles:\n  - /nowhere/a.pem\n  - {cert: /nowhere/b.pem, key: /nowhere/b.key}\n')
  assert.deepEqual(errors, [
    'test.yml:2:5  certfiles[0].cert  cannot read /nowhere/a.pem: there is no such file',
    'test.yml:3:12  certfiles[1].cert  cannot read /nowhere/b.pem: there is no such file',
    'test.yml:3:33  certfiles[1].key  cannot read /nowhere/b.key: there is no such file',
  ])
})

test('so is the key of auth_method jwt, of the top level and of one host', async () => {
  const errors = await errorsOf('jwt_key: /nowhere/a\nhost_config: {localhost: {jwt_key: /nowhere/b}}\n')
  assert.deepEqual(errors, [
    'test.yml:1:10  jwt_key  cannot read /nowhere/a: there is no such file',
    'test.yml:2:36  host_config.localhost.jwt_key  cannot read /nowhere/b: there is no such file',
  ])
  assert.deepEqual(await errorsOf('auth_http: {url: "ftp://example.org"}'), [
    'test.yml:1:18  auth_http.url  wanted an http or https URL, got "ftp://example.org"',
  ])
})

test('modules run unless they are false, optional ones where they are named', async () => {
  const running = async (text: string) => Object.keys((await load(text)).config.perHost.get('localhost')!.modules)
  assert.deepEqual(await running('modules:\n'), ['mod_last'])
  assert.deepEqual(await running('modules:\n  mod_register:\n'), ['mod_last', 'mod_register'])
  assert.deepEqual(await running('modules: {mod_last: false, mod_register: {}}'), ['mod_register'])
})

test('modules from elsewhere are found by name, and are told if they cannot be', async () => {
  const loadModule = (name: string) => {
    if (name === './hello.js') return Promise.resolve({ ...MODULES[0]!, name: 'mod_hello' })
    if (name === 'broken') return Promise.reject(new Error('no such package'))
    return Promise.resolve(undefined)
  }
  const { config, modules } = await load('modules: {./hello.js: {privacy: nobody}}', { loadModule })
  assert.deepEqual(config.perHost.get('localhost')?.modules['./hello.js'], { privacy: 'nobody' })
  assert.equal(modules.get('./hello.js')?.name, 'mod_hello')
  assert.deepEqual(await errorsOf('modules: {broken: {}, mod_regster: {}}', { loadModule }), [
    'test.yml:1:11  modules.broken  cannot be loaded: no such package',
    'test.yml:1:23  modules.mod_regster  is not a module; did you mean mod_register?',
  ])
})

test('what is said of other servers is checked', async () => {
  const { config } = await load(`s2s:
  policy: require_valid_certificate
  resolver: "[::1]:5353"
  domains: {Bank.Example: {policy: required}, b.example: {}}
`)
  assert.equal(config.s2s.resolver, '[::1]:5353')
  assert.equal(config.s2s.domains['b.example']?.policy, undefined)
  const errors = await errorsOf(`s2s:
  policy: optional
  access: nobody
  resolver: 1.2.3.4:99999
  ca_file: /nowhere/ca.pem
  domains: {b.example: {policy: none}}
`)
  assert.deepEqual(errors, [
    'test.yml:2:11  s2s.policy  wanted required or require_valid_certificate, got "optional"',
    'test.yml:3:11  s2s.access  wanted the name of an access rule, got "nobody"',
    'test.yml:4:13  s2s.resolver  wanted an IP address, with a port after it or without, got "1.2.3.4:99999"',
    'test.yml:5:12  s2s.ca_file  cannot read /nowhere/ca.pem: there is no such file',
    'test.yml:6:33  s2s.domains."b.example".policy  wanted required or require_valid_certificate, got "none"',
  ])
})

test('what is said of components is checked', async () => {
  const { config } = await load(
    `hosts: [a.example]
listen:
  - port: 5347
    module: component
    hosts: {IRC.a.example: {password: secret}, bot.a.example: {password: {env: BOT}, conflict: balance}}
`,
    { env: { BOT: 'beep' } },
  )
  const { hosts, ip } = config.listen[0]!
  assert.equal(ip, undefined)
  assert.deepEqual([hosts['bot.a.example']?.password.reveal(), hosts['bot.a.example']?.conflict], ['beep', 'balance'])
  const errors = await errorsOf(`hosts: [a.example]
listen:
  - port: 5347
    module: component
    hosts:
      a.example: {password: secret}
      "no domain": {password: secret}
      bot.a.example: {password: secret}
  - port: 5348
    module: component
    hosts: {Bot.a.example: {password: secret}}
  - port: 5349
    module: component
  - port: 5350
    hosts: {irc.a.example: {password: secret}}
`)
  assert.deepEqual(errors, [
    'test.yml:6:7  listen[0].hosts."a.example"  is one of the hosts of this server',
    'test.yml:7:7  listen[0].hosts."no domain"  is no domain',
    'test.yml:11:13  listen[1].hosts."Bot.a.example"  is a component of listen[0] already',
    'test.yml:12:5  listen[2].hosts  wanted the domains of the components, each with its password',
    'test.yml:15:13  listen[3].hosts."irc.a.example"  means something for module: component only',
  ])
  assert.deepEqual(await errorsOf('listen: [{port: 1, module: component, hosts: {irc.a.example: {}}}]'), [
    'test.yml:1:47  listen[0].hosts."irc.a.example".password  is missing: wanted text, {env: NAME} or {file: PATH}',
  ])
})

test('a port 0 of servers or components is none; what is wrong later with what stands below it has its place all the same', async () => {
  const { config, located } = await load(`listen:
  - {port: 0}
  - {port: 0, module: s2s}
  - {port: 0, module: component, hosts: {a.example: {password: x}}}
  - {port: 0, module: http}
  - {port: 5347, module: component, hosts: {bot.example: {password: x}}}
`)
  assert.deepEqual(
    config.listen.map(l => [l.module, l.port]),
    [
      ['c2s', 0],
      ['http', 0],
      ['component', 5347],
    ],
  )
  const { diagnostics } = located(new OptionError(['listen', 2, 'hosts', 'bot.example'], 'is served already'))
  assert.deepEqual(
    diagnostics.map(({ line, path }) => [line, path]),
    [[6, 'listen[4].hosts."bot.example"']],
  )
})
