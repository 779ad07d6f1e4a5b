/**
 * Restores a backup into a data folder and opens it, and is killed before the so-manieth call that changes the disk:
 *
 *     node restorer.ts DATA BACKUP CALL
 */
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import path from 'node:path'

const [data, file, call] = process.argv.slice(2)
let left = Number(call)
for (const name of ['rename', 'rm', 'mkdir', 'open', 'writeFile', 'chmod'] as const) {
  const real = fs[name] as (...args: unknown[]) => Promise<unknown>
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      if (--left === 0) process.kill(process.pid, 'SIGKILL')
      return real(...args)
    },
  })
}
syncBuiltinESMExports()

const { openFileBlobs } = await import('../../../src/storage/blob-files.ts')
const { openStoreFolder, prepareRestore } = await import('../../../src/storage/folder.ts')
const blobs = await openFileBlobs(path.join(data!, 'blobs'))
await prepareRestore(data!, blobs, file!)
console.log('read')
const store = await openStoreFolder(data!, {})
await store.close()
console.log('open')
