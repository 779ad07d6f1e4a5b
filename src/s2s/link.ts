import { keepsForOthers } from '../core/delivery.ts'
import type { DestinationQueue } from '../core/queue/destinationqueue.ts'
import type { Entry, Origin } from '../core/queue/entry.ts'
import { orderedTime } from '../util/ids.ts'
import { NS, serialize, xml } from '../xml/index.ts'
import { type StanzaCondition, StanzaError } from '../xmpp/errors.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import { Backoff } from './backoff.ts'
import type { Conversation, Rider } from './conversation.ts'
import type { Pair } from './pair.ts'
import { PeerError } from './peererror.ts'
import { Suspect } from './suspect.ts'

/** Stanzas that are not kept, and characters of them, that wait for an attempt to reach the peer. */
const MAX_HELD = 200
const MAX_HELD_CHARS = 512 * 1024
/** Who wants something of a peer that was not reached has it tried again at once if the last attempt is so long ago (ms). */
const TRY_ANYWAY = 15_000
/** A connection that ends before so long (ms), and on which nothing was acknowledged, counts as one that failed. */
const SHORT = 10_000
/** So many in a row, and its conversation is resumed no more. */
const MAX_SHORT = 3
/** How long (ms) a peer has to take up again a conversation that it began, before we go our own way. */
const COMES_BACK = 5000
/** A message that has waited so long (ms) says since when (XEP-0203). */
const DELAYED = 5000

/** A peer that comes to us is tried again at once, if the last attempt is so long ago (ms). */
const HEARD_AFTER = 1000
/** A peer that was gone for so long (ms) is asked for no more. */
const FORGOTTEN = 2 * 86_400_000

const END = '</message>'

/** What a link needs of the server. */
export interface LinkSurroundings {
  /** A conversation on a stream of its own; or `before` again, resumed. Rejects with PeerError. */
  connect(pair: Pair, before: Conversation | undefined, signal: AbortSignal): Promise<Conversation>
  /** One that there is already, where it will carry this pair, too. Never rejects. */
  shared(pair: Pair): Promise<Conversation | undefined>
  /** The peer has a connection to us now. */
  hears(pair: Pair): boolean
  /** Whether it was reached ever, lately. */
  wasReached(remote: string): Promise<boolean>
  reached(remote: string): void
  /** Why a peer could not be reached, for the log. */
  failed(pair: Pair, error: PeerError): void
  /** The peer has been out of reach for long; or is there again. */
  gone(pair: Pair): void
  back(pair: Pair): void
  queued(pair: Pair, entry: Entry): void
  bounce(stanza: Stanza, reason: StanzaError): void
  retryMax(): number
  /** Ms without a connection until a peer counts as gone. */
  goneAfter(): number
  now(): number
}

/** A stanza that is not kept and waits for a connection; what was queued up to this id comes before it. */
interface Held {
  readonly stanza: Stanza
  readonly after: string
}

export type LinkState = 'idle' | 'connecting' | 'connected' | 'parted' | 'waiting'

/**
 * What we send for one pair of domains. Messages lie in its queue until the peer has acknowledged them; everything else waits in
 * memory, for one attempt to reach the peer and no longer. What one sends to another arrives in the order in which it was sent.
 */
export class Link implements Rider {
  readonly pair: Pair
  readonly queue: DestinationQueue
  readonly #around: LinkSurroundings
  readonly #backoff = new Backoff()
  #conversation: Conversation | undefined
  /** An attempt to reach the peer is under way. */
  #attempt: AbortController | undefined
  /** Resolves when that has ended, one way or the other; undefined while there is none. */
  attempted: Promise<void> | undefined
  /** Until when (ms since 1970) nothing is tried again, and why the last attempt failed, when. */
  #retryAt = 0
  #failure: PeerError | undefined
  #failedAt = 0
  #timer: NodeJS.Timeout | undefined
  #held: Held[] = []
  #heldChars = 0
  /** The id of the newest message that was queued. */
  #last: string
  /** Since when there is a connection, ms since 1970, and whether it was of use. */
  #since = 0
  #useful = false
  #connected = false
  /** Connections in a row of a conversation that was resumed, which broke at once. */
  #shortOnes = 0
  /** Messages that the peer was given and has not acknowledged. */
  #underWay = 0
  readonly #suspect = new Suspect()
  #waiting: ((room: boolean) => void)[] = []
  /** The domain was never reached, and the last attempt says that it does not exist. */
  #unknown = false
  /** There was one since it came into memory: what the peer has been shown is to be taken back. */
  #known = false
  #goneTimer: NodeJS.Timeout | undefined
  #gone = false
  /** Stanzas were lost for want of a connection. */
  #lost = false
  #closed = false

  constructor(pair: Pair, queue: DestinationQueue, around: LinkSurroundings) {
    this.pair = pair
    this.queue = queue
    this.#around = around
    this.#last = queue.newest
  }

  // ---- for commands

  get state(): LinkState {
    if (this.#conversation?.connected === true) return 'connected'
    if (this.#attempt !== undefined) return 'connecting'
    if (this.#conversation !== undefined) return 'parted'
    return this.#timer === undefined ? 'idle' : 'waiting'
  }

  get conversation(): Conversation | undefined {
    return this.#conversation
  }

  /** Why the last attempt failed; undefined since one succeeded. */
  get failure(): PeerError | undefined {
    return this.#failure
  }

  /** When it will be tried again, ms since 1970; undefined if that is not due. */
  get retryAt(): number | undefined {
    return this.#timer === undefined ? undefined : this.#retryAt
  }

  /** Nothing goes on. */
  get idle(): boolean {
    const busy = this.#conversation !== undefined || this.#attempt !== undefined || this.#goneTimer !== undefined
    return !busy && !this.#gone && this.#held.length === 0 && this.queue.idle
  }

  /** Stanzas that wait for a connection, in characters. */
  get weight(): number {
    return this.#heldChars + 2000
  }

  // ---- what is to be sent

  /** Throws StanzaError where it is not taken. */
  deliver(stanza: Stanza, origin: Origin | undefined): void {
    if (!keepsForOthers(stanza)) return this.#transient(stanza)
    if (this.#unknown && this.#attempt === undefined && !this.#wanted()) throw unknownDomain(this.pair.remote)
    const holder = this.queue.isLive(this) ? this : undefined
    const entry = this.queue.push(stanza, this.pair.local, origin, holder)
    this.#last = entry.id
    this.#around.queued(this.pair, entry)
    if (this.#conversation?.connected !== true) this.#wanted()
  }

  #transient(stanza: Stanza): void {
    const conversation = this.#conversation
    const ahead = isServersAnswer(stanza)
    if (conversation?.connected === true) {
      if (ahead || (this.queue.isLive(this) && this.#held.length === 0)) return this.#sendNow(conversation, stanza)
    }
    if (conversation?.connected !== true && !this.#wanted()) return this.#refuse(stanza, this.#condition)
    const { length } = stanza.toString()
    if (this.#held.length >= MAX_HELD || this.#heldChars + length > MAX_HELD_CHARS) {
      return this.#refuse(stanza, 'resource-constraint')
    }
    if (ahead) this.#held.unshift({ stanza, after: '' })
    else this.#held.push({ stanza, after: this.#last })
    this.#heldChars += length
  }

  #sendNow(conversation: Conversation, stanza: Stanza): void {
    const lost =
      stanza.isRequest && stanza.kind === 'iq' ? () => this.#refuse(stanza, 'remote-server-timeout') : undefined
    const text = stanza.toString()
    if (text.length > conversation.maxBytes) {
      if (stanza.kind !== 'presence') this.#around.bounce(stanza, tooLarge(conversation))
      return
    }
    conversation.send(text, undefined, this, lost)
  }

  get #condition(): StanzaCondition {
    return this.#failure?.condition ?? 'remote-server-timeout'
  }

  /** It was not sent and will not be: who waits for an answer gets one (RFC 6120 10.4). What tells of a moment is lost. */
  #refuse(stanza: Stanza, condition: StanzaCondition): void {
    const { kind, type } = stanza
    if (kind === 'presence') this.#lost = true
    if (kind === 'message' || type === 'unavailable' || type === 'probe') return
    this.#around.bounce(stanza, new StanzaError(condition))
  }

  /** What was held, up to a message that is about to be sent. */
  #sendHeld(before?: string): void {
    const conversation = this.#conversation
    while (conversation?.connected === true && this.#held.length > 0) {
      const { stanza, after } = this.#held[0]!
      if (before !== undefined && after >= before) return
      this.#held.shift()
      this.#heldChars -= stanza.toString().length
      this.#sendNow(conversation, stanza)
    }
  }

  #refuseHeld(condition: StanzaCondition): void {
    this.#heldChars = 0
    for (const { stanza } of this.#held.splice(0)) this.#refuse(stanza, condition)
  }

  // ---- Rider

  take(entry: Entry, late: boolean): void {
    this.#sendHeld(entry.id)
    const conversation = this.#conversation
    if (conversation === undefined) return this.queue.release(this, [entry])
    if (entry.bytes.length > conversation.maxBytes) return this.queue.refuse(entry, tooLarge(conversation))
    this.#underWay++
    conversation.send(late ? this.#stamped(entry) : entry.bytes, entry, this, undefined)
  }

  #stamped({ id, bytes }: Entry): Buffer | string {
    const at = orderedTime(id)
    if (at === undefined || this.#around.now() - at < DELAYED) return bytes
    const text = bytes.toString()
    if (!text.endsWith(END)) return bytes
    const delay = xml('delay', { xmlns: NS.DELAY, from: this.pair.local, stamp: new Date(at).toISOString() })
    return `${text.slice(0, -END.length)}${serialize(delay)}${END}`
  }

  get full(): boolean {
    return this.#conversation?.full !== false || this.#isAlone
  }

  /** The one message that may be under way is. */
  get #isAlone(): boolean {
    return this.#suspect.careful && this.#underWay > 0
  }

  room(): Promise<boolean> {
    if (this.#conversation === undefined) return Promise.resolve(false)
    return this.#isAlone ? new Promise(resolve => this.#waiting.push(resolve)) : this.#conversation.room()
  }

  #goOn(room: boolean): void {
    for (const resolve of this.#waiting.splice(0)) resolve(room)
  }

  committed(): void {
    this.#conversation?.committed()
  }

  caughtUp(): void {
    this.#sendHeld()
  }

  confirm(entry: Entry): void {
    this.#useful = true
    this.#shortOnes = 0
    this.#underWay--
    this.#suspect.clear()
    this.queue.confirm(entry, this)
    this.#goOn(true)
  }

  parted(conversation: Conversation, reason: string): void {
    if (this.#conversation !== conversation) return
    const short = this.#connectionLost()
    // What breaks each time is not to be resumed for ever.
    if (short && ++this.#shortOnes >= MAX_SHORT) return conversation.over()
    if (!conversation.ours) return this.#tryIn(COMES_BACK)
    const needed = !conversation.quiet || conversation.receives.size > 0 || this.#wants
    if (!needed) return conversation.over()
    if (conversation.claim(this) !== this) return
    if (short) this.#missed(brokeAtOnce(reason))
    else this.#connect()
  }

  resumed(conversation: Conversation): void {
    if (this.#conversation === conversation) this.#up()
  }

  ended(conversation: Conversation, entries: readonly Entry[], reason: string | undefined): void {
    if (this.#conversation !== conversation) return this.queue.release(this, entries)
    const broke = this.#connected && reason !== undefined
    const short = (this.#connected && this.#connectionLost(reason !== undefined)) || this.#shortOnes >= MAX_SHORT
    const refused = short ? this.#suspect.broke(entries, this.#around.now(), this.#around.goneAfter()) : undefined
    this.#conversation = undefined
    this.#underWay = 0
    this.#shortOnes = 0
    this.queue.detach(this)
    if (refused !== undefined) this.queue.refuse(refused, refusedMessage())
    this.queue.release(this, entries)
    this.#goOn(false)
    if (this.#closed) return
    if (this.#attempt !== undefined) return
    if (short && (broke || this.#wants)) this.#missed(brokeAtOnce(reason ?? 'closed by the server'))
    else if (broke || this.#wants) this.#wanted()
  }

  get trying(): boolean {
    return this.#attempt !== undefined
  }

  givenUp({ condition }: PeerError): void {
    this.#refuseHeld(condition)
  }

  /** Whether it was of no use, and did not last. */
  #connectionLost(broke = true): boolean {
    this.#connected = false
    const short = !this.#useful && this.#around.now() - this.#since < SHORT
    if (!short) this.#backoff.reset()
    if (broke) this.#down()
    return short
  }

  // ---- connections

  get #wants(): boolean {
    return this.queue.messages > 0 || this.#held.length > 0
  }

  /** Somebody wants a connection. False: not now, for the last attempt has just failed. */
  #wanted(): boolean {
    if (this.#closed) return false
    if (this.#attempt !== undefined) return true
    const { now } = this.#around
    const conversation = this.#conversation
    if (conversation?.ours === false) {
      if (this.#timer === undefined) this.#tryIn(COMES_BACK)
      return true
    }
    const seeker = conversation?.claim(this)
    if (seeker !== undefined && seeker !== this) return seeker.trying
    if (now() < this.#retryAt && now() - this.#failedAt < TRY_ANYWAY) {
      if (this.#timer === undefined) this.#tryIn(this.#retryAt - now())
      return false
    }
    this.#connect()
    return true
  }

  #tryIn(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const conversation = this.#conversation
      if (conversation?.connected === true) return
      // It has not come back; ours, which resumes it, is still to be tried.
      if (conversation !== undefined && !conversation.ours) return conversation.over()
      if (this.#gone && this.#around.now() - this.#since > FORGOTTEN) this.#gone = false
      if (this.#wants || conversation !== undefined || this.#goneTimer !== undefined || this.#gone) this.#connect()
    }, ms).unref()
  }

  #connect(): void {
    if (this.#attempt !== undefined || this.#closed) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    const attempt = new AbortController()
    this.#attempt = attempt
    const attempted = this.#reach(attempt).finally(() => {
      if (this.attempted === attempted) this.attempted = undefined
    })
    this.attempted = attempted
  }

  /** Never rejects. */
  async #reach(attempt: AbortController): Promise<void> {
    try {
      const found = await this.#find(attempt.signal)
      if (this.#attempt !== attempt) return void (found.isUnused && found.close())
      this.#attempt = undefined
      if (found !== this.#conversation) this.#use(found)
      else if (found.isOver) this.#wanted()
    } catch (error) {
      if (this.#attempt !== attempt) return
      this.#attempt = undefined
      this.#missed(error)
    }
  }

  async #find(signal: AbortSignal): Promise<Conversation> {
    const before = this.#conversation
    if (before === undefined) {
      const shared = await this.#around.shared(this.pair)
      if (shared !== undefined) return shared
    } else await before.ready()
    signal.throwIfAborted()
    return this.#around.connect(this.pair, before?.isOver === true ? undefined : before, signal)
  }

  /** A stream that the peer began may carry what we send. */
  offer(conversation: Conversation): void {
    const before = this.#conversation
    if (this.#closed || !conversation.connected || before?.connected === true) return
    // Where both sides begin at a time, and each would give up its own stream for that of the other, none would be left.
    if (this.#attempt !== undefined && this.pair.local < this.pair.remote) return
    this.#attempt?.abort()
    this.#attempt = undefined
    if (before !== undefined) {
      // What the peer has not acknowledged on that one comes first on this one.
      this.#conversation = undefined
      this.queue.detach(this)
      before.over()
    }
    this.#use(conversation)
  }

  /** The peer has connected to us: it is there. */
  heard(): void {
    const { state } = this
    if (state === 'waiting' && this.#around.now() - this.#failedAt >= HEARD_AFTER) {
      this.#retryAt = 0
      this.#connect()
    }
    if (this.#gone) this.#back()
  }

  #use(conversation: Conversation): void {
    if (conversation.isOver) return void this.#wanted()
    this.#conversation = conversation
    conversation.join(this)
    if (conversation.connected) this.#up()
    void this.queue.attach(this)
    if (conversation.isParted) this.parted(conversation, 'the connection broke')
  }

  #up(): void {
    clearTimeout(this.#timer)
    clearTimeout(this.#goneTimer)
    this.#timer = undefined
    this.#goneTimer = undefined
    this.#since = this.#around.now()
    this.#useful = false
    this.#connected = true
    this.#unknown = false
    this.#known = true
    this.#failure = undefined
    this.#retryAt = 0
    this.#around.reached(this.pair.remote)
    if (this.#gone || this.#lost) this.#back()
    if (this.queue.isLive(this)) this.#sendHeld()
  }

  #back(): void {
    this.#gone = false
    this.#lost = false
    this.#around.back(this.pair)
  }

  /** The peer cannot be reached. */
  #down(): void {
    if (!this.#known || this.#gone) return
    this.#goneTimer ??= setTimeout(() => {
      this.#goneTimer = undefined
      if (this.#conversation?.connected === true || this.#around.hears(this.pair)) return
      this.#gone = true
      this.#around.gone(this.pair)
    }, this.#around.goneAfter()).unref()
  }

  /** An attempt has failed. */
  #missed(error: unknown): void {
    const failure =
      error instanceof PeerError ? error : new PeerError('remote-server-timeout', String(error), { cause: error })
    const { now, retryMax, failed } = this.#around
    this.#failure = failure
    this.#failedAt = now()
    const pause = this.#backoff.next(retryMax())
    this.#retryAt = this.#failedAt + pause
    failed(this.pair, failure)
    this.#conversation?.giveUp(failure)
    this.#refuseHeld(failure.condition)
    this.#down()
    this.#tryIn(pause)
    if (failure.condition === 'remote-server-not-found') return void this.#dropUnknown()
    this.#unknown = false
    // Our own rules: another configuration allows the domain no more.
    if (failure.condition === 'forbidden') void this.drop(new StanzaError('forbidden')).catch(() => {})
  }

  /** A domain that was never reached and does not exist: a typing error, which its author is told at once. */
  async #dropUnknown(): Promise<void> {
    const { remote } = this.pair
    try {
      // The DNS of one that was there may be out of order: what waits for it has time.
      if (this.#known || (await this.#around.wasReached(remote))) return
      this.#unknown = true
      await this.queue.drop(unknownDomain(remote))
    } catch {
      // The store cannot be read now; what waits is tried again.
    }
  }

  /** After a start: what waits is to leave. */
  wake(): void {
    if (this.#wants) this.#wanted()
  }

  /** Nothing is tried any more: the server stops. What comes is queued. */
  halt(): void {
    this.#closed = true
    this.#attempt?.abort()
    this.#attempt = undefined
    clearTimeout(this.#timer)
    clearTimeout(this.#goneTimer)
    this.#timer = undefined
    this.#goneTimer = undefined
    this.#refuseHeld('remote-server-timeout')
  }

  // ---- for operators

  /** Tries at once. False: it has a connection, or tries already. */
  retry(): boolean {
    if (this.#conversation?.connected === true || this.#attempt !== undefined) return false
    this.#retryAt = 0
    if (this.#conversation?.ours === false) this.#conversation.over()
    this.#connect()
    return true
  }

  /** Gives up all that waits. Resolves with how many messages that were. */
  async drop(reason: StanzaError): Promise<number> {
    if (this.#conversation?.connected !== true) this.#conversation?.over()
    this.#refuseHeld(reason.condition)
    return this.queue.drop(reason)
  }

  /** It leaves memory; what waits stays in the store. */
  close(): void {
    this.halt()
    this.queue.close()
  }
}

/**
 * What one server answers the other. By it the peer may learn what we have got of its messages: where those of both sides
 * waited for that, and it behind them, nothing would ever go on.
 */
function isServersAnswer({ kind, isRequest, from, to }: Stanza): boolean {
  return kind === 'iq' && !isRequest && from.local === '' && to!.local === ''
}

function unknownDomain(remote: string): StanzaError {
  return new StanzaError('remote-server-not-found', `there is no server for ${remote}`)
}

/** XEP-0478 4: the peer would end the stream, again and again. */
function tooLarge({ maxBytes }: Conversation): StanzaError {
  return new StanzaError('policy-violation', `the server there takes ${maxBytes} bytes at most`)
}

/** What the peer has answered with the end of its stream each time. */
function refusedMessage(): StanzaError {
  return new StanzaError('policy-violation', 'the server there ends the connection each time that it gets this message')
}

function brokeAtOnce(reason: string): PeerError {
  return new PeerError('remote-server-timeout', `the connection broke at once: ${reason}`)
}
