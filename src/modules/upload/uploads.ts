import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { ModuleContext } from '../../core/module.ts'
import type { BlobStore } from '../../storage/blob.ts'
import { type Key, pages, partitionsOf, type Store, type Table } from '../../storage/store.ts'
import { Turns } from '../../util/turns.ts'

/** A file, or one that may still come, in `[bare address]` x `[at, id]`. */
export interface Upload {
  name: string
  type: string
  size: number
}

export interface Slot extends Upload {
  owner: string
  at: number
  /** Until when it can be used, ms since 1970. */
  until: number
  /** SHA-256 of the secret, hex. */
  secret: string
}

interface UploadLimits {
  dailyQuota: number
  expire: number
  putTimeout: number
}

/** Too much for now: `retry` is when there is room. */
export class QuotaError extends Error {
  readonly retry: number
  constructor(retry: number) {
    super('quota')
    this.retry = retry
  }
}

const DAY = 86_400_000
/** Files of one owner within a day that are counted; who has more has to wait. */
const MAX_COUNTED = 20_000
const SLOTS: Key = ['slots']
const MAX_SLOTS = 20_000
/** Of one owner that wait for a slot. */
const MAX_ASKING = 100
/** Where files lie that should be gone already: the day that is always over. */
const OVERDUE = 0

/** Who has uploaded what. Rows are written before the bytes and go after them, so that no file is forgotten. */
export class Uploads {
  readonly #store: Pick<Store, 'commit'>
  readonly #table: Table<Upload>
  readonly #slots: Table<Slot>
  /** `[day]` x `[at, id]`: what there is by age. */
  readonly #days: Table<{ owner: string; name: string }>
  readonly #blobs: BlobStore
  readonly #prefix: string
  readonly #limits: UploadLimits
  readonly #now: () => number
  /** By owner. */
  readonly #turns = new Turns(MAX_ASKING, () => new QuotaError(this.#now() + 1000))
  /** Slots that are being used up. */
  readonly #taken = new Set<string>()
  #pending: number | undefined

  constructor(ctx: Pick<ModuleContext, 'table' | 'commit' | 'blobs' | 'now'>, prefix: string, limits: UploadLimits) {
    this.#store = ctx
    this.#table = ctx.table<Upload>({ name: 'upload' })
    this.#slots = ctx.table<Slot>({ name: 'upload_slot' })
    this.#days = ctx.table<{ owner: string; name: string }>({ name: 'upload_day' })
    this.#blobs = ctx.blobs
    this.#prefix = prefix
    this.#limits = limits
    this.#now = ctx.now
  }

  key(id: string, name: string): string {
    return `${this.#prefix}/${id}/${name}`
  }

  /** Rejects with a QuotaError. The size counts from now on. */
  slot(owner: string, upload: Upload): Promise<{ id: string; secret: string }> {
    return this.#turns.run(owner, async () => {
      const now = this.#now()
      this.#pending ??= (await this.#slots.scan(SLOTS, { limit: MAX_SLOTS })).length
      if (this.#pending >= MAX_SLOTS) throw new QuotaError(now + this.#limits.putTimeout)
      await this.#checkQuota(owner, upload.size, now)
      const id = randomBytes(18).toString('base64url').replace(/^-/, '_')
      const secret = randomBytes(24).toString('base64url')
      const { name } = upload
      const until = now + this.#limits.putTimeout
      this.#pending++
      await this.#store.commit([
        this.#days.putOp([dayOf(now)], [now, id], { owner, name }),
        this.#table.putOp([owner], [now, id], upload),
        this.#slots.putOp(SLOTS, [id], { ...upload, owner, at: now, until, secret: hash(secret).toString('hex') }),
      ])
      return { id, secret }
    })
  }

  async #checkQuota(owner: string, size: number, now: number): Promise<void> {
    const { dailyQuota } = this.#limits
    if (dailyQuota === Number.POSITIVE_INFINITY) return
    const rows = await this.#table.scan([owner], { gt: [now - DAY], limit: MAX_COUNTED })
    let used = rows.reduce((sum, row) => sum + row.value.size, 0)
    if (rows.length < MAX_COUNTED && used + size <= dailyQuota) return
    for (const { ck, value } of rows) {
      used -= value.size
      // The day is over, and not almost.
      if (used + size <= dailyQuota) throw new QuotaError(Number(ck[0]) + DAY + 1000)
    }
    throw new QuotaError(now + DAY)
  }

  /** The slot that this secret opens, if it is still open; nothing tells a wrong secret from a slot that is not there. */
  async find(id: string, name: string, secret: string): Promise<Slot | undefined> {
    const slot = await this.#slots.get(SLOTS, [id])
    const right = slot === undefined ? randomBytes(32) : Buffer.from(slot.secret, 'hex')
    if (!timingSafeEqual(hash(secret), right) || slot === undefined) return undefined
    return slot.name === name && this.#now() <= slot.until ? slot : undefined
  }

  /** Uses the slot up; false if somebody else has. */
  async take(id: string): Promise<boolean> {
    if (this.#taken.has(id)) return false
    this.#taken.add(id)
    try {
      if ((await this.#slots.get(SLOTS, [id])) === undefined) return false
      await this.#slots.del(SLOTS, [id])
      if (this.#pending !== undefined && this.#pending > 0) this.#pending--
      return true
    } finally {
      this.#taken.delete(id)
    }
  }

  /** Whether the file is still wanted: its owner may have been removed while it came. */
  async wanted(slot: Slot, id: string): Promise<boolean> {
    return (await this.#table.get([slot.owner], [slot.at, id])) !== undefined
  }

  /** Deletes a file, or what was to become one. */
  async forget(owner: string, at: number, id: string, name: string): Promise<void> {
    await this.#blobs.del(this.key(id, name))
    await this.#store.commit([
      this.#table.delOp([owner], [at, id]),
      this.#days.delOp([dayOf(at)], [at, id]),
      this.#days.delOp([OVERDUE], [at, id]),
    ])
  }

  /** As {@link forget}; what the blob store cannot delete now is deleted later, and counts for nobody. */
  async discard(owner: string, at: number, id: string, name: string): Promise<void> {
    try {
      await this.forget(owner, at, id, name)
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'StoreError') throw error
      await this.#store.commit([
        this.#days.putOp([OVERDUE], [at, id], { owner, name }),
        this.#table.delOp([owner], [at, id]),
      ])
    }
  }

  async *of(owner: string): AsyncGenerator<Upload & { at: number; id: string }> {
    for await (const rows of pages(this.#table, [owner])) {
      for (const { ck, value } of rows) yield { ...value, at: Number(ck[0]), id: String(ck[1]) }
    }
  }

  /** All that somebody has uploaded, or was to. What the blob store cannot delete now is deleted later. */
  async removeAll(owner: string): Promise<void> {
    for await (const { at, id, name } of this.of(owner)) {
      await this.take(id)
      await this.discard(owner, at, id, name)
    }
  }

  /** Slots that nobody used in time no longer count. */
  async sweepSlots(): Promise<void> {
    const rows = await this.#slots.scan(SLOTS, { limit: MAX_SLOTS })
    this.#pending = rows.length
    for (const { ck, value } of rows) {
      const id = String(ck[0])
      if (value.until < this.#now() && (await this.take(id))) await this.discard(value.owner, value.at, id, value.name)
    }
  }

  /** Deletes what is older than `age` ms, by default what has expired, and what is overdue. Resolves with how many. */
  async deleteOld(age: number = this.#limits.expire): Promise<number> {
    const before = this.#now() - age
    let count = 0
    // One partition for each day: few.
    for await (const [day] of partitionsOf(this.#days)) {
      const over = Number(day) === OVERDUE
      if (!over && Number(day) * DAY > before) continue
      for await (const rows of pages(this.#days, [Number(day)], over ? {} : { lt: [before] })) {
        for (const { ck, value } of rows) await this.forget(value.owner, Number(ck[0]), String(ck[1]), value.name)
        count += rows.length
      }
    }
    return count
  }
}

const dayOf = (at: number): number => Math.floor(at / DAY)

function hash(secret: string): Buffer {
  return createHash('sha256').update(secret).digest()
}
