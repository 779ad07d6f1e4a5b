import type { MessageAbout } from '../../core/queue/entry.ts'
import { orderedTime } from '../../util/ids.ts'
import type { Mark, MessageState, Wanted } from './states.ts'

export interface Other {
  readonly state: 'accepted' | 'failed'
  readonly since: number
}

/** What {@link States.list} has found so far. */
export class Found {
  readonly #wanted: Wanted
  readonly #marksOf: (from: string) => Promise<readonly (Mark | undefined)[]>
  readonly #marks = new Map<string, readonly (Mark | undefined)[]>()
  readonly #states = new Map<string, MessageState>()
  readonly #missing: Set<string> | undefined
  #count = 0

  constructor(wanted: Wanted, marksOf: (from: string) => Promise<readonly (Mark | undefined)[]>) {
    this.#wanted = wanted
    this.#marksOf = marksOf
    this.#missing = wanted.messageIds && new Set(wanted.messageIds)
  }

  /** Another place to look at begins: as many as are wanted may come from there. */
  begin(): void {
    this.#count = 0
    const { limit } = this.#wanted
    if (this.#states.size <= 2 * limit) return
    const newest = this.newest()
    this.#states.clear()
    for (const state of newest) this.#states.set(state.id, state)
  }

  get enough(): boolean {
    return this.#count >= this.#wanted.limit || this.#missing?.size === 0
  }

  /** `other`: what became of one that was not delivered, as far as is known, and since when. */
  async add(id: string, about: MessageAbout, delivered: MessageState['delivered'], other?: Other): Promise<void> {
    const { from, messageId } = about
    if (this.enough || this.#wanted.messageIds?.has(messageId) === false) return
    let marks = this.#marks.get(from)
    if (marks === undefined) {
      marks = await this.#marksOf(from)
      this.#marks.set(from, marks)
    }
    const state = stateOf({ id, to: this.#wanted.to, from, messageId, delivered }, marks, other)
    if (!matches(state, this.#wanted)) return
    this.#states.set(id, state)
    this.#missing?.delete(messageId)
    this.#count++
  }

  newest(): MessageState[] {
    return [...this.#states.values()].sort((a, b) => (a.id < b.id ? 1 : -1)).slice(0, this.#wanted.limit)
  }
}

function stateOf(
  message: Pick<MessageState, 'id' | 'from' | 'to' | 'messageId' | 'delivered'>,
  marks: readonly (Mark | undefined)[],
  other: Other | undefined,
): MessageState {
  const { id, delivered } = message
  // What never got there is not read with what came after it.
  const times = (other?.state === 'failed' ? [] : marks).flatMap(mark =>
    mark !== undefined && mark.id >= id ? [mark.at] : [],
  )
  const read = times.length === 0 ? undefined : Math.min(...times)
  const state = read !== undefined ? 'read' : delivered !== undefined ? 'delivered' : (other?.state ?? 'queued')
  return { ...message, state, at: orderedTime(id) ?? 0, since: other?.since, read }
}

export function isBefore(id: string, since: number | undefined): boolean {
  return since !== undefined && (orderedTime(id) ?? 0) < since
}

function matches(state: MessageState, { state: wanted, since, until }: Wanted): boolean {
  if (wanted !== undefined && state.state !== wanted) return false
  if (isBefore(state.id, since)) return false
  return until === undefined || state.at <= until
}
