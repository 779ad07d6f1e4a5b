/** How actors of one kind come into memory and leave it. */
interface Residency<Key, Actor> {
  /** Reads what is kept of it; undefined where there is none of that key. */
  load(key: Key): Promise<Actor | undefined>
  /** Nothing goes on with it: it may leave. */
  idle(actor: Actor): boolean
  /** Bytes that it holds, about. */
  weight(actor: Actor): number
  /** It has left memory, or was loaded for nothing. */
  left(actor: Actor): void
  /** Idle ones that stay, and bytes of all of them. */
  max: number
  maxBytes: number
}

/**
 * Actors that are in memory: each loaded once for all who need it, there while something goes on with it, and a while beyond
 * that. Where idle ones are too many, or weigh too much, those that were loaded first leave.
 */
export class Residents<Key, Actor> {
  readonly #how: Residency<Key, Actor>
  readonly #here = new Map<Key, Actor>()
  readonly #loading = new Map<Key, Promise<Actor | undefined>>()
  /** So many may come, and all may grow by so many bytes, until it is looked whether idle ones are too many. */
  #room: { number: number; bytes: number }
  #leaving: NodeJS.Immediate | undefined

  constructor(how: Residency<Key, Actor>) {
    this.#how = how
    this.#room = { number: how.max, bytes: how.maxBytes }
  }

  get size(): number {
    return this.#here.size
  }

  /** If it is in memory. */
  get(key: Key): Actor | undefined {
    return this.#here.get(key)
  }

  values(): IterableIterator<Actor> {
    return this.#here.values()
  }

  /** Those that are in memory, once those are that are being loaded now. */
  async settled(): Promise<Actor[]> {
    await Promise.allSettled(this.#loading.values())
    return [...this.#here.values()]
  }

  /** At once if it is in memory, else loaded. Undefined: there is none. Rejects as the load does; the next one tries again. */
  need(key: Key): Actor | undefined | Promise<Actor | undefined> {
    return this.#here.get(key) ?? this.#loading.get(key) ?? this.#load(key)
  }

  /** It leaves now: it was removed, or lives elsewhere. Who waits for it to be loaded gets none. */
  end(key: Key): void {
    this.#loading.delete(key)
    const actor = this.#here.get(key)
    if (actor !== undefined) this.#leave(key, actor)
  }

  /** One of them weighs so many bytes more, or less. */
  grew(bytes: number): void {
    this.#room.bytes -= bytes
    if (this.#room.number >= 0 && this.#room.bytes >= 0) return
    // Not before those who wait for the one that has just come have had their turn with it.
    this.#leaving ??= setImmediate(() => this.#makeRoom())
  }

  #load(key: Key): Promise<Actor | undefined> {
    const loading: Promise<Actor | undefined> = this.#how
      .load(key)
      .then(actor => (actor === undefined ? undefined : this.#enter(key, actor, loading)))
      .finally(() => {
        if (this.#loading.get(key) === loading) this.#loading.delete(key)
      })
    this.#loading.set(key, loading)
    return loading
  }

  #enter(key: Key, actor: Actor, loading: Promise<unknown>): Actor | undefined {
    if (this.#loading.get(key) !== loading) {
      this.#how.left(actor)
      return undefined
    }
    this.#here.set(key, actor)
    this.#room.number--
    this.grew(0)
    return actor
  }

  #leave(key: Key, actor: Actor): void {
    this.#here.delete(key)
    this.#how.left(actor)
  }

  #makeRoom(): void {
    this.#leaving = undefined
    const { idle, weight, max, maxBytes } = this.#how
    const idlers = [...this.#here].filter(([, actor]) => idle(actor))
    let number = idlers.length
    let bytes = 0
    for (const [, actor] of idlers) bytes += weight(actor)
    const most = number > max ? max * 0.9 : max
    const mostBytes = bytes > maxBytes ? maxBytes * 0.9 : maxBytes
    // As long as they are not too many, who has no more than its share of the bytes takes nothing from others.
    const share = (maxBytes * 0.9) / max
    for (const [key, actor] of idlers) {
      if (number <= most && bytes <= mostBytes) break
      const held = weight(actor)
      if (number <= most && held <= share) continue
      this.#leave(key, actor)
      number--
      bytes -= held
    }
    // Those in use may become idle meanwhile, and are seen the next time.
    this.#room = { number: Math.max(max - number, max * 0.1), bytes: Math.max(maxBytes - bytes, maxBytes * 0.1) }
  }
}
