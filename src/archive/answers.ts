import { setImmediate } from 'node:timers/promises'
import type { Account } from '../core/account.ts'
import { Later, type OwnRequest } from '../core/iq.ts'
import { type Session, Slot } from '../core/session.ts'
import { Limit } from '../util/limit.ts'
import type { Element } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import { Stanza } from '../xmpp/stanza.ts'

/** Questions of one session that wait for their turn, and characters of them. */
const MAX_WAITING = 100
const MAX_WAITING_SIZE = 256 * 1024
/** Answers of a host that are read, or sent, at a time: each has as much of every turn as the others. */
const MAX_WORKING = 4
/** Bytes of messages that are sent before others have their turn. */
const PORTION = 64 * 1024

/** The questions of one session, which are answered one after the other. */
interface Line {
  readonly turns: Limit
  waiting: number
  size: number
}

const LINE = new Slot<Line>('mod_mam answers')

/** A message of an archive on its way to a client. */
export interface Outgoing {
  readonly id: string
  readonly size: number
  /** The message is in it, whole: a client that acknowledges it has the message. */
  readonly carries: boolean
  /** The element around it: what is in it is parsed here, and not before. */
  make(): Element
}

/** Who is answered. */
export interface Asker {
  readonly account: Account
  readonly session: Session
  /** From here on the answer waits for the client. */
  readonly waits: () => void
}

/**
 * Answers of which much goes before them. When they wait for the client to read, and to acknowledge, its stream is read on:
 * nothing piles up for a client that is slow, and nobody else waits.
 */
export class Answers {
  readonly #working = new Limit(MAX_WORKING, Number.POSITIVE_INFINITY, () => new StanzaError('resource-constraint'))

  /** In the turn of its session. @throws StanzaError `resource-constraint` for one that has asked too much already */
  later({ stanza, account, session }: OwnRequest, answer: (asker: Asker) => Promise<Element>): Later {
    let line = session.slots.get(LINE)
    if (line === undefined) {
      line = { turns: new Limit(1, MAX_WAITING, tooMany), waiting: 0, size: 0 }
      session.slots.set(LINE, line)
    }
    const { promise, resolve: waits } = Promise.withResolvers<void>()
    // Those before it wait already.
    if (line.waiting > 0) waits()
    const work = () => (isOver(session) ? gone() : answer({ account, session, waits }))
    return new Later(inTurn(line, stanza.toString().length, work), promise)
  }

  /**
   * Reads what is to be sent, and sends it, one message at a time. Where the client has enough for now, the rest is let go,
   * and `again` reads each message when it is its turn.
   */
  async send<Found>(
    { account, session, waits }: Asker,
    read: () => Promise<{ found: Found; messages: readonly Outgoing[] }>,
    again: (id: string) => Promise<Outgoing | undefined>,
  ): Promise<Found> {
    const { found, left, sender } = await this.#working.run(async () => {
      const { found, messages } = await read()
      const sender = await Sender.begin(account, session, messages)
      let sent = 0
      while (sent < messages.length && !session.full) await sender.send(messages[sent++]!)
      return { found, left: messages.slice(sent).map(({ id }) => id), sender }
    })
    if (left.length > 0) waits()
    for (const id of left) {
      if (!(await session.room())) break // it has ended
      await this.#working.run(async () => {
        const message = await again(id)
        if (message !== undefined) await sender.send(message)
      })
    }
    return found
  }
}

/** Nobody waits any more for what a session asked that has ended meanwhile. */
function isOver(session: Session): boolean {
  return session.account.sessions.get(session.jid.resource) !== session
}

function gone(): never {
  throw new StanzaError('recipient-unavailable')
}

async function inTurn(line: Line, size: number, answer: () => Promise<Element>): Promise<Element> {
  if (line.waiting > 0 && line.size + size > MAX_WAITING_SIZE) throw tooMany()
  line.waiting++
  line.size += size
  try {
    return await line.turns.run(answer)
  } finally {
    line.waiting--
    line.size -= size
  }
}

function tooMany(): StanzaError {
  return new StanzaError('resource-constraint', 'too many questions at once: wait for the answers')
}

/**
 * A message that still waits in the queue counts as delivered when the client acknowledges the result that carries it: it is
 * not delivered a second time (XEP-0313 7.1.1), and not lost if the connection breaks.
 */
class Sender {
  readonly #account: Account
  readonly #session: Session
  readonly #pending: ReadonlySet<string>
  #since = 0

  private constructor(account: Account, session: Session, pending: ReadonlySet<string>) {
    this.#account = account
    this.#session = session
    this.#pending = pending
  }

  static async begin(account: Account, session: Session, messages: readonly Outgoing[]): Promise<Sender> {
    const ids = messages.filter(({ carries }) => carries).map(({ id }) => id)
    if (ids.length === 0) return new Sender(account, session, new Set())
    ids.sort()
    return new Sender(account, session, await account.queue.pending(ids[0]!, ids.at(-1)!, ids.length))
  }

  async send({ id, size, carries, make }: Outgoing): Promise<void> {
    const session = this.#session
    this.#since += size
    if (this.#since >= PORTION) {
      this.#since = 0
      await setImmediate()
    }
    const stanza = Stanza.make(make(), this.#account.jid, session.jid)
    const waits = carries && this.#pending.has(id) && !session.full
    const entry = waits ? await this.#account.queue.adopt(id, session) : undefined
    if (entry === undefined) session.deliver(stanza)
    else session.deliverAs(stanza, entry)
  }
}
