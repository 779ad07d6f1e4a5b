import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type LevelOptions, openLevelStore } from '../../../src/storage/level.ts'
import { type Store, StoreError } from '../../../src/storage/store.ts'
import { eventually } from '../../support/waiting.ts'

/** An open store in a folder of its own; both end with the test. */
export async function level(t: TestContext, options: LevelOptions = {}): Promise<{ store: Store; path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'hermod-store-'))
  const store = await openLevelStore(path, options)
  t.after(async () => {
    await store.close()
    await rm(path, { recursive: true, force: true })
  })
  return { store, path }
}

export function keys(rows: readonly { ck: readonly (string | number)[] }[]): number[] {
  return rows.map(row => row.ck[0] as number)
}

export function retry(error: unknown): boolean {
  return error instanceof StoreError && error.retry
}

/** Calls until the store takes it, or refuses it in these words. */
export async function until<T>(call: () => Promise<T>, refusal?: RegExp): Promise<T | undefined> {
  const { taken } = await eventually(
    async () => {
      try {
        return { taken: await call() }
      } catch (error) {
        assert.ok(error instanceof StoreError && error.retry)
        return refusal?.test(error.message) ? { taken: undefined } : undefined
      }
    },
    refusal === undefined ? 'that the store takes it' : `that the store refuses it (${refusal})`,
  )
  return taken
}
