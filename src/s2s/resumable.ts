import type { Conversation } from './conversation.ts'
import type { Pair } from './pair.ts'

/** Conversations that wait for their peers to come back, and bytes of what these have not acknowledged. */
const MAX = 2000
const MAX_BYTES = 64 * 1024 * 1024
/** Of those that are over, so many are remembered. */
const MAX_ENDED = 10_000

/** The conversations that others began and may resume (XEP-0198 5), by id, and where those that ended had got to. */
export class Resumable {
  readonly #live = new Map<string, Conversation>()
  /** Those without a connection, longest first. */
  readonly #parted = new Set<Conversation>()
  readonly #ended = new Map<string, { h: number; pairs: readonly Pair[] }>()
  readonly #max: number
  readonly #maxBytes: number

  constructor(max = MAX, maxBytes = MAX_BYTES) {
    this.#max = max
    this.#maxBytes = maxBytes
  }

  /** Those that can be resumed, with a connection or without. */
  get size(): number {
    return this.#live.size
  }

  add(conversation: Conversation): void {
    if (conversation.resumeId !== undefined) this.#live.set(conversation.resumeId, conversation)
  }

  /** It has lost its connection. Where too many have, those that wait longest are over. */
  parted(conversation: Conversation): void {
    this.#parted.add(conversation)
    let bytes = 0
    for (const waiting of this.#parted) bytes += waiting.bytes
    for (const waiting of this.#parted) {
      if (this.#parted.size <= this.#max && bytes <= this.#maxBytes) return
      bytes -= waiting.bytes
      waiting.over()
    }
  }

  /** It has a connection again. */
  resumed(conversation: Conversation): void {
    this.#parted.delete(conversation)
  }

  ended(conversation: Conversation, h: number): void {
    this.#parted.delete(conversation)
    const id = conversation.resumeId
    if (id === undefined || !this.#live.delete(id)) return
    if (this.#ended.size >= MAX_ENDED) this.#ended.delete(this.#ended.keys().next().value!)
    this.#ended.set(id, { h, pairs: [...conversation.receives] })
  }

  /** For who is authenticated for one of the pairs that the peer may send for. */
  find(id: string, { local, remote }: Pair): Conversation | undefined {
    const found = this.#live.get(id)
    return found?.receives.has(local, remote) === true ? found : undefined
  }

  /** For a true `<failed h=''/>`: up to where all was safe when it ended, as far as that is remembered. */
  endOf(id: string, { local, remote }: Pair): number | undefined {
    const ended = this.#ended.get(id)
    return ended?.pairs.some(pair => pair.local === local && pair.remote === remote) === true ? ended.h : undefined
  }
}
