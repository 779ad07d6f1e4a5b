/** Pages of a queue that are being read from the store, and what has happened to it meanwhile. */
export class Reads {
  #count = 0
  /** They may still show it. */
  readonly #done = new Set<string>()
  /** Has left memory for the store: they may not show it yet. */
  readonly #parked = new Set<string>()

  begin(): void {
    this.#count++
  }

  end(): void {
    if (--this.#count > 0) return
    this.#done.clear()
    this.#parked.clear()
  }

  done(id: string): void {
    this.#parked.delete(id)
    if (this.#count > 0) this.#done.add(id)
  }

  parked(id: string): void {
    if (this.#count > 0) this.#parked.add(id)
  }

  isDone(id: string): boolean {
    return this.#done.has(id)
  }

  /** Up to where a page shows everything: it ends before what was put into the store while it was read. */
  shownUpTo(found: ReadonlyMap<string, unknown>, cursor: string, end: string): string {
    let last = end
    for (const id of this.#parked) {
      // A text that is cut is less than the whole; see MessageQueue.#fallBehind.
      if (id > cursor && id <= last && !found.has(id)) last = id.slice(0, -1)
    }
    return last
  }
}
