/** What a module declares when it starts, and what is refused, in words for its author. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ModuleContext } from '../../src/core/module.ts'
import { openMemoryStore } from '../../src/storage/memory.ts'
import { over } from '../support/faultystore.ts'
import { serve } from '../support/talk.ts'
import { TestServer, testModule } from '../support/testserver.ts'

const command = (name: string, summary: string) => ({ name, summary, args: {}, run: () => 'done' })
const WRONG: [what: string, start: (ctx: ModuleContext) => void, told: RegExp][] = [
  [
    'a table of another module',
    ctx => ctx.table({ name: 'vcard' }),
    /mod_wrong: the table vcard is there already, of mod_vcard/,
  ],
  ['a table of the server', ctx => ctx.table({ name: 'queue' }), /the table queue is there already, of the server/],
  ['a table twice', ctx => [1, 2].map(() => ctx.userTable({ name: 'twice' })), /twice is there already, of mod_wrong/],
  ['the name of a table', ctx => ctx.table({ name: 'My-Table' }), /"My-Table" is no name of a table/],
  ['the name of a counter', ctx => ctx.counter('My-Counter', 'Mine'), /"My-Counter" is no name of a counter/],
  [
    'a counter of the server',
    ctx => ctx.counter('logins_total', 'Mine'),
    /logins_total is there already, of the server/,
  ],
  ['the name of a command', ctx => ctx.command(command('do-it', 'Does it.')), /"do-it" is no name of a command/],
  ['a command without a summary', ctx => ctx.command(command('do_it', '')), /the command do_it has no summary/],
  ['no time', ctx => ctx.every(0, () => {}), /every 0 ms/],
  ['time that is no number', ctx => ctx.every(Number.NaN, () => {}), /every NaN ms/],
]
for (const [what, start, told] of WRONG) {
  test(`${what} is refused, with the name of the module`, async () => {
    const starting = TestServer.start({ extra: [testModule('mod_wrong', start)] })
    await assert.rejects(
      starting,
      (error: Error) => /mod_wrong did not start/.test(error.message) && told.test(error.message),
    )
  })
}

test('no table of a host is opened that is nobody’s: the server’s own are known by name', async t => {
  const opened = new Set<string>()
  const inner = openMemoryStore()
  const store = over(inner, {
    table: (host, spec) => {
      if (host === 'localhost') opened.add(spec.name)
      return inner.table(host, spec)
    },
  })
  const server = await serve(t, { store })
  await (await server.client('alice')).ping()
  const host = server.server.host('localhost')!
  for (const name of opened) assert.throws(() => host.claim(name, 'mod_other'), /is there already/, name)
})

test('a test server knows its modules and options', async () => {
  await assert.rejects(TestServer.start({ modules: { mod_vcrad: {} } }), /mod_vcrad/)
  await assert.rejects(TestServer.start({ config: { loglevle: 'info' } }), /loglevle/)
})
