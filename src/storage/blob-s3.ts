import { createReadStream } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'minio'
import { Limit } from '../util/limit.ts'
import {
  type Blob,
  type BlobAbout,
  type BlobBody,
  type BlobEntry,
  type BlobInfo,
  type BlobPart,
  type BlobStore,
  bytesIn,
  bytesOf,
  checkAbout,
  checkKey,
  LIST_LIMIT,
} from './blob.ts'
import { Spool } from './spool.ts'
import { StoreError } from './store.ts'

export interface S3Options {
  /** `https://host` or `http://host:port`. */
  endpoint: string
  region: string
  bucket: string
  /** The bucket in the path rather than in the host name: what most servers but Amazon's want. */
  pathStyle: boolean
  accessKey: string
  secretKey: string
  /** Where everybody may read the bucket: links start with this and do not expire. */
  publicUrl?: string
  /** Folder for what is on its way; emptied at the first use. */
  spool: string
  /** Ms without a byte from the server after which it counts as gone. */
  timeout: number
  log?: { warn(fields: object, message: string): void }
}

/** Bodies up to this size are sent in one piece; larger ones go in parts of it. */
const PART = 8 * 1024 * 1024
/** Streams up to this size are taken into memory; larger ones wait on the disk until they are complete. */
const SMALL = 64 * 1024
/** Those that are sent at a time, for each takes a part in memory; and that wait for it. */
const SENDING = 4
const WAITING = 10_000
/** Pauses before an operation is tried again that a broken connection or an overloaded server failed. */
const RETRIES = [100, 400]
const CONNECTIONS = 32
/** The longest that a presigned link can last (AWS Signature Version 4). */
const MAX_LINK = 7 * 86_400

/**
 * Blobs in a bucket of an S3 server. The bucket is looked for at the first use, so that hermod starts while the S3 server is
 * away; until it is back, what needs it fails.
 */
export class S3Blobs implements BlobStore {
  readonly #options: S3Options
  readonly #client: Client
  readonly #agent: http.Agent
  readonly #spool: Spool
  readonly #sending = new Limit(
    SENDING,
    WAITING,
    () => new StoreError('too many files are on their way to the S3 server'),
  )
  #ready: Promise<void> | undefined

  constructor(options: S3Options) {
    this.#options = options
    this.#spool = new Spool(options.spool)
    const url = new URL(options.endpoint)
    const secure = url.protocol === 'https:'
    const pool = { keepAlive: true, maxSockets: CONNECTIONS }
    this.#agent = secure ? new https.Agent(pool) : new http.Agent(pool)
    this.#client = new Client({
      endPoint: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
      useSSL: secure,
      region: options.region,
      accessKey: options.accessKey,
      secretKey: options.secretKey,
      pathStyle: options.pathStyle,
      partSize: PART,
      // Its own retries send again only what is in memory, and print to the console.
      retryOptions: { disableRetry: true },
      transport: patient(secure ? https : http, options.timeout),
      transportAgent: this.#agent,
    })
  }

  async put(key: string, body: BlobBody, about: BlobAbout): Promise<void> {
    checkKey(key)
    checkAbout(about)
    if (body instanceof Uint8Array || about.size <= SMALL) {
      const bytes = await bytesIn(body, about.size)
      return this.#send(key, about, async () => bytes)
    }
    await this.#spool.with(body, about.size, file =>
      this.#sending.run(() => this.#send(key, about, async () => createReadStream(file))),
    )
  }

  /** In one piece or, of a stream, in parts; again from the beginning where a connection breaks. */
  async #send(key: string, { type, size }: BlobAbout, open: () => Promise<Buffer | Readable>): Promise<void> {
    const { bucket } = this.#options
    let body: Buffer | Readable | undefined
    try {
      await this.#run('store a blob', async () => {
        if (body instanceof Readable) body.destroy()
        body = await open()
        // The client would go on with the parts of a try that failed, and counts them wrongly.
        if (size > PART) await this.#abandon(key)
        await this.#client.putObject(bucket, key, body, size, { 'Content-Type': type })
      })
    } catch (error) {
      if (body instanceof Readable) {
        body.destroy()
        if (size > PART) await this.#abandon(key).catch(() => {})
      }
      throw error
    }
  }

  /** Parts of an upload that was not completed. */
  async #abandon(key: string): Promise<void> {
    const { bucket } = this.#options
    const id = await this.#client.findUploadId(bucket, key)
    if (id !== undefined) await this.#client.abortMultipartUpload(bucket, key, id)
  }

  async get(key: string, part?: BlobPart): Promise<Blob | undefined> {
    checkKey(key)
    bytesOf(part ?? { start: 0 }, 0)
    const { bucket } = this.#options
    if (part !== undefined && part.length === 0) return this.#nothing(key)
    const body = await this.#run('read a blob', () => absent(this.#read(bucket, key, part), 'beyond'))
    if (body === 'beyond') return this.#nothing(key)
    if (body === undefined) return undefined
    body.on('error', () => {}) // whoever reads it hears of it; nobody may have begun
    return { body, ...infoOf(body) }
  }

  #read(bucket: string, key: string, part: BlobPart | undefined): Promise<Readable> {
    if (part === undefined) return this.#client.getObject(bucket, key)
    const { start, length = 0 } = part
    return this.#client.getPartialObject(bucket, key, start, Number.isFinite(length) ? length : 0)
  }

  /** A part that lies beyond the end. */
  async #nothing(key: string): Promise<Blob | undefined> {
    const found = await this.stat(key)
    return found && { ...found, body: Readable.from([], { objectMode: false }) }
  }

  async stat(key: string): Promise<BlobInfo | undefined> {
    checkKey(key)
    const { bucket } = this.#options
    return this.#run('look up a blob', async () => {
      const found = await absent(this.#client.statObject(bucket, key))
      if (found !== undefined) {
        const type = String(found.metaData['content-type'] ?? 'application/octet-stream')
        return { type, size: found.size, at: found.lastModified.getTime() }
      }
      // The answer to HEAD has no body to say what is absent.
      if (!(await this.#client.bucketExists(bucket))) throw Object.assign(new Error(), { code: 'NoSuchBucket' })
      return undefined
    })
  }

  async del(key: string): Promise<void> {
    checkKey(key)
    const { bucket } = this.#options
    await this.#run('delete a blob', () => absent(this.#client.removeObject(bucket, key)))
  }

  async link(key: string, ttl: number): Promise<string> {
    checkKey(key)
    const { bucket, publicUrl } = this.#options
    if (publicUrl !== undefined) return `${publicUrl.replace(/\/+$/, '')}/${encodeURI(key)}`
    const seconds = Math.min(Math.max(Math.ceil(ttl / 1000), 1), MAX_LINK)
    return this.#client.presignedGetObject(bucket, key, seconds)
  }

  allows(): boolean {
    return false
  }

  async list(prefix: string, after = '', limit = LIST_LIMIT): Promise<BlobEntry[]> {
    if (limit <= 0) return []
    const { bucket } = this.#options
    return this.#run('list blobs', async () => {
      const entries: BlobEntry[] = []
      const pages = this.#client.listObjectsV2(bucket, prefix, true, after)
      for await (const { name, size, lastModified } of pages as AsyncIterable<Listed>) {
        entries.push({ key: name, size, at: new Date(lastModified).getTime() })
        if (entries.length === limit) break
      }
      return entries
    })
  }

  async close(): Promise<void> {
    this.#agent.destroy()
  }

  /** Does something with the bucket, which is made sure of before; again after each pause where that may help. */
  async #run<T>(what: string, run: () => Promise<T>, pauses: readonly number[] = RETRIES): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        await this.#bucket()
        return await run()
      } catch (error) {
        const wait = pauses[tries]
        if (wait === undefined || !isPassing(error)) throw this.#failure(what, error)
        await pause(wait)
      }
    }
  }

  #bucket(): Promise<void> {
    this.#ready ??= this.#prepare().catch((error: unknown) => {
      this.#ready = undefined
      throw error
    })
    return this.#ready
  }

  async #prepare(): Promise<void> {
    const { bucket, region } = this.#options
    try {
      if (!(await this.#client.bucketExists(bucket))) await this.#client.makeBucket(bucket, region)
    } catch (error) {
      const code = codeOf(error)
      if (code === 'BucketAlreadyOwnedByYou') return
      // Keys that may only use the bucket may not ask for it; whether they are wrong, its use will tell.
      if (code !== 'AccessDenied' && code !== 'Forbidden') throw error
    }
  }

  #failure(what: string, error: unknown): unknown {
    if (error instanceof StoreError || error instanceof TypeError) return error
    const { endpoint, bucket } = this.#options
    const code = codeOf(error)
    const reason = REASONS[code] ?? (isPassing(error) ? `it does not answer as it should (${code})` : `${code}`)
    const told = error instanceof Error && !REASONS[code] ? `: ${error.message}` : ''
    const failure = new StoreError(`cannot ${what} (bucket ${bucket} at ${endpoint}): ${reason}${told}`, {
      cause: error,
    })
    this.#options.log?.warn({ err: failure }, 'the S3 server failed')
    return failure
  }
}

interface Listed {
  name: string
  size: number
  lastModified: Date
}

const WRONG_KEY = 'the key is wrong: check blobs.s3.access_key and blobs.s3.secret_key'
/** What the operator can do about it. */
const REASONS: Record<string, string> = {
  InvalidAccessKeyId: WRONG_KEY,
  SignatureDoesNotMatch: WRONG_KEY,
  AccessDenied: 'the key may not do this: check blobs.s3.access_key and its rights on the bucket',
  NoSuchBucket: 'the bucket is gone: make it again, or check blobs.s3.bucket',
  RequestTimeTooSkewed: 'its clock and that of this machine differ: set them',
  QuotaExceeded: 'it is full: raise the quota or make room',
  XMinioStorageFull: 'it is full: make room',
  EntityTooLarge: 'it takes no object of this size, or is full',
  InsufficientStorage: 'it is full: make room',
  ECONNREFUSED: 'nobody listens there: is it running, and is blobs.s3.endpoint right?',
  ENOTFOUND: 'there is no such host: check blobs.s3.endpoint',
  ESTALLED: 'it does not answer in time',
}

/** An error of the server's answer, of the network, or by the HTTP status alone. */
function codeOf(error: unknown): string {
  const { code, message = '' } = (error ?? {}) as { code?: unknown; message?: string }
  if (typeof code === 'string' && code !== '') return code
  const status = /HTTP status: (\d{3})/.exec(message)?.[1]
  return status === undefined ? 'unknown' : `status ${status}`
}

const PASSING = new Set(['ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'EAI_AGAIN', 'SlowDown', 'InternalError'])

/** Whether another try, soon, may have better luck. A server that is silent has had its time. */
function isPassing(error: unknown): boolean {
  const code = codeOf(error)
  return PASSING.has(code) || code.startsWith('status ')
}

/** Undefined where the object is not there; `beyond` where the part that was asked for begins after its end. */
async function absent<T>(found: Promise<T>): Promise<T | undefined>
async function absent<T>(found: Promise<T>, beyond: 'beyond'): Promise<T | 'beyond' | undefined>
async function absent<T>(found: Promise<T>, beyond?: 'beyond'): Promise<T | 'beyond' | undefined> {
  try {
    return await found
  } catch (error) {
    const code = codeOf(error)
    if (code === 'NoSuchKey' || code === 'NotFound') return undefined
    if (beyond !== undefined && code === 'InvalidRange') return beyond
    throw error
  }
}

function infoOf(body: Readable): BlobInfo {
  const { headers } = body as http.IncomingMessage
  return {
    type: headers['content-type'] ?? 'application/octet-stream',
    size: Number(/^bytes \d+-\d+\/(\d+)$/.exec(headers['content-range'] ?? '')?.[1] ?? headers['content-length']),
    at: new Date(headers['last-modified'] ?? 0).getTime(),
  }
}

/** Requests that end with an error when the server has been silent for `timeout` ms. */
function patient(transport: typeof http | typeof https, timeout: number): Pick<typeof http, 'request'> {
  const request = (options: http.RequestOptions, done: (response: http.IncomingMessage) => void) => {
    const made = transport.request(options, done)
    const stalled = () => Object.assign(new Error(`silent for ${timeout / 1000} s`), { code: 'ESTALLED' })
    return made.setTimeout(timeout, () => made.destroy(stalled()))
  }
  return { request: request as typeof http.request }
}
