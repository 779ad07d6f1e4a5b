import type { Bound } from './bound.ts'

export const BOUNDS: readonly Bound[] = [
  {
    what: 'remembered messages of a sender (to recognise copies)',
    number: ['unit/core/window.test.ts', 'the window holds the last 256, in memory and in the store'],
    bytes: 'each',
  },
  {
    what: 'accounts in memory that nobody uses',
    number: ['unit/core/host.test.ts', 'accounts that nobody uses leave memory, those in use stay'],
    bytes: 'each',
  },
  {
    what: 'iqs that wait for an answer',
    number: ['unit/core/iq.test.ts', 'no answer in time is none; beyond the bound the oldest gives way'],
    bytes: 'each',
  },
  {
    what: 'writes that wait for the disk',
    bytes: ['storage/level.test.ts', 'writes beyond what may wait for the disk are refused, and the store goes on'],
  },
]
