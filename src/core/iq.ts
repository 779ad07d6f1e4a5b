import { type Element, elementNs } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { Account } from './account.ts'
import type { Host } from './host.ts'
import type { Logger } from './log.ts'
import type { Source } from './router.ts'
import type { Session } from './session.ts'

/** What an iq is addressed to: the host itself, or an account (its bare address, or none: one's own). */
export type IqTarget = 'server' | 'account'

/**
 * Whom a handler serves. `own`: users, about their own account, at its address (RFC 6120 10.3.3); everybody else is
 * `forbidden`, whether there is such an account or not. `account`: whoever asks an account. `server`: whoever asks the host.
 */
export type IqScope = 'own' | IqTarget

/** What is known of every request. Of scope `server` nothing more: who asks is an address, of whatever host. */
export interface IqRequest {
  readonly stanza: Stanza
  readonly from: Jid
  /** The payload element. */
  readonly payload: Element
}

export interface AccountRequest extends IqRequest {
  /** Undefined where there is none of that name. */
  readonly account: Account | undefined
  /** The user asks their own account. */
  readonly own: boolean
  /** The client that asks, where it is the account's own. */
  readonly session: Session | undefined
}

export interface OwnRequest extends IqRequest {
  readonly account: Account
  /** One of the sessions of `account`. */
  readonly session: Session
}

interface RequestOf {
  own: OwnRequest
  account: AccountRequest
  server: IqRequest
}

/**
 * An answer that may have to wait for the client itself (to read, to acknowledge): from when `waits` resolves, the stream that
 * asked is read on. The handler bounds how many of these it lets a client have.
 */
export class Later {
  readonly answer: Promise<Element | void>
  readonly waits: Promise<void>
  constructor(answer: Promise<Element | void>, waits: Promise<void>) {
    this.answer = answer
    this.waits = waits
  }
}

/** Answers with the payload of the result (or nothing); throws StanzaError to answer with an error. */
export type Answering<R> = (request: R) => Element | void | Promise<Element | void> | Later
export type IqHandler<S extends IqScope> = Answering<RequestOf[S]>

export interface IqOptions {
  /** Scope `own`: also where users ask the domain of their host, for XEPs that have them do so. */
  readonly atHost?: boolean
  /** It may remove the account of who asks: the removal does not wait for it, as for others that go on for the account. */
  readonly removes?: boolean
}

/**
 * A request on its way to its handler. `account` is the one that is asked, or at the host the sender's own; `session` is the
 * client, where it is one of this server.
 */
export interface IqDispatch extends IqRequest {
  readonly account: Account | undefined
  readonly session: Session | undefined
}

type Registered = { readonly owner: string; readonly removes: boolean } & {
  [S in IqScope]: { readonly scope: S; readonly handler: IqHandler<S> }
}[IqScope]

/** What is answered elsewhere (XEP-0355), whoever is asked and whichever handler there is. */
export interface Delegation {
  /** Whether this request is. */
  takes(request: IqDispatch): boolean
  answer: Answering<IqDispatch>
}

interface Delegated extends Delegation {
  readonly owner: string
  readonly removes: false
}

/** The iq handlers of one host, by what is asked, type, namespace and payload name. */
export class IqTable {
  readonly #handlers = new Map<string, Registered>()
  /** By namespace. */
  readonly #delegations = new Map<string, Delegated>()

  /** Has requests of a namespace answered elsewhere. Throws an Error where they are already. */
  delegate(owner: string, ns: string, delegation: Delegation): () => void {
    if (this.#delegations.has(ns)) throw new Error(`${owner}: ${ns} is delegated already`)
    this.#delegations.set(ns, { ...delegation, owner, removes: false })
    return () => this.#delegations.delete(ns)
  }

  add<S extends IqScope>(
    owner: string,
    scope: S,
    type: 'get' | 'set',
    ns: string,
    name: string,
    handler: IqHandler<S>,
    { atHost = false, removes = false }: IqOptions = {},
  ): () => void {
    const targets: IqTarget[] = scope === 'server' ? ['server'] : atHost ? ['account', 'server'] : ['account']
    const keys = targets.map(target => keyOf(target, type, name, ns))
    for (const key of keys) {
      const there = this.#handlers.get(key)
      if (there !== undefined)
        throw new Error(`${owner}: an iq handler for ${key} is there already, from ${there.owner}`)
    }
    for (const key of keys) this.#handlers.set(key, { owner, scope, handler, removes } as unknown as Registered)
    return () => {
      for (const key of keys) this.#handlers.delete(key)
    }
  }

  /** What is handled here, and for whom. */
  *[Symbol.iterator](): Generator<{
    owner: string
    scope: IqScope
    target: IqTarget
    type: string
    ns: string
    name: string
  }> {
    for (const [key, { owner, scope }] of this.#handlers) {
      const [target, type, name, ns] = key.split(' ') as [IqTarget, string, string, string]
      yield { owner, scope, target, type, ns, name }
    }
  }

  /**
   * Runs the handler of a request and gives the answer to `reply`: at once where the handler answers at once.
   * Nobody to answer is `service-unavailable` (RFC 6120 8.4).
   */
  dispatch(target: IqTarget, request: IqDispatch, log: Logger, reply: (stanza: Stanza) => void): void | Promise<void> {
    const { stanza, payload } = request
    const ns = elementNs(payload)
    const delegation = this.#delegations.size === 0 ? undefined : this.#delegations.get(ns)
    const found =
      delegation?.takes(request) === true
        ? delegation
        : this.#handlers.get(keyOf(target, stanza.type, payload.name, ns))
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
      const answer = run(found, request)
      if (!(answer instanceof Promise || answer instanceof Later)) return succeed(answer)
      const done = (answer instanceof Later ? answer.answer : answer).then(succeed).catch(fail)
      if (!found.removes) goesOn(request, done)
      return answer instanceof Later ? Promise.race([done, answer.waits]) : done
    } catch (error) {
      fail(error)
    }
  }
}

function keyOf(target: IqTarget, type: string, name: string, ns: string): string {
  return `${target} ${type} ${name} ${ns}`
}

/** For the account that is asked, and for that of who asks. */
function goesOn({ account, session }: IqDispatch, work: Promise<void>): void {
  for (const of of new Set([account, session?.account])) void of?.host.during(of.user, work)
}

/** Gives a handler what its scope may know. */
function run(found: Registered | Delegated, request: IqDispatch): ReturnType<IqHandler<IqScope>> {
  const { stanza, from, payload, account } = request
  if ('takes' in found) return found.answer(request)
  if (found.scope === 'server') return found.handler({ stanza, from, payload })
  const isOwn =
    account !== undefined &&
    request.session?.account === account &&
    from.bare.equals(account.jid) &&
    account.host.accounts.get(account.user) === account // else it was removed while the request was on its way
  const session = isOwn ? request.session : undefined
  if (found.scope === 'account') return found.handler({ stanza, from, payload, account, session, own: isOwn })
  if (account === undefined || session === undefined) throw new StanzaError('forbidden', 'only of one’s own account')
  return found.handler({ stanza, from, payload, account, session })
}

/**
 * Lets a handler of `table` answer an iq to `host`, or to a domain below it; `account` is the one that is asked, or who asks
 * the host. A client of the host has its answer at once, others by the router.
 */
export function answerIq(
  host: Host,
  table: IqTable,
  target: IqTarget,
  stanza: Stanza,
  { session }: Source,
  account: Account | undefined,
): void | Promise<void> {
  const request = { stanza, from: stanza.from, payload: stanza.payload!, session, account }
  return table.dispatch(target, request, host.log, answer => {
    if (session !== undefined) session.deliver(answer)
    else void host.router.route(answer)
  })
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
