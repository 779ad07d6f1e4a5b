import assert from 'node:assert/strict'
import { test } from 'node:test'
import { evaluateAccess, inNetworks } from '../../../src/config/access.ts'
import { resolveHost } from '../../../src/config/core.ts'
import { errorsOf, load } from './support.ts'

const TWO_HOSTS = `
hosts: [A.example, b.example]
auth: {scram_iterations: 5000, plain_without_tls: true}
max_user_sessions: 7
acl:
  admin: {user: Root@a.example}
access_rules:
  staff: {allow: admin}
modules:
  mod_last: {privacy: nobody}
  mod_register: {interval: 1m, welcome: {subject: Hi}}
host_config:
  b.example:
    auth: {scram_iterations: 6000}
    acl: {admin: {server: b.example}, lab: {ip: [10.0.0.0/8, '2001:db8::/32']}}
    access_rules: {staff: [{deny: lab}, {allow: admin}]}
    modules:
      mod_last: false
      mod_register: {interval: infinity, access: staff}
`

test('each host has the top level with its own options laid over it', async () => {
  const { config } = await load(TWO_HOSTS)
  const a = resolveHost(config, 'a.example')
  const b = resolveHost(config, 'b.example')
  assert.deepEqual([a.host, b.host], ['a.example', 'b.example'])
  assert.deepEqual([a.auth.scram_iterations, b.auth.scram_iterations], [5000, 6000])
  assert.deepEqual([b.auth.plain_without_tls, b.max_user_sessions], [true, 7], 'what is not said again is inherited')
  const register = { access: 'all', interval: 60_000, password: undefined, welcome: { subject: 'Hi', body: undefined } }
  assert.deepEqual(a.modules, { mod_last: { privacy: 'nobody' }, mod_register: register })
  assert.deepEqual(b.modules, { mod_register: { ...register, access: 'staff', interval: Number.POSITIVE_INFINITY } })
  assert.throws(() => resolveHost(config, 'c.example'), RangeError)
})

test('a module that one host alone runs is checked and found there', async () => {
  const { config, modules } = await load(
    'modules: {mod_last: false}\nhost_config: {localhost: {modules: {mod_last: , mod_register: }}}',
  )
  assert.deepEqual(Object.keys(resolveHost(config, 'localhost').modules), ['mod_last', 'mod_register'])
  assert.deepEqual([...modules.keys()], ['mod_last', 'mod_register'])
})

test('a name declared for one host is unknown to the others', async () => {
  const errors = await errorsOf(`
hosts: [a.example, b.example]
modules: {mod_register: {access: staff}}
host_config: {b.example: {access_rules: {staff: {allow: all}}}}
`)
  assert.deepEqual(errors, [
    'test.yml:3:34  modules.mod_register.access  wanted the name of an access rule, got "staff"',
  ])
})

test('access rules decide by their first line that matches, by the rules of the host', async () => {
  const { config } = await load(TWO_HOSTS)
  const may = (rule: string, local: string, domain: string, ip?: string) =>
    evaluateAccess(config, rule, { jid: { local, domain }, ip })
  assert.equal(may('staff', 'root', 'a.example'), true)
  assert.equal(may('staff', 'other', 'a.example'), false, 'no line matches')
  assert.equal(may('staff', 'root', 'evil.example'), false, 'the whole address counts')
  assert.equal(may('staff', 'anyone', 'b.example', '192.0.2.1'), true)
  assert.equal(may('staff', 'anyone', 'b.example', '10.1.2.3'), false)
  assert.equal(may('staff', 'anyone', 'b.example', '::ffff:10.1.2.3'), false)
  assert.equal(may('staff', 'anyone', 'b.example', '2001:db8:1::5'), false)
  assert.equal(evaluateAccess(config, 'staff', { jid: { local: 'x', domain: 'b.example' } }, 'a.example'), false)
})

test('built-in rules and unknown ones', async () => {
  const { config } = await load('access_rules: {here: {allow: loopback}, toString: {deny: all}}')
  const may = (rule: string, who: object) => evaluateAccess(config, rule, who, 'localhost')
  const stranger = { jid: { local: 'a', domain: 'elsewhere.example' }, ip: '192.0.2.1' }
  assert.deepEqual(
    ['all', 'none', 'local', 'here', 'valueOf'].map(rule => may(rule, stranger)),
    [true, false, false, false, false],
  )
  const local = { jid: { local: 'a', domain: 'localhost' }, ip: '127.0.0.1' }
  assert.deepEqual(
    ['all', 'none', 'local', 'here', 'valueOf'].map(rule => may(rule, local)),
    [true, false, true, true, false],
  )
  assert.equal(may('local', { jid: { domain: 'localhost' } }), false, 'a host is no account')
  assert.equal(may('here', { ip: '::1' }), true)
  assert.equal(may('here', { ip: 'unknown' }), false)
})

test('administrators are whom the acl admin names, and whom they have appointed', async () => {
  const boss = { jid: { local: 'boss', domain: 'localhost' } }
  const undeclared = (await load('')).config
  assert.equal(evaluateAccess(undeclared, 'configure', boss), false)
  assert.equal(evaluateAccess(undeclared, 'configure', { ...boss, appointed: true }), true)
  assert.equal(evaluateAccess(undeclared, 'none', { ...boss, appointed: true }), false)
  const { config } = await load('acl: {admin: {user: boss@localhost}}')
  assert.equal(evaluateAccess(config, 'configure', boss), true)
  const other = { jid: { local: 'other', domain: 'localhost' } }
  assert.equal(evaluateAccess(config, 'configure', other), false)
  assert.equal(evaluateAccess(config, 'configure', { ...other, appointed: true }), true)
})

test('networks take addresses of their own family only', () => {
  assert.equal(inNetworks(['0.0.0.0/0'], '2001:db8::1'), false)
  assert.equal(inNetworks(['::/0'], '2001:db8::1'), true)
  assert.equal(inNetworks(['192.0.2.7'], '192.0.2.7'), true)
  assert.equal(inNetworks([], '192.0.2.7'), false)
})
