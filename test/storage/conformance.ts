import { describe } from 'node:test'
import { concurrency } from './suites/concurrency.ts'
import { ranges } from './suites/ranges.ts'
import { rows } from './suites/rows.ts'
import type { Open } from './suites/support.ts'
import { values } from './suites/values.ts'
import { whole } from './suites/whole.ts'

/** The contract of store.ts: what every driver does. */
export function conformance(name: string, open: Open): void {
  describe(`${name}: rows`, () => rows(open))
  describe(`${name}: ranges`, () => ranges(open))
  describe(`${name}: many at once`, () => concurrency(open))
  describe(`${name}: values`, () => values(open))
  describe(`${name}: the whole store`, () => whole(open))
}
