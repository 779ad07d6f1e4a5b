import type { BlobAbout, BlobBody, BlobPart, BlobStore } from './blob.ts'
import { StoreError } from './store.ts'

/**
 * Blobs of which nothing goes while somebody holds them: what the rows of a backup refer to is still there when it is read, and
 * what a restore found there still is when its rows are in use. Who deletes meanwhile is told to try later, as when the store is
 * away.
 */
export class HeldBlobs implements BlobStore {
  readonly #blobs: BlobStore
  readonly #deleting = new Set<Promise<void>>()
  #holders = 0

  constructor(blobs: BlobStore) {
    this.#blobs = blobs
  }

  /** Resolves, when no deletion is under way any more, with what lets go. */
  async hold(): Promise<() => void> {
    this.#holders++
    await Promise.allSettled(this.#deleting)
    let held = true
    return () => {
      if (held) this.#holders--
      held = false
    }
  }

  async del(key: string): Promise<void> {
    if (this.#holders > 0) {
      throw new StoreError('a backup is being written or restored, and no file is deleted meanwhile; try again later')
    }
    const deletion = this.#blobs.del(key)
    this.#deleting.add(deletion)
    try {
      await deletion
    } finally {
      this.#deleting.delete(deletion)
    }
  }

  put(key: string, body: BlobBody, about: BlobAbout) {
    return this.#blobs.put(key, body, about)
  }

  get(key: string, part?: BlobPart) {
    return this.#blobs.get(key, part)
  }

  stat(key: string) {
    return this.#blobs.stat(key)
  }

  link(key: string, ttl: number) {
    return this.#blobs.link(key, ttl)
  }

  allows(key: string, query: URLSearchParams) {
    return this.#blobs.allows(key, query)
  }

  list(prefix: string, after?: string, limit?: number) {
    return this.#blobs.list(prefix, after, limit)
  }

  close() {
    return this.#blobs.close()
  }
}
