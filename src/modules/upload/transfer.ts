import {
  essence,
  type HttpAnswer,
  type HttpHandler,
  type HttpRequest,
  type HttpResponse,
  type Pace,
  plainAnswer,
} from '../../core/http.ts'
import type { BlobStore } from '../../storage/blob.ts'
import { sameName } from './names.ts'
import type { Uploads } from './uploads.ts'

const CORS = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Methods': 'OPTIONS, HEAD, GET, PUT',
  'Access-Control-Allow-Headers': 'Authorization, Content-Type, Range',
  'Access-Control-Expose-Headers': 'Content-Length, Content-Range, ETag',
  'Access-Control-Max-Age': '7200',
}

const LINK_TTL = 300_000
/** What browsers run. They get it under no type that says so, wherever the bytes lie. */
const ACTIVE = /html|[/+]xml$|svg|javascript|ecmascript|^text\/(?:css|xsl)|^multipart\/|^message\/|shockwave|wasm/

interface TransferOptions {
  uploads: Uploads
  blobs: BlobStore
  /** At a time: of all users, and of one. */
  maxUploads: number
  maxUserUploads: number
  /** Uploads that are slower are given up. */
  pace: Pace
}

interface Place {
  id: string
  name: string
  key: string
}

/** The HTTP side (XEP-0363 7): PUT with the secret of a slot, GET for everybody who knows the address. */
export class Transfer {
  readonly #options: TransferOptions
  /** Uploads at a time by user: each user that is in it has some. */
  readonly #running = new Map<string, number>()
  #total = 0

  constructor(options: TransferOptions) {
    this.#options = options
  }

  readonly options: HttpHandler = () => ({ status: 200, headers: CORS })

  readonly put: HttpHandler = async request => withCors(await this.#put(request))

  readonly get: HttpHandler = async request => withCors(await this.#get(request))

  #place({ rest }: HttpRequest): Place | undefined {
    const [id = '', segment = '', ...more] = rest.split('/')
    const name = sameName(segment)
    if (!/^[A-Za-z0-9_][A-Za-z0-9_-]{23}$/.test(id) || name === undefined || name === '' || more.length > 0)
      return undefined
    // A name that was made here starts with no dot and is no longer than a segment may be.
    if (name.startsWith('.') || name.length > 200) return undefined
    return { id, name, key: this.#options.uploads.key(id, name) }
  }

  async #put(request: HttpRequest): Promise<HttpResponse> {
    const { uploads, blobs, maxUploads, maxUserUploads, pace } = this.#options
    const place = this.#place(request)
    const slot = place && (await uploads.find(place.id, place.name, request.query.get('secret') ?? ''))
    if (place === undefined || slot === undefined) return plainAnswer(403, 'no open slot: ask for another')
    const { length } = request
    if (length === undefined) return plainAnswer(411, 'Content-Length is missing')
    if (length > slot.size) return plainAnswer(413, `${slot.size} bytes were announced`)
    if (length < slot.size) return plainAnswer(400, `${slot.size} bytes were announced`)
    // A part would stand for the whole, and what is encoded would be served as if it were not (RFC 9110 14.5, 8.4).
    if (request.headers['content-range'] !== undefined) return plainAnswer(400, 'only whole files are taken')
    const encoding = request.headers['content-encoding'] ?? 'identity'
    if (encoding.trim().toLowerCase() !== 'identity') return plainAnswer(415, 'no Content-Encoding is taken')
    const given = request.headers['content-type'] ?? 'application/octet-stream'
    if (essence(given) !== essence(slot.type)) return plainAnswer(415, `${slot.type} was announced`)
    // First that of the user: whoever sends many files slowly is told so, and leaves room for others.
    if ((this.#running.get(slot.owner) ?? 0) >= maxUserUploads) {
      return plainAnswer(429, `${maxUserUploads} uploads at a time are enough`, { 'Retry-After': 10 })
    }
    if (this.#total >= maxUploads) return plainAnswer(503, 'too many uploads now', { 'Retry-After': 10 })
    this.#total++
    this.#running.set(slot.owner, (this.#running.get(slot.owner) ?? 0) + 1)
    try {
      // Of two at once, one has it.
      if (!(await uploads.take(place.id))) return plainAnswer(403, 'no open slot: ask for another')
      const type = ACTIVE.test(essence(slot.type)) ? 'application/octet-stream' : slot.type
      await blobs.put(place.key, request.body(slot.size, pace), { type, size: slot.size })
      if (await uploads.wanted(slot, place.id)) return { status: 201 }
      await uploads.discard(slot.owner, slot.at, place.id, place.name)
      return plainAnswer(410, 'its account is gone')
    } catch (error) {
      await uploads.discard(slot.owner, slot.at, place.id, place.name)
      throw error
    } finally {
      this.#ended(slot.owner)
    }
  }

  #ended(owner: string): void {
    this.#total--
    const left = (this.#running.get(owner) ?? 1) - 1
    if (left === 0) this.#running.delete(owner)
    else this.#running.set(owner, left)
  }

  async #get(request: HttpRequest): Promise<HttpAnswer> {
    const { blobs } = this.#options
    const place = this.#place(request)
    if (place === undefined) return plainAnswer(404, 'not found')
    const { key } = place
    const link = await blobs.link(key, LINK_TTL)
    const ours = blobs.allows(key, new URL(link, 'http://localhost').searchParams)
    // A link that is signed for GET is none for HEAD.
    if (!ours && request.method === 'GET')
      return { status: 302, headers: { Location: link, 'Cache-Control': 'no-store' } }
    const found = await blobs.stat(key)
    if (found === undefined) return plainAnswer(404, 'not found')
    return { file: { ...found, tag: place.id, open: (start, length) => blobs.get(key, { start, length }) } }
  }
}

function withCors(response: HttpAnswer): HttpAnswer {
  return { ...response, headers: { ...response.headers, ...CORS } }
}
