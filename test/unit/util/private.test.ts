import assert from 'node:assert/strict'
import { chmod, chown, lstat, mkdir, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { makePrivate } from '../../../src/util/private.ts'
import { emptyFolder } from '../../support/folder.ts'

const NOBODY = 65_534
const root = process.getuid?.() === 0

const mode = async (file: string): Promise<string> => ((await lstat(file)).mode & 0o777).toString(8)

function listening() {
  const said: string[] = []
  return { said, log: { warn: (_: object, text: string) => void said.push(text) } }
}

/** As somebody who is not root, where the tests are. */
async function asNobody<T>(work: () => Promise<T>): Promise<T> {
  process.seteuid!(NOBODY)
  try {
    return await work()
  } finally {
    process.seteuid!(0)
  }
}

test('a folder that is made is for its user alone, whatever the umask', async t => {
  const where = path.join(await emptyFolder(t), 'a/b')
  const before = process.umask(0)
  try {
    await makePrivate(where)
  } finally {
    process.umask(before)
  }
  assert.equal(await mode(where), '700')
})

test('one that others could read is mended, with the files in it, and the log says so', async t => {
  const where = await emptyFolder(t)
  await chmod(where, 0o755)
  await writeFile(path.join(where, 'key'), '')
  await chmod(path.join(where, 'key'), 0o664)
  await mkdir(path.join(where, 'store'))
  await chmod(path.join(where, 'store'), 0o750)
  const { said, log } = listening()
  await makePrivate(where, log)
  assert.deepEqual(
    [await mode(where), await mode(path.join(where, 'key')), await mode(path.join(where, 'store'))],
    ['700', '600', '700'],
  )
  assert.equal(said.length, 1)
  assert.match(said[0]!, /other users of this machine could read .*mode 0755/)
  await makePrivate(where, log)
  assert.equal(said.length, 1, 'and once')
})

test('what a link in it leads to is left alone', async t => {
  const [where, elsewhere] = [await emptyFolder(t), await emptyFolder(t)]
  const file = path.join(elsewhere, 'file')
  await writeFile(file, '')
  await chmod(file, 0o644)
  await symlink(file, path.join(where, 'link'))
  await makePrivate(where)
  assert.equal(await mode(file), '644')
})

test('a file in its place says so', async t => {
  const where = path.join(await emptyFolder(t), 'data')
  await writeFile(where, '')
  await assert.rejects(makePrivate(where), /data is no folder: /)
})

test('one of somebody else that others can read is refused, with what to do', {
  skip: !root && 'only root can give a folder away',
}, async t => {
  const where = await emptyFolder(t)
  await chown(where, 1234, 1234)
  await chmod(where, 0o777)
  await asNobody(() =>
    assert.rejects(makePrivate(where), (error: Error) => {
      assert.match(error.message, /belongs to user 1234 and other users .* \(mode 0777\)/)
      assert.match(error.message, new RegExp(`chown -R ${NOBODY} ${where}`))
      return true
    }),
  )
  assert.equal(await mode(where), '777')
})

test('a file in it of somebody else is told of: nobody gets to it any more', {
  skip: !root && 'only root can give a file away',
}, async t => {
  const where = await emptyFolder(t)
  await chown(where, NOBODY, NOBODY)
  const file = path.join(where, 'selfsigned.key')
  await writeFile(file, '')
  await chmod(file, 0o644)
  const { said, log } = listening()
  await asNobody(() => makePrivate(where, log))
  assert.deepEqual(said, ['a mode was not mended'])
})

test('one that cannot be read says so', { skip: !root && 'only root can give a folder away' }, async t => {
  const where = await emptyFolder(t)
  await asNobody(() => assert.rejects(makePrivate(where), /this user may not read the folder/))
})

test('root takes a folder of somebody else, and says who can read it', {
  skip: !root && 'only root can',
}, async t => {
  const where = await emptyFolder(t)
  await chown(where, 1234, 1234)
  await chmod(where, 0o755)
  const { said, log } = listening()
  await makePrivate(where, log)
  assert.equal(await mode(where), '700')
  assert.match(said.join('\n'), /belongs to user 1234, who can read/)
})

test('one that cannot be made says who has to make it', { skip: !root && 'root sets it up' }, async t => {
  const where = await emptyFolder(t)
  await asNobody(() =>
    assert.rejects(makePrivate(path.join(where, 'data')), /this user may not make the folder .*data: make it/),
  )
})
