import type { Bound } from './bound.ts'

export const BOUNDS: readonly Bound[] = [
  {
    what: 'devices with push',
    number: ['protocol/push.test.ts', 'the registration enabled longest ago gives way at the bound'],
    bytes: 'each',
  },
  {
    what: 'push notifications on their way',
    number: [
      'unit/modules/push/flight.test.ts',
      'at the bound no more are begun, until one is answered, well or badly',
    ],
    bytes: 'each',
  },
  {
    what: 'messages counted for a device’s user',
    number: [
      'unit/modules/push/watch.test.ts',
      'at the bound the oldest is no longer counted; each was told all the same',
    ],
    bytes: 'each',
  },
]
