/** What tests draw from: the same each time, unless the environment says otherwise. */
export const SEED = Number(process.env['HERMOD_TEST_SEED'] ?? 20_261_124)

/** Seeded chance: the same seed draws the same numbers (the network and the scheduler stay their own masters). */
export interface Chance {
  /** An integer from 0 to one less than this. */
  below(end: number): number
  /** An integer from low to high, both included. */
  int(low: number, high: number): number
  /** True with that probability (0 to 1). */
  one(probability: number): boolean
  pick<T>(items: readonly T[]): T
  /** Up to `count` of the items, in drawn order. */
  some<T>(items: readonly T[], count: number): T[]
}

/** mulberry32 over a 32-bit seed. */
export function chance(seed: number): Chance {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000
  }
  const below = (end: number): number => Math.floor(next() * end)
  return {
    below,
    int: (low, high) => low + below(high - low + 1),
    one: probability => next() < probability,
    pick: items => items[below(items.length)]!,
    some: (items, count) => {
      const left = [...items]
      const drawn = []
      while (left.length > 0 && drawn.length < count) drawn.push(left.splice(below(left.length), 1)[0]!)
      return drawn
    },
  }
}
