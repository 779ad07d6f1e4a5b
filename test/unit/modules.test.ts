import assert from 'node:assert/strict'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { loadConfig } from '../../src/config/load.ts'
import { builtinModules, loadModule } from '../../src/modules.ts'
import { Server } from '../../src/server.ts'
import { openMemoryStore } from '../../src/storage/memory.ts'
import { RawClient } from '../support/rawclient.ts'

const EXAMPLE = path.resolve(import.meta.dirname, '../../examples/hello-module')
const NS = 'urn:example:hello'

describe('modules', () => {
  let folder = ''
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'hermod-modules-'))
    await cp(EXAMPLE, path.join(folder, 'hello'), { recursive: true })
    const installed = path.join(folder, 'node_modules/hermod-hello')
    await cp(EXAMPLE, installed, { recursive: true })
    await mkdir(path.join(installed, 'dist'))
    const text = await readFile(path.join(EXAMPLE, 'hello.ts'), 'utf8')
    await writeFile(path.join(installed, 'dist/hello.js'), stripTypeScriptTypes(text))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  async function file(name: string, text: string): Promise<void> {
    await mkdir(path.dirname(path.join(folder, name)), { recursive: true })
    await writeFile(path.join(folder, name), text)
  }

  /** The answer of a server with these modules to a question for a greeting. */
  async function greet(modules: string, name = 'Alice') {
    const { config, modules: found } = await loadConfig({
      file: path.join(folder, 'hermod.yml'),
      text: `storage: {driver: memory}\nloglevel: silent\nlisten: [{port: 0, ip: 127.0.0.1, starttls_required: false}]\nmodules:\n${modules}`,
      sets: ['auth.plain_without_tls=true', 'auth.scram_iterations=4096'],
      modules: await builtinModules(),
      loadModule: wanted => loadModule(wanted, folder),
    })
    const server = await Server.start({ config, modules: found, store: openMemoryStore() })
    try {
      await server.host('localhost')!.users.create('alice', 'wonderland')
      const { port } = server.listeners[0]!
      const client = await RawClient.session({ port, domain: 'localhost', user: 'alice', password: 'wonderland' })
      const answer = await client.request('get', `<hello xmlns='${NS}' name='${name}'/>`, 'localhost')
      await client.close()
      return answer.children.find(el => el.ns === NS)?.text
    } finally {
      await server.stop()
    }
  }

  test('the built-in ones are found by their files, each once', async () => {
    const names = (await builtinModules()).map(m => m.name)
    assert.ok(names.includes('mod_ping') && names.includes('mod_last'))
    assert.deepEqual(names, [...new Set(names)].sort())
  })

  test('a module outside the tree is loaded by the path of its folder', async () => {
    assert.equal(await greet('  ./hello: {greeting: Good day}'), 'Good day, Alice!')
  })

  test('by the path of its file', async () => {
    assert.equal(await greet('  ./hello/hello.ts:'), 'Hello, Alice!')
  })

  test('and as a package installed beside the configuration', async () => {
    assert.equal(await greet('  hermod-hello:'), 'Hello, Alice!')
  })

  test('it may be TypeScript, and gets the classes that the server itself uses', async () => {
    await file(
      'own.ts',
      `import { defineModule, StanzaError, type ModuleDefinition } from 'hermod'
       export const error: unknown = new StanzaError('gone')
       export const own: ModuleDefinition = defineModule({ name: 'mod_own', summary: 'For tests.', options: {}, start() {} })`,
    )
    assert.equal((await loadModule('./own.ts', folder))?.name, 'mod_own')
    const { error } = (await import(path.join(folder, 'own.ts'))) as { error: unknown }
    assert.ok(error instanceof (await import('../../src/xmpp/errors.ts')).StanzaError)
  })

  test('its options are checked like those of any other', async () => {
    await assert.rejects(greet('  ./hello: {greetin: x}'), /hermod\.yml:5:\d+ .*greetin.*did you mean greeting\?/)
  })

  test('what is wrong with one is told at its line', async () => {
    await file('nothing.js', 'export const x = 1')
    await file('broken.js', 'throw new Error("no moon tonight")')
    await file('two.js', 'const m = n => ({ name: n, options: {}, start() {} }); export const a = m("a"), b = m("b")')
    await assert.rejects(greet('  ./nothing.js:'), /:5:3 .*exports nothing that defineModule made/)
    await assert.rejects(greet('  ./broken.js:'), /:5:3 .*no moon tonight/)
    await assert.rejects(greet('  ./two.js:'), /:5:3 .*exports 2 modules/)
    await assert.rejects(greet('  ./absent.js:'), /:5:3 .*there is no module at \S+absent\.js/)
    await assert.rejects(greet('  not-installed:'), /:5:3 .*not-installed/)
    await assert.rejects(greet('  mod_pong:'), /:5:3 .*did you mean mod_ping\?/)
  })
})
