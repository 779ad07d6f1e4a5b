import { deviceOf } from '../core/queue/devicename.ts'
import type { Entry, Origin } from '../core/queue/entry.ts'
import { type Fingerprint, fingerprint, shortHash } from '../core/queue/fingerprint.ts'
import { WRAP } from '../core/queue/outbox.ts'
import { type Remembered, type Ring, Run } from '../core/queue/window.ts'
import { routeSent } from '../core/sent.ts'
import type { Op } from '../storage/store.ts'
import { within } from '../util/within.ts'
import { findChild, NS } from '../xml/index.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { C2SSession } from './session.ts'

/** Stanzas after which a client is told how far we are though it did not ask. Below the sender window's size. */
const SM_ACK_EVERY = 100
/** A client that asked is answered after this time at the latest, with what is safe by then (ms). */
const ANSWER_AFTER = 3000

/** How long (ms) stream management waits for what earlier sessions of the device have sent to arrive. */
const WAIT_EARLIER = 5000

/** A message of a client that waits to be safe. */
class Sent implements Origin {
  readonly inbound: Inbound
  readonly n: number
  readonly print: Fingerprint
  readonly spell: symbol
  /** As the sender window has it. */
  known: Remembered | undefined
  safeNow = false
  /** It came again, and waits for what came first. */
  copy = false

  constructor(inbound: Inbound, n: number, print: Fingerprint, spell: symbol) {
    this.inbound = inbound
    this.n = n
    this.print = print
    this.spell = spell
  }

  accepted(entry: Entry): void {
    this.inbound.accepted(this, entry)
  }

  row(): Op | undefined {
    return this.inbound.row(this)
  }

  safe(entry: Entry): void {
    this.inbound.settled(this, entry)
  }
}

/** Where a session had got to that is gone: the `h` of `<failed/>`, and the same for the sender window. */
export interface Ended {
  readonly h: number
  readonly n: number
  readonly run: Run
}

/**
 * What came from a client that uses stream management: how many stanzas were handled, and up to which one everything is
 * safe, which is what it is told (promise 1).
 */
export class Inbound {
  readonly #session: C2SSession
  /** A session that the client wanted back before this one, and that was gone: it was told how far that was. */
  gone: Ended | undefined
  /** Stanzas handled since stream management was enabled, not wrapped. */
  #handled = 0
  #lastAck = 0
  /** Messages that are queued and not yet safe, in order. */
  #unsafe: Sent[] = []
  /** The client asked, and waits for everything up to this. */
  #due: number | undefined
  #timer: NodeJS.Timeout | undefined
  #ring: Ring | undefined
  #run = new Run('')
  /** Nothing has come yet in this run. */
  #fresh = true
  #whenSafe: (() => void)[] = []
  /** The stanza that is being handled, while that takes longer than a turn. */
  #handling: Promise<void> | undefined
  /** From one count that the client was told to go on from to the next. */
  #spell = Symbol('spell')

  constructor(session: C2SSession) {
    this.#session = session
  }

  /** Stream management begins, or goes on after a restart at a count. */
  async start(handled?: number): Promise<void> {
    const { account } = this.#session
    const device = shortHash(deviceOf(this.#session))
    const ring = await account.host.queues.window.of(account)
    await within(WAIT_EARLIER, ring.sinceLeft(device))
    this.#ring = ring
    this.#run = handled === undefined ? new Run(device) : ring.resumed(device)
    this.#handled = handled ?? 0
    this.#lastAck = this.#handled
    this.#run.told = this.#handled
  }

  /** The `h` that may be told: everything up to it is durable, delivered or answered with an error. */
  get safe(): number {
    return this.#safe() % WRAP
  }

  #safe(): number {
    return this.#unsafe.length === 0 ? this.#handled : this.#unsafe[0]!.n - 1
  }

  /** A stanza has been handled. */
  count(): void {
    this.#handled++
    if (this.#ring !== undefined && this.#handled - this.#lastAck >= SM_ACK_EVERY && this.#due === undefined)
      this.requested()
  }

  /** A stanza is being handled. It counts then, unless its client has been told meanwhile to send it again. */
  async during(done: Promise<void>): Promise<void> {
    const spell = this.#spell
    this.#handling = done
    try {
      await done
    } finally {
      if (this.#handling === done) this.#handling = undefined
      if (this.#spell === spell) this.count()
    }
  }

  message(stanza: Stanza): void | Promise<void> {
    const session = this.#session
    const routed = stanza.to === undefined ? stanza.readdressed(stanza.from, session.account.jid) : stanza
    const ring = this.#ring
    if (ring === undefined) return this.#route(routed, undefined)
    const n = this.#handled + 1
    const print = fingerprint(routed)
    const sent = new Sent(this, n, print, this.#spell)
    const known = this.#copy(ring, print, n, routed)
    if (known === undefined) {
      const done = this.#route(routed, sent)
      if (done instanceof Promise) ring.routing(this.#run.device, done)
      return done
    }
    // Sent again after a broken connection: it is on its way already. If it is not safe yet, this copy waits for it.
    if (known.entry === undefined || known.entry.done) return
    sent.known = known
    sent.copy = true
    known.entry.join(sent)
    this.#unsafe.push(sent)
  }

  #copy(ring: Ring, print: Fingerprint, n: number, { el }: Stanza): Remembered | undefined {
    const run = this.#run
    if (this.#fresh) {
      this.#fresh = false
      this.hasHeard()
      ring.expect(run)
    }
    if (run.expected === undefined) return undefined
    return ring.copy(print, run, n, findChild(el, 'body', NS.CLIENT) !== undefined)
  }

  #route(stanza: Stanza, origin: Origin | undefined): void | Promise<void> {
    const session = this.#session
    return routeSent(session.account, stanza, { session, origin })
  }

  accepted(sent: Sent, entry: Entry): void {
    if (sent.spell === this.#spell) this.#unsafe.push(sent)
    sent.known = this.#ring?.add(sent.print, entry, this.#run, sent.n)
  }

  row({ known }: Sent): Op | undefined {
    return known && this.#ring?.row(known)
  }

  settled(sent: Sent, entry: Entry): void {
    sent.safeNow = true
    if (entry.bounced && sent.copy) this.#session.notStored(entry)
    const { known } = sent
    if (known?.entry === entry) {
      if (entry.bounced) this.#ring?.forget(known)
      else this.#ring?.settle(known)
    }
    const unsafe = this.#unsafe
    let safe = 0
    while (safe < unsafe.length && unsafe[safe]!.safeNow) safe++
    if (safe === 0) return
    unsafe.splice(0, safe)
    if (this.#due !== undefined && this.#safe() >= this.#due) this.#answer()
    if (unsafe.length === 0) for (const fn of this.#whenSafe.splice(0)) fn()
  }

  /** The client asked how far we are. */
  requested(): void {
    this.#due = this.#handled
    if (this.#safe() >= this.#due) this.#answer()
    else this.#timer ??= setTimeout(() => this.#answer(), ANSWER_AFTER)
  }

  #answer(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#due = undefined
    this.#lastAck = this.#handled
    const session = this.#session
    session.sendRaw(`<a xmlns='${NS.SM}' h='${this.safe}'/>`)
    if (session.connected) this.#run.told = this.#safe()
    if (this.inDoubt) session.acknowledger.soon()
  }

  /** What the client was told so far: when it answers something that was sent later, it knows. */
  get told(): number {
    return this.#run.told
  }

  /** It was told of messages of which we do not know yet whether it knows. */
  get inDoubt(): boolean {
    return this.#ring?.inDoubt(this.#run) === true
  }

  /** The client has read that we have its stanzas up to `told`. */
  knows(told: number): void {
    this.#ring?.knows(this.#run, told)
  }

  /**
   * The client goes on: it has read that the session it wanted is gone, and how far that was. The rest is what it sends
   * again (XEP-0198 5).
   */
  hasHeard(): void {
    if (this.gone === undefined) return
    this.#ring?.knows(this.gone.run, this.gone.n)
    this.gone = undefined
  }

  /** The session has ended: its client sends nothing again by it. */
  over(): void {
    this.#run.expected = undefined
  }

  /** How far we were when the session ended. */
  get end(): Ended {
    return { h: this.safe, n: this.#safe(), run: this.#run }
  }

  /** The client closed its stream in order. Resolves when it is durable that it will send nothing again, or after `timeout` ms. */
  closed(timeout: number): Promise<void> {
    const noted = this.#ring?.closed(this.#run)
    if (noted === undefined) return Promise.resolve()
    // A failing disk costs at most this knowledge.
    return within(
      timeout,
      noted.catch(() => {}),
    )
  }

  /** The client ended its connection without closing its stream; `hasRead`: it had read what it was told. */
  left(hasRead: Promise<boolean>, hurry: () => void): void {
    this.#ring?.left(this.#run, hasRead, hurry)
  }

  /** The session is put aside: what is known of its client is written down. */
  rest(): void {
    void this.#ring?.note().catch(() => {})
  }

  /** Resolves when everything that came so far is handled and safe, or after `timeout` ms. */
  allSafe(timeout: number): Promise<void> {
    if (this.#handling === undefined && this.#unsafe.length === 0) return Promise.resolve()
    return within(timeout, this.#settled())
  }

  async #settled(): Promise<void> {
    await this.#handling?.catch(() => {})
    if (this.#unsafe.length > 0) await new Promise<void>(resolve => this.#whenSafe.push(resolve))
  }

  /**
   * The client was told {@link safe} on resumption and will send the rest again: counting goes on from there. The copies
   * are recognised by the sender window.
   */
  rewind(): void {
    this.#spell = Symbol('spell')
    this.#handled = this.#safe()
    this.#run.told = this.#handled
    this.#fresh = true
    this.#unsafe = []
    this.#due = undefined
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
