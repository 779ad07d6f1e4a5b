import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { Readable } from 'node:stream'
import type { TestContext } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { openFileBlobs } from '../../../src/storage/blob-files.ts'
import { S3Blobs } from '../../../src/storage/blob-s3.ts'
import { FakeS3 } from '../fakes3.ts'
import { emptyFolder } from '../folder.ts'
import { bytes } from '../httpclient.ts'
import { serve } from '../talk.ts'
import { eventually } from '../waiting.ts'
import type { Bounds } from './bound.ts'

/** Bytes of buffers that are in use. */
function buffers(): number {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  gc()
  return process.memoryUsage().arrayBuffers
}

/** Less is held than so much more than before, in the end: what is over is taken back in more than one turn. */
async function holdsLess(most: number, before: number, what: string): Promise<void> {
  await eventually(() => buffers() - before < most, `less than ${most >> 20} MiB of ${what} in memory`)
}

/** Sixteen files for a server that lets them wait: four are sent, the others lie on the disk. */
async function onTheirWay(t: TestContext): Promise<void> {
  const spool = path.join(await emptyFolder(t), 'spool')
  const s3 = await FakeS3.start(t)
  const account = { region: 'us-east-1', bucket: 'hermod', accessKey: 'key', secretKey: 'secret' }
  const blobs = new S3Blobs({ ...account, endpoint: s3.endpoint, pathStyle: true, spool, timeout: 60_000 })
  t.after(() => blobs.close())
  const size = 4 << 20
  await blobs.stat('x')
  const before = buffers()
  s3.fault = ({ method }) => (method === 'PUT' ? 'hang' : undefined)
  const puts = Array.from({ length: 16 }, (_, i) => {
    const chunks = Readable.from(
      (function* () {
        for (let left = size; left > 0; left -= 1 << 16) yield Buffer.alloc(1 << 16)
      })(),
    )
    return blobs.put(`upload/h/${i}/f`, chunks, { type: 'a/b', size }).catch(() => {})
  })
  const sent = () => s3.seen.filter(line => line.startsWith('PUT /hermod/upload/')).length
  await eventually(async () => sent() >= 4 && (await readdir(spool)).length === 16, 'four are on their way')
  await holdsLess(10 * size, before, '64 MiB of files')
  assert.equal(sent(), 4)
  s3.fault = () => ({ status: 403, code: 'AccessDenied' })
  await blobs.close()
  await Promise.all(puts)
}

/** Twenty downloads of 50 MiB that nobody reads. */
async function downloadsInMemory(t: TestContext): Promise<void> {
  const blobs = await openFileBlobs(await emptyFolder(t))
  const chunk = Buffer.alloc(1 << 20)
  const size = 50 << 20
  await blobs.put('upload/x', Readable.from(Array.from({ length: 50 }, () => chunk)), { type: 'video/mp4', size })
  const server = await serve(t, { http: {}, blobs })
  const link = await blobs.link('upload/x', 60_000)
  const before = buffers()
  const sockets = []
  for (let i = 0; i < 20; i++) {
    const { socket } = bytes(server.httpPort)
    t.after(() => socket.destroy())
    socket.write(`GET ${link} HTTP/1.1\r\nHost: x\r\n\r\n`)
    await once(socket, 'data')
    socket.pause()
    sockets.push(socket)
  }
  await holdsLess(20 * 512 * 1024, before, '20 downloads')
  for (const socket of sockets) socket.destroy()
}

export const BOUNDS: Bounds = {
  pictures: {
    number: 'few at a time, some wait, the rest are told to come later',
    bytes: 'the bound of bytes, and of pixels: at it and beyond',
  },
  'uploads of a user': {
    number: 'who asks for many slots at once has to wait',
    bytes: 'who has used up the day is told when to come again, and can',
  },
  'uploads not yet begun, and at a time, of all and of a user': {
    number: 'uploads at a time are bounded',
    bytes: 'silly sizes and types, and what is too large',
  },
  'slow uploads': { number: 'an upload that is too slow is given up, and its place is free' },
  'HTTP: head of a request, its time, silence, connections': {
    number: 'connections of all addresses together are bounded',
    bytes: 'garbage and too much of a head end the connection with a word',
  },
  'downloads at a time, and slow ones': {
    number: 'who does not read what was asked for is cut off; downloads at a time are bounded',
    bytes: downloadsInMemory,
  },
  'files on their way to an S3 server': onTheirWay,
  'HTTP: requests of one connection that wait for the answer to an earlier one': {
    number: 'requests that come all at once are answered one after the other, and so many at most',
    bytes: 'each',
  },
  'a request of hermodctl, and its answers': {
    number: 'a client that never reads has no more answers made for it, and keeps nobody waiting',
    bytes: 'a line without end is cut off at the limit',
  },
}
