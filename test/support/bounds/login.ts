import type { Bound } from './bound.ts'

export const BOUNDS: readonly Bound[] = [
  {
    what: 'failed logins',
    number: [
      'protocol/sasl.test.ts',
      'too many failures from an address: it has to wait, and is told so, whatever it tries',
    ],
  },
  {
    what: 'failed logins on one stream',
    number: ['protocol/sasl.test.ts', 'after five wrong passwords the stream is closed'],
  },
  {
    what: 'devices that are remembered of an account',
    number: [
      'protocol/devices.test.ts',
      'one device more than are remembered: the one goes that was unused for longest',
    ],
    bytes: 'each',
  },
  {
    what: 'questions to a web service of accounts',
    number: ['unit/auth/http.test.ts', 'it is asked so many at a time; ten times as many wait, and no more'],
    bytes: 'each',
  },
  {
    what: 'ad-hoc commands in progress',
    number: ['protocol/adhoc.test.ts', 'all clients together have only so many'],
    bytes: 'each',
  },
  {
    what: 'waiting invitations',
    number: ['protocol/invites.test.ts', 'a user has only so many invitations that wait'],
    bytes: 'each',
  },
  {
    what: 'invitation tokens tried',
    number: ['protocol/invites.test.ts', 'one connection tries only so many tokens'],
  },
  {
    what: 'lists of the service (blocked, allowed)',
    number: ['protocol/configure.test.ts', 'the lists can be edited by hermodctl too, and have a bound'],
    bytes: 'each',
  },
  {
    what: 'searches for users',
    number: ['protocol/search.test.ts', 'what a search finds, and who can be found, is bounded'],
    bytes: 'each',
  },
]
