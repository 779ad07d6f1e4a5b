import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { TLSSocket } from 'node:tls'
import {
  HttpError,
  type HttpRequest,
  type HttpResponse,
  type HttpRoutes,
  type Pace,
  plainAnswer,
} from '../core/http.ts'
import type { Logger } from '../core/log.ts'
import { plainAddress } from '../util/address.ts'
import { serveFile } from './file.ts'
import { Paced } from './pace.ts'

/** What is left of a body that nobody wanted is read up to here, so that the connection can go on. */
const MAX_LEFT = 64 * 1024
const MAX_PATH = 4096

/** Answers that are sent piece by piece: how many at a time, and how slowly they may be read. */
export interface Downloads {
  max: number
  pace: Pace
  running: number
}

/** Lets whoever serves the path answer. Never rejects: a client that goes away is no failure, and a handler's goes to the log. */
export async function answer(
  routes: HttpRoutes,
  log: Logger,
  message: IncomingMessage,
  response: ServerResponse,
  downloads: Downloads,
): Promise<void> {
  try {
    const answer = await handled(routes, log, message, response)
    if (answer.body instanceof Readable && message.method !== 'HEAD') await stream(answer, message, response, downloads)
    else await send(answer, message, response)
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
    const answer = await handler(request)
    return 'file' in answer ? await serveFile(request, answer) : answer
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
    body(limit, pace) {
      if (Number(length ?? 0) > limit) throw new HttpError(413, `more than ${limit} bytes`)
      if (message.headers.expect?.toLowerCase() === '100-continue') response.writeContinue()
      const body = bounded(message, limit, pace)
      // Whoever asked for it may have failed before it read it.
      response.once('close', () => body.destroy())
      return body
    },
  }
}

function bounded(message: IncomingMessage, limit: number, pace: Pace): Readable {
  const slow = (): void => void message.destroy(new Error('the body came too slowly'))
  // Where it does not take more, whoever reads it is the slow one.
  const body = new Paced(pace, { most: limit }, stream => !stream.writableNeedDrain, slow)
  // All has come: from here on the server is waited for, however long it takes.
  message.once('end', () => message.socket.setTimeout(0))
  void pipeline(message, body).catch(() => {})
  return body
}

async function stream(
  answer: HttpResponse,
  message: IncomingMessage,
  response: ServerResponse,
  downloads: Downloads,
): Promise<void> {
  const body = answer.body as Readable
  if (downloads.running >= downloads.max) {
    body.destroy()
    return send(plainAnswer(503, 'too many downloads now; try again', { 'Retry-After': 10 }), message, response)
  }
  downloads.running++
  try {
    if (!begin(answer, message, response)) return void body.destroy()
    const length = Number(response.getHeader('content-length') ?? Number.NaN)
    const slow = (): void => void response.destroy(new Error('the client reads too slowly'))
    await pipeline(body, new Paced(downloads.pace, length, () => response.writableNeedDrain, slow), response)
  } finally {
    downloads.running--
  }
}

async function send(answer: HttpResponse, message: IncomingMessage, response: ServerResponse): Promise<void> {
  const { status, body } = answer
  if (body instanceof Readable) body.destroy()
  if (!begin(answer, message, response)) return
  const bytes = Buffer.from(body instanceof Readable ? '' : (body ?? ''))
  const silent = status === 204 || status === 304
  if (!silent && !response.hasHeader('Content-Length')) response.setHeader('Content-Length', bytes.length)
  response.end(message.method === 'HEAD' || silent ? undefined : bytes)
}

/** Status and headers; false where the client is gone. */
function begin({ status, headers = {} }: HttpResponse, message: IncomingMessage, response: ServerResponse): boolean {
  if (response.destroyed || message.socket.destroyed) return false
  if (!message.complete) leave(message, response)
  response.statusCode = status
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
  if (!response.hasHeader('X-Content-Type-Options')) response.setHeader('X-Content-Type-Options', 'nosniff')
  return true
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
