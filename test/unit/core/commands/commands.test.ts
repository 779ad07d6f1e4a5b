import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Access,
  type ArgShape,
  accessOf,
  arg,
  CommandError,
  defineCommand,
} from '../../../../src/core/commands/command.ts'
import { Commands } from '../../../../src/core/commands/commands.ts'
import { Jid } from '../../../../src/xmpp/jid.ts'
import { pluck } from '../../../support/pluck.ts'
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
  assert.deepEqual(pluck(commands.list(), 'name'), ['again', 'hello'])
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

test('without a host it runs at all that have it: rows are joined, numbers added', async () => {
  const commands = new Commands(HOSTS)
  const args = { host: arg.host('Where.', { optional: true }) }
  const rows = (count: number) =>
    defineCommand({
      name: 'rows',
      summary: 'For tests.',
      args,
      returns: { host: 'text', row: 'int' },
      *run({ host }) {
        for (let row = 0; row < count; row++) yield { host: host!.name, row }
      },
    })
  const sum = (number: number) =>
    defineCommand({ name: 'sum', summary: 'For tests.', args, returns: 'int', run: () => number })
  commands.add('mod_a', rows(2), 'a.example')
  commands.add('mod_a', rows(1), 'b.example')
  commands.add('mod_a', sum(2), 'a.example')
  commands.add('mod_a', sum(3), 'b.example')
  assert.deepEqual(await commands.run('rows', []), [
    { host: 'a.example', row: 0 },
    { host: 'a.example', row: 1 },
    { host: 'b.example', row: 0 },
  ])
  assert.deepEqual(await commands.run('rows', ['b.example']), [{ host: 'b.example', row: 0 }])
  assert.deepEqual([await commands.run('sum', []), await commands.run('sum', ['a.example'])], [5, 2])
})

test('an account is handed over loaded, and by its name where it need not exist', async () => {
  const commands = new Commands(HOSTS)
  const account = arg.account('Who.')
  const name = arg.account('Who.', { exists: false })
  commands.add(
    'server',
    defineCommand({ name: 'old', summary: 'For tests.', args: { account }, run: ({ account }) => account.user }),
  )
  commands.add(
    'server',
    defineCommand({
      name: 'new',
      summary: 'For tests.',
      args: { name },
      run: ({ name: { user, host } }) => `${user} ${host.name}`,
    }),
  )
  assert.equal(await commands.run('old', ['al@a.example']), 'al')
  await assert.rejects(commands.run('old', ['bo@a.example']), {
    code: 'not_found',
    message: /no account bo@a\.example/,
  })
  assert.equal(await commands.run('new', ['bo@a.example']), 'bo a.example')
})

test('results are JSON by their kinds', async () => {
  const commands = new Commands(HOSTS)
  const at = Date.UTC(2026, 0, 1)
  commands.add(
    'server',
    defineCommand({
      name: 'table',
      summary: 'For tests.',
      args: {},
      returns: { jid: 'jid', at: 'time?', tags: 'list', sure: 'bool' },
      run: () => [
        { jid: Jid.from('a@b'), at, tags: ['x'], sure: true, hidden: 1 },
        { jid: 'c@d', at: undefined, tags: [], sure: false },
      ],
    }),
  )
  commands.add(
    'server',
    defineCommand({ name: 'when', summary: 'For tests.', args: {}, returns: 'time', run: () => at }),
  )
  commands.add('server', defineCommand({ name: 'nothing', summary: 'For tests.', args: {}, run: () => {} }))
  assert.deepEqual(await commands.run('table', []), [
    { jid: 'a@b', at: '2026-01-01T00:00:00.000Z', tags: ['x'], sure: true },
    { jid: 'c@d', at: null, tags: [], sure: false },
  ])
  assert.equal(await commands.run('when', []), '2026-01-01T00:00:00.000Z')
  assert.equal(await commands.run('nothing', []), null)
})

test('who may run a command follows from what it is about, unless it says so itself', () => {
  const access = (args: ArgShape, declared?: Access) =>
    accessOf({
      name: 'x',
      summary: 'For tests.',
      args,
      run: () => null,
      ...(declared === undefined ? {} : { access: declared }),
    })
  assert.equal(access({ account: arg.account('Who.') }), 'host')
  assert.equal(access({ host: arg.host('Where.') }), 'host')
  assert.equal(access({ host: arg.host('Where.', { optional: true }) }), 'server')
  assert.equal(access({}), 'server')
  assert.equal(access({ account: arg.account('Who.'), file: arg.file('What.', { optional: true }) }), 'machine')
  assert.equal(access({ host: arg.host('Where.') }, 'server'), 'server')
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
    summary: 'For tests.',
    args: { how: arg.text('How.', { values: ['fast', 'slow'] }), count: arg.int('Count.', { optional: true }) },
    run: () => undefined,
  })
  assert.deepEqual(args['how'], { kind: 'text', doc: 'How.', optional: false, values: ['fast', 'slow'] })
  assert.equal(args['count']?.optional, true)
  assert.equal(args['count']?.kind, 'int')
  assert.equal(new CommandError('usage', 'so').code, 'usage')
})
