/** Sizes as people write them (`256 KiB`, `10 MB`), in bytes. */

const UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['b', 1],
  ['kb', 1000],
  ['mb', 1000 ** 2],
  ['gb', 1000 ** 3],
  ['tb', 1000 ** 4],
  ['kib', 1024],
  ['mib', 1024 ** 2],
  ['gib', 1024 ** 3],
  ['tib', 1024 ** 4],
])

const LONGEST_TEXT = 64

/** Bytes, rounded, of a text such as `256 KiB`, `1.5MB` or `4096`; undefined if it is not a size. */
export function parseSize(text: string): number | undefined {
  if (text.length > LONGEST_TEXT) return undefined
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/.exec(text.trim().toLowerCase())
  const scale = match ? UNITS.get(match[2]!) : undefined
  if (!match || scale === undefined) return undefined
  const bytes = Math.round(Number(match[1]) * scale)
  return Number.isSafeInteger(bytes) ? bytes : undefined
}
