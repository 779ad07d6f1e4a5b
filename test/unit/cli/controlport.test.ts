import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { ControlClient } from '../../../src/cli/control.ts'
import { ControlPort } from '../../../src/cli/controlport.ts'
import type { Config } from '../../../src/config/core.ts'
import { defineCommand } from '../../../src/core/commands/command.ts'
import { Commands } from '../../../src/core/commands/commands.ts'
import { createLog } from '../../../src/core/log.ts'
import { emptyFolder } from '../../support/folder.ts'

test('the control socket moves: who asked at the old place is answered, and only the new one is left', async t => {
  const folder = await emptyFolder(t)
  const at = (name: string): string => path.join(folder, name)
  const config = (name: string | undefined) => ({ data: folder, ctl_socket: name && at(name) }) as Config
  const port = new ControlPort()
  const commands = new Commands(new Map())
  const moves: string[] = ['b', 'x'.repeat(200), 'c']
  const move = async () => {
    const prepared = await port.prepare(config(moves.shift()))
    if (moves.length > 0) prepared.apply()
    else await prepared.undo()
    return 'moved'
  }
  commands.add('test', defineCommand({ name: 'move', summary: 'For tests.', args: {}, run: move }))
  assert.deepEqual(Object.keys(await port.prepare(config('b'))), ['apply', 'undo'], 'not open yet: nothing to do')
  await port.open(config(undefined), { commands, log: createLog({ level: 'silent', format: 'json' }) })
  t.after(() => port.close())
  const ask = (name: string) => new ControlClient(at(name), '', () => {}).request('move', [])
  assert.deepEqual(await ask('hermodctl.sock'), { result: 'moved' })
  await assert.rejects(ask('hermodctl.sock'), /no server answers/)
  assert.match(JSON.stringify(await ask('b')), /too long for a socket/)
  assert.deepEqual(await ask('b'), { result: 'moved' }, 'a change that was taken back')
  assert.equal(existsSync(at('c')), false)
  assert.deepEqual([existsSync(at('b')), existsSync(at('hermodctl.sock'))], [true, false])
})
