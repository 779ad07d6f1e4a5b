import type { Bounds } from './bound.ts'

export const BOUNDS: Bounds = {
  'questions to DNS that are open, and that wait': {
    number: 'so many questions are open at a time, and so many wait',
    bytes: 'each',
  },
  'answers of DNS that are kept': 'of answers so many are kept, and so many bytes: the one unused for longest goes',
  'places where the servers of a domain are looked for': {
    number: 'a zone with a thousand records costs twenty addresses',
    bytes: 'each',
  },
}
