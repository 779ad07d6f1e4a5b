/** A domain of ours and one elsewhere: what two servers authenticate, and what a link sends for. */
export interface Pair {
  /** Of this server: a virtual host, the domain of a module or of a component. */
  readonly local: string
  readonly remote: string
}

/** `LOCAL REMOTE`. */
export function pairKey({ local, remote }: Pair): string {
  return `${local} ${remote}`
}

/** The pair of a {@link pairKey}. */
export function pairFrom(key: string): Pair {
  const [local = '', remote = ''] = key.split(' ')
  return { local, remote }
}

/** Pairs in no order; a pair is in it once. */
export class PairSet {
  readonly #remotes = new Map<string, Set<string>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  has(local: string, remote: string): boolean {
    return this.#remotes.get(remote)?.has(local) === true
  }

  /** Some pair has this domain elsewhere. */
  hasRemote(remote: string): boolean {
    return this.#remotes.has(remote)
  }

  add({ local, remote }: Pair): void {
    let locals = this.#remotes.get(remote)
    if (locals === undefined) this.#remotes.set(remote, (locals = new Set()))
    if (locals.has(local)) return
    locals.add(local)
    this.#size++
  }

  delete({ local, remote }: Pair): void {
    const locals = this.#remotes.get(remote)
    if (locals?.delete(local) !== true) return
    this.#size--
    if (locals.size === 0) this.#remotes.delete(remote)
  }

  *[Symbol.iterator](): IterableIterator<Pair> {
    for (const [remote, locals] of this.#remotes) for (const local of locals) yield { local, remote }
  }
}
