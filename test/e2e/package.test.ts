/** The package as npm makes it, used by somebody who writes a module: examples/hello-module, with its own tests. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { declared, sources } from '../../scripts/reference/declared.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const TSC = path.join(ROOT, 'node_modules/.bin/tsc')
const SEVERAL_MINUTES = 180_000

/** Resolves with what it printed; rejects with that where it fails. */
function run(cwd: string, command: string, ...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    let text = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk))
    child.once('error', reject)
    child.once('close', code =>
      code === 0 ? resolve(text) : reject(new Error(`${command} ended with ${code}\n${text}`)),
    )
  })
}

describe('the package', { timeout: SEVERAL_MINUTES }, () => {
  let folder = ''
  let hello = ''
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'hermod-package-'))
    await run(ROOT, 'npm', 'pack', '--silent', '--pack-destination', folder)
    const packed = (await readdir(folder)).find(file => file.endsWith('.tgz'))!
    hello = path.join(folder, 'hello')
    await cp(path.join(ROOT, 'examples/hello-module'), hello, { recursive: true })
    const installed = path.join(hello, 'node_modules')
    await mkdir(path.join(installed, 'hermod'), { recursive: true })
    await run(folder, 'tar', '-xzf', packed, '-C', path.join(installed, 'hermod'), '--strip-components=1')
    // What it needs is there already: npm would fetch the same again.
    const linked = ['hermod', 'node-xmpp-server-compat']
    const compat = path.join(installed, 'node-xmpp-server-compat')
    await cp(path.join(ROOT, 'packages/node-xmpp-server-compat'), compat, {
      recursive: true,
      filter: source => !/node_modules|src$|test$/.test(path.relative(ROOT, source)),
    })
    for (const name of await readdir(path.join(ROOT, 'node_modules'))) {
      if (linked.includes(name)) continue
      await symlink(path.join(ROOT, 'node_modules', name), path.join(installed, name))
    }
  })
  after(() => rm(folder, { recursive: true, force: true }))

  test('a module in TypeScript is compiled against it, and its own tests pass', async () => {
    await run(hello, TSC)
    assert.deepEqual((await readdir(path.join(hello, 'dist'))).toSorted(), ['hello.js', 'hello.test.js'])
    assert.match(await run(hello, process.execPath, '--test', '--test-reporter=tap', 'hello.test.ts'), /^# fail 0$/m)
  })

  test('an old program runs with the API that it knows, from CommonJS, and is compiled with its types', async () => {
    const program = [
      "const { Socket } = require('node:net')",
      "const xmpp = require('node-xmpp-server-compat')",
      "const server = new xmpp.C2SServer({ port: 0, host: '127.0.0.1', domain: 'localhost' })",
      "server.on('connection', client => console.log(client instanceof xmpp.C2SStream))",
      "server.on('online', () => new Socket().connect(server.port, '127.0.0.1').on('close', () => {}).end())",
      "server.on('connection', client => client.on('close', () => server.end(() => console.log('closed'))))",
    ]
    await writeFile(path.join(hello, 'old.cjs'), program.join('\n'))
    assert.equal(await run(hello, process.execPath, 'old.cjs'), 'true\nclosed\n')
    const typed = [
      "import * as xmpp from 'node-xmpp-server-compat'",
      "const server = new xmpp.C2SServer({ domain: 'localhost', autostart: false })",
      "export const jid: string = new xmpp.JID('a@b/c').bare().toString()",
      "server.on('connection', session => (session as xmpp.C2SStream).on('stanza', ({ from }) => from?.length))",
    ]
    await writeFile(path.join(hello, 'typed.ts'), typed.join('\n'))
    await run(hello, TSC, '--noEmit')
    await rm(path.join(hello, 'typed.ts'))
  })

  test('every hook and every service has its type in it', async () => {
    const members = (map: 'HookMap' | 'ServiceMap') => declared(map, sources()).map(({ name }) => `${map}['${name}']`)
    const named = [...members('HookMap'), ...members('ServiceMap')]
    assert.ok(named.length > 50)
    const types = named.map((member, index) => `export type T${index} = ${member}`)
    await writeFile(
      path.join(hello, 'all.ts'),
      ["import type { HookMap, ServiceMap } from 'hermod'", ...types].join('\n'),
    )
    await run(hello, TSC, '--noEmit')
    await rm(path.join(hello, 'all.ts'))
  })
})
