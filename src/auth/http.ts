import { Limit } from '../util/limit.ts'
import type { PasswordSource } from './chain.ts'
import { BusyError } from './derive.ts'

interface HttpOptions {
  /** What `/check_password` and `/user_exists` are appended to. */
  url: string
  /** The host, prepared. */
  domain: string
  /** `name:password` that we show (RFC 7617). */
  basicAuth: string | undefined
  /** Ms that an answer may take, waiting for a turn included. */
  timeout: number
  /** Requests of a kind at a time; ten times as many wait, and what is beyond fails. */
  maxRequests: number
}

/** No answer that we understand is longer. */
const MAX_ANSWER = 1024
/** HTTP's ways to say no. */
const REFUSED = new Set([401, 403, 404])

/** Accounts that a web service knows: it is asked by `POST`, and answers `true` or `false`. */
export class HttpSource implements PasswordSource {
  readonly name = 'http'
  readonly #options: HttpOptions
  /** Apart, so that strangers who write to names that they make up keep nobody from logging in. */
  readonly #logins: Limit
  readonly #names: Limit

  constructor(options: HttpOptions) {
    this.#options = options
    const limit = () => new Limit(options.maxRequests, options.maxRequests * 10, () => new BusyError())
    this.#logins = limit()
    this.#names = limit()
  }

  check(user: string, password: string): Promise<boolean> {
    return this.#ask(this.#logins, 'check_password', { user, pass: password })
  }

  exists(user: string): Promise<boolean> {
    return this.#ask(this.#names, 'user_exists', { user })
  }

  #ask(limit: Limit, what: string, fields: Record<string, string>): Promise<boolean> {
    const { url, domain, basicAuth, timeout } = this.#options
    const signal = AbortSignal.timeout(timeout)
    return limit.run(async () => {
      signal.throwIfAborted()
      const response = await fetch(`${url.replace(/\/+$/, '')}/${what}`, {
        method: 'POST',
        headers: basicAuth === undefined ? {} : { authorization: `Basic ${Buffer.from(basicAuth).toString('base64')}` },
        body: new URLSearchParams({ ...fields, server: domain }),
        redirect: 'error', // a password goes nowhere but where the operator said
        signal,
      })
      const text = await beginning(response)
      if (REFUSED.has(response.status)) return false
      if (response.ok && text === 'true') return true
      if (response.ok && text === 'false') return false
      throw new Error(`${what} was answered with status ${response.status}, and neither true nor false`)
    })
  }
}

async function beginning(response: Response): Promise<string> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk as Uint8Array, { stream: true })
    if (text.length > MAX_ANSWER) break
  }
  return text.trim()
}
