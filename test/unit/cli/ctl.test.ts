import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { describe, test } from 'node:test'
import { completion, SHELLS } from '../../../src/cli/completion.ts'
import { Exit } from '../../../src/cli/exit.ts'
import { helpOn, helpOnAll } from '../../../src/cli/help.ts'
import { invocation } from '../../../src/cli/invocation.ts'
import { table } from '../../../src/cli/table.ts'
import { completeWords, confirmed } from '../../../src/cli/words.ts'
import { type ArgKind, arg } from '../../../src/core/commands/command.ts'
import type { CommandInfo } from '../../../src/core/control/protocol.ts'

function info(...kinds: [name: string, kind: ArgKind, optional?: boolean][]): CommandInfo {
  const args = kinds.map(([name, kind, optional = false]) => [name, { kind, doc: `The ${name}`, optional }])
  return { name: 'do', summary: 'Does.', args: Object.fromEntries(args) }
}

const REGISTER = info(['account', 'account'], ['password', 'secret'])
const never = () => assert.fail('nothing is to be asked for')

describe('words of a command', () => {
  test('a secret that is missing at the end is asked for, by what it is', async () => {
    const asked: string[] = []
    const ask = async (what: string) => {
      asked.push(what)
      return 's3cret'
    }
    assert.deepEqual(await completeWords(REGISTER, ['a@b'], ask), ['a@b', 's3cret'])
    assert.deepEqual(await completeWords(REGISTER, ['a', 'b'], ask), ['a', 'b', 's3cret'])
    assert.deepEqual(asked, ['The password', 'The password'])
  })

  test('it is not where it is given, may be left out, or something before it is missing', async () => {
    assert.deepEqual(await completeWords(REGISTER, ['a@b', 'x'], never), ['a@b', 'x'])
    assert.deepEqual(await completeWords(REGISTER, ['a', 'b', 'x'], never), ['a', 'b', 'x'])
    assert.deepEqual(await completeWords(REGISTER, [], never), [])
    assert.deepEqual(await completeWords(info(['key', 'secret', true]), [], never), [])
  })

  test('none given is wrong usage', async () => {
    for (const given of [undefined, '']) {
      await assert.rejects(
        completeWords(REGISTER, ['a@b'], async () => given),
        error => {
          assert.ok(error instanceof Exit && error.code === 2)
          return true
        },
      )
    }
  })

  test('files are meant from where they are typed', async () => {
    const backup = info(['file', 'file'])
    assert.deepEqual(await completeWords(backup, ['x/y'], never), [path.resolve('x/y')])
    assert.deepEqual(await completeWords(backup, ['/x/y'], never), ['/x/y'])
  })
})

describe('what cannot be taken back', () => {
  const RESTORE = { ...info(['file', 'file']), confirm: 'All is replaced.' }

  test('is done when it was said or answered, and not otherwise', async () => {
    const yes = { words: ['x'], yes: true }
    assert.deepEqual(await confirmed(RESTORE, ['x'], true, undefined), yes)
    assert.deepEqual(await confirmed(RESTORE, ['x', '--yes'], false, undefined), yes)
    const asked: string[] = []
    const answer = (says: boolean) => async (question: string) => {
      asked.push(question)
      return says
    }
    assert.deepEqual(await confirmed(RESTORE, ['x'], false, answer(true)), yes)
    await assert.rejects(confirmed(RESTORE, ['x'], false, answer(false)), { code: 1, message: 'nothing was done' })
    assert.deepEqual(asked, ['All is replaced. Go on?', 'All is replaced. Go on?'])
    await assert.rejects(confirmed(RESTORE, ['x'], false, undefined), { code: 2, message: /no terminal.*add --yes/ })
  })

  test('nothing else is asked, and --yes is a word like any other there', async () => {
    assert.deepEqual(await confirmed(REGISTER, ['a@b', '--yes'], false, undefined), {
      words: ['a@b', '--yes'],
      yes: false,
    })
  })
})

describe('tables', () => {
  test('columns are aligned, lines end where their text ends', () => {
    const rows = [
      { name: 'a', value: 1, more: null },
      { name: 'long name', value: true, more: 'x' },
    ]
    assert.equal(
      table(rows, ['name', 'value', 'more']),
      ['NAME       VALUE  MORE', 'a          1', 'long name  true   x'].join('\n'),
    )
    assert.equal(table([], ['name']), '(none)')
    assert.equal(table([{ name: ['a', 'b'] }], ['name']), 'NAME\na, b')
  })
})

describe('help', () => {
  test('on a command: its words, what they mean, an example', () => {
    const text = helpOn({ ...info(['host', 'host'], ['why', 'text', true]), example: 'do localhost' })
    assert.match(text, /^do HOST \[WHY\]\n\nDoes\.\n\n/)
    assert.match(text, /HOST +The host\nWHY +The why/)
    assert.match(text, /Example: hermodctl do localhost$/)
  })

  test('says how what is no plain text is typed', () => {
    const args = {
      sure: arg.bool('Whether'),
      tags: arg.list('Which'),
      how: arg.text('How', { values: ['fast', 'slow'] }),
      card: arg.object('Who', { name: arg.text('Name'), age: arg.int('Age') }),
    }
    const lines = helpOn({ name: 'do', summary: 'Does.', args }).split('\n')
    assert.deepEqual(lines.slice(-4), [
      'SURE      Whether (true, false)',
      'TAGS      Which (with commas between them)',
      'HOW       How (fast, slow)',
      'CARD      Who (JSON: an object with some of name, age)',
    ])
  })

  test('on all, a line each', () => {
    assert.match(helpOnAll([REGISTER]), /COMMAND {2}SUMMARY\ndo {7}Does\.$/)
  })

  test('names commands as the person has typed them', () => {
    assert.equal(invocation({}).ctl, 'hermodctl')
    const npm = { npm_lifecycle_event: 'start' }
    assert.deepEqual(invocation(npm, ['--config', 'x']), { start: 'npm start --', ctl: 'npm run ctl -- --config x' })
  })
})

describe('completion', () => {
  test('there is none for other shells', () => {
    assert.deepEqual(SHELLS, ['bash', 'zsh', 'fish'])
    assert.equal(completion('tcsh'), undefined)
    assert.equal(completion('constructor'), undefined)
  })

  test('the first word, and that after help, are completed from the names of the server', () => {
    const script = `
      hermodctl() { printf 'backup\\nban_account\\nregister\\n'; }
      ${completion('bash')}
      try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _hermodctl; echo "\${COMPREPLY[*]}"; }
      try hermodctl ba; try hermodctl help reg; try hermodctl comp; try hermodctl backup ba`
    const { stdout, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8' })
    assert.equal(stderr, '')
    assert.deepEqual(stdout.split('\n'), ['backup ban_account', 'register', 'completion', '', ''])
  })
})
