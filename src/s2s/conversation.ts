import type { Entry } from '../core/queue/entry.ts'
import { within } from '../util/within.ts'
import type { Element } from '../xml/index.ts'
import { StreamError } from '../xmpp/errors.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import { Inflow, type Reception } from './inflow.ts'
import { type Carrier, Outflow } from './outflow.ts'
import { type Pair, PairSet } from './pair.ts'
import type { PeerError } from './peererror.ts'
import type { Resumable } from './resumable.ts'
import type { StreamInfo, Talk, Wire } from './wire.ts'

/** How long (ms) a conversation waits for its next connection. Told to peers in `<enabled max=''/>` in seconds. */
export const RESUME_WITHIN = 5 * 60_000
/** How long (ms) a resumption waits for what came before to be safe. */
const WAIT_SAFE = 5000

/** Who sends on a conversation, for a pair. None of these throws. */
export interface Rider extends Carrier {
  readonly pair: Pair
  /** It is trying to reach the peer just now. */
  readonly trying: boolean
  /** The peer could not be reached again: what does not wait for long is given up. */
  givenUp(error: PeerError): void
  /** The connection is gone: the conversation waits to be resumed. */
  parted(conversation: Conversation, reason: string): void
  /** It goes on, on another connection. */
  resumed(conversation: Conversation): void
  /** It is over, with these unacknowledged. `inOrder`: it was closed, and did not break. */
  ended(conversation: Conversation, entries: readonly Entry[], reason: string | undefined): void
}

/** What all conversations of a server share. */
export interface Society extends Reception {
  readonly resumable: Resumable
  /** One begins, or goes on; the stream may carry what we send for these pairs. */
  opened(conversation: Conversation): void
  ended(conversation: Conversation): void
  /** The peer takes what it is sent, and never says that it has. */
  unanswered(conversation: Conversation): void
}

/** What is said with another server, beyond the connections that it is said on (XEP-0198 5). */
export class Conversation implements Talk {
  readonly receives = new PairSet()
  readonly sends = new PairSet()
  resumeId: string | undefined
  /** Of the last connection; undefined before there was one. */
  info: StreamInfo | undefined
  readonly #society: Society
  readonly #in: Inflow
  readonly #out: Outflow
  readonly #riders = new Map<string, Rider>()
  /** Pairs that the peer did not take on this stream. */
  readonly #refused = new PairSet()
  #wire: Wire | undefined
  #state: 'new' | 'open' | 'parted' | 'over' = 'new'
  #expiry: NodeJS.Timeout | undefined
  #seeker: Rider | undefined

  constructor(society: Society) {
    this.#society = society
    this.#in = new Inflow(society, text => {
      if (this.info?.sm === true) this.#wire?.send(text)
    })
    this.#out = new Outflow(society.pings, this.sends, () => society.unanswered(this))
  }

  /** Bytes of the largest stanza that the peer takes. */
  get maxBytes(): number {
    return this.#wire?.maxBytes ?? Number.POSITIVE_INFINITY
  }

  get connected(): boolean {
    return this.#wire !== undefined
  }

  /** It waits to be resumed. */
  get isParted(): boolean {
    return this.#state === 'parted'
  }

  get isOver(): boolean {
    return this.#state === 'over'
  }

  /** We began it, and may resume it. */
  get ours(): boolean {
    return this.info?.direction === 'out'
  }

  /** Stanzas that the peer has not acknowledged, and what they keep in memory. */
  get unacknowledged(): number {
    return this.#out.size
  }

  get bytes(): number {
    return this.#out.bytes
  }

  // ---- for who sends

  get full(): boolean {
    return this.#out.full
  }

  room(): Promise<boolean> {
    return this.#out.room()
  }

  /** `lost` tells its sender that it was not delivered, for what is not queued. */
  send(data: string | Buffer, entry: Entry | undefined, rider: Rider, lost: (() => void) | undefined): void {
    this.#out.send(data, entry, rider, lost)
  }

  /** A message that was sent is durable: the peer may be asked whether it has it. */
  committed(): void {
    this.#out.due()
  }

  /** Sends from now on for its pair, which is among {@link sends}. */
  join(rider: Rider): void {
    this.#riders.set(rider.pair.local, rider)
  }

  /** Whether it may be used for a pair, too: the peer is asked, once, where that is not known (XEP-0220 2.6). Never rejects. */
  async carries(pair: Pair): Promise<boolean> {
    const { local, remote } = pair
    if (this.sends.has(local, remote)) return true
    const wire = this.#wire
    if (wire === undefined || this.#refused.has(local, remote)) return false
    const taken = await wire.authenticate(pair).catch(() => false)
    if (!taken) this.#refused.add(pair)
    return taken && this.#wire === wire && this.sends.has(local, remote)
  }

  /** Nobody sends on it. */
  get isUnused(): boolean {
    return this.#riders.size === 0
  }

  /** Who is first to want it resumed sees to that; the others wait for them. */
  claim(rider: Rider): Rider {
    this.#seeker ??= rider
    return this.#seeker
  }

  /** An attempt to resume it has failed: those who asked for something are told; messages wait on. */
  giveUp(error: PeerError): void {
    this.#out.giveUp()
    for (const rider of [...this.#riders.values()]) rider.givenUp(error)
  }

  /** Ends the connection, and with it the conversation. */
  reset(reason: string): void {
    const wire = this.#wire
    this.#end(undefined, reason)
    wire?.fail(new StreamError('reset', reason))
  }

  /** Closes the stream in order. */
  close(): void {
    this.#wire?.close()
  }

  // ---- Talk

  open(wire: Wire, how: 'sm' | 'ping'): void {
    if (this.#state !== 'new') return
    this.#state = 'open'
    this.#wire = wire
    this.info = wire.info
    this.#out.open(wire, how === 'sm')
    if (!this.ours) this.#society.resumable.add(this)
    this.#society.opened(this)
  }

  receive(stanza: Stanza | undefined): void | Promise<void> {
    return this.#in.receive(stanza)
  }

  requested(): void {
    this.#in.requested()
  }

  acknowledged(el: Element): void {
    this.#out.acknowledged(el)
  }

  get h(): number {
    // What is told while there is no connection is what a resumption goes on from.
    if (this.#state === 'parted') this.#in.rewind()
    return this.#in.h
  }

  /** Resolves when all that came is safe, or after some seconds: so that little of it comes again when {@link h} is told. */
  ready(): Promise<void> {
    return within(WAIT_SAFE, this.#in.calm())
  }

  drained(): void {
    this.#out.drained()
  }

  get quiet(): boolean {
    return this.#in.quiet && this.#out.size === 0
  }

  async settled(timeout: number): Promise<void> {
    this.#out.hurry()
    const told = this.#in.calm().then(() => this.#in.requested())
    await within(timeout, Promise.all([told, this.#out.emptied()]))
  }

  parted(wire: Wire, reason: string): void {
    if (this.#wire !== wire) return
    this.#wire = undefined
    if (this.resumeId === undefined || this.#state === 'over') return this.#end(undefined, reason)
    this.#state = 'parted'
    this.#in.stop()
    this.#out.stop()
    this.#expiry = setTimeout(() => this.#end(undefined, 'the server did not come back'), RESUME_WITHIN).unref()
    if (!this.ours) this.#society.resumable.parted(this)
    // Nobody sends on it, and nobody would resume it.
    else if (this.#riders.size === 0) return this.#end(undefined, reason)
    for (const rider of [...this.#riders.values()]) rider.parted(this, reason)
  }

  /** The peer comes back on another connection while we believe in this one: it gives way. */
  detach(): void {
    const wire = this.#wire
    if (wire === undefined) return
    this.parted(wire, 'resumed on another connection')
    wire.fail(new StreamError('conflict', 'resumed on another connection'))
  }

  resumed(wire: Wire, h: number): void {
    if (this.#state !== 'parted') throw new StreamError('conflict', 'that conversation goes on elsewhere')
    clearTimeout(this.#expiry)
    try {
      this.#out.resume(wire, h)
    } catch (error) {
      // The next attempt would fare no better.
      this.#end(undefined, 'the server says that it has more than it was sent')
      throw error
    }
    this.#society.resumable.resumed(this)
    this.#seeker = undefined
    this.#state = 'open'
    this.#wire = wire
    this.info = wire.info
    this.#society.opened(this)
    for (const rider of [...this.#riders.values()]) rider.resumed(this)
  }

  over(h?: number): void {
    this.#end(h, undefined)
  }

  /** `reason`: why it broke; undefined where it was closed in order. */
  #end(h: number | undefined, reason: string | undefined): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#wire = undefined
    clearTimeout(this.#expiry)
    this.#society.resumable.ended(this, this.#in.h)
    const left = this.#out.end(h)
    this.#in.end()
    this.#society.ended(this)
    for (const rider of [...this.#riders.values()]) rider.ended(this, left.get(rider) ?? [], reason)
    this.#riders.clear()
  }
}
