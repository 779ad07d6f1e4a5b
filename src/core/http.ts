import type { Readable } from 'node:stream'

export type HttpMethod = 'GET' | 'PUT' | 'POST' | 'DELETE' | 'OPTIONS'

/** A request as its handler sees it. */
export interface HttpRequest {
  /** `HEAD` comes to the handler of `GET`: the listener leaves the body out. */
  readonly method: HttpMethod | 'HEAD'
  /** As it was sent: percent-encoded, without the query. */
  readonly path: string
  /** What follows the path of the route and its slash; empty at the path itself. */
  readonly rest: string
  readonly query: URLSearchParams
  /** By names in lower case; of a header that came more than once, as Node joins them. */
  readonly headers: Readonly<Record<string, string | undefined>>
  /** Content-Length; undefined where there is no body or its length is not told. */
  readonly length: number | undefined
  readonly ip: string
  readonly secured: boolean
  /**
   * The body, which must be asked for to be sent (`Expect: 100-continue`). It fails where it has more than `limit` bytes, where
   * it comes too slowly, and where the client breaks off. Throws an {@link HttpError} where it is too long by its
   * Content-Length.
   */
  body(limit: number, pace: Pace): Readable
}

/** How slow a client may be. The time in which the server is not ready for more does not count. */
export interface Pace {
  /** Bytes a second. */
  rate: number
  /** Ms that it may be slower, or silent. */
  grace: number
}

export interface HttpResponse {
  readonly status: number
  readonly headers?: Readonly<Record<string, string | number>>
  /** A stream needs a Content-Length among the headers; it is destroyed where nobody reads it. */
  readonly body?: string | Uint8Array | Readable
}

/** Thrown by a handler, or for it: the client is told the status and the text. */
export class HttpError extends Error {
  readonly status: number
  constructor(status: number, text: string) {
    super(text)
    this.name = 'HttpError'
    this.status = status
  }
}

export type HttpHandler = (request: HttpRequest) => HttpResponse | Promise<HttpResponse>

/** Where the server is to be reached by HTTP, for links. */
export interface HttpOrigin {
  readonly secured: boolean
  readonly port: number
}

/** What is served by HTTP, for all hosts and ports: the domain is in the path where it matters. */
export class HttpRoutes {
  /** By path, then by method. */
  readonly #routes = new Map<string, Map<HttpMethod, { owner: string; handler: HttpHandler }>>()
  /** Undefined where there is no listener. */
  origin: () => HttpOrigin | undefined = () => undefined

  /** Serves what is at `path` and below it. Throws an Error where that is taken. */
  add(owner: string, method: HttpMethod, path: string, handler: HttpHandler): () => void {
    const methods = this.#routes.get(path) ?? new Map<HttpMethod, { owner: string; handler: HttpHandler }>()
    const there = methods.get(method)
    if (there !== undefined) throw new Error(`${owner}: ${method} ${path} is served already, by ${there.owner}`)
    methods.set(method, { owner, handler })
    this.#routes.set(path, methods)
    return () => {
      methods.delete(method)
      if (methods.size === 0 && this.#routes.get(path) === methods) this.#routes.delete(path)
    }
  }

  /** The longest path that `path` is at or below; `allow` are its methods. */
  find(
    path: string,
    method: string,
  ): { rest: string; allow: string[]; owner: string; handler: HttpHandler | undefined } | undefined {
    for (let end = path.length; end >= 0; end = end === 0 ? -1 : path.lastIndexOf('/', end - 1)) {
      const methods = this.#routes.get(path.slice(0, end))
      if (methods === undefined) continue
      const found = methods.get((method === 'HEAD' ? 'GET' : method) as HttpMethod)
      const allow = [...methods.keys()].flatMap(name => (name === 'GET' ? ['GET', 'HEAD'] : [name]))
      const { owner = '', handler } = found ?? {}
      return { rest: path.slice(end + 1), allow, owner, handler }
    }
    return undefined
  }
}

export function plainAnswer(status: number, text: string, headers: HttpResponse['headers'] = {}): HttpResponse {
  return { status, headers: { 'Content-Type': 'text/plain; charset=utf-8', ...headers }, body: `${text}\n` }
}

// ---- files that users have sent

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

/** Type and subtype of a media type, without its parameters. */
export function essence(type: string): string {
  return type.split(';', 1)[0]!.trim().toLowerCase()
}

export interface ServedFile {
  readonly type: string
  readonly size: number
  /** When it was written, ms since 1970. */
  readonly at: number
  /** Names this content. */
  readonly tag: string
  /** `length` bytes from `start`; `size` is that of the whole by now. */
  open(start: number, length: number): Promise<{ size: number; body: Readable } | undefined>
}

/** A file that anybody may have sent, whole or the part that is asked for (RFC 9110 14), so that it harms no browser. */
export async function serveFile(request: HttpRequest, file: ServedFile): Promise<HttpResponse> {
  const { size } = file
  const etag = `"${file.tag}"`
  const headers: Record<string, string | number> = {
    'Content-Type': essence(file.type) === 'text/plain' ? withCharset(file.type) : file.type,
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

function withCharset(type: string): string {
  return /;\s*charset=/i.test(type) ? type : `${type}; charset=utf-8`
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
