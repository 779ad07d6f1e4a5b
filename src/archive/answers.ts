import { setImmediate } from 'node:timers/promises'
import { Later } from '../core/iq.ts'
import { Limit } from '../util/limit.ts'
import { Turns } from '../util/turns.ts'
import type { Element } from '../xml/index.ts'
import { StanzaError } from '../xmpp/errors.ts'
import type { Jid } from '../xmpp/jid.ts'

/** Questions of one client that wait for their turn, and characters of them. */
const MAX_WAITING = 100
const MAX_WAITING_SIZE = 256 * 1024
/** Answers that are read, or sent, at a time: each has as much of every turn as the others. */
const MAX_WORKING = 4
/** Bytes of messages that are sent before others have their turn. */
const PORTION = 64 * 1024

/** A message of an archive on its way to a client. */
export interface Outgoing {
  readonly id: string
  readonly size: number
  /** The message is in it, whole: a client that acknowledges it has the message. */
  readonly carries: boolean
  /** The element around it: what is in it is parsed here, and not before. */
  make(): Element
}

/** Who reads an archive. */
export interface Reader {
  /** With its resource: one question of a client is answered after the other. */
  readonly jid: Jid
  /** Nobody waits for an answer any more. */
  readonly ended: boolean
  /** It has enough for now. */
  readonly full: boolean
  /** Resolves when it takes more: with false when it has ended. */
  room(): Promise<boolean>
  /** What sends each of these messages. */
  sender(messages: readonly Outgoing[]): Promise<(message: Outgoing) => void | Promise<void>>
}

/** A question whose turn it is. */
export interface Asker {
  readonly reader: Reader
  /** From here on the answer waits for the client. */
  readonly waits: () => void
}

/**
 * Answers of which much goes before them. When they wait for the client to read, and to acknowledge, its stream is read on:
 * nothing piles up for a client that is slow, and nobody else waits.
 */
export class Answers {
  readonly #working = new Limit(MAX_WORKING, Number.POSITIVE_INFINITY, () => new StanzaError('resource-constraint'))
  /** The questions of one client are answered one after the other. */
  readonly #questions = new Turns(1 + MAX_WAITING, tooMany, MAX_WAITING_SIZE)

  /**
   * In the turn of its reader; `size` are the characters of the question.
   * @throws StanzaError `resource-constraint` for one that has asked too much already
   */
  later(reader: Reader, size: number, answer: (asker: Asker) => Promise<Element>): Later {
    const { promise, resolve: waits } = Promise.withResolvers<void>()
    // Those before it wait already.
    if (this.#questions.busy(reader.jid.toString())) waits()
    const work = () => (reader.ended ? gone() : answer({ reader, waits }))
    return new Later(this.#questions.run(reader.jid.toString(), work, size), promise)
  }

  /**
   * Reads what is to be sent, and sends it, one message at a time. Where the client has enough for now, the rest is let go,
   * and `again` reads each message when it is its turn.
   */
  async send<Found>(
    { reader, waits }: Asker,
    read: () => Promise<{ found: Found; messages: readonly Outgoing[] }>,
    again: (id: string) => Promise<Outgoing | undefined>,
  ): Promise<Found> {
    let since = 0
    const { found, left, send } = await this.#working.run(async () => {
      const { found, messages } = await read()
      const sender = await reader.sender(messages)
      const send = async (message: Outgoing): Promise<void> => {
        since += message.size
        if (since >= PORTION) {
          since = 0
          await setImmediate()
        }
        await sender(message)
      }
      let sent = 0
      while (sent < messages.length && !reader.full) await send(messages[sent++]!)
      return { found, left: messages.slice(sent).map(({ id }) => id), send }
    })
    if (left.length > 0) waits()
    for (const id of left) {
      if (!(await reader.room())) break // it has ended
      await this.#working.run(async () => {
        const message = await again(id)
        if (message !== undefined) await send(message)
      })
    }
    return found
  }
}

function gone(): never {
  throw new StanzaError('recipient-unavailable')
}

function tooMany(): StanzaError {
  return new StanzaError('resource-constraint', 'too many questions at once: wait for the answers')
}
