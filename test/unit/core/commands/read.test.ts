import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { arg, CommandError, defineCommand } from '../../../../src/core/commands/command.ts'
import { Commands } from '../../../../src/core/commands/commands.ts'
import { hostsNamed } from './support.ts'

const HOSTS = hostsNamed('localhost', 'example.org')
const commands = new Commands(HOSTS)
commands.add(
  'test',
  defineCommand({
    name: 'echo_account',
    summary: 'Echoes.',
    args: { account: arg.account('The account', { exists: false }), word: arg.text('A word', { optional: true }) },
    run: ({ account, word }) => `${account.jid} ${word ?? '-'}`,
  }),
)
commands.add(
  'test',
  defineCommand({
    name: 'pick',
    summary: 'Picks.',
    args: {
      host: arg.host('Where'),
      many: arg.int('How many', { min: -3, max: 9 }),
      kind: arg.text('What', { values: ['a', 'b'] }),
      to: arg.jid('Whom', { optional: true }),
    },
    returns: { host: 'text', many: 'int' },
    example: 'pick localhost 3 a',
    run: ({ host, many }) => [{ host: host.name, many }],
  }),
)

let wiped = 0
commands.add(
  'test',
  defineCommand({ name: 'wipe', summary: 'Wipes.', args: {}, confirm: 'All is wiped.', run: () => void wiped++ }),
)

const call = (name: string, ...words: string[]) => commands.run(name, words)

/** The error that a call ends in. */
async function refused(code: CommandError['code'], text: RegExp, name: string, ...words: string[]): Promise<void> {
  await assert.rejects(call(name, ...words), error => {
    assert.ok(error instanceof CommandError)
    assert.match(error.message, text)
    assert.equal(error.code, code)
    return true
  })
}

describe('arguments of commands', () => {
  test('an account is written in one word, or in two as in ejabberdctl', async () => {
    assert.deepEqual(await call('echo_account', 'Alice@LOCALHOST'), 'alice@localhost -')
    assert.deepEqual(await call('echo_account', 'alice', 'example.org'), 'alice@example.org -')
    assert.deepEqual(await call('echo_account', 'alice', 'example.org', 'x'), 'alice@example.org x')
    assert.deepEqual(await call('echo_account', 'alice@localhost', 'example.org'), 'alice@localhost example.org')
  })

  test('an account must be one, and of a host served here', async () => {
    for (const word of ['alice', 'localhost', 'alice@localhost/phone', '@localhost', 'a b@localhost'])
      await refused('usage', /account: an account is written user@host/, 'echo_account', word)
    const hosts = /elsewhere\.net is not served here; hosts: localhost, example\.org/
    await refused('not_found', hosts, 'echo_account', 'alice@elsewhere.net')
  })

  test('the others are checked by their kinds', async () => {
    assert.deepEqual(await call('pick', 'LocalHost', '-3', 'a'), [{ host: 'localhost', many: -3 }])
    await refused('not_found', /nowhere is not served here; hosts: localhost/, 'pick', 'nowhere', '1', 'a')
    for (const word of ['', 'x', '1.5', '0x10', '1e3', '99999999999999999999'])
      await refused('usage', /many: a whole number/, 'pick', 'localhost', word, 'a')
    for (const many of ['-4', '10'])
      await refused('usage', /many: a whole number, -3 to 9, not/, 'pick', 'localhost', many, 'a')
    await refused('usage', /kind: one of a, b, not "c"/, 'pick', 'localhost', '1', 'c')
    await refused('usage', /to: an address is written/, 'pick', 'localhost', '1', 'a', '@')
  })

  test('an empty word stands for an optional argument that is left out, where what follows is wanted', async () => {
    const more = defineCommand({
      name: 'more',
      summary: 'More.',
      args: {
        kind: arg.text('What', { optional: true, values: ['a', 'b'] }),
        many: arg.int('How many', { optional: true }),
        to: arg.jid('Whom', { optional: true }),
        word: arg.text('Any', { optional: true }),
      },
      run: args => JSON.stringify(args),
    })
    const own = new Commands(HOSTS)
    own.add('test', more)
    assert.deepEqual(await own.run('more', ['', '', '', '']), '{"word":""}')
    assert.deepEqual(await own.run('more', ['', '3']), '{"many":3}')
    await refused('usage', /kind: one of a, b, not ""/, 'pick', 'localhost', '1', '')
  })

  const kinds = new Commands(HOSTS)
  kinds.add(
    'test',
    defineCommand({
      name: 'kinds',
      summary: 'Echoes.',
      args: {
        sure: arg.bool('Whether'),
        tags: arg.list('Which', { values: ['a', 'b', 'c'], optional: true }),
        card: arg.object('Who', {
          name: arg.text('Name'),
          age: arg.int('Age', { optional: true }),
          tags: arg.list('Tags'),
        }),
      },
      run: args => JSON.stringify(args),
    }),
  )
  const card = { name: 'Al', tags: ['x', 'y'] }

  test('booleans, lists and objects are typed as words, or come as JSON', async () => {
    const echo = async (given: readonly string[] | Record<string, unknown>) =>
      JSON.parse(String(await kinds.run('kinds', given)))
    for (const [word, sure] of Object.entries({ true: true, yes: true, 1: true, false: false, no: false, 0: false }))
      assert.deepEqual(await echo([word, 'a, b,', JSON.stringify(card)]), { sure, tags: ['a', 'b'], card })
    assert.deepEqual(await echo(['yes', '', JSON.stringify(card)]), { sure: true, card })
    assert.deepEqual(await echo({ sure: false, tags: ['c'], card }), { sure: false, tags: ['c'], card })
    const nobody = { ...card, age: null }
    assert.deepEqual(await echo({ sure: true, tags: null, card: nobody }), { sure: true, card: nobody })
  })

  test('times and durations are written as people write them, and come as ms', async () => {
    const own = new Commands(HOSTS)
    const args = { at: arg.time('When'), grace: arg.duration('How long', { optional: true, min: 1000 }) }
    own.add('test', defineCommand({ name: 'plan', summary: 'For tests.', args, run: given => JSON.stringify(given) }))
    assert.equal(await own.run('plan', ['1970-01-01T00:00:01Z', '1h 30m']), '{"at":1000,"grace":5400000}')
    assert.equal(await own.run('plan', { at: '1970-01-01T01:00:00+01:00' }), '{"at":0}')
    await assert.rejects(own.run('plan', ['yesterday']), { code: 'usage', message: /at: a time such as .*"yesterday"/ })
    const short = { at: '1970-01-01T00:00:01Z', grace: '10ms' }
    await assert.rejects(own.run('plan', short), { code: 'usage', message: /grace: .*, at least 1000 ms, not "10ms"/ })
    const soon = ['1970-01-01T00:00:01Z', 'soon']
    await assert.rejects(own.run('plan', soon), { code: 'usage', message: /grace: a duration such as 12h, not "soon"/ })
  })

  test('what is no such value is refused, and so is what an object does not have', async () => {
    const wrong: [Record<string, unknown>, RegExp][] = [
      [{ sure: 'perhaps' }, /sure: true or false, not "perhaps"/],
      [{ sure: 1 }, /sure: true or false, not "1"/],
      [{ sure: true, tags: 'a,d' }, /tags: one of a, b, c, not "a,d"/],
      [{ sure: true, tags: [1] }, /tags: one of a, b, c/],
      [{ sure: true, card: '{' }, /card: a JSON object, not "\{"/],
      [{ sure: true, card: [] }, /card: a JSON object/],
      [{ sure: true, card: { tags: [] } }, /card: name is missing/],
      [{ sure: true, card: { ...card, colour: 'red' } }, /card has no "colour", but: name, age, tags/],
      [{ sure: true, card: { ...card, name: null } }, /name: a text, not "null"/],
      [{ sure: true, card: { ...card, age: '7' } }, /age: a whole number, not "7"/],
      [{ sure: true, card: { ...card, tags: 'x,y' } }, /tags: a list of texts, not "x,y"/],
      [{ sure: true, card: JSON.parse('{"__proto__": {"name": "x"}}') }, /card has no "__proto__"/],
    ]
    for (const [given, message] of wrong) await assert.rejects(kinds.run('kinds', given), { code: 'usage', message })
  })

  test('too few, too many, and a command that is not there, with what to do', async () => {
    await refused('usage', /many is missing .*usage: pick HOST MANY KIND \[TO\]/, 'pick', 'localhost')
    await refused('usage', /1 word\(s\) too many: y\. usage: /, 'echo_account', 'a@localhost', 'x', 'y')
    await refused('usage', /no command "picj"; did you mean pick\?/, 'picj')
    await refused('usage', /no command "constructor"/, 'constructor')
  })

  test('what cannot be taken back has to be confirmed, whoever asks', async () => {
    await refused('usage', /^All is wiped\. Nothing was done: .* --yes$/, 'wipe')
    assert.equal(wiped, 0)
    await commands.run('wipe', [], { yes: true })
    assert.equal(wiped, 1)
  })
})
