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

/** In place of it: `headers` come with whatever is answered. */
export interface FileResponse {
  readonly file: ServedFile
  readonly headers?: HttpResponse['headers']
}

/** A file that anybody may have sent: the listener serves it, whole or the part that is asked for, so that it harms no browser. */
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

/** Thrown by a handler, or for it: the client is told the status and the text. */
export class HttpError extends Error {
  readonly status: number
  constructor(status: number, text: string) {
    super(text)
    this.name = 'HttpError'
    this.status = status
  }
}

export type HttpAnswer = HttpResponse | FileResponse

export type HttpHandler = (request: HttpRequest) => HttpAnswer | Promise<HttpAnswer>

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

/** Type and subtype of a media type, without its parameters. */
export function essence(type: string): string {
  return type.split(';', 1)[0]!.trim().toLowerCase()
}
