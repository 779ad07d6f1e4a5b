import type { Table } from '../storage/store.ts'
import { type Element, NS } from '../xml/index.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { Account } from './account.ts'
import type { Entry } from './entry.ts'
import { Slot } from './session.ts'

/** Messages remembered for each sender: more than a client has unacknowledged at any time (see SM_ACK_EVERY in c2s). */
const SIZE = 256

/** One unbroken run of a sender: from binding, or from one resumption, to the next. */
export class Run {}

interface Seen {
  slot: number
  /** While it is not yet safe. */
  entry: Entry | undefined
  /** In which it came last; undefined: before the server was started. */
  run: Run | undefined
}

const RING = new Slot<Ring | Promise<Ring>>('sender window')

/**
 * Recognises a message that a sender sends again because it never saw our acknowledgement (promise 5): same sender, same
 * id, same content. The last {@link SIZE} accepted messages of each sender are kept, in the store too, written in the same
 * batch as the message itself; so also after a crash. Only for senders that use XEP-0198: others never send again by
 * themselves.
 */
export class SenderWindow {
  readonly #table: Table<[seq: number, fingerprint: string]>

  constructor(table: Table<[number, string]>) {
    this.#table = table
  }

  /** The window of one sender; read from the store the first time. */
  of(account: Account): Ring | Promise<Ring> {
    const there = account.slots.get(RING)
    if (there !== undefined) return there
    const loading = this.#load(account.user).then(ring => {
      account.slots.set(RING, ring)
      return ring
    })
    account.slots.set(RING, loading)
    loading.catch(() => account.slots.delete(RING))
    return loading
  }

  async #load(user: string): Promise<Ring> {
    const rows = await this.#table.scan([user], { limit: SIZE })
    return new Ring(
      this.#table,
      user,
      rows.map(row => row.value).sort((a, b) => a[0] - b[0]),
    )
  }

  async clear(user: string): Promise<void> {
    await this.#table.clear([user])
  }
}

export class Ring {
  readonly #table: Table<[number, string]>
  readonly #key: readonly [string]
  readonly #seen = new Map<string, Seen>()
  readonly #slots: (string | undefined)[] = new Array(SIZE)
  #next = 0

  constructor(table: Table<[number, string]>, user: string, rows: readonly (readonly [number, string])[]) {
    this.#table = table
    this.#key = [user]
    for (const [seq, fingerprint] of rows) {
      this.#slots[seq % SIZE] = fingerprint
      this.#seen.set(fingerprint, { slot: seq % SIZE, entry: undefined, run: undefined })
      this.#next = seq + 1
    }
  }

  /**
   * What is known of the message that this one is a copy of; undefined for one that is new. What comes again in the same
   * run, where nothing was broken, is meant.
   */
  copy(fingerprint: string, run: Run): Seen | undefined {
    const seen = this.#seen.get(fingerprint)
    if (seen === undefined || seen.run === run) return undefined
    seen.run = run
    return seen
  }

  /** Remembers an accepted message, in place of the oldest. */
  add(fingerprint: string, entry: Entry, run: Run): void {
    const seq = this.#next++
    const slot = seq % SIZE
    const old = this.#slots[slot]
    if (old !== undefined && this.#seen.get(old)?.slot === slot) this.#seen.delete(old)
    this.#slots[slot] = fingerprint
    this.#seen.set(fingerprint, { slot, entry, run })
    // Joins the batch of the message; if that fails, the message's own failure is what counts.
    this.#table.put(this.#key, [slot], [seq, fingerprint]).catch(() => {})
  }

  /** The message is safe: a copy of it needs no waiting. */
  settle(fingerprint: string, entry: Entry): void {
    const seen = this.#seen.get(fingerprint)
    if (seen?.entry === entry) seen.entry = undefined
  }

  /** The sender was told that the message failed: sending it again is a new attempt. */
  forget(fingerprint: string, entry: Entry): void {
    const seen = this.#seen.get(fingerprint)
    if (seen?.entry !== entry) return
    this.#seen.delete(fingerprint)
    this.#slots[seen.slot] = undefined
    this.#table.del(this.#key, [seen.slot]).catch(() => {})
  }
}

/**
 * Addressee, id and content of a message as a short text; undefined where there is no id. A stamp of the time that a
 * client adds when it sends again (XEP-0203) does not count. Not for secrets: it only tells a sender's own messages apart.
 */
export function fingerprint(stanza: Stanza): string | undefined {
  const id = stanza.id
  if (id === undefined) return undefined
  const hash = new Hash()
  hash.add(stanza.to?.toString() ?? '')
  hash.add(stanza.type)
  for (const child of stanza.el.children) {
    if (typeof child === 'string') hash.add(child)
    else if (child.attrs['xmlns'] !== NS.DELAY) hash.element(child)
  }
  return `${id.slice(0, 64)} ${hash.text()}`
}

/** Two 32-bit multiplicative hashes side by side: fast, and 53 bits and more of difference. */
class Hash {
  #a = 0xdeadbeef | 0
  #b = 0x41c6ce57 | 0

  add(text: string): void {
    let a = this.#a
    let b = this.#b
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i)
      a = Math.imul(a ^ c, 0x9e3779b1)
      b = Math.imul(b ^ c, 0x5f356495)
    }
    this.#a = Math.imul(a ^ 0x1f, 0x85ebca6b) ^ (b >>> 13)
    this.#b = Math.imul(b ^ 0x2f, 0xc2b2ae35) ^ (a >>> 15)
  }

  element(el: Element): void {
    this.add(el.name)
    for (const name in el.attrs) {
      this.add(name)
      this.add(el.attrs[name] ?? '')
    }
    for (const child of el.children) {
      if (typeof child === 'string') this.add(child)
      else this.element(child)
    }
    this.add('/')
  }

  text(): string {
    return (this.#a >>> 0).toString(36) + (this.#b >>> 0).toString(36)
  }
}
