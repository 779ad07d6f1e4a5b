import { StanzaError } from '../xmpp/errors.ts'
import type { Logger } from './log.ts'

/** Returned by a handler to end the chain: what comes after is not asked. */
export const STOP: unique symbol = Symbol('stop')

/** Bands of order within a hook; lower runs first, ties by the owner's rank ({@link Hooks.rank}), then by registration. */
export const FIRST = 10
export const FILTER = 30
export const NORMAL = 50
export const STORE = 70
export const OBSERVE = 90

type Answer = void | typeof STOP
type Answered = undefined | typeof STOP

interface Hook<Kind, Event, Answer> {
  readonly kind: Kind
  readonly event: Event
  readonly answer: Answer
}
/** A hook whose handlers answer at once: who runs it is on its way to a client, or goes on with what they put into the event. */
export type Sync<E> = Hook<'sync', E, Answer>
/** A hook whose runner waits for handlers that return a promise, and goes by their verdict. */
export type Async<E> = Hook<'async', E, Answer | Promise<Answer>>
/** A hook that tells all handlers of something: nobody waits for what they do about it, or goes by it. */
export type Told<E> = Hook<'told', E, void | Promise<void>>

/**
 * The hooks, by what they are and the event that each one carries; an event's mutable fields are its fold.
 * Declared where they are run (core) or by the module that runs them, by declaration merging: `name: Sync<{ ... }>`.
 */
// biome-ignore lint/suspicious/noEmptyInterface: extended by declaration merging
export interface HookMap {}

type Kinds = (Sync<never> | Async<never> | Told<never>)['kind']
export type HookName<K extends Kinds = Kinds> = {
  [N in keyof HookMap & string]: HookMap[N] extends { kind: K } ? N : never
}[keyof HookMap & string]
export type HookEvent<N extends HookName> = HookMap[N]['event']
export type Handler<N extends HookName> = (event: HookEvent<N>) => HookMap[N]['answer']

export interface HookOptions {
  /** Default {@link NORMAL}. */
  order?: number
  /**
   * A handler that guards (blocking, limits): if it fails, the chain ends, and who ran it gets a StanzaError for the sender
   * (STOP, from {@link Hooks.notify}, where there is no sender).
   */
  failClosed?: boolean
}

interface Entry {
  order: number
  seq: number
  owner: string
  failClosed: boolean
  handler: (event: unknown) => Answer | Promise<Answer>
}

/** One host's hooks. Running one costs no promise unless a handler returns one. */
export class Hooks {
  readonly #chains = new Map<string, readonly Entry[]>()
  readonly #log: Logger
  #seq = 0
  #ranks: ReadonlyMap<string, number> = new Map()
  #held: { name: string; until: Promise<void> } | undefined

  constructor(log: Logger) {
    this.#log = log
  }

  /** Adds a handler in the name of `owner` (a module); the returned function takes it away again. */
  add<N extends HookName>(owner: string, name: N, handler: Handler<N>, options: HookOptions = {}): () => void {
    const entry: Entry = {
      order: options.order ?? NORMAL,
      seq: this.#seq++,
      owner,
      failClosed: options.failClosed ?? false,
      handler: handler as Entry['handler'],
    }
    this.#chains.set(name, this.#sorted([...(this.#chains.get(name) ?? []), entry]))
    return () => {
      const left = (this.#chains.get(name) ?? []).filter(e => e !== entry)
      if (left.length > 0) this.#chains.set(name, left)
      else this.#chains.delete(name)
    }
  }

  /**
   * The order of owners where their handlers have the same `order`, whenever each was added. Who is not among them comes
   * before those who are.
   */
  rank(owners: readonly string[]): void {
    this.#ranks = new Map(owners.map((owner, index) => [owner, index]))
    for (const [name, chain] of this.#chains) this.#chains.set(name, this.#sorted(chain))
  }

  #sorted(chain: readonly Entry[]): Entry[] {
    const rank = ({ owner }: Entry): number => this.#ranks.get(owner) ?? -1
    return [...chain].sort((a, b) => a.order - b.order || rank(a) - rank(b) || a.seq - b.seq)
  }

  /** Who runs this hook waits until then, and finds the handlers that there are by that time. */
  hold(name: HookName, until: Promise<void>): void {
    const held = { name, until }
    this.#held = held
    void until.then(() => {
      if (this.#held === held) this.#held = undefined
    })
  }

  has(name: HookName): boolean {
    return this.#held?.name === name || this.#chains.has(name)
  }

  /** Runs a chain. The answer is STOP if a handler stopped it; a promise only if a handler returned one. */
  run<N extends HookName<'async'>>(name: N, event: HookEvent<N>): Answered | Promise<Answered> {
    return this.#run(name, event)
  }

  /**
   * Runs a chain whose handlers answer at once; what they throw, as in {@link run}. That one returns a promise in spite of its
   * type is logged, and the chain goes on.
   */
  runSync<N extends HookName<'sync'>>(name: N, event: HookEvent<N>): Answered {
    const chain = this.#chains.get(name)
    if (chain === undefined) return undefined
    for (const entry of chain) {
      try {
        const answer = entry.handler(event)
        if (answer === STOP) return STOP
        if (answer !== undefined) this.#logPromise(name, entry, answer)
      } catch (error) {
        this.#failed(name, entry, error)
      }
    }
    return undefined
  }

  /**
   * Tells of something where there is no sender to answer. Whatever a handler throws is logged, also what elsewhere would be
   * a verdict, and the others are told all the same; STOP still ends the chain.
   */
  notify<N extends HookName<'sync' | 'told'>>(name: N, event: HookEvent<N>): Answered {
    const chain = this.#chains.get(name)
    if (chain === undefined) return undefined
    for (const entry of chain) {
      try {
        const answer = entry.handler(event)
        if (answer === STOP) return STOP
        if (answer !== undefined) answer.catch((error: unknown) => this.#logFailure(name, entry, error))
      } catch (error) {
        this.#logFailure(name, entry, error)
        if (entry.failClosed) return STOP
      }
    }
    return undefined
  }

  /** As {@link notify} tells all; resolves when everybody has done what they do about it. Never rejects. */
  async settle<N extends HookName<'told'>>(name: N, event: HookEvent<N>): Promise<void> {
    const work: Promise<unknown>[] = []
    for (const entry of this.#chains.get(name) ?? []) {
      try {
        const answer = entry.handler(event)
        if (answer instanceof Promise) work.push(answer.catch((error: unknown) => this.#logFailure(name, entry, error)))
      } catch (error) {
        this.#logFailure(name, entry, error)
      }
    }
    await Promise.all(work)
  }

  /** Each hook with its handlers in the order in which they run. */
  list(): { hook: string; order: number; owner: string }[] {
    return [...this.#chains.keys()]
      .sort()
      .flatMap(hook => this.#chains.get(hook)!.map(({ order, owner }) => ({ hook, order, owner })))
  }

  #run(name: HookName, event: unknown): Answered | Promise<Answered> {
    if (this.#held?.name === name) return this.#held.until.then(() => this.#run(name, event))
    const chain = this.#chains.get(name)
    return chain === undefined ? undefined : this.#from(name, chain, 0, event)
  }

  #from(name: string, chain: readonly Entry[], start: number, event: unknown): Answered | Promise<Answered> {
    for (let i = start; i < chain.length; i++) {
      const entry = chain[i]!
      let answer: Answer | Promise<Answer>
      try {
        answer = entry.handler(event)
      } catch (error) {
        answer = this.#failed(name, entry, error)
      }
      if (answer === undefined) continue
      if (answer === STOP) return STOP
      return answer
        .catch((error: unknown) => this.#failed(name, entry, error))
        .then(later => (later === STOP ? STOP : this.#from(name, chain, i + 1, event)))
    }
    return undefined
  }

  /** An error meant for the sender passes on; anything else is the handler's fault and is logged. */
  #failed(hook: string, entry: Entry, error: unknown): undefined {
    if (isVerdict(error)) throw error
    this.#logFailure(hook, entry, error)
    // Not STOP, which would drop the stanza without a word: its sender may have to be told (promise 8).
    if (entry.failClosed) throw new StanzaError('internal-server-error', undefined, { type: 'wait' })
  }

  #logPromise(hook: string, { owner: module }: Entry, answer: Promise<unknown>): void {
    answer.catch(() => {})
    this.#log.error({ hook, module }, 'a handler of a synchronous hook returned a promise; its answer is lost')
  }

  #logFailure(hook: string, entry: Entry, error: unknown): void {
    this.#log.error({ err: error, hook, module: entry.owner }, 'a hook handler failed')
  }
}

/** StanzaError and StreamError are answers to the sender, not failures of the handler. */
function isVerdict(error: unknown): boolean {
  return error instanceof Error && (error.name === 'StanzaError' || error.name === 'StreamError')
}
