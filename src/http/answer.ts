import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { TLSSocket } from 'node:tls'
import { HttpError, type HttpRequest, type HttpResponse, type HttpRoutes, plainAnswer } from '../core/http.ts'
import type { Logger } from '../core/log.ts'
import { plainAddress } from '../util/address.ts'

/** What is left of a body that nobody wanted is read up to here, so that the connection can go on. */
const MAX_LEFT = 64 * 1024
const MAX_PATH = 4096

/** Lets whoever serves the path answer. Never rejects: a client that goes away is no failure, and a handler's goes to the log. */
export async function answer(
  routes: HttpRoutes,
  log: Logger,
  message: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    await send(await handled(routes, log, message, response), message, response)
  } catch (error) {
    log.debug({ err: error }, 'an HTTP answer broke off')
    response.destroy()
  }
}

async function handled(
  routes: HttpRoutes,
  log: Logger,
  message: IncomingMessage,
  response: ServerResponse,
): Promise<HttpResponse> {
  const [path = '', query = ''] = splitTarget(message.url ?? '')
  if (path.length > MAX_PATH) return plainAnswer(414, 'too long')
  const found = path.startsWith('/') ? routes.find(path, message.method ?? '') : undefined
  if (found === undefined) return plainAnswer(404, 'not found')
  const { handler, allow, owner, rest } = found
  if (handler === undefined) return plainAnswer(405, 'not here', { Allow: allow.join(', ') })
  const request = requestOf(message, response, path, query, rest)
  try {
    return await handler(request)
  } catch (error) {
    if (message.destroyed && !message.complete) throw error // the client went away
    if (error instanceof HttpError) return plainAnswer(error.status, error.message)
    if (error instanceof Error && error.name === 'StoreError') {
      log.warn({ err: error, owner }, 'a request could not be answered now')
      return plainAnswer(503, 'not now; try again later', { 'Retry-After': 60 })
    }
    log.error({ err: error, owner }, 'a request could not be answered')
    return plainAnswer(500, 'that did not work')
  }
}

/** Path and query; a whole address (RFC 9112 3.2.2) counts by its path. */
function splitTarget(target: string): [string, string] {
  const local = target.replace(/^https?:\/\/[^/?#]*/i, '')
  const [before = ''] = local.split('#', 1)
  const at = before.indexOf('?')
  return at < 0 ? [before, ''] : [before.slice(0, at), before.slice(at + 1)]
}

function requestOf(
  message: IncomingMessage,
  response: ServerResponse,
  path: string,
  query: string,
  rest: string,
): HttpRequest {
  const length = message.headers['content-length']
  return {
    method: message.method as HttpRequest['method'],
    path,
    rest,
    query: new URLSearchParams(query),
    headers: message.headers as Record<string, string | undefined>,
    length: length === undefined ? undefined : Number(length),
    ip: plainAddress(message.socket.remoteAddress),
    secured: message.socket instanceof TLSSocket,
    body(limit, timeout) {
      if (Number(length ?? 0) > limit) throw new HttpError(413, `more than ${limit} bytes`)
      if (message.headers.expect?.toLowerCase() === '100-continue') response.writeContinue()
      return bounded(message, limit, timeout)
    },
  }
}

function bounded(message: IncomingMessage, limit: number, timeout: number): Readable {
  let size = 0
  const body = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length
      if (size > limit) done(new TypeError(`a body of more than ${limit} bytes`))
      else done(null, chunk)
    },
  })
  const timer = setTimeout(() => message.destroy(new Error('the body did not come in time')), timeout)
  body.on('error', () => {}) // whoever reads it hears of it; nobody may have begun
  body.once('close', () => clearTimeout(timer))
  void pipeline(message, body).catch(() => {})
  return body
}

async function send(answer: HttpResponse, message: IncomingMessage, response: ServerResponse): Promise<void> {
  const { status, headers = {}, body } = answer
  const stream = body instanceof Readable ? body : undefined
  if (response.destroyed || message.socket.destroyed) return void stream?.destroy()
  if (!message.complete) leave(message, response)
  response.statusCode = status
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
  if (!response.hasHeader('X-Content-Type-Options')) response.setHeader('X-Content-Type-Options', 'nosniff')
  if (stream === undefined) {
    const bytes = Buffer.from((body as string | Uint8Array | undefined) ?? '')
    const silent = status === 204 || status === 304
    if (!silent && !response.hasHeader('Content-Length')) response.setHeader('Content-Length', bytes.length)
    response.end(message.method === 'HEAD' || silent ? undefined : bytes)
    return
  }
  if (message.method === 'HEAD') {
    stream.destroy()
    response.end()
    return
  }
  await pipeline(stream, response)
}

/** The answer comes before the end of the body: what is little is read to its end, for more the connection is closed. */
function leave(message: IncomingMessage, response: ServerResponse): void {
  const length = Number(message.headers['content-length'] ?? Number.POSITIVE_INFINITY)
  const asked = message.headers.expect === undefined
  const empty = message.headers['content-length'] === undefined && message.headers['transfer-encoding'] === undefined
  if (empty) return
  if (asked && length <= MAX_LEFT) message.resume()
  else response.shouldKeepAlive = false
}
