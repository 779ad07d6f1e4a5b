/** What has a share of the senders; the id stays with it, and nobody can guess it. */
interface Sharer {
  readonly id: string
}

/**
 * Whose share a sender is: always the same one's while it is there, and when one comes or goes only its own share moves
 * (rendezvous hashing).
 *
 * @param sharers at least one
 * @returns its index
 */
export function shareOf(sender: string, sharers: readonly Sharer[]): number {
  let best = 0
  let most = -1
  for (const [index, { id }] of sharers.entries()) {
    const weight = hash(id, sender)
    if (weight > most) {
      best = index
      most = weight
    }
  }
  return best
}

/** FNV-1a of both, mixed once more so that texts that differ in their last characters are far apart. */
function hash(id: string, sender: string): number {
  let h = 0x811c9dc5
  for (const text of [id, sender])
    for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  h ^= h >>> 16
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  return h >>> 0
}
