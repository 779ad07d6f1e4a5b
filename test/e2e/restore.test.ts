/** Backup and restore of a real server with accounts, messages, pictures and files. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { emptyFolder } from '../support/folder.ts'
import { http } from '../support/httpclient.ts'
import type { ServerProcess } from '../support/launched.ts'
import { RawClient } from '../support/rawclient.ts'
import { child } from '../support/rawxml.ts'
import { hermodProcess } from '../support/serverprocess.ts'
import { eventually } from '../support/waiting.ts'

const DOMAIN = 'hermod.test'
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=='

async function start(t: TestContext) {
  const folder = await emptyFolder(t)
  const data = path.join(folder, 'data')
  const server = await hermodProcess({ folder, data, domain: DOMAIN, sets: ['storage.driver=level'] })
  t.after(() => server.kill())
  await server.start()
  const ctl = (...words: string[]) => server.ctl(...words)
  return { folder, data, server, ctl, file: path.join(folder, 'saved') }
}

async function login(server: ServerProcess, user: string): Promise<RawClient> {
  return RawClient.session({ port: server.port, domain: DOMAIN, user, password: 'secret', sm: false })
}

async function upload(client: RawClient, body: string): Promise<string> {
  const request = `<request xmlns='urn:xmpp:http:upload:0' filename='a file.txt' size='${body.length}'/>`
  const slot = child(await client.request('get', request, `upload.${DOMAIN}`), 'slot')!
  const [put, get] = ['put', 'get'].map(name => child(slot, name)!.attrs['url']!)
  assert.equal((await http('PUT', put!, { body })).status, 201)
  return get!
}

/** Until the server that a restore has restarted answers again. */
async function again(server: ServerProcess, since: number): Promise<void> {
  await eventually(async () => {
    assert.ok(server.running)
    return (await readFile(server.log, 'utf8')).slice(since).includes('listening for HTTP')
  }, 'a start')
}

test('what a backup holds is there again: accounts, messages, pictures, files; what was there is kept', async t => {
  const { data, server, ctl, file } = await start(t)
  for (const user of ['alice', 'bob']) assert.equal((await ctl('register', `${user}@${DOMAIN}`, 'secret')).code, 0)
  const picture = path.join(data, '../picture.png')
  await writeFile(picture, Buffer.from(PNG, 'base64'))
  assert.equal((await ctl('set_picture', `alice@${DOMAIN}`, picture)).code, 0)
  const alice = await login(server, 'alice')
  const get = await upload(alice, 'hello')
  alice.send(`<message to='bob@${DOMAIN}' type='chat'><body>Are you there?</body></message>`)
  await alice.ping()
  await alice.close()
  const saved = await ctl('backup', file)
  assert.match(saved.out, /^\d+ bytes, with 1 pictures and \d+ other files\n$/)
  assert.equal((await stat(file)).mode & 0o777, 0o600)

  await ctl('unregister', `alice@${DOMAIN}`)
  await ctl('unregister', `bob@${DOMAIN}`)
  assert.equal((await http('GET', get)).status, 404)

  // Nobody is asked, and nothing done, where there is no terminal.
  const refused = await ctl('restore', file)
  assert.equal(refused.code, 2)
  assert.match(
    refused.err,
    /^All accounts, .* are replaced .* There is no terminal to ask at: if that is wanted, add --yes\n$/,
  )
  const since = (await readFile(server.log, 'utf8')).length
  const done = await ctl('restore', file, '--yes')
  assert.equal(done.code, 0, done.err)
  const [, kept] =
    /^read: 3 accounts, 1 messages that wait, .*, 1 pictures .* kept in (\S+): remove it/.exec(done.out) ?? []
  assert.match(kept!, /\/store\.before-restore-/, done.out)
  await again(server, since)
  const log = (await readFile(server.log, 'utf8')).slice(since)
  assert.match(log, /"accounts":3.*a backup was read, and takes the place of the store/)
  assert.match(log, /"kept":".*store\.before-restore-.*the one before is kept/)
  assert.ok((await readdir(kept!)).includes('CURRENT'))
  const bob = await login(server, 'bob')
  const message = await bob.receive(el => el.name === 'message')
  assert.equal(child(message, 'body')?.text, 'Are you there?')
  await bob.close()
  assert.equal((await http('GET', get)).body.toString(), 'hello')
  const shown = await ctl('--json', 'get_picture', `alice@${DOMAIN}`)
  const [{ link }] = JSON.parse(shown.out) as [{ link: string }]
  assert.equal((await http('GET', new URL(link, get).href)).status, 200)
})

test('killed in the middle of a restore, the server starts with what it had', async t => {
  const { data, server, ctl, file } = await start(t)
  await ctl('register', `alice@${DOMAIN}`, 'secret')
  const alice = await login(server, 'alice')
  const body = 'x'.repeat(2_000_000)
  const links = [await upload(alice, body), await upload(alice, body), await upload(alice, body)]
  await alice.close()
  assert.equal((await ctl('backup', file)).code, 0)
  await ctl('register', `carol@${DOMAIN}`, 'secret')
  // The socket of hermodctl tells how far it is: somewhere on the way, the server is killed.
  const restoring = ctl('restore', file, '--yes')
  const restored = path.join(data, 'store.restored')
  await eventually(() => existsSync(restored), 'the restore is under way')
  await server.kill()
  assert.match((await restoring).err, /the server went away/)
  await server.start()
  for (const user of ['alice', 'carol']) assert.equal((await ctl('check_account', `${user}@${DOMAIN}`)).code, 0, user)
  for (const link of links) assert.equal((await http('GET', link)).body.length, body.length)
  await assert.rejects(stat(restored))
  const since = (await readFile(server.log, 'utf8')).length
  assert.equal((await ctl('--yes', 'restore', file)).code, 0)
  await again(server, since)
  assert.equal((await ctl('check_account', `carol@${DOMAIN}`)).code, 3)
})
