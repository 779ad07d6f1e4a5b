/** Bytes that are looked at together: texts so short are gone before they cost anything. */
const PORTION = 16 * 1024

/**
 * Whether each of these lower-cased words is somewhere in a text (UTF-8), in whatever case. A large text is never a string as a
 * whole.
 */
export function containsWords(text: Buffer, words: readonly string[]): boolean {
  const missing = new Set(words)
  // A word that begins in one portion ends in it, whatever its characters take (4 bytes at most), and so does what decides of
  // the case of its last one.
  const overlap = 4 * Math.max(0, ...words.map(word => word.length)) + 16
  const step = Math.max(PORTION, overlap)
  for (let from = 0; from < text.length && missing.size > 0; from += step) {
    const portion = text.toString('utf8', from, Math.min(text.length, from + step + overlap)).toLowerCase()
    for (const word of missing) if (portion.includes(word)) missing.delete(word)
  }
  return missing.size === 0
}
