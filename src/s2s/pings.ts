import type { Stanza } from '../xmpp/stanza.ts'

const PREFIX = 'hermod-s2s-'

/**
 * Questions to servers that have no stream management: whatever they answer, they have what was sent before. The answer comes
 * on whatever stream they send to us, so it is looked for among all of them.
 */
export class Pings {
  readonly #open = new Map<string, { local: string; remote: string; done: () => void }>()
  readonly #ids: { random(): string }

  constructor(ids: { random(): string }) {
    this.#ids = ids
  }

  /** `done` is called when the domain answers, unless {@link forget} was before. The id of the question. */
  ask(local: string, remote: string, done: () => void): string {
    const id = `${PREFIX}${this.#ids.random()}`
    this.#open.set(id, { local, remote, done })
    return id
  }

  forget(id: string): void {
    this.#open.delete(id)
  }

  /** Whether an iq is such an answer: it goes no further. */
  answered({ id, from, to, isRequest }: Stanza): boolean {
    if (id?.startsWith(PREFIX) !== true || isRequest) return false
    const open = this.#open.get(id)
    if (open === undefined || from.toString() !== open.remote || to?.toString() !== open.local) return false
    this.#open.delete(id)
    open.done()
    return true
  }
}
