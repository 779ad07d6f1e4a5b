/** What goes on while a backup is written. */
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { restoreFromFile } from '../../src/storage/backup.ts'
import type { BlobStore } from '../../src/storage/blob.ts'
import { openMemoryBlobs } from '../../src/storage/blob-memory.ts'
import { openMemoryStore } from '../../src/storage/memory.ts'
import { emptyFolder } from '../support/folder.ts'
import { http } from '../support/httpclient.ts'
import type { RawClient } from '../support/rawclient.ts'
import { child } from '../support/rawxml.ts'
import { serve } from '../support/talk.ts'

async function upload(client: RawClient, body: string): Promise<string> {
  const request = `<request xmlns='urn:xmpp:http:upload:0' filename='a.txt' size='${body.length}'/>`
  const slot = child(await client.request('get', request, 'upload.localhost'), 'slot')!
  const [put, get] = ['put', 'get'].map(name => child(slot, name)!.attrs['url']!)
  assert.equal((await http('PUT', put!, { body })).status, 201)
  return get!
}

/** A server whose files are read only when the test lets them. */
async function start(t: TestContext) {
  const folder = await emptyFolder(t)
  const memory = openMemoryBlobs()
  const reading = Promise.withResolvers<void>()
  const go = Promise.withResolvers<void>()
  const blobs: BlobStore = {
    ...memory,
    async get(key, part) {
      reading.resolve()
      await go.promise
      return memory.get(key, part)
    },
  }
  const server = await serve(t, { blobs, http: {} })
  return { file: path.join(folder, 'saved'), folder, server, memory, reading: reading.promise, go: go.resolve }
}

test('who leaves, comes or uploads while a backup is written is let; no file that is in it goes before', async t => {
  const { file, server, memory, reading, go } = await start(t)
  const [alice, bob] = await server.clients('alice', 'bob')
  await upload(alice, 'of alice')
  const saved = server.server.backup(file, false, () => {})
  await reading
  await alice.close()
  await server.server.host('localhost')!.removeAccount('alice')
  await upload(bob, 'of bob')
  go()
  assert.equal((await saved).files >= 1, true)
  const copy = { store: openMemoryStore(), blobs: openMemoryBlobs() }
  const { tables } = await restoreFromFile(copy, file)
  assert.equal(tables.get('passwd'), 2, 'as of the moment at which it began')
  for await (const { ck } of rowsOf(copy.store)) {
    assert.ok(await copy.blobs.stat(`upload/localhost/${ck}/a.txt`), 'what a row refers to is there')
  }
  // What could not be deleted meanwhile is deleted now.
  await server.command('delete_old_uploads', { host: 'localhost', days: 30 })
  assert.equal((await memory.list('upload/')).length, 1)
})

async function* rowsOf(store: ReturnType<typeof openMemoryStore>) {
  const table = store.table('localhost', { name: 'upload' })
  for (const pk of await table.partitions()) for (const { ck } of await table.scan(pk)) yield { ck: String(ck[1]) }
}

test('a second backup waits for nobody and spoils nothing: it is refused', async t => {
  const { file, folder, server, reading, go } = await start(t)
  await upload(await server.client('alice'), 'hello')
  const first = server.server.backup(file, false, () => {})
  await reading
  await assert.rejects(
    server.server.backup(file, true, () => {}),
    /is being written already/,
  )
  go()
  await first
  assert.deepEqual(await readdir(folder), ['saved'])
  assert.ok((await readFile(file)).includes('hello'))
  await server.server.backup(file, true, () => {})
})
