import assert from 'node:assert/strict'
import { test } from 'node:test'
import { arg, CommandError, defineCommand } from '../../../../src/core/commands/command.ts'
import { Commands } from '../../../../src/core/commands/commands.ts'
import { hostsNamed } from './support.ts'

const HOSTS = hostsNamed('a.example', 'b.example', 'c.example')

const hello = (name: string, says = 'hello') =>
  defineCommand({
    name,
    summary: 'Says hello.',
    args: { host: arg.host('Where.') },
    run: ({ host }) => `${says} ${host.name}`,
  })

test('a command is found by its name until it is taken away', async () => {
  const commands = new Commands(HOSTS)
  const undo = commands.add('server', hello('hello'))
  commands.add('server', hello('again'))
  assert.equal(await commands.run('hello', { host: 'a.example' }), 'hello a.example')
  assert.deepEqual(
    commands.list().map(c => c.name),
    ['again', 'hello'],
  )
  undo()
  assert.equal(commands.get('hello'), undefined)
  await assert.rejects(commands.run('hello', {}), { code: 'usage', message: /no command "hello"/ })
})

test('the host that is named runs it; where its module does not run, that is said', async () => {
  const commands = new Commands(HOSTS)
  const undo = commands.add('mod_a', hello('hello', 'ciao'), 'a.example')
  commands.add('mod_a', hello('hello', 'salve'), 'b.example')
  const run = (host: string) => commands.run('hello', { host })
  assert.equal(await run('a.example'), 'ciao a.example')
  assert.equal(await run('b.example'), 'salve b.example')
  await assert.rejects(run('c.example'), { code: 'not_found', message: 'mod_a does not run on c.example' })
  await assert.rejects(run('d.example'), { code: 'not_found', message: /d\.example is not served here/ })
  undo()
  await assert.rejects(run('a.example'), { message: 'mod_a does not run on a.example' })
  assert.equal(await run('b.example'), 'salve b.example')
})

test('a name is that of one module, and declared once at a host', () => {
  const commands = new Commands(HOSTS)
  commands.add('mod_a', hello('hello'), 'a.example')
  const there = /the command hello is there already, from mod_a/
  assert.throws(() => commands.add('mod_b', hello('hello'), 'b.example'), there)
  assert.throws(() => commands.add('mod_a', hello('hello'), 'a.example'), there)
})

test('what is typed is known: values, optional ones, kinds', () => {
  const { args } = defineCommand({
    name: 'x',
    summary: '',
    args: { how: arg.text('How.', { values: ['fast', 'slow'] }), count: arg.int('Count.', { optional: true }) },
    run: () => undefined,
  })
  assert.deepEqual(args['how'], { kind: 'text', doc: 'How.', optional: false, values: ['fast', 'slow'] })
  assert.equal(args['count']?.optional, true)
  assert.equal(args['count']?.kind, 'int')
  assert.equal(new CommandError('usage', 'so').code, 'usage')
})
