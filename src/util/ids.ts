import { randomFillSync } from 'node:crypto'

const HEX: readonly string[] = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'))
const POOL = 4096

/**
 * Ids nobody can guess, and ids that also order by time (UUID version 7, RFC 9562 5.7).
 * One per server: the order holds among all ids that one generator made, also when the clock steps back.
 */
export class IdGenerator {
  readonly #now: () => number
  readonly #pool = Buffer.alloc(POOL)
  #at = POOL
  #ms = 0
  #count = 0

  constructor(now: () => number = Date.now) {
    this.#now = now
  }

  #byte(): number {
    if (this.#at === POOL) {
      randomFillSync(this.#pool)
      this.#at = 0
    }
    return this.#pool[this.#at++]!
  }

  #hex(bytes: number): string {
    let text = ''
    for (let i = 0; i < bytes; i++) text += HEX[this.#byte()]
    return text
  }

  /** 16 random bytes as 32 hex digits: stream ids, resumption ids, resources. */
  random(): string {
    return this.#hex(16)
  }

  /** A UUIDv7, greater as text than every one before it. Its 62 random bits keep it unguessable. */
  ordered(): string {
    const now = this.#now()
    if (now > this.#ms) {
      this.#ms = now
      this.#count = this.#byte() // starts low so that the 4096 steps of one millisecond suffice
    } else if (++this.#count > 0xfff) {
      this.#ms++
      this.#count = 0
    }
    const ms = this.#ms
    const high = Math.floor(ms / 0x10000)
      .toString(16)
      .padStart(8, '0')
    const low = HEX[(ms >> 8) & 0xff]! + HEX[ms & 0xff]!
    const count = HEX[0x70 | (this.#count >> 8)]! + HEX[this.#count & 0xff]!
    const variant = HEX[0x80 | (this.#byte() & 0x3f)]! + HEX[this.#byte()]!
    return `${high}-${low}-${count}-${variant}-${this.#hex(6)}`
  }

  /** Makes every later ordered id greater than `id` (one found in the store, perhaps made under a faster clock). */
  after(id: string): void {
    const ms = orderedTime(id)
    if (ms !== undefined && ms >= this.#ms && ms >= this.#now()) {
      this.#ms = ms + 1
      this.#count = 0
    }
  }
}

/** When an ordered id was made, in ms since 1970; undefined if it is no UUIDv7. */
export function orderedTime(id: string): number | undefined {
  if (id.length !== 36 || id[14] !== '7') return undefined
  const ms = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
  return Number.isNaN(ms) ? undefined : ms
}

/** The least ordered id that can be made at this time (ms since 1970) or later. */
export function firstIdAt(ms: number): string {
  const hex = Math.max(0, Math.ceil(ms)).toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-`
}
