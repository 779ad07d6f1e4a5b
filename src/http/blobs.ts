import { createHash } from 'node:crypto'
import { type HttpHandler, plainAnswer } from '../core/http.ts'
import type { BlobStore } from '../storage/blob.ts'

/** The path below which links to blobs lead here: that of option `blobs.url`, without a slash at its end. */
export function blobPath(url: string): string {
  return (url.startsWith('/') ? url : new URL(url).pathname).replace(/\/+$/, '')
}

/** Serves blobs to who has a link to them. What is not there and what is not allowed look the same. */
export function blobHandler(blobs: BlobStore): HttpHandler {
  return async request => {
    const key = keyOf(request.rest)
    if (key === undefined || !blobs.allows(key, request.query)) return plainAnswer(404, 'not found')
    const found = await blobs.stat(key)
    if (found === undefined) return plainAnswer(404, 'not found')
    // A key may be written again: its content is named by when that was.
    const tag = createHash('sha256').update(`${key}\n${found.at}\n${found.size}`).digest('base64url').slice(0, 22)
    return { file: { ...found, tag, open: (start, length) => blobs.get(key, { start, length }) } }
  }
}

function keyOf(rest: string): string | undefined {
  try {
    const key = decodeURIComponent(rest)
    return key === '' || key.split('/').some(part => part === '' || part.startsWith('.')) ? undefined : key
  } catch {
    return undefined
  }
}
