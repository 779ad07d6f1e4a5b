/** config/test.yml in a real process, as a test harness uses it. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { offered } from '../support/commands.ts'
import { RawClient } from '../support/rawclient.ts'
import { hermodProcess } from '../support/serverprocess.ts'

test('admin of the domain administers; any number of wrong passwords is answered at once', async t => {
  const folder = await mkdtemp(path.join(tmpdir(), 'hermod-preset-'))
  const server = await hermodProcess({ folder, domain: 'preset.test', sets: ['storage.driver=memory'] })
  await server.start()
  t.after(async () => {
    await server.kill()
    await rm(folder, { recursive: true, force: true })
  })
  const where = { port: server.port, domain: server.domain }
  await RawClient.register(where, 'romeo', 'secret')
  await assert.rejects(RawClient.register(where, 'admin', 'secret'), /conflict/)
  const socket = path.join(folder, 'data/hermodctl.sock')
  const words = ['bin/hermodctl.js', '--socket', socket, 'register', 'admin@preset.test', 'secret']
  const made = spawnSync(process.execPath, words, { cwd: path.resolve(import.meta.dirname, '../..'), encoding: 'utf8' })
  assert.equal(made.status, 0, made.stderr)
  const admin = await RawClient.session({ ...where, user: 'admin', password: 'secret' })
  const romeo = await RawClient.session({ ...where, user: 'romeo', password: 'secret' })
  const node = 'http://jabber.org/protocol/admin#get-registered-users-num'
  assert.ok((await offered(admin, server.domain)).includes(node))
  assert.ok(!(await offered(romeo, server.domain)).includes(node))
  const wrong = async (times: number) => {
    const begun = performance.now()
    for (let n = 0; n < times; n++) {
      const client = await RawClient.connect(where)
      await assert.rejects(client.login({ user: 'romeo', password: 'wrong' }), /not-authorized/)
      client.cut()
    }
    return performance.now() - begun
  }
  const [first, rest] = [await wrong(5), await wrong(15)]
  // With the delays of a server in the open the last fifteen take a minute.
  assert.ok(rest < 30 * first, `${rest} ms after ${first} ms for the first five`)
  for (const client of [admin, romeo]) client.cut()
})
