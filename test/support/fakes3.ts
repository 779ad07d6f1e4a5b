/**
 * As much of an S3 server as the driver asks for, in this process, with faults at will: what a real one does when it fails
 * cannot be had of a real one on demand. It takes any signature; test/storage/blob-s3.test.ts is against one that does not.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'

export type Fault =
  /** An answer in its place, with this code in the XML. */
  | { status: number; code: string }
  /** No answer, ever. */
  | 'hang'
  /** The connection is reset before an answer. */
  | 'reset'
  /** Of a body that comes, or that is asked for, so many bytes; then the connection is reset. */
  | { resetAfter: number }
  /** As the last, but nothing more comes and the connection stays. */
  | { hangAfter: number }
  /** All is well, after so many ms. */
  | { slow: number }

interface Stored {
  bytes: Buffer
  type: string
  at: Date
}

export class FakeS3 {
  readonly objects = new Map<string, Stored>()
  readonly #uploads = new Map<string, { key: string; type: string; parts: Map<number, Buffer> }>()
  readonly #server: Server
  /** What happens to a request; undefined: nothing. */
  fault: (request: IncomingMessage) => Fault | undefined = () => undefined
  /** Requests that came, as `PUT /bucket/key`. */
  readonly seen: string[] = []

  private constructor() {
    this.#server = createServer(
      (request, response) => void this.#answer(request, response).catch(() => response.destroy()),
    )
  }

  static async start(t: TestContext): Promise<FakeS3> {
    const s3 = new FakeS3()
    s3.#server.listen(0, '127.0.0.1')
    await once(s3.#server, 'listening')
    t.after(() => {
      s3.#server.closeAllConnections()
      s3.#server.close()
    })
    return s3
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.seen.push(`${request.method} ${request.url}`)
    const fault = this.fault(request)
    if (fault === 'hang') return void request.resume()
    if (fault === 'reset') return void request.socket.resetAndDestroy()
    if (fault !== undefined && 'slow' in fault) await new Promise(resolve => setTimeout(resolve, fault.slow))
    const chunks: Buffer[] = []
    let size = 0
    const stop = fault !== undefined && typeof fault === 'object' && ('resetAfter' in fault || 'hangAfter' in fault)
    const most = stop ? ('resetAfter' in fault ? fault.resetAfter : fault.hangAfter) : Number.POSITIVE_INFINITY
    for await (const chunk of request) {
      size += (chunk as Buffer).length
      if (size > most) return this.#stop(fault as object, request)
      chunks.push(chunk as Buffer)
    }
    if (fault !== undefined && 'status' in fault) return error(request, response, fault.status, fault.code)
    const { status, headers, body } = this.#handle(request, Buffer.concat(chunks))
    if (status >= 400) return error(request, response, status, String(body))
    response.writeHead(status, { 'Content-Length': body.length, ...headers })
    if (request.method === 'HEAD') return void response.end()
    if (body.length <= most) return void response.end(body)
    response.write(body.subarray(0, most), () => this.#stop(fault as object, request))
  }

  #stop(fault: object, request: IncomingMessage): void {
    if ('resetAfter' in fault) request.socket.resetAndDestroy()
  }

  #handle(request: IncomingMessage, bytes: Buffer): Answered {
    const url = new URL(request.url!, 'http://localhost')
    const [, , ...rest] = url.pathname.split('/')
    const key = decodeURIComponent(rest.join('/'))
    const query = url.searchParams
    if (key === '') return this.#bucket(request.method!, query)
    const type = request.headers['content-type'] ?? 'application/octet-stream'
    const id = query.get('uploadId')
    if (query.has('uploads')) {
      const upload = `upload-${this.#uploads.size}`
      this.#uploads.set(upload, { key, type, parts: new Map() })
      return xml(`<InitiateMultipartUploadResult><UploadId>${upload}</UploadId></InitiateMultipartUploadResult>`)
    }
    const upload = id === null ? undefined : this.#uploads.get(id)
    switch (request.method) {
      case 'PUT':
        if (upload === undefined) this.objects.set(key, { bytes, type, at: new Date() })
        else upload.parts.set(Number(query.get('partNumber')), bytes)
        return { status: 200, headers: { ETag: etag(bytes) }, body: Buffer.alloc(0) }
      case 'POST': {
        const told = `<Location>x</Location><Bucket>b</Bucket><Key>${key}</Key><ETag>"x"</ETag>`
        const parts = [...upload!.parts].sort(([a], [b]) => a - b).map(([, part]) => part)
        this.objects.set(key, { bytes: Buffer.concat(parts), type: upload!.type, at: new Date() })
        this.#uploads.delete(id!)
        return xml(`<CompleteMultipartUploadResult>${told}</CompleteMultipartUploadResult>`)
      }
      case 'DELETE':
        if (id === null) this.objects.delete(key)
        else this.#uploads.delete(id)
        return { status: 204, headers: {}, body: Buffer.alloc(0) }
      default:
        return this.#read(key, request.headers.range)
    }
  }

  #read(key: string, range: string | undefined): Answered {
    const found = this.objects.get(key)
    if (found === undefined) return { status: 404, headers: {}, body: Buffer.from('NoSuchKey') }
    const { bytes, type, at } = found
    const headers = { 'Content-Type': type, 'Last-Modified': at.toUTCString(), ETag: etag(bytes) }
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? []
    if (from === undefined) return { status: 200, headers, body: bytes }
    const end = to === '' ? bytes.length - 1 : Math.min(Number(to), bytes.length - 1)
    if (Number(from) > end) return { status: 416, headers: {}, body: Buffer.from('InvalidRange') }
    const part = { 'Content-Range': `bytes ${from}-${end}/${bytes.length}` }
    return { status: 206, headers: { ...headers, ...part }, body: bytes.subarray(Number(from), end + 1) }
  }

  #bucket(method: string, query: URLSearchParams): Answered {
    if (method !== 'GET' || query.has('location')) return { status: 200, headers: {}, body: Buffer.alloc(0) }
    if (query.has('uploads')) {
      const uploads = [...this.#uploads].map(
        ([id, { key }]) => `<Upload><Key>${key}</Key><UploadId>${id}</UploadId></Upload>`,
      )
      return xml(
        `<ListMultipartUploadsResult>${uploads.join('')}<IsTruncated>false</IsTruncated></ListMultipartUploadsResult>`,
      )
    }
    const [prefix, after] = [query.get('prefix') ?? '', query.get('start-after') ?? '']
    const found = [...this.objects]
      .filter(([key]) => key.startsWith(prefix) && key > after)
      .sort(([a], [b]) => (a < b ? -1 : 1))
    const entries = found.map(
      ([key, { bytes, at }]) =>
        `<Contents><Key>${key}</Key><LastModified>${at.toISOString()}</LastModified><ETag>${etag(bytes)}</ETag><Size>${bytes.length}</Size></Contents>`,
    )
    return xml(`<ListBucketResult>${entries.join('')}<IsTruncated>false</IsTruncated></ListBucketResult>`)
  }
}

interface Answered {
  status: number
  headers: Record<string, string>
  body: Buffer
}

function xml(text: string): Answered {
  return { status: 200, headers: { 'Content-Type': 'application/xml' }, body: Buffer.from(text) }
}

function error(request: IncomingMessage, response: ServerResponse, status: number, code: string): void {
  const body = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>as the test wants it</Message></Error>`
  response.writeHead(status, { 'Content-Type': 'application/xml', 'Content-Length': Buffer.byteLength(body) })
  response.end(request.method === 'HEAD' ? undefined : body)
}

const etag = (bytes: Buffer): string => `"${createHash('md5').update(bytes).digest('hex')}"`
