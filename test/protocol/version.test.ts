import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VERSION } from '../../src/version.ts'
import { child } from '../support/rawxml.ts'
import { TestServer } from '../support/testserver.ts'

async function version(options: Record<string, unknown>): Promise<(string | undefined)[]> {
  const server = await TestServer.start({ modules: { mod_version: options } })
  const alice = await server.client('alice')
  const query = (await alice.request('get', "<query xmlns='jabber:iq:version'/>", 'localhost')).children[0]!
  await server.stop()
  return ['name', 'version', 'os'].map(name => child(query, name)?.text)
}

test('the server tells its name and version, and its system only where asked to', async () => {
  assert.deepEqual(await version({}), ['hermod', VERSION, undefined])
  assert.match((await version({ show_os: true }))[2]!, /\w+ \d/)
  assert.deepEqual(await version({ show_version: false }), ['hermod', 'unknown', undefined])
})
