/**
 * A map that never holds more than `max` entries and forgets what was not used for the longest time, in two generations:
 * when the young one is full it becomes the old one, and the old one is dropped at once. A hit costs one look-up and no
 * relinking; an entry used within the last `max / 2` insertions is never forgotten.
 */
export class Lru<K, V> {
  readonly max: number
  private readonly half: number
  private young = new Map<K, V>()
  private old = new Map<K, V>()

  /** @param max entries at most; at least 2 */
  constructor(max: number) {
    if (!Number.isInteger(max) || max < 2) throw new RangeError(`an Lru holds 2 entries or more, not ${max}`)
    this.max = max
    this.half = Math.floor(max / 2)
  }

  /** Entries held, never above `max`; one that was set again may count in both generations. */
  get size(): number {
    return this.young.size + this.old.size
  }

  /** The value, which thereby counts as used. */
  get(key: K): V | undefined {
    const value = this.young.get(key)
    if (value !== undefined) return value
    const older = this.old.get(key)
    if (older === undefined) return undefined
    this.set(key, older)
    return older
  }

  /** Values must not be `undefined`: it means absent. */
  set(key: K, value: V): this {
    // An older value may stay behind in the old generation: the young one is asked first and outlives it.
    if (this.young.size >= this.half && !this.young.has(key)) {
      this.old = this.young
      this.young = new Map()
    }
    this.young.set(key, value)
    return this
  }

  delete(key: K): boolean {
    const young = this.young.delete(key)
    return this.old.delete(key) || young
  }
}
