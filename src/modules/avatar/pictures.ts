import { createHash } from 'node:crypto'
import type { Logger } from '../../core/log.ts'
import { type BlobStore, readBlob } from '../../storage/blob.ts'
import { type Op, pages, type Store, type Table } from '../../storage/store.ts'
import { Attempts } from '../../util/attempts.ts'
import { StanzaError } from '../../xmpp/errors.ts'
import type { Image, Images, ImageType } from './images.ts'

/** A picture of a user, as it lies in the store. */
export interface Picture {
  /** SHA-1 of its bytes, in hex (XEP-0084 4.2.1). */
  hash: string
  type: ImageType
  width: number
  height: number
  /** Bytes. */
  size: number
  /** Squares for which there are smaller ones, as PNG and as WebP. */
  sides: readonly number[]
}

/** `[user]` x `[hash]` */
interface Row extends Omit<Picture, 'hash'> {
  /** When it was last put, ms since 1970. */
  at: number
  /** The SHA-1 of what the user sent, where it had to be made anew. */
  was?: string
}

/** `['due']` x `[user]`: whose pictures are to be looked through, and since when. `gone`: all that there was by then goes. */
interface Due {
  at: number
  gone?: number
}

interface PicturesOptions {
  host: string
  blobs: BlobStore
  store: Pick<Store, 'commit'>
  table: Table<Row>
  due: Table<Due>
  images: Images
  /** Pictures of one user that are looked at in a minute. */
  checks: number
  /** Smaller sizes to make. */
  sides: readonly number[]
  /** Ms that a picture is kept though nothing refers to it. */
  grace: number
  /** The hashes of a user's pictures that something refers to; undefined where that cannot be told now. */
  references: (user: string) => Promise<ReadonlySet<string> | undefined>
  now: () => number
  log: Logger
}

/** The most pictures that a user has in the store, those included that nothing refers to any more. */
const MAX_PICTURES = 20

/**
 * The pictures of the users of a host. What is a row here may be in the blob store; what is not, is not: the row is written
 * first and goes last, and whoever gets a row is looked through later, so that no crash leaves bytes behind for good.
 */
export class Pictures {
  readonly #options: PicturesOptions
  readonly #folder: string
  readonly #checks: Attempts

  constructor(options: PicturesOptions) {
    this.#options = options
    this.#folder = `avatars/${segmentOf(options.host)}`
    this.#checks = new Attempts(options.checks, 60_000, options.now)
  }

  /** Checks a picture, and keeps it with its smaller sizes. Rejects with StanzaError, or StoreError where it cannot be kept. */
  async store(user: string, bytes: Buffer): Promise<Picture> {
    if (!this.#checks.allow(user)) {
      throw new StanzaError('resource-constraint', `${this.#options.checks} pictures in a minute are enough`)
    }
    return this.keep(user, await this.#options.images.check(bytes), sha1(bytes))
  }

  /** Keeps a checked picture. `was` is the SHA-1 of what it was made from. */
  async keep(user: string, image: Image, was?: string): Promise<Picture> {
    const { store, table, blobs, images, sides, now } = this.#options
    const hash = sha1(image.bytes)
    const there = await table.get([user], [hash])
    if (there === undefined) await this.#makeRoom(user)
    const variants = there === undefined ? await images.variants(image, sides) : []
    const row: Row = {
      type: image.type,
      width: image.width,
      height: image.height,
      size: image.bytes.length,
      sides: there?.sides ?? [...new Set(variants.map(v => v.side))],
      at: now(),
      ...(was === undefined || was === hash ? {} : { was }),
    }
    await store.commit([table.putOp([user], [hash], row), await this.mark(user, row.at)])
    const key = this.#key(user, hash)
    if (there === undefined || !(await this.#isThere(key))) {
      await Promise.all([
        blobs.put(key, image.bytes, { type: image.type, size: image.bytes.length }),
        ...variants.map(({ side, type, bytes }) =>
          blobs.put(variantKey(key, side, type), bytes, { type, size: bytes.length }),
        ),
      ])
    }
    // Somebody may have looked through them since the row was read.
    await this.release(user)
    return pictureOf(hash, row)
  }

  /** By its hash, or by that of what the user sent. */
  async find(user: string, hash: string): Promise<Picture | undefined> {
    const row = await this.#options.table.get([user], [hash])
    if (row !== undefined) return pictureOf(hash, row)
    for (const { ck, value } of await this.#options.table.scan([user], { limit: 2 * MAX_PICTURES })) {
      if (value.was === hash) return pictureOf(String(ck[0]), value)
    }
    return undefined
  }

  /** Its bytes; undefined where they are not there. Rejects with StoreError where they cannot be read now. */
  async read(user: string, hash: string): Promise<Buffer | undefined> {
    const blob = await this.#options.blobs.get(this.#key(user, hash))
    return blob === undefined ? undefined : readBlob(blob, blob.size)
  }

  /** Where it can be had by HTTP for `ttl` ms; the smallest of its sizes that fills a square of `side`, or the picture itself. */
  link(user: string, { hash, sides }: Picture, ttl: number, side = Number.POSITIVE_INFINITY): Promise<string> {
    const key = this.#key(user, hash)
    const fits = [...sides].sort((a, b) => a - b).find(s => s >= side)
    return this.#options.blobs.link(fits === undefined ? key : variantKey(key, fits, 'image/png'), ttl)
  }

  /** Something that referred to a picture of the user does so no more. */
  async release(user: string): Promise<void> {
    await this.#options.store.commit([await this.mark(user)])
  }

  /** The account is gone: so is all that there is now, at once or, if the blob store is away, later. */
  async removeAll(user: string): Promise<void> {
    const { now, due, log } = this.#options
    await due.put(['due'], [user], { at: 0, gone: now() })
    await this.#collect(user, now(), now()).then(
      () => due.del(['due'], [user]),
      (error: unknown) => log.warn({ err: error, user }, 'the pictures of a removed account will be deleted later'),
    )
  }

  /** Deletes what nothing refers to, of users whose pictures changed longer ago than the grace. */
  async sweep(): Promise<void> {
    const { due, grace, now } = this.#options
    for await (const rows of pages(due, ['due'])) {
      for (const { ck, value } of rows) {
        if (value.at > now() - grace) continue
        const user = String(ck[0])
        if (!(await this.#collected(user, now() - grace, value.gone))) continue
        // Not if the user has sent another one meanwhile.
        const { at } = (await due.get(['due'], ck)) ?? {}
        if (at === value.at) await due.del(['due'], ck)
      }
    }
  }

  /** What fails for one user does not keep the others' from going. */
  async #collected(user: string, before: number, gone: number | undefined): Promise<boolean> {
    try {
      return await this.#collect(user, before, gone)
    } catch (error) {
      this.#options.log.warn({ err: error, user }, 'pictures that are no longer in use could not be deleted')
      return false
    }
  }

  /** False also where it is damaged: then it is put again. */
  async #isThere(key: string): Promise<boolean> {
    try {
      return (await this.#options.blobs.stat(key)) !== undefined
    } catch {
      return false
    }
  }

  /** Deletes pictures put before `before` that nothing refers to; those put until `gone` in any case. False if not now. */
  async #collect(user: string, before: number, gone?: number): Promise<boolean> {
    const { table, blobs, references } = this.#options
    const rows = await table.scan([user])
    const kept =
      gone !== undefined && rows.every(row => row.value.at <= gone) ? new Set<string>() : await references(user)
    if (kept === undefined) return false
    for (const { ck, value } of rows) {
      const hash = String(ck[0])
      const over = gone !== undefined && value.at <= gone
      if (!over && (kept.has(hash) || value.at > before)) continue
      // The user may have sent it again meanwhile.
      if ((await table.get([user], ck))?.at !== value.at) continue
      const key = this.#key(user, hash)
      for (const entry of await blobs.list(key)) await blobs.del(entry.key)
      await table.del([user], ck)
    }
    return true
  }

  /** Who sends one picture after the other keeps those in use and few more. */
  async #makeRoom(user: string): Promise<void> {
    const { table, now } = this.#options
    if ((await table.scan([user], { limit: MAX_PICTURES })).length < MAX_PICTURES) return
    await this.#collect(user, now() - 60_000)
    if ((await table.scan([user], { limit: MAX_PICTURES })).length < MAX_PICTURES) return
    throw new StanzaError('resource-constraint', `${MAX_PICTURES} pictures in so short a time are enough`)
  }

  /** As {@link release}, by a row that the caller commits. */
  async mark(user: string, at = this.#options.now()): Promise<Op> {
    const { due } = this.#options
    return due.putOp(['due'], [user], { ...(await due.get(['due'], [user])), at })
  }

  #key(user: string, hash: string): string {
    return `${this.#folder}/${createHash('sha256').update(user).digest('hex').slice(0, 40)}/${hash}`
  }
}

export function sha1(bytes: Uint8Array): string {
  return createHash('sha1').update(bytes).digest('hex')
}

function pictureOf(hash: string, { type, width, height, size, sides }: Row): Picture {
  return { hash, type, width, height, size, sides }
}

function variantKey(key: string, side: number, type: 'image/png' | 'image/webp'): string {
  return `${key}.${side}.${type.slice(6)}`
}

/** A host's name as a part of a key; what does not fit (scripts, addresses) as its hash. */
function segmentOf(host: string): string {
  return /^[a-z0-9][a-z0-9.-]{0,190}$/.test(host)
    ? host
    : `h_${createHash('sha256').update(host).digest('hex').slice(0, 40)}`
}
