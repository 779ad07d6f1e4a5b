import type { TestContext } from 'node:test'

/**
 * What shows that a bound holds: something that drives it there and asserts what happens, or, where a test does that already,
 * the name of that test.
 */
export type Proof = ((t: TestContext) => Promise<void>) | string

/** What shows that a bound holds in number and in bytes. */
export interface Bound {
  /** Of the second column; left out where that says `–`: then the bytes are the bound. */
  readonly number?: Proof
  /**
   * Of the third column; left out where that says `–`: what is counted has no size to speak of. `each`: so many of what has a
   * bound itself, which the column names.
   */
  readonly bytes?: Proof | 'each'
}

/**
 * Bounds of docs/guide/limits.md, by the first column as it stands there; one proof where it is that of both columns. Each
 * area has a file of them in this folder, which test/protocol/bounds.test.ts finds.
 */
export type Bounds = Readonly<Record<string, Bound | Proof>>
