import type { Bounds } from './bound.ts'

export const BOUNDS: Bounds = {
  'certificates that another server shows, and signatures in them that are looked at': {
    number: 'who shows a labyrinth has us try so much and no more',
    bytes: 'of a long chain ten certificates are read; one of more than 100 KiB ends the handshake',
  },
}
