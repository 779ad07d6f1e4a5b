import type { Entry, Origin } from '../core/queue/entry.ts'
import { WRAP } from '../core/queue/outbox.ts'
import type { Router } from '../core/router.ts'
import type { Op } from '../storage/store.ts'
import { elementNs, NS } from '../xml/index.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import { pairKey } from './pair.ts'
import type { Pings } from './pings.ts'
import { type Known, keyOf, type Seen, type SeenRings } from './seen.ts'

/** Stanzas after which a peer is told how far we are though it did not ask. */
const TELL_EVERY = 100
/** A peer that asked is answered after this time at the latest, with what is safe by then (ms). */
const ANSWER_AFTER = 3000
/** Questions of a peer that are being answered at a time, before it has to wait. */
const MAX_REQUESTS = 50

/** Pairs of a conversation whose remembered messages stay in memory for it. */
const MAX_RINGS = 20

/** What comes in needs of the server. */
export interface Reception {
  readonly router: Router
  readonly seen: SeenRings
  readonly pings: Pings
  readonly counters: { readonly received: { value: number }; readonly again: { value: number } }
}

/** A message of a peer that waits to be safe. */
class Received implements Origin {
  readonly patient = true
  readonly inflow: Inflow
  readonly n: number
  readonly spell: symbol
  readonly key: string | undefined
  readonly ring: Seen | undefined
  known: Known | undefined
  accepting = false
  safeNow = false

  constructor(inflow: Inflow, n: number, spell: symbol, key: string | undefined, ring: Seen | undefined) {
    this.inflow = inflow
    this.n = n
    this.spell = spell
    this.key = key
    this.ring = ring
  }

  accepted(entry: Entry): void {
    this.accepting = true
    this.inflow.wait(this)
    if (this.key !== undefined) this.known = this.ring!.add(this.key, entry)
  }

  row(): Op | undefined {
    return this.known && this.ring!.row(this.known)
  }

  safe(entry: Entry): void {
    const { known, ring } = this
    if (known?.entry === entry) {
      if (entry.bounced) ring!.forget(known)
      else {
        // Its client has it before it was written.
        if (entry.lazy) ring!.note(known)
        ring!.settle(known)
      }
    }
    this.safeNow = true
    this.inflow.settled()
  }
}

/**
 * What comes from a peer: how many stanzas were handled, and up to which one everything is safe, which is what it is told
 * (promise 1). What it sends again is recognised by the id that it gave it (seen.ts).
 */
export class Inflow {
  readonly #to: Reception
  /** Sends what is said in between stanzas. */
  readonly #say: (text: string) => void
  #handled = 0
  #told = 0
  /** Messages that are queued and not yet safe, in order. */
  #unsafe: Received[] = []
  /** The peer asked, and waits for everything up to this. */
  #due: number | undefined
  #timer: NodeJS.Timeout | undefined
  #whenSafe: (() => void)[] = []
  #handling: Promise<void> | undefined
  /** From one count that the peer was told to go on from to the next. */
  #spell = Symbol('spell')
  readonly #rings = new Map<string, Seen>()
  /** Questions that are being answered, by who asks whom: what the same say to the same waits. */
  readonly #requests = new Map<string, Promise<void>>()

  constructor(to: Reception, say: (text: string) => void) {
    this.#to = to
    this.#say = say
  }

  /** The `h` that may be told: everything up to it is durable, delivered or answered with an error. */
  get h(): number {
    return this.#safe() % WRAP
  }

  /** All that came is handled and safe. */
  get quiet(): boolean {
    return this.#handling === undefined && this.#unsafe.length === 0
  }

  #safe(): number {
    return this.#unsafe.length === 0 ? this.#handled : this.#unsafe[0]!.n - 1
  }

  // ---- stanzas

  /** One that was checked; undefined: one that goes no further, and counts all the same. */
  receive(stanza: Stanza | undefined): void | Promise<void> {
    const done = stanza === undefined ? undefined : this.#inTurn(stanza)
    if (done === undefined) return this.#count()
    return this.#during(done)
  }

  async #during(done: Promise<void>): Promise<void> {
    const spell = this.#spell
    this.#handling = done
    try {
      await done
    } finally {
      if (this.#handling === done) this.#handling = undefined
    }
    // Unless the peer has been told meanwhile to send it again; or it failed, which ends the stream, and is to be sent again.
    if (this.#spell === spell) this.#count()
  }

  #count(): void {
    this.#handled++
    if (this.#handled - this.#told >= TELL_EVERY && this.#due === undefined) this.requested()
  }

  #inTurn(stanza: Stanza): void | Promise<void> {
    if (this.#requests.size === 0) return this.#handle(stanza)
    const before = this.#requests.get(wayOf(stanza))
    if (before !== undefined) return before.then(() => this.#handle(stanza))
    if (this.#requests.size < MAX_REQUESTS) return this.#handle(stanza)
    return Promise.race(this.#requests.values()).then(() => this.#handle(stanza))
  }

  #handle(stanza: Stanza): void | Promise<void> {
    if (stanza.kind === 'message') return this.#message(stanza)
    if (stanza.kind === 'presence') return this.#to.router.route(stanza)
    if (!stanza.isRequest) {
      if (this.#to.pings.answered(stanza)) return
      return this.#to.router.route(stanza)
    }
    // The peer, which may have no other way to know, has what it sent before acknowledged by the answer.
    if (elementNs(stanza.payload!) === NS.PING && stanza.to!.local === '' && this.#unsafe.length > 0) {
      return this.#allSafe().then(() => this.#to.router.route(stanza))
    }
    const done = this.#to.router.route(stanza)
    if (done === undefined) return
    // One question that takes long keeps nobody else waiting.
    const way = wayOf(stanza)
    const answered = done.finally(() => {
      if (this.#requests.get(way) === answered) this.#requests.delete(way)
    })
    this.#requests.set(way, answered)
  }

  #message(stanza: Stanza): void | Promise<void> {
    this.#to.counters.received.value++
    const key = keyOf(stanza)
    if (key === undefined) return this.#route(stanza, this.#received(undefined, undefined))
    const pair = pairKey({ local: stanza.to!.domain, remote: stanza.from.domain })
    const ring = this.#rings.get(pair) ?? this.#to.seen.of(pair)
    if (ring instanceof Promise) return ring.then(loaded => this.#recognise(stanza, key, pair, loaded))
    return this.#recognise(stanza, key, pair, ring)
  }

  #recognise(stanza: Stanza, key: string, pair: string, ring: Seen): void | Promise<void> {
    if (!this.#rings.has(pair)) this.#keep(pair, ring)
    const known = ring.find(key)
    if (known === undefined) return this.#route(withoutId(stanza), this.#received(key, ring))
    // It is on its way already. If it is not safe yet, this copy waits for it.
    this.#to.counters.again.value++
    const { entry } = known
    if (entry === undefined || entry.done) return
    const copy = this.#received(undefined, undefined)
    entry.join(copy)
    this.#unsafe.push(copy)
  }

  #keep(pair: string, ring: Seen): void {
    if (this.#rings.size >= MAX_RINGS) {
      const [oldest, left] = this.#rings.entries().next().value!
      this.#rings.delete(oldest)
      left.users--
    }
    this.#rings.set(pair, ring)
    ring.users++
  }

  #received(key: string | undefined, ring: Seen | undefined): Received {
    return new Received(this, this.#handled + 1, this.#spell, key, ring)
  }

  #route(stanza: Stanza, origin: Received): void | Promise<void> {
    const done = this.#to.router.route(stanza, { origin })
    if (done instanceof Promise) return done.then(() => this.#routed(origin))
    this.#routed(origin)
  }

  /** What went to clients at once, or nowhere, is recognised too. */
  #routed({ accepting, key, ring }: Received): void {
    if (!accepting && key !== undefined) ring!.note(ring!.add(key, undefined))
  }

  /** A message was queued, and is not safe yet. */
  wait(received: Received): void {
    if (received.spell === this.#spell) this.#unsafe.push(received)
    if (received.ring !== undefined) this.#to.seen.grew()
  }

  /** One of those that wait is safe. */
  settled(): void {
    const unsafe = this.#unsafe
    let safe = 0
    while (safe < unsafe.length && unsafe[safe]!.safeNow) safe++
    if (safe === 0) return
    unsafe.splice(0, safe)
    if (this.#due !== undefined && this.#safe() >= this.#due) this.#answer()
    if (unsafe.length === 0) this.#calm()
  }

  #calm(): void {
    for (const fn of this.#whenSafe.splice(0)) fn()
  }

  #allSafe(): Promise<void> {
    if (this.#unsafe.length === 0) return Promise.resolve()
    return new Promise(resolve => this.#whenSafe.push(resolve))
  }

  // ---- what the peer is told

  /** The peer asked how far we are. */
  requested(): void {
    this.#due = this.#handled
    if (this.#safe() >= this.#due) this.#answer()
    else this.#timer ??= setTimeout(() => this.#answer(), ANSWER_AFTER).unref()
  }

  #answer(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    // Who was told of a part is told of the rest when that is safe: it asks no second time.
    if (this.#due !== undefined && this.#safe() >= this.#due) this.#due = undefined
    this.#told = this.#handled
    this.#say(`<a xmlns='${NS.SM}' h='${this.h}'/>`)
  }

  /** Resolves when all that came is handled and safe. */
  async calm(): Promise<void> {
    await this.#handling?.catch(() => {})
    await this.#allSafe()
  }

  /** The connection is gone. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#due = undefined
  }

  /** The peer is told {@link h} and sends the rest again: counting goes on from there. */
  rewind(): void {
    this.#spell = Symbol('spell')
    this.#handled = this.#safe()
    this.#told = this.#handled
    this.#unsafe = []
    this.stop()
    this.#calm()
  }

  /** The conversation is over. */
  end(): void {
    this.stop()
    for (const ring of this.#rings.values()) ring.users--
    this.#rings.clear()
  }
}

function wayOf({ from, to }: Stanza): string {
  return `${from} ${to}`
}

/** What the peer calls its message is of use to nobody but us, unless the domain itself has sent it. */
function withoutId(stanza: Stanza): Stanza {
  const { domain, local } = stanza.from
  if (local === '') return stanza
  const copy = stanza.readdressed(stanza.from, stanza.to)
  copy.el.children = copy.el.children.filter(
    child =>
      typeof child === 'string' ||
      child.name !== 'stanza-id' ||
      child.attrs['xmlns'] !== NS.SID ||
      child.attrs['by'] !== domain,
  )
  return copy
}
