import { performance } from 'node:perf_hooks'
import type { RawValue } from './codec.ts'
import { StoreError } from './store.ts'

/** What one write leaves of a row: its value, or null when it is deleted. */
export type Change = RawValue | null

export interface CommitReport {
  /** Rows put or deleted by this commit. */
  rows: number
  /** Characters and bytes of their keys and values. */
  size: number
  /** Rows of unique tables that were put and deleted before they were due, and therefore never written. */
  elided: number
  /** Milliseconds that the write took. */
  duration: number
  /** Why nothing of it was kept. */
  error?: StoreError
}

export interface GroupCommitOptions {
  /** Writes all or nothing. Never called again before its promise has settled. */
  write(changes: ReadonlyMap<string, Change>): Promise<void>
  /** Milliseconds to go on gathering after the first write of a group. With 0 a group is what one turn of the loop wrote. */
  delay: number
  /** Size up to which writes gather while the disk is busy; beyond it they are refused. */
  maxPending: number
  onCommit?: (report: CommitReport) => void
}

/** A change of one row, as part of a commit. */
export interface RowChange {
  readonly key: string
  readonly change: Change
  /** Of a table of that kind: see {@link GroupCommit.del}. */
  readonly unique: boolean
}

interface Group {
  changes: Map<string, Change>
  size: number
  elided: number
  promise: Promise<void>
  resolve: () => void
  reject: (error: StoreError) => void
}

/**
 * Turns many small writes into few large ones: what is written while the event loop turns, or while the disk is busy, goes
 * to it as one batch. All writes of a group share one promise and one fate.
 */
export class GroupCommit {
  readonly #options: GroupCommitOptions
  #gathering: Group | undefined
  #writing: Group | undefined
  #immediate: NodeJS.Immediate | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: GroupCommitOptions) {
    this.#options = options
  }

  put(key: string, value: RawValue): Promise<void> {
    const group = this.#group()
    if (group.size > this.#options.maxPending) return refuse()
    group.changes.set(key, value)
    group.size += key.length + value.length
    return group.promise
  }

  /** With `unique`, a put of the same key that has not begun to be written is taken back, and nothing is written at all. */
  del(key: string, unique: boolean): Promise<void> {
    const group = this.#group()
    if (unique && this.#takeBack(group, key)) return group.promise
    if (group.size > this.#options.maxPending) return refuse()
    group.changes.set(key, null)
    group.size += key.length
    return group.promise
  }

  /** All changes in one group, or none. */
  apply(changes: Iterable<RowChange>): Promise<void> {
    const group = this.#group()
    if (group.size > this.#options.maxPending) return refuse()
    for (const { key, change, unique } of changes) {
      if (change === null && unique && this.#takeBack(group, key)) continue
      group.changes.set(key, change)
      group.size += key.length + (change?.length ?? 0)
    }
    return group.promise
  }

  /** The latest change of this key that is not known to be on disk; undefined when there is none. */
  pending(key: string): Change | undefined {
    const change = this.#gathering?.changes.get(key)
    return change !== undefined ? change : this.#writing?.changes.get(key)
  }

  /** The change and the end of the group that will write it. `started`: it can no longer be joined by other changes. */
  state(key: string): { change: Change; promise: Promise<void>; started: boolean } | undefined {
    for (const group of [this.#gathering, this.#writing]) {
      const change = group?.changes.get(key)
      if (change !== undefined) return { change, promise: group!.promise, started: group === this.#writing }
    }
    return undefined
  }

  /** Undefined when no key of `low <= key < high` is pending; else waits until those of now are written or have failed. */
  settle(low: string, high: string): Promise<void> | undefined {
    for (const group of [this.#gathering, this.#writing]) {
      if (!group) continue
      for (const key of group.changes.keys()) {
        if (key < low || key >= high) continue
        this.#hurry()
        return group.promise.catch(() => {})
      }
    }
    return undefined
  }

  /** What is gathered or being written. */
  get waiting(): { rows: number; bytes: number } {
    const groups = [this.#gathering, this.#writing]
    const sum = (size: (group: Group) => number) => groups.reduce((n, group) => n + (group ? size(group) : 0), 0)
    return { rows: sum(group => group.changes.size), bytes: sum(group => group.size) }
  }

  /** Waits until all writes of now are written or have failed. */
  async flush(): Promise<void> {
    this.#hurry()
    await (this.#gathering ?? this.#writing)?.promise.catch(() => {})
  }

  #group(): Group {
    if (this.#gathering) return this.#gathering
    const group = { changes: new Map<string, Change>(), size: 0, elided: 0, ...Promise.withResolvers<void>() }
    // Each caller learns of a failure by its own promise, and onCommit reports it: who did not wait must not end the process.
    group.promise.catch(() => {})
    this.#gathering = group
    if (!this.#writing) this.#schedule()
    return group
  }

  #takeBack(group: Group, key: string): boolean {
    const change = group.changes.get(key)
    // What is being written is a put of the same key only where the promise of `unique` is broken; then stay correct.
    if (change === undefined || change === null || this.#writing?.changes.has(key)) return false
    group.changes.delete(key)
    group.size -= key.length + change.length
    group.elided++
    return true
  }

  #schedule(): void {
    if (this.#options.delay > 0) this.#timer = setTimeout(() => this.#start(), this.#options.delay)
    else this.#immediate = setImmediate(() => this.#start())
  }

  #hurry(): void {
    if (!this.#timer) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#immediate = setImmediate(() => this.#start())
  }

  #start(): void {
    this.#timer = undefined
    this.#immediate = undefined
    const group = this.#gathering
    if (!group) return
    this.#gathering = undefined
    this.#writing = group
    void this.#write(group)
  }

  /** Never rejects. */
  async #write(group: Group): Promise<void> {
    const started = performance.now()
    let error: StoreError | undefined
    if (group.changes.size > 0) {
      try {
        await this.#options.write(group.changes)
      } catch (cause) {
        error = cause instanceof StoreError ? cause : new StoreError('the write failed', { cause })
      }
    }
    this.#writing = undefined
    if (error) group.reject(error)
    else group.resolve()
    if (this.#gathering && !this.#immediate && !this.#timer) this.#immediate = setImmediate(() => this.#start())
    const { size, elided } = group
    this.#options.onCommit?.({ rows: group.changes.size, size, elided, duration: performance.now() - started, error })
  }
}

function refuse(): Promise<void> {
  const refused = Promise.reject(new StoreError('too many writes wait for the disk', { retry: true }))
  refused.catch(() => {})
  return refused
}
