/**
 * A map that is bounded in entries and in the weight of all of them: what was not used for the longest time goes first. An
 * entry that alone is too heavy is not kept.
 */
export class Weighed<K, V> {
  readonly max: number
  readonly maxWeight: number
  readonly #entries = new Map<K, { value: V; weight: number }>()
  readonly #onDrop: (key: K, value: V) => void
  #weight = 0

  /**
   * @param max entries at most
   * @param maxWeight of all of them; bytes, or characters
   * @param onDrop is told of what had to go, not of what was deleted or replaced
   */
  constructor(max: number, maxWeight: number, onDrop: (key: K, value: V) => void = () => {}) {
    this.max = max
    this.maxWeight = maxWeight
    this.#onDrop = onDrop
  }

  get size(): number {
    return this.#entries.size
  }

  get weight(): number {
    return this.#weight
  }

  /** The value, which thereby counts as used. */
  get(key: K): V | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    return entry.value
  }

  /** @returns false where it is too heavy to be kept */
  set(key: K, value: V, weight: number): boolean {
    this.delete(key)
    if (weight > this.maxWeight) return false
    this.#entries.set(key, { value, weight })
    this.#weight += weight
    for (const [oldest, entry] of this.#entries) {
      if (this.#entries.size <= this.max && this.#weight <= this.maxWeight) break
      this.delete(oldest)
      this.#onDrop(oldest, entry.value)
    }
    return true
  }

  delete(key: K): boolean {
    const entry = this.#entries.get(key)
    if (entry === undefined) return false
    this.#weight -= entry.weight
    return this.#entries.delete(key)
  }

  values(): V[] {
    return [...this.#entries.values()].map(({ value }) => value)
  }
}
