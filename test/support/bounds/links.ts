import type { Bounds } from './bound.ts'

export const BOUNDS: Bounds = {
  'messages that wait for another server': {
    number: 'who writes to one destination after the other is stopped too',
    bytes: 'it takes so many messages and bytes, so many of one sender, and says so; a restart changes nothing',
  },
  'messages that another server was sent and has not acknowledged': {
    number: 'a peer that does not acknowledge costs no more than its window, and delays nobody',
    bytes: 'a peer that does not read gets no more than it may leave unread, whatever it is',
  },
  'stanzas that another server has not acknowledged, all of them':
    'a peer that acknowledges nothing of what is not queued is taken for dead',
  'presence, and questions, that wait for one attempt to reach a server': 'what is not kept and waits is bounded',
  'conversations of other servers that wait to be resumed':
    'conversations that wait for their peers are bounded: who waits longest is over',
  'messages of another server that are recognised when they come again': {
    number: 'the last 2048 of a pair are remembered, in memory and in the store',
    bytes: 'rings that nobody uses leave memory, and are there again',
  },
  'questions of another server that are being answered': {
    number: '... so many at a time, and then it waits',
    bytes: 'each',
  },
  'pairs of domains with which nothing goes on, in memory': 'links with which nothing goes on leave memory',
}
