import type { Bounds } from './bound.ts'

export const BOUNDS: Bounds = {
  'pairs of domains on one stream with another server': {
    number: 'a stream has so many pairs, and no more',
    bytes: 'each',
  },
  'attempts at a time to reach other servers': {
    number: 'addresses are all of one zone; and all that is tried at a time is bounded',
    bytes: 'each',
  },
  'keys of dialback that are verified at a time': {
    number: 'few keys of one domain are verified at a time, and one pair of a stream once',
    bytes: 'each',
  },
  'keys of one stream that are verified, and pairs that are asked for, at a time': {
    number: 'so many keys of a stream are verified at a time, and so many pairs asked for',
    bytes: 'each',
  },
  'bytes of answers that another server asks for and does not read': {
    bytes: 'that do not read what they ask for are sent away',
  },
  'what was said of other servers in the log lately': {
    number: 'of what was said so much is remembered',
    bytes: 'each',
  },
}
