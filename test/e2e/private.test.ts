/** What a real server leaves on the disk, and who may read it. */
import assert from 'node:assert/strict'
import { chmod, lstat, mkdir, readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { emptyFolder } from '../support/folder.ts'
import { hermodProcess } from '../support/serverprocess.ts'
import { eventually } from '../support/waiting.ts'

const LEVEL = 'storage.driver=level'

/** Everything below a folder that group or others have any right to. */
async function open(folder: string): Promise<string[]> {
  const found: string[] = []
  for (const name of await readdir(folder, { recursive: true })) {
    const { mode } = await lstat(path.join(folder, name))
    if (mode & 0o077) found.push(`${name} ${(mode & 0o777).toString(8)}`)
  }
  return found
}

test('a data folder that was there, open to all, is closed; so is all that the server writes', async t => {
  const folder = await emptyFolder(t)
  const data = path.join(folder, 'data')
  await mkdir(path.join(data, 'store'), { recursive: true })
  await mkdir(path.join(data, 'blobs'))
  for (const name of ['', 'store', 'blobs']) await chmod(path.join(data, name), 0o755)
  await writeFile(path.join(data, 'hermod.pid'), '')
  await chmod(path.join(data, 'hermod.pid'), 0o644)
  const before = process.umask(0o022)
  const server = await hermodProcess({ folder, data, sets: [LEVEL] })
  await server.start()
  process.umask(before)
  t.after(() => server.kill())
  assert.equal((await lstat(data)).mode & 0o777, 0o700)
  assert.ok((await readdir(path.join(data, 'store'))).includes('CURRENT'))
  await eventually(async () => (await readdir(data)).includes('hermodctl.sock'), 'the socket of hermodctl')
  assert.deepEqual(await open(data), [])
  const saved = path.join(folder, 'saved')
  assert.equal((await server.ctl('backup', saved)).code, 0)
  assert.equal((await lstat(saved)).mode & 0o777, 0o600)
  await server.stop()
  assert.deepEqual(await open(data), [])
})
