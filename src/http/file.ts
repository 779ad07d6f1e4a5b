import {
  essence,
  type FileResponse,
  HttpError,
  type HttpRequest,
  type HttpResponse,
  plainAnswer,
  type ServedFile,
} from '../core/http.ts'

/** What a browser may show in its place; all else is saved as a file. */
const SHOWN = new Set([
  'image/png',
  'image/jpeg',
  'image/gif',
  'image/webp',
  'image/avif',
  'image/heic',
  'audio/mpeg',
  'audio/mp4',
  'audio/aac',
  'audio/ogg',
  'audio/opus',
  'audio/webm',
  'audio/flac',
  'audio/wav',
  'audio/x-wav',
  'video/mp4',
  'video/webm',
  'video/ogg',
  'video/quicktime',
  'text/plain',
])

/** A file, or the part of it that is asked for (RFC 9110 14), so that it harms no browser. */
export async function serveFile(request: HttpRequest, { file, headers = {} }: FileResponse): Promise<HttpResponse> {
  const response = await serve(request, file)
  return { ...response, headers: { ...response.headers, ...headers } }
}

async function serve(request: HttpRequest, file: ServedFile): Promise<HttpResponse> {
  const { size } = file
  const etag = `"${file.tag}"`
  const isText = essence(file.type) === 'text/plain'
  const headers: Record<string, string | number> = {
    'Content-Type': isText && !/;\s*charset=/i.test(file.type) ? `${file.type}; charset=utf-8` : file.type,
    'Content-Disposition': SHOWN.has(essence(file.type)) ? 'inline' : 'attachment',
    'X-Content-Type-Options': 'nosniff',
    'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'; sandbox",
    'Cache-Control': 'private, max-age=86400, immutable',
    'Last-Modified': new Date(file.at).toUTCString(),
    'Accept-Ranges': 'bytes',
    ETag: etag,
  }
  const unmet = precondition(request.headers, etag, file.at)
  if (unmet === 304) return { status: 304, headers }
  if (unmet === 412) return plainAnswer(412, 'it is another by now')
  const given = request.headers['if-range']
  const wanted = given === undefined || given === etag || given === headers['Last-Modified']
  const range = wanted && request.method === 'GET' ? rangeOf(request.headers['range'], size) : undefined
  if (range === 'outside')
    return plainAnswer(416, 'there is no such part of it', { 'Content-Range': `bytes */${size}` })
  const { start, end } = range ?? { start: 0, end: size - 1 }
  headers['Content-Length'] = end - start + 1
  if (range !== undefined) headers['Content-Range'] = `bytes ${start}-${end}/${size}`
  const status = range === undefined ? 200 : 206
  if (request.method === 'HEAD') return { status, headers }
  const found = await file.open(start, end - start + 1)
  if (found === undefined) return plainAnswer(404, 'not found')
  if (found.size !== size) {
    found.body.destroy()
    throw new HttpError(503, 'it was changed just now; try again')
  }
  return { status, headers, body: found.body }
}

/** What is to be answered in place of the content (RFC 9110 13.2.2). */
function precondition(headers: HttpRequest['headers'], etag: string, at: number): 304 | 412 | undefined {
  const { 'if-match': match, 'if-none-match': noneMatch } = headers
  const names = (list: string): boolean =>
    list.trim() === '*' || list.split(',').some(tag => tag.trim().replace(/^W\//, '') === etag)
  // Times of HTTP are whole seconds; what is no time says nothing (13.1.3).
  const since = (name: string): number => Date.parse(headers[name] ?? '') - Math.floor(at / 1000) * 1000
  if (match !== undefined ? !names(match) : since('if-unmodified-since') < 0) return 412
  if (noneMatch !== undefined ? names(noneMatch) : since('if-modified-since') >= 0) return 304
  return undefined
}

/** The one part that is asked for; undefined: the whole. Several parts at once nobody asks for. */
function rangeOf(header: string | undefined, size: number): { start: number; end: number } | 'outside' | undefined {
  const [, from = '', to = ''] = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? '') ?? []
  if (from === '' && to === '') return undefined
  if (from === '')
    return Number(to) === 0 || size === 0 ? 'outside' : { start: Math.max(0, size - Number(to)), end: size - 1 }
  const start = Number(from)
  const end = to === '' ? size - 1 : Math.min(Number(to), size - 1)
  if (to !== '' && Number(to) < start) return undefined
  return start >= size ? 'outside' : { start, end }
}
