import { type Element, NS, parseElement } from '../../xml/index.ts'
import { StreamError } from '../../xmpp/errors.ts'
import type { Entry } from './entry.ts'

/** XEP-0198 counters are 32 bits wide and wrap. */
export const WRAP = 2 ** 32

/** Something sent that the peer has not acknowledged. */
export interface Unacked {
  /** As sent; undefined where it can be had from the entry. */
  readonly text: string | undefined
  readonly entry: Entry | undefined
  /** How to tell the sender that it was not delivered, for what is not queued (an iq). */
  readonly lost: (() => void) | undefined
}

/**
 * What was sent on a stream and its peer, a client or a server, has not confirmed, oldest first. With stream management it
 * holds every stanza, counted as XEP-0198 4 says; without, only queued messages, confirmed by the answer to a ping sent after
 * them.
 */
export class Outbox<Item extends Unacked = Unacked> {
  #items: (Item | undefined)[] = []
  #head = 0
  #bytes = 0
  /** Stanzas acknowledged, modulo 2^32. */
  #acked = 0

  get size(): number {
    return this.#items.length - this.#head
  }

  /** Stanzas sent since stream management was enabled, modulo 2^32. */
  get sent(): number {
    return (this.#acked + this.size) % WRAP
  }

  get acked(): number {
    return this.#acked
  }

  /** Of all items, in characters or bytes: what they keep in memory. */
  get bytes(): number {
    return this.#bytes
  }

  push(item: Item): void {
    this.#items.push(item)
    this.#bytes += lengthOf(item)
  }

  /**
   * The peer has handled everything up to `h` (modulo 2^32). The items that this covers, or undefined where `h` counts
   * more than was sent (XEP-0198 4: handled-count-too-high).
   */
  acknowledge(h: number): Item[] | undefined {
    const count = (h - this.#acked + WRAP) % WRAP
    if (count > this.size) return undefined
    this.#acked = h % WRAP
    return this.take(count)
  }

  /** Removes the oldest `count` items. */
  take(count: number): Item[] {
    const taken: Item[] = []
    for (let i = 0; i < count; i++) {
      const item = this.#items[this.#head]!
      this.#items[this.#head++] = undefined
      this.#bytes -= lengthOf(item)
      taken.push(item)
    }
    if (this.#head === this.#items.length) {
      this.#items = []
      this.#head = 0
    } else if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return taken
  }

  /** All items, oldest first. */
  *[Symbol.iterator](): Generator<Item> {
    for (let i = this.#head; i < this.#items.length; i++) yield this.#items[i]!
  }

  /** Carries on where a restarted server left off. */
  restore(acked: number, items: readonly Item[]): void {
    this.#acked = acked
    for (const item of items) this.push(item)
  }
}

/** The `h` of `<a/>`, `<resume/>`, `<resumed/>` or `<failed/>` (XEP-0198 4); undefined where it is none. */
export function countOf(el: Element): number | undefined {
  const text = el.attrs['h'] ?? ''
  const h = Number(text)
  return /^\d{1,10}$/.test(text) && h < WRAP ? h : undefined
}

/** XEP-0198 4: the peer says that it handled more than it was sent. */
export function tooHigh(h: number, sent: number): StreamError {
  return new StreamError('undefined-condition', `You acknowledged ${h} stanzas, but only ${sent} were sent to you`, {
    application: parseElement(`<handled-count-too-high xmlns='${NS.SM}' h='${h}' send-count='${sent}'/>`),
  })
}

function lengthOf({ text, entry }: Unacked): number {
  return text?.length ?? entry?.bytes.length ?? 0
}
