import { describe } from 'node:test'
import { brokenCommits, commits, type OpenDisk } from './suites/commits.ts'
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
  describe(`${name}: commits`, () => commits(open))
  describe(`${name}: values`, () => values(open))
  describe(`${name}: the whole store`, () => whole(open))
}

/** And what those do whose disk can fail. */
export function conformanceOnDisk(name: string, open: OpenDisk): void {
  describe(`${name}: commits on a disk in trouble`, () => brokenCommits(open))
}
