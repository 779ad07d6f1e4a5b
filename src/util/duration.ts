/** Durations as people write them (`5m`, `1h 30m`, `250 ms`), in milliseconds. */

const UNITS: ReadonlyMap<string, number> = new Map([
  ...['ms', 'millisecond', 'milliseconds'].map(unit => [unit, 1] as const),
  ...['s', 'sec', 'second', 'seconds'].map(unit => [unit, 1000] as const),
  ...['m', 'min', 'minute', 'minutes'].map(unit => [unit, 60_000] as const),
  ...['h', 'hour', 'hours'].map(unit => [unit, 3_600_000] as const),
  ...['d', 'day', 'days'].map(unit => [unit, 86_400_000] as const),
  ...['w', 'week', 'weeks'].map(unit => [unit, 604_800_000] as const),
])

const LONGEST_TEXT = 64
const WHOLE = /^(?:\d+(?:\.\d+)?\s*[a-z]+\s*)+$/
const PART = /(\d+(?:\.\d+)?)\s*([a-z]+)/g

/** Milliseconds, rounded, of a text such as `5m`, `1h30m`, `1.5 days` or `0`; undefined if it is not a duration. */
export function parseDuration(text: string): number | undefined {
  const trimmed = text.trim().toLowerCase()
  if (trimmed === '0') return 0
  if (trimmed.length > LONGEST_TEXT || !WHOLE.test(trimmed)) return undefined
  let total = 0
  for (const [, amount, unit] of trimmed.matchAll(PART)) {
    const scale = UNITS.get(unit!)
    if (scale === undefined) return undefined
    total += Number(amount) * scale
  }
  const ms = Math.round(total)
  return Number.isSafeInteger(ms) ? ms : undefined
}
