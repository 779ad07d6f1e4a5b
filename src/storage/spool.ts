import { randomBytes } from 'node:crypto'
import { open, rm } from 'node:fs/promises'
import path from 'node:path'
import { makePrivate } from '../util/private.ts'
import { type BlobBody, chunksOf } from './blob.ts'
import { StoreError } from './store.ts'

/**
 * Bodies on their way to a server elsewhere, as files: however slowly they come, they hold no memory and no connection to it,
 * and they can be sent again.
 */
export class Spool {
  readonly #folder: string
  #ready: Promise<void> | undefined

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Runs `work` with the file that holds the body. Rejects with a TypeError where the body is not as long as was said. */
  async with<T>(body: BlobBody, size: number, work: (file: string) => Promise<T>): Promise<T> {
    await this.#prepared()
    const file = path.join(this.#folder, randomBytes(12).toString('hex'))
    try {
      await this.#write(file, body, size)
      return await work(file)
    } finally {
      await rm(file, { force: true })
    }
  }

  async #write(file: string, body: BlobBody, size: number): Promise<void> {
    try {
      const handle = await open(file, 'wx', 0o600)
      try {
        for await (const chunk of chunksOf(body, size)) await handle.writeFile(chunk)
      } finally {
        await handle.close()
      }
    } catch (error) {
      // Of the client, or of the source.
      if ((error as NodeJS.ErrnoException).syscall === undefined || error instanceof TypeError) throw error
      throw new StoreError(`cannot keep a file in ${this.#folder} on its way: ${(error as Error).message}`, {
        cause: error,
      })
    }
  }

  #prepared(): Promise<void> {
    // What a crash left is nobody's.
    this.#ready ??= rm(this.#folder, { recursive: true, force: true })
      .then(() => makePrivate(this.#folder))
      .catch((error: unknown) => {
        this.#ready = undefined
        throw new StoreError(`cannot keep files on their way: ${(error as Error).message}`, { cause: error })
      })
    return this.#ready
  }
}
