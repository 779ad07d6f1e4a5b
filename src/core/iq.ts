import { type Element, elementNs } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { Account } from './account.ts'
import type { Logger } from './log.ts'
import type { Session } from './session.ts'

/** What an iq is asked of: the host itself, or an account (its bare address, or none: one's own). */
export type IqScope = 'server' | 'account'

export interface IqRequest {
  readonly stanza: Stanza
  readonly from: Jid
  /** The payload element. */
  readonly payload: Element
  /** The session it came from, for a local client. */
  readonly session: Session | undefined
  /** The account it is addressed to (scope `account`); undefined where none of that name exists. */
  readonly account: Account | undefined
  /** The user asks their own account. */
  readonly own: boolean
}

/**
 * An answer that may have to wait for the client itself (to read, to acknowledge): the stream that asked is read on
 * meanwhile. The handler bounds how many of these it lets a client have.
 */
export class Later {
  readonly answer: Promise<Element | void>
  constructor(answer: Promise<Element | void>) {
    this.answer = answer
  }
}

/** Answers with the payload of the result (or nothing); throws StanzaError to answer with an error. */
export type IqHandler = (request: IqRequest) => Element | void | Promise<Element | void> | Later

interface Registered {
  owner: string
  handler: IqHandler
}

/** The iq handlers of one host, by scope, type, namespace and payload name. */
export class IqTable {
  readonly #handlers = new Map<string, Registered>()

  add(owner: string, scope: IqScope, type: 'get' | 'set', ns: string, name: string, handler: IqHandler): () => void {
    const key = `${scope} ${type} ${name} ${ns}`
    const there = this.#handlers.get(key)
    if (there !== undefined) throw new Error(`${owner}: an iq handler for ${key} is there already, from ${there.owner}`)
    this.#handlers.set(key, { owner, handler })
    return () => this.#handlers.delete(key)
  }

  /**
   * Runs the handler of a request and gives the answer to `reply`: at once where the handler answers at once.
   * Nobody to answer is `service-unavailable` (RFC 6120 8.4).
   */
  dispatch(scope: IqScope, request: IqRequest, log: Logger, reply: (stanza: Stanza) => void): void | Promise<void> {
    const { stanza, payload } = request
    const found = this.#handlers.get(`${scope} ${stanza.type} ${payload.name} ${elementNs(payload)}`)
    const fail = (error: unknown): void => {
      const answer = stanza.error(asStanzaError(error, log, found?.owner ?? 'core'))
      if (answer !== undefined) reply(answer)
    }
    if (found === undefined) return fail(new StanzaError('service-unavailable'))
    const succeed = (payload: Element | void): void => {
      const answer = stanza.result(payload ?? undefined)
      answer.toString() // made once: one that cannot be written is the handler's failure, and its asker is told
      reply(answer)
    }
    try {
      const answer = found.handler(request)
      if (answer instanceof Promise) return answer.then(succeed).catch(fail)
      if (answer instanceof Later) void answer.answer.then(succeed).catch(fail)
      else succeed(answer)
    } catch (error) {
      fail(error)
    }
  }
}

/** What a sender is told: a StanzaError as it is; anything else is our fault and goes to the log. */
export function asStanzaError(error: unknown, log: Logger, module: string): StanzaError {
  if (error instanceof StanzaError) return error
  log.error({ err: error, module }, 'a handler failed')
  if (error instanceof Error && error.name === 'StoreError') {
    return new StanzaError('resource-constraint', 'the server could not store this; try again later')
  }
  return new StanzaError('internal-server-error', undefined, { type: 'wait' })
}

/** The iqs that this host has asked others, and who waits for the answers. Bounded: the oldest gives way. */
export class IqRequests {
  readonly #waiting = new Map<string, { to: string; done: (answer: Stanza | undefined) => void }>()
  readonly #bound: number

  constructor(bound = 10_000) {
    this.#bound = bound
  }

  /** Calls `done` once: with the answer, or undefined after `timeout` ms. */
  add(id: string, to: Jid, timeout: number, done: (answer: Stanza | undefined) => void): void {
    if (this.#waiting.size >= this.#bound) {
      const [oldest, entry] = this.#waiting.entries().next().value!
      this.#waiting.delete(oldest)
      entry.done(undefined)
    }
    const timer = setTimeout(() => this.#take(id)?.done(undefined), timeout)
    timer.unref()
    this.#waiting.set(id, {
      to: to.toString(),
      done: answer => {
        clearTimeout(timer)
        done(answer)
      },
    })
  }

  /** An iq result or error came in; true if somebody here had asked for it. Only who was asked may answer. */
  answer(stanza: Stanza): boolean {
    const id = stanza.id
    if (id === undefined || this.#waiting.get(id)?.to !== stanza.from.toString()) return false
    this.#take(id)?.done(stanza)
    return true
  }

  #take(id: string) {
    const entry = this.#waiting.get(id)
    this.#waiting.delete(id)
    return entry
  }
}
