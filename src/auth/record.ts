import { partitionsOf, type Table, type TableSpec } from '../storage/store.ts'
import type { ScramHash, ScramKeys } from './derive.ts'
import type { Shape } from './shapes.ts'

/** {@link ScramKeys} as they lie in the store: bytes in base64. */
interface StoredKeys {
  salt: string
  iterations: number
  storedKey: string
  serverKey: string
}

/** One account. Times are ms since 1970. */
export interface CredentialRecord {
  scram: Partial<Record<ScramHash, StoredKeys>>
  createdAt: number
  disabled?: { at: number; reason?: string }
  /** Rises when the password is set and when the account is disabled: what was issued before (tokens) is void then. */
  epoch?: number
  /** No password is kept here: the method of this name vouched for the account (see chain.ts). */
  source?: string
}

/** Partition `[user]`, one row with the clustering key `[]`. */
export const PASSWD: TableSpec<CredentialRecord> = { name: 'passwd', version: 1 }

/** The shapes of accounts that are there. */
export async function* shapesIn(table: Table<CredentialRecord>, limit: number): AsyncIterable<Shape> {
  let left = limit
  for await (const key of partitionsOf(table)) {
    if (left-- <= 0) return
    const record = await table.get(key, [])
    if (record !== undefined) yield shapeOf(record.scram)
  }
}

export function hashesOf(kept: Partial<Record<ScramHash, unknown>>): ScramHash[] {
  return Object.keys(kept) as ScramHash[]
}

export function shapeOf(scram: CredentialRecord['scram']): Shape {
  return Object.fromEntries(Object.entries(scram).map(([hash, { iterations }]) => [hash, iterations]))
}

/** Names an account in its present state: see Credentials.stamp. */
export function stampOf({ createdAt, epoch = 0 }: CredentialRecord): string {
  return `${createdAt}.${epoch}`
}

export function storedKeys(keys: ScramKeys): StoredKeys {
  return {
    salt: keys.salt.toString('base64'),
    iterations: keys.iterations,
    storedKey: keys.storedKey.toString('base64'),
    serverKey: keys.serverKey.toString('base64'),
  }
}
