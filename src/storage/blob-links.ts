import { createHmac, timingSafeEqual } from 'node:crypto'

/** Links to blobs that this server's own HTTP listener serves: signed, so that nobody makes one, and ending if they are to. */
export class BlobLinks {
  readonly #secret: Buffer
  readonly #url: string
  readonly #now: () => number

  /** `url` is what links start with: a path of the listener, or the address under which it is seen from outside. */
  constructor(secret: Buffer, url = '/blobs', now: () => number = Date.now) {
    this.#secret = secret
    this.#url = url.replace(/\/+$/, '')
    this.#now = now
  }

  make(key: string, ttl: number): string {
    const until = ttl === Number.POSITIVE_INFINITY ? '' : String(Math.ceil((this.#now() + ttl) / 1000))
    return `${this.#url}/${encodeURI(key)}?${until === '' ? '' : `until=${until}&`}sig=${this.#sign(key, until)}`
  }

  /** Whether this is the query of a link to the key that was made here and is not over. */
  allows(key: string, query: URLSearchParams): boolean {
    const until = query.get('until') ?? ''
    const given = Buffer.from(query.get('sig') ?? '')
    const right = Buffer.from(this.#sign(key, until))
    if (given.length !== right.length || !timingSafeEqual(given, right)) return false
    return until === '' || Number(until) * 1000 >= this.#now()
  }

  #sign(key: string, until: string): string {
    return createHmac('sha256', this.#secret).update(`${until}\n${key}`).digest('base64url')
  }
}
