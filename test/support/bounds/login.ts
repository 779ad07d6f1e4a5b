import type { Bounds } from './bound.ts'

export const BOUNDS: Bounds = {
  'failed logins': { number: 'too many failures from an address: it has to wait, and is told so, whatever it tries' },
  'networks that an account is remembered to have been logged in from': {
    number: 'networks of an account are bounded: from where nobody came for longest goes',
  },
  'addresses, accounts, and pairs of both whose failed logins are counted': {
    number: 'memory is bounded however many addresses and names come',
  },
  'logins with devices of one account at a time': {
    number:
      'so many logins with devices of one account at a time, and no more; whoever takes its name finds nothing all the same',
    bytes: 'each',
  },
  'failed logins on one stream': { number: 'after five wrong passwords the stream is closed' },
  'devices that are remembered of an account': {
    number: 'one device more than are remembered: the one goes that was unused for longest',
    bytes: 'each',
  },
  'questions to a web service of accounts': {
    number: 'it is asked so many at a time; ten times as many wait, and no more',
    bytes: 'each',
  },
  'ad-hoc commands in progress': { number: 'all clients together have only so many', bytes: 'each' },
  'waiting invitations': { number: 'a user has only so many invitations that wait', bytes: 'each' },
  'invitation tokens tried': { number: 'one connection tries only so many tokens' },
  'lists of the service (blocked, allowed)': {
    number: 'the lists can be edited by hermodctl too, and have a bound',
    bytes: 'the addresses of a list are bounded in bytes, and one that is there already counts once',
  },
  'accounts that a command of XEP-0133 is about, and rosters it shows': {
    number: 'addresses that are named again and again count once, and are bounded in number',
    bytes: 'the rosters of many are an answer that a client can take',
  },
  'rows and texts that an ad-hoc command answers with':
    'a table that is too long, or too large, is shown as far as there is room',
  'searches for users': { number: 'what a search finds, and who can be found, is bounded', bytes: 'each' },
  "names of which it said that they are nobody's": {
    number: 'names that strangers make up do not fill the memory',
    bytes: 'each',
  },
}
