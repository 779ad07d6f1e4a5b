import type { Bounds } from './bound.ts'

export const BOUNDS: Bounds = {
  'certificates that another server shows, and signatures in them that are looked at': {
    number: 'who shows a labyrinth has us try so much and no more',
    bytes: 'of a long chain ten certificates are read; a handshake of more than 32 KiB ends, done or not',
  },
}
