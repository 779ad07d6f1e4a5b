import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type AdHocCommand,
  AdHocCommands,
  answerOf,
  badPayload,
  cannotBeDone,
  failureOf,
  formStage,
  isStage,
  linesOf,
  MAX_NOTE,
  runCommand,
} from '../../../src/core/adhoc.ts'
import { arg, CommandError, defineCommand } from '../../../src/core/commands/command.ts'
import { Commands } from '../../../src/core/commands/commands.ts'
import { isTrue } from '../../../src/util/text.ts'
import { StanzaError } from '../../../src/xmpp/errors.ts'
import { Jid } from '../../../src/xmpp/jid.ts'
import { hostsNamed } from './commands/support.ts'

const ALICE = Jid.from('alice@localhost/a')
const BOB = Jid.from('bob@localhost/b')

const command = (node: string, name = node, allowed: AdHocCommand['allowed'] = () => true): AdHocCommand => ({
  node,
  name,
  allowed,
  execute: () => ({}),
})

test('commands are found by node and listed by name for who may run them', () => {
  const commands = new AdHocCommands()
  const undo = commands.add('mod_a', command('one', 'Zebra'))
  commands.add(
    'mod_a',
    command('two', 'Ape', from => from.equals(ALICE)),
  )
  commands.addSource(() => [command('three', 'Mole')])
  const names = (jid: Jid) => commands.list(jid).map(({ name }) => name)
  assert.deepEqual(names(ALICE), ['Ape', 'Mole', 'Zebra'])
  assert.deepEqual(names(BOB), ['Mole', 'Zebra'])
  assert.equal(commands.get('three')?.name, 'Mole')
  assert.throws(() => commands.add('mod_b', command('one')), /mod_b: the ad-hoc command one .* from mod_a/)
  undo()
  assert.equal(commands.get('one'), undefined)
  commands.add('mod_b', command('one'))
})

test('a stage takes what fits its fields', async () => {
  const options = [{ value: 'red' }, { value: 'blue' }]
  const stage = formStage(
    'urn:x',
    {},
    [
      { var: 'name', required: true, values: [] },
      { var: 'colours', type: 'list-multi', values: [], options },
    ],
    values => ({ notes: [{ type: 'info', text: [...(values.get('colours') ?? [])].join() }] }),
  )
  assert.ok(isStage(stage))
  const submit = async (values: Record<string, string[]>) => stage.submit(new Map(Object.entries(values)))
  assert.deepEqual(await submit({ name: ['x'], colours: ['red', 'blue'] }), {
    notes: [{ type: 'info', text: 'red,blue' }],
  })
  assert.deepEqual(await submit({ name: ['x'] }), { notes: [{ type: 'info', text: '' }] })
  const wrong: Record<string, string[]>[] = [
    {},
    { name: [''] },
    { name: [] },
    { name: ['x'], colours: ['red', 'green'] },
  ]
  for (const values of wrong) await assert.rejects(submit(values), { condition: 'bad-request' })
})

test('answers are read as forms write them', () => {
  const values = new Map([
    ['one', [' x ']],
    ['blank', [' ']],
    ['lines', ['a', '', 'b']],
  ])
  assert.equal(answerOf(values, 'one'), 'x')
  assert.equal(answerOf(values, 'blank'), undefined)
  assert.equal(answerOf(values, 'none'), undefined)
  assert.equal(linesOf(values, 'lines'), 'a\n\nb')
  assert.deepEqual(['1', 'true', '0', 'false', 'yes', undefined].map(isTrue), [true, true, false, false, false, false])
})

test('a declared command runs with arguments by name, and says what is wrong as a stanza error', async () => {
  const greet = defineCommand({
    name: 'greet',
    summary: 'For tests.',
    args: { host: arg.host('Where'), how: arg.text('How', { optional: true }), times: arg.int('How often') },
    run({ host, how = 'Hello', times }) {
      if (times > 9) throw new CommandError('conflict', 'too often')
      return `${how} ${host.name} ${times + 1}`
    },
  })
  const commands = new Commands(hostsNamed('localhost'))
  commands.add('test', greet)
  const run = (args: Record<string, string>) => runCommand(commands, 'greet', args)
  assert.equal(await run({ host: 'localhost', times: '2' }), 'Hello localhost 3')
  assert.equal(await run({ host: 'localhost', times: '2', how: 'Hi' }), 'Hi localhost 3')
  const wrong: [args: Record<string, string>, condition: string][] = [
    [{ host: 'localhost' }, 'not-acceptable'],
    [{ host: 'localhost', times: 'x' }, 'not-acceptable'],
    [{ host: 'elsewhere.example', times: '2' }, 'item-not-found'],
    [{ host: 'localhost', times: '10' }, 'conflict'],
  ]
  for (const [args, condition] of wrong) await assert.rejects(run(args), { condition })
})

test('what could not be done is a note; conflicts, prohibitions and wrong forms are errors, and so are faults', () => {
  assert.deepEqual(failureOf(cannotBeDone('there is no tea')), { notes: [{ type: 'error', text: 'there is no tea' }] })
  assert.deepEqual(failureOf(new StanzaError('item-not-found')), { notes: [{ type: 'error', text: 'item-not-found' }] })
  assert.equal(failureOf(cannotBeDone('x'.repeat(5000)))!.notes![0]!.text.length, MAX_NOTE)
  for (const error of [
    badPayload('nothing was chosen'),
    new StanzaError('conflict'),
    new StanzaError('forbidden'),
    new StanzaError('not-allowed'),
    new TypeError('a fault'),
  ]) {
    assert.equal(failureOf(error), undefined, String(error))
  }
})
