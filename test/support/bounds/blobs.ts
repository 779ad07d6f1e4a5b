import type { Bound } from './bound.ts'

export const BOUNDS: readonly Bound[] = [
  {
    what: 'pictures',
    number: ['unit/modules/avatar/images.test.ts', 'few at a time, some wait, the rest are told to come later'],
    bytes: ['unit/modules/avatar/images.test.ts', 'the bound of bytes, and of pixels: at it and beyond'],
  },
  {
    what: 'uploads of a user',
    number: ['protocol/http-upload.test.ts', 'who asks for many slots at once has to wait'],
    bytes: ['protocol/http-upload.test.ts', 'who has used up the day is told when to come again, and can'],
  },
  {
    what: 'uploads not yet begun, and at a time, of all and of a user',
    number: ['protocol/http-upload.test.ts', 'uploads at a time are bounded'],
    bytes: ['protocol/http-upload.test.ts', 'silly sizes and types, and what is too large'],
  },
  {
    what: 'slow uploads',
    number: ['protocol/http-upload.test.ts', 'an upload that is too slow is given up, and its place is free'],
  },
  {
    what: 'HTTP: head of a request, its time, silence, connections',
    number: ['protocol/http.test.ts', 'connections of all addresses together are bounded'],
    bytes: ['protocol/http.test.ts', 'who is slow with the head of a request is cut off'],
  },
  {
    what: 'downloads at a time, and slow ones',
    number: [
      'protocol/http.test.ts',
      'who does not read what was asked for is cut off; downloads at a time are bounded',
    ],
  },
]
