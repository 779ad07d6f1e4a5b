import assert from 'node:assert/strict'
import { test } from 'node:test'
import { arg, CommandError, Commands, defineCommand } from '../../../../src/core/commands/commands.ts'

const hello = (name: string) =>
  defineCommand({
    name,
    summary: 'Says hello.',
    args: { who: arg.text('Whom to greet.') },
    run: ({ who }) => `hello ${who}`,
  })

test('a command is found by its name until it is taken away', async () => {
  const commands = new Commands()
  const undo = commands.add('mod_a', hello('hello'))
  commands.add('mod_a', hello('again'))
  const found = commands.get('hello')!
  assert.equal(await found.run({ who: 'you' }, { progress() {} }), 'hello you')
  assert.deepEqual(
    commands.list().map(c => c.name),
    ['again', 'hello'],
  )
  undo()
  assert.equal(commands.get('hello'), undefined)
})

test('a module on several hosts declares its commands several times; the first stands, another module’s is refused', () => {
  const commands = new Commands()
  const first = hello('hello')
  commands.add('mod_a', first)
  const undo = commands.add('mod_a', hello('hello'))
  assert.equal(commands.get('hello'), first)
  undo()
  assert.equal(commands.get('hello'), first, 'the second host has stopped, the first has not')
  assert.throws(() => commands.add('mod_b', hello('hello')), /mod_b: the command hello is there already, from mod_a/)
})

test('when the host that declared it first stops, the command stays for the others', () => {
  const commands = new Commands()
  const undoFirst = commands.add('mod_a', hello('hello'))
  const undoSecond = commands.add('mod_a', hello('hello'))
  undoFirst()
  assert.ok(commands.get('hello'), 'the module still runs on the second host')
  undoSecond()
  assert.equal(commands.get('hello'), undefined)
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
